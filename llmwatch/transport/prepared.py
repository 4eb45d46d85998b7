"""Sends a request that other code has prepared, through the adapter of other code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import requests
from requests.adapters import BaseAdapter
from requests.utils import default_headers, select_proxy
from urllib3.util import Timeout

from llmwatch.transport import context as contexts
from llmwatch.transport.adapter import WatchedAdapter, request_id_of
from llmwatch.transport.context import Overrides, RequestContext
from llmwatch.transport.errors import TRUST_ADVICE
from llmwatch.transport.instrument import adopt_adapter, adopt_proxy
from llmwatch.transport.retries import AdapterRetries
from llmwatch.transport.sender import Reply
from llmwatch.watch.workers import Workers

__all__ = ["PreparedSender"]


class PreparedSender:
    """One prepared request with the settings that ``Session.send`` gives to an adapter.

    These are ``stream``, ``timeout``, ``verify``, ``cert`` and ``proxies``. The adapter gets them unchanged, but the
    time-outs of watched connections are backstops. The sender does not prepare, redirect or keep cookies: the session
    around it does. ``model``: a model gives the answer, and error bodies are kept short.
    """

    def __init__(
        self,
        adapter: BaseAdapter,
        prepared: requests.PreparedRequest,
        settings: Mapping[str, Any],
        *,
        model: bool,
        trust_advice: str = TRUST_ADVICE,
        overrides: Overrides | None = None,
    ) -> None:
        self._adapter = adapter
        self._prepared = prepared
        self._settings = settings
        self._model = model
        self._overrides = overrides
        self.trust_advice = trust_advice
        """Advice about a certificate that does not verify, in the entry point's words."""
        self.findable = adopt_adapter(adapter)
        """Whether the sockets can be found. Otherwise the progress of a request is unknown."""
        self.retries = AdapterRetries()
        """The adapter's own ``max_retries``; unused for a call of a model."""
        self.kwargs: dict[str, Any] = {"headers": prepared.headers, "data": prepared.body}
        """The request as requests' arguments. Other arguments to :meth:`open` make a changed request."""

    def open(
        self,
        context: RequestContext,
        method: str,
        url: str,
        kwargs: Mapping[str, Any],
        *,
        streaming: bool,
        content_type: str | None = None,
    ) -> Reply:
        """Send, and return once the headers are here. Blocks; runs in the worker."""
        asked = self._prepared
        if kwargs is not self.kwargs or url != asked.url:
            asked = self._changed(method, url, kwargs)
        sent = self._uncompressed(asked) if streaming else asked
        settings = dict(self._settings)
        # Again, since the adapter may have made new pools.
        if not adopt_adapter(self._adapter):
            settings["timeout"] = Timeout(connect=context.connect_backstop, read=context.read_backstop)
        adopt_proxy(self._adapter, sent.url, settings.get("proxies"))
        if not self._model:
            context = replace(context, adapter_retries=self.retries)
        if self._overrides is not None and sent.url == self._prepared.url:
            context = replace(context, overrides=self._overrides)
        with contexts.running(context):
            contexts.note(sent.url, sent.headers)
            contexts.note(select_proxy(sent.url or "", settings.get("proxies")))
            context.observer.check()
            if not self.findable:
                context.observer.connected()
                context.observer.sent()
            response = self._adapter.send(sent, **settings)
        forced = self.retries.forces(method, response.status_code, response.headers)
        try:
            refused = forced or (self._model and Reply(response).refused)
            context.observer.headers(response.status_code, refused=refused, request_id=request_id_of(response))
        except BaseException:
            response.close()
            raise
        response.request = asked
        return Reply(response, forced=forced)

    def workers(self, kwargs: Mapping[str, Any]) -> Workers | None:
        """See :meth:`~llmwatch.transport.sender.Opener.workers`. Adapters of other code run in the worker."""
        plain = kwargs is self.kwargs and isinstance(self._prepared.body, (type(None), str, bytes))
        return self._adapter.workers if plain and type(self._adapter) is WatchedAdapter else None

    @staticmethod
    def _changed(method: str, url: str, kwargs: Mapping[str, Any]) -> requests.PreparedRequest:
        known = ("params", "data", "json", "auth", "cookies")
        framing = ("content-length", "transfer-encoding")
        given = {name: value for name, value in (kwargs.get("headers") or {}).items() if value is not None}
        headers = {name: value for name, value in given.items() if name.lower() not in framing}
        asked = {name: kwargs[name] for name in known if kwargs.get(name) is not None}
        return requests.Request(method, url, headers=headers, **asked).prepare()

    @staticmethod
    def _uncompressed(asked: requests.PreparedRequest) -> requests.PreparedRequest:
        # Compression holds events back in the compressor. Only requests' own default is changed, and only on the wire.
        if asked.headers.get("Accept-Encoding") != default_headers()["Accept-Encoding"]:
            return asked
        sent = asked.copy()
        sent.body = asked.body
        sent.headers["Accept-Encoding"] = "identity"
        return sent
