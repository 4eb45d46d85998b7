"""The adapter that watches: around any other adapter, wherever requests looks for one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import BaseAdapter

from llmwatch.engine.settings import Settings
from llmwatch.errors import LLMWatchError
from llmwatch.session.errors import as_requests
from llmwatch.session.opening import open_response
from llmwatch.session.repeats import Repeats, Sending

__all__ = ["Door", "is_http"]

_repeats = Repeats()

_HTTP = re.compile(r"\s*https?:", re.IGNORECASE)


def is_http(url: str | None) -> bool:
    """Whether ``url`` goes over HTTP to a host, as opposed to a file or a local socket, for which people mount adapters
    of their own.
    """
    return _HTTP.match(url or "") is not None


class Door(BaseAdapter):
    """Sends through ``inner``, watched; what is not HTTP goes through as it is. Everything else that is asked of it, or
    set on it, is ``inner``'s.

    It may be pickled, as requests' adapters may, if ``inner`` can be: limits and retries go along, sinks and hooks do
    not.
    """

    def __init__(self, inner: BaseAdapter, settings: Settings) -> None:
        super().__init__()
        self.__dict__.update(inner=inner, settings=settings)

    inner: BaseAdapter
    settings: Settings

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send ``request`` and return its response; see :func:`~llmwatch.session.opening.open_response`. A library's
        own retry of what has just ended for good ends as that did.
        """
        if not is_http(request.url):
            return self.inner.send(request, stream, timeout, verify, cert, proxies)
        sending = Sending(request)
        known = _repeats.known(sending)
        if isinstance(known, LLMWatchError):
            raise as_requests(known, request, None) from known.__cause__

        def failed(
            error: LLMWatchError, prepared: requests.PreparedRequest, response: requests.Response | None
        ) -> BaseException:
            if response is None:
                _repeats.failed(sending, error)
            return as_requests(error, prepared, response)

        return open_response(
            self.inner,
            request,
            self.settings,
            stream=stream,
            timeout=timeout,
            verify=verify,
            cert=cert,
            proxies=proxies,
            error=failed,
            connection=self,
        )

    def close(self) -> None:
        """Close the idle connections. Responses that are being read are not touched, as in requests."""
        self.inner.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("inner", "settings"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.inner, name, value)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("limits", "retry", "profile", "dialect", "keepalive", "max_event", "max_body", "override_timeouts")
        return {"inner": self.inner, "settings": {name: getattr(self.settings, name) for name in kept}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(inner=state["inner"], settings=Settings(**state["settings"]))

    def __repr__(self) -> str:
        return f"<llmwatch around {self.inner!r}>"
