"""A requests session whose calls cannot hang, and the same for an existing session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import BaseAdapter

from llmwatch.engine.settings import ClientSettings, Settings, checked_settings, shows_settings
from llmwatch.session.watching_adapter import WatchingAdapter, is_http
from llmwatch.transport.adapter import WatchedAdapter
from llmwatch.transport.sender import EnvironmentSession

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Session", "around", "mount"]


def around(adapter: BaseAdapter, settings: Settings) -> BaseAdapter:
    """``adapter``, watched, unless it is watched already."""
    return adapter if isinstance(adapter, WatchingAdapter) else WatchingAdapter(adapter, settings)


def _may_be_http(prefix: str) -> bool:
    """Whether URLs with this prefix may go over HTTP, those of a prefix without a scheme included."""
    return ":" not in prefix or is_http(prefix)


class Session(EnvironmentSession):
    """A :class:`requests.Session` whose calls are watched, and sent again where that is safe.

    Existing code works with it unchanged. A call of a model is recognised by its URL and body
    (:func:`~llmwatch.register_model_url` adjusts that). It gets a model call's limits. A stall before the first content
    is recovered unseen. A stream that is cut, or ends without its end mark, raises. The server's bytes reach the
    program unchanged, whether or not a dialect reads them: the program reads an error in the body, a document in place
    of a stream, or a broken event itself, and the record has it. Any other request is watched for silence, and sent
    again only if its method is idempotent.

    An HTTP status never raises here. Every failure is one of requests' exceptions as well as llmwatch's. ``timeout=``
    in a call stands for ``connect``, ``ttfb`` and ``stale`` where they are not set, and may lower set values;
    ``override_timeouts`` ignores it. ``response.raw`` reads like urllib3's own, but has no descriptor for ``select``:
    its ``fileno`` raises.

    ``limits``, ``retry``, ``profile``, ``dialect``, ``keepalive``, ``max_event``, ``max_body``, ``override_timeouts``,
    ``sinks``, ``on_notice`` and ``notice_every`` are those of :class:`~llmwatch.Client`, except that ``max_body``
    bounds only the answers of models. Adapters that are mounted later are watched too. Raises
    :class:`~llmwatch.ConfigError` for invalid settings.
    """

    @shows_settings
    def __init__(self, **settings: Unpack[ClientSettings]) -> None:
        self._settings = checked_settings(**settings)
        super().__init__()
        adapter = WatchedAdapter()
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def mount(self, prefix: str | bytes, adapter: BaseAdapter) -> None:
        """Register an adapter for a URL prefix, with the watch around it."""
        text = prefix if isinstance(prefix, str) else prefix.decode("ascii")
        super().mount(text, around(adapter, self._settings) if _may_be_http(text) else adapter)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        watching = next((adapter for adapter in self.adapters.values() if isinstance(adapter, WatchingAdapter)), None)
        self._settings = Settings() if watching is None else watching.settings


@shows_settings
def mount(session: requests.Session, **settings: Unpack[ClientSettings]) -> requests.Session:
    """Watch the calls of an existing session as those of a :class:`Session`; returns the session.

    Its adapters stay in use, with their TLS context and pool sizes. Their ``max_retries`` apply only to requests that
    are no model call, and only to failures that llmwatch never sends again, such as a status; that is logged once. An
    adapter that is mounted later is not watched, unless the session is a :class:`Session`. A second mount exchanges the
    settings.
    """
    if not isinstance(session, requests.Session):
        raise TypeError(f"session must be a requests.Session, not {type(session).__name__}")
    checked = checked_settings(**settings)
    watching: dict[int, BaseAdapter] = {}
    for prefix, adapter in list(session.adapters.items()):
        if not _may_be_http(prefix):
            continue
        inner = adapter.inner if isinstance(adapter, WatchingAdapter) else adapter
        # An adapter that serves several prefixes keeps doing so, and the order of the prefixes must not change.
        session.adapters[prefix] = watching.setdefault(id(inner), WatchingAdapter(inner, checked))
    if isinstance(session, Session):
        session._settings = checked
    return session
