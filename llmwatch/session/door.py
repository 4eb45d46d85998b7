"""The adapter that watches: around any other adapter, wherever requests looks for one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import BaseAdapter

from llmwatch.client.settings import Settings
from llmwatch.session.opening import open_response

__all__ = ["Door"]


class Door(BaseAdapter):
    """Sends through ``inner``, watched. Everything else that is asked of it is asked of ``inner``.

    It may be pickled, as requests' adapters may, if ``inner`` can be: limits and retries go along, sinks and hooks do
    not.
    """

    def __init__(self, inner: BaseAdapter, settings: Settings) -> None:
        super().__init__()
        self.inner = inner
        self.settings = settings

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send ``request`` and return its response; see :func:`~llmwatch.session.opening.open_response`."""
        return open_response(
            self.inner,
            request,
            self.settings,
            stream=stream,
            timeout=timeout,
            verify=verify,
            cert=cert,
            proxies=proxies,
            connection=self,
        )

    def close(self) -> None:
        """Close the idle connections. Responses that are being read are not touched, as in requests."""
        self.inner.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("inner", "_inner", "settings"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("limits", "retry", "profile", "dialect", "keepalive")
        return {"inner": self.inner, "settings": {name: getattr(self.settings, name) for name in kept}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.inner = state["inner"]
        self.settings = Settings(**state["settings"])

    def __repr__(self) -> str:
        return f"<llmwatch around {self.inner!r}>"
