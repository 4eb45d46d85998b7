"""An invalid setting is a configuration error that names it, and nothing reaches a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmwatch.errors import ConfigError
from llmwatch.faults import FaultServer
from llmwatch.transport.sender import Sender
from tests.transport.drive import Call


def _refused(call: Call) -> ConfigError:
    call.run()
    assert isinstance(call.error, ConfigError)
    assert call.verdict.error is call.error
    assert call.error.retryable is False
    assert call.attempt.stats.sockets == 0 or call.attempt.stats.sent != "yes"
    return call.error


@pytest.mark.parametrize(
    "url",
    [
        "",
        "provider",
        "/v1/chat/completions",
        "ftp://provider.invalid/",
        "http://",
        "http:///path",
        "http://.example.invalid/",
        "http://a..b/",
        "http://[::1/",
        "http://127.0.0.1:notaport/",
        "http://127.0.0.1:99999/",
        "http://" + "x" * 70 + ".invalid/",
        "http://*.invalid/",
    ],
)
def test_an_unusable_url_is_a_config_error(url: str, sender: Sender) -> None:
    """An unusable URL is a configuration error of the field ``url``.

    The URL has no scheme or host, or a host or port that is not possible.
    """
    error = _refused(Call(sender, url))
    assert error.field == "url"
    assert "Nothing was sent" in str(error)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Bad": "one\r\nX-Injected: two"},
        {"X Bad:": "value"},
        {"": "value"},
        {"X-Bad": 5},
        {"X-Bad": " leading"},
        {"Authorization": "Bearer sk-planted…"},
        {"Authorization…": "Bearer sk-planted"},
    ],
)
def test_an_invalid_header_is_a_config_error(headers: dict[str, Any], sender: Sender) -> None:
    """An invalid header is a configuration error that does not show the header's value.

    The header has a line break, no name, a wrong type or letters beyond latin-1.
    """
    with FaultServer() as server:
        error = _refused(Call(sender, server.chat_url, headers=headers))
        assert server.requests == []
    assert error.field == "headers"
    assert "planted" not in repr((str(error), error.args, error.__cause__, error.__dict__))


def test_a_missing_bundle_is_a_config_error(sender: Sender, tmp_path: Path) -> None:
    """A bundle that does not exist is a configuration error of the field ``verify``."""
    with FaultServer(tls_silent=True) as server:
        error = _refused(Call(sender, server.chat_url, verify=str(tmp_path / "missing.pem")))
        assert server.connections == 0
    assert error.field == "verify"


def test_a_bundle_without_certificates_is_a_config_error(sender: Sender, tmp_path: Path) -> None:
    """A bundle that holds no certificate is a configuration error of the field ``verify``.

    The error is not a failed handshake.
    """
    bundle = tmp_path / "empty.pem"
    bundle.write_text("this is no certificate\n")
    with FaultServer(tls_silent=True) as server:
        error = _refused(Call(sender, server.chat_url, verify=str(bundle)))
    assert error.field == "verify"


@pytest.mark.parametrize("names", ["missing.pem", ("missing.pem", "missing.key")])
def test_a_missing_client_certificate_is_a_config_error(names: Any, sender: Sender) -> None:
    """A client certificate that does not exist is a configuration error."""
    with FaultServer(tls_silent=True) as server:
        error = _refused(Call(sender, server.chat_url, cert=names))
    assert error.field in ("verify", "cert")


@pytest.mark.parametrize("proxy", ["http://", "ftp://user:planted@127.0.0.1:9"])
def test_an_unusable_proxy_url_is_a_config_error(proxy: str, sender: Sender) -> None:
    """A proxy URL without a host or with a scheme that is no proxy's is a configuration error without its
    credentials.
    """
    error = _refused(Call(sender, "https://127.0.0.1:9/", proxies={"https": proxy}))
    assert "proxy" in str(error).lower()
    assert "planted" not in str(error)


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:99999", "127.0.0.1:99999", "http://[::1"])
def test_an_unreadable_proxy_url_is_blamed_on_the_proxy(sender: Sender, proxy: str) -> None:
    """The proxy's URL is blamed, and not the user's."""
    call = Call(sender, "http://provider.test/", proxies={"http": proxy})
    call.run()
    assert _refused(call).field == "proxies"
