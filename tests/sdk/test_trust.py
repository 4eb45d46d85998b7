"""The certificates that connections trust.

They are those of the library that asks, in each setting, and the user's own.
"""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import certifi
import httpx
import httpx2
import openai
import pytest
import requests
from cryptography import x509

import llmwatch
from llmwatch import Limits
from llmwatch.faults import ProxyServer
from llmwatch.sdk import Transport
from tests.rows import each
from tests.sdk.clients import QUICK
from tests.sdk.times import LONG, PATIENCE

libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Say it."}]}


@pytest.fixture(scope="module")
def places(bundle: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The places with and without certificates: words of the tables below, and their paths."""
    folder = tmp_path_factory.mktemp("places")
    pem = Path(bundle).read_bytes()
    for name in ("hashed", "plain"):
        (folder / name).mkdir()
    (folder / "hashed" / f"{_hash_of(pem)}.0").write_bytes(pem)
    (folder / "plain" / "authority.pem").write_bytes(pem)
    (folder / "text").write_text("No certificate.\n")
    found = {name: str(folder / name) for name in ("hashed", "plain", "text", "missing")}
    return {**found, "bundle": bundle, "other": certifi.where(), "list": f"{found['plain']}:{found['hashed']}"}


def _hash_of(pem: bytes) -> str:
    """The name under which OpenSSL looks for a certificate.

    It is that of its subject, in small letters and without its frame.
    """
    subject = x509.load_pem_x509_certificate(pem).subject
    der = x509.Name([x509.NameAttribute(one.oid, str(one.value).lower()) for one in subject]).public_bytes()
    framing = 2 if der[1] < 128 else 2 + (der[1] & 127)
    return hashlib.sha1(der[framing:]).digest()[3::-1].hex()


@contextlib.contextmanager
def watched(library: Any, **settings: Any) -> Iterator[Any]:
    transport = Transport(**{"limits": Limits(ttfb=LONG), "retry": QUICK, **settings})
    with library.Client(transport=transport, timeout=None) as client:
        yield client


def outcome(ask: Any, library: Any) -> str:
    """``ok``, ``refused`` where the certificate was, ``error`` where the settings cannot be used."""
    try:
        return "ok" if ask().status_code == 200 else "status"
    except library.ConnectError:
        return "refused"
    except (OSError, llmwatch.ConfigError):
        return "error"


# What was seen with httpx 0.28 and httpx2 2.16; the library's own client says it again in each row.
ENVIRONMENTS = [
    ({}, "refused"),
    ({"SSL_CERT_FILE": "bundle"}, "ok"),
    ({"SSL_CERT_FILE": "other"}, "refused"),
    ({"SSL_CERT_FILE": "missing"}, "error"),
    ({"SSL_CERT_FILE": "text"}, "error"),
    ({"SSL_CERT_FILE": "hashed"}, "error"),
    ({"SSL_CERT_DIR": "hashed"}, "ok"),
    ({"SSL_CERT_DIR": "plain"}, "refused"),
    ({"SSL_CERT_DIR": "list"}, "ok"),
    ({"SSL_CERT_DIR": "missing"}, "refused"),
    ({"SSL_CERT_FILE": "other", "SSL_CERT_DIR": "hashed"}, "refused"),
    ({"SSL_CERT_FILE": "bundle", "SSL_CERT_DIR": "plain"}, "ok"),
    ({"REQUESTS_CA_BUNDLE": "bundle"}, "refused"),
    ({"CURL_CA_BUNDLE": "bundle"}, "refused"),
    ({"SSL_CERT_FILE": "bundle", "REQUESTS_CA_BUNDLE": "other"}, "ok"),
]


@libraries
@each(("environment", "expected"), ENVIRONMENTS)
def test_the_environment_is_read_as_the_library_reads_it(
    serve: Any, server_tls: ssl.SSLContext, places: dict[str, str], library: Any, environment: Any, expected: str
) -> None:
    """The same variables are read, in the same order, at every call.

    The library's own client is beside it.
    """
    server = serve(tls=server_tls)
    with pytest.MonkeyPatch.context() as patch, watched(library) as client:
        for name, place in environment.items():
            patch.setenv(name, places[place])

        def native() -> Any:
            with library.Client(timeout=PATIENCE) as other:
                return other.get(server.url)

        assert outcome(native, library) == expected
        assert outcome(lambda: client.get(server.url), library) == expected


@libraries
def test_an_environment_that_is_not_trusted_is_not_read(
    serve: Any, server_tls: ssl.SSLContext, bundle: str, library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``trust_env`` of a session is the library's own.

    (httpx2 before 2.16 reads the variables all the same.)
    """
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    server, session = serve(tls=server_tls), requests.Session()
    with library.Client(timeout=PATIENCE, trust_env=False) as native:
        expected = outcome(lambda: native.get(server.url), library)
    assert expected == "refused" or httpx2.__version__ < "2.16"
    session.trust_env = False
    with watched(library, session=session) as client:
        assert outcome(lambda: client.get(server.url), library) == expected
        session.trust_env = True
        assert outcome(lambda: client.get(server.url), library) == "ok"


def _context(places: dict[str, str], *, names: bool = True) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=places["bundle"])
    context.check_hostname = names
    return context


VERIFIES = [
    ("its file", lambda places: places["bundle"], "ok"),
    ("its path", lambda places: Path(places["bundle"]), "ok"),
    ("its directory", lambda places: places["hashed"], "ok"),
    ("another file", lambda places: places["other"], "refused"),
    ("a context", _context, "ok"),
    ("a context of others", lambda places: ssl.create_default_context(cafile=places["other"]), "refused"),
    ("no", lambda places: False, "ok"),
    ("yes", lambda places: True, "refused"),
]


@libraries
@each(("name", "verify", "expected"), VERIFIES)
def test_verify_wins_over_environment_and_session(
    serve: Any, server_tls: ssl.SSLContext, places: dict[str, str], library: Any, name: str, verify: Any, expected: str
) -> None:
    """A ``verify`` of the library's kinds means what it means there.

    It wins over environment and session.
    """
    server, session = serve(tls=server_tls), requests.Session()
    session.verify = places["other"]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # A path is deprecated in the libraries themselves, and urllib3 warns where nothing is verified.
        warnings.simplefilter("ignore")
        patch.setenv("SSL_CERT_FILE", places["other"])
        native = str(verify(places)) if isinstance(verify(places), Path) else verify(places)
        with library.Client(timeout=PATIENCE, verify=native) as client:
            assert outcome(lambda: client.get(server.url), library) == expected
        with watched(library, verify=verify(places), session=session) as client:
            assert outcome(lambda: client.get(server.url), library) == expected


@libraries
def test_a_context_decides_about_names(
    serve: Any, server_tls: ssl.SSLContext, places: dict[str, str], library: Any
) -> None:
    """A certificate for another name is refused, by a context that does not look at names it is not."""
    server = serve(tls=server_tls, host="127.0.0.2")
    for names, expected in ((True, "refused"), (False, "ok")):
        with library.Client(timeout=PATIENCE, verify=_context(places, names=names)) as native:
            assert outcome(lambda client=native: client.get(server.url), library) == expected
        with watched(library, verify=_context(places, names=names)) as client:
            assert outcome(lambda client=client: client.get(server.url), library) == expected


@libraries
def test_a_sessions_verify_wins_over_the_librarys_rule(
    serve: Any,
    server_tls: ssl.SSLContext,
    places: dict[str, str],
    library: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A session's own ``verify`` wins over the library's rule.

    So does the bundle that it reads from the environment.
    """
    server, session = serve(tls=server_tls), requests.Session()
    monkeypatch.setenv("SSL_CERT_FILE", places["other"])
    with watched(library, session=session) as client:
        assert outcome(lambda: client.get(server.url), library) == "refused"
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", places["bundle"])
        assert outcome(lambda: client.get(server.url), library) == "ok"
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        session.verify = places["bundle"]
        assert outcome(lambda: client.get(server.url), library) == "ok"


@libraries
def test_a_clients_certificate_is_shown(
    serve: Any, authority: Any, places: dict[str, str], library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that asks for a certificate gets the session's.

    This holds whether the library's rule or a context decides about trust.
    """
    issued = authority.issue_cert("client.test")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    server = serve(tls=context)
    monkeypatch.setenv("SSL_CERT_FILE", places["bundle"])
    for verify in (None, _context(places), places["bundle"]):
        session = requests.Session()
        with watched(library, verify=verify, session=session) as client:
            with pytest.raises(library.TransportError):
                client.get(server.url)
            session.cert = str(tmp_path / "client.pem")
            assert client.get(server.url).status_code == 200
            session.cert = str(tmp_path / "missing.pem")
            if verify is not places["bundle"]:
                with pytest.raises(llmwatch.ConfigError, match=r"missing\.pem"):
                    client.get(server.url)


@libraries
def test_the_error_says_what_to_set(
    serve: Any, server_tls: ssl.SSLContext, places: dict[str, str], library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting that the error of an unknown authority advises exists and helps.

    Another name does not help.
    """
    server, elsewhere = serve(tls=server_tls), serve(tls=server_tls, host="127.0.0.2")
    with watched(library) as client:
        with pytest.raises(llmwatch.ConnectFailed) as caught:
            client.get(server.url)
        advice = "SSL_CERT_FILE, or pass verify=ssl.create_default_context(cafile=...) to llmwatch.sdk.Transport"
        assert advice in str(caught.value)
        assert "REQUESTS_CA_BUNDLE" not in str(caught.value)
        assert server.requests == []
    with watched(library, verify=ssl.create_default_context(cafile=places["bundle"])) as client:
        assert client.get(server.url).status_code == 200
        with pytest.raises(llmwatch.ConnectFailed) as caught:
            client.get(elsewhere.url)
        assert "SSL_CERT_FILE" not in str(caught.value)
        assert "check the URL" in str(caught.value)


@libraries
@each(("variable", "place"), [("SSL_CERT_FILE", "missing"), ("SSL_CERT_FILE", "text")])
def test_a_variable_of_a_missing_bundle_is_named(
    places: dict[str, str], library: Any, variable: str, place: str
) -> None:
    """A file that is not there, or holds no certificate, is an error in the settings, of the variable."""
    with pytest.MonkeyPatch.context() as patch, watched(library) as client:
        patch.setenv(variable, places[place])
        with pytest.raises(llmwatch.ConfigError) as caught:
            client.get("https://127.0.0.1:9")
    assert (caught.value.field, caught.value.value) == (variable, repr(places[place]))
    assert variable in str(caught.value)
    assert not isinstance(caught.value, library.HTTPError)


def test_an_invalid_verify_is_refused_at_once(places: dict[str, str]) -> None:
    """An invalid ``verify`` is refused when the transport is made."""
    with pytest.raises(llmwatch.ConfigError, match="no such file"):
        Transport(verify=places["missing"])
    for verify in (3, b"path", object()):
        with pytest.raises(TypeError, match="verify must be"):
            Transport(verify=verify)  # type: ignore[arg-type]


@libraries
def test_a_server_behind_a_tunnel_is_verified_alike(
    serve: Any, server_tls: ssl.SSLContext, places: dict[str, str], library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server behind a tunnel is verified like any server."""
    server = serve(tls=server_tls)
    with ProxyServer() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with watched(library) as client:
            assert outcome(lambda: client.get(server.url), library) == "refused"
            monkeypatch.setenv("SSL_CERT_FILE", places["bundle"])
            assert outcome(lambda: client.get(server.url), library) == "ok"
        assert proxy.connects >= 2


def test_connections_are_used_again(
    serve: Any, server_tls: ssl.SSLContext, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trust is set up once: a second call uses the connection of the first."""
    server = serve(tls=server_tls)
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    with watched(httpx) as client:
        for _ in range(3):
            assert client.post(server.chat_url, json=CHAT).status_code == 200
        assert server.connections == 1
        monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
        # A connection was made with what is not trusted any more.
        with pytest.raises(httpx.ConnectError):
            client.post(server.chat_url, json=CHAT)


@pytest.mark.parametrize("sdk", [openai, anthropic], ids=["openai", "anthropic"])
def test_an_sdk_client_trusts_what_the_sdk_trusts(
    serve: Any, server_tls: ssl.SSLContext, bundle: str, sdk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their default client and llmwatch's: refused, and accepted with ``SSL_CERT_FILE``.

    ``verify=`` is passed on.
    """
    server = serve(tls=server_tls)
    make = getattr(llmwatch.sdk, sdk.__name__)
    kind = sdk.OpenAI if sdk is openai else sdk.Anthropic
    where = {"api_key": "k", "base_url": server.url, "max_retries": 0, "timeout": LONG}

    def listed(client: Any) -> str:
        with client:
            try:
                client.get("/models", cast_to=object)
            except sdk.APIConnectionError:
                return "refused"
        return "ok"

    assert [listed(kind(**where)), listed(make(**where))] == ["refused"] * 2
    assert listed(make(**where, verify=ssl.create_default_context(cafile=bundle))) == "ok"
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    assert [listed(kind(**where)), listed(make(**where))] == ["ok"] * 2


PLAIN_URL = "http://provider.test/v1/models"

# httpcore 1.0 adds the directory to the file where a proxy's certificate is looked at.
OF_PROXIES = [row for row in ENVIRONMENTS if row[0] != {"SSL_CERT_FILE": "other", "SSL_CERT_DIR": "hashed"}]


@libraries
@each(("environment", "expected"), OF_PROXIES)
def test_a_proxy_is_trusted_as_the_library_trusts_it(
    serve: Any, server_tls: ssl.SSLContext, places: dict[str, str], library: Any, environment: Any, expected: str
) -> None:
    """A proxy that is reached by TLS needs a certificate that the library's own client accepts.

    Only then it gets the request and its keys, also where the URL has none.
    """
    server = serve(tls=server_tls)
    with pytest.MonkeyPatch.context() as patch, watched(library) as client:
        patch.setenv("HTTP_PROXY", server.url)
        patch.setenv("NO_PROXY", "")
        for name, place in environment.items():
            patch.setenv(name, places[place])

        def native() -> Any:
            with library.Client(timeout=PATIENCE) as other:
                return other.get(PLAIN_URL)

        assert outcome(native, library) == expected
        assert len(server.requests) == (expected == "ok")
        assert outcome(lambda: client.get(PLAIN_URL), library) == expected
        assert len(server.requests) == 2 * (expected == "ok")


@libraries
@each(("name", "verify", "expected"), VERIFIES)
def test_verify_holds_for_a_proxy(
    serve: Any, server_tls: ssl.SSLContext, places: dict[str, str], library: Any, name: str, verify: Any, expected: str
) -> None:
    """``verify`` means for a proxy what it means for a server, through httpx and in a client of ours."""
    server = serve(tls=server_tls)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("SSL_CERT_FILE", places["other"])
        patch.setenv("HTTP_PROXY", server.url)
        patch.setenv("NO_PROXY", "")
        with watched(library, verify=verify(places)) as client:
            assert outcome(lambda: client.get(PLAIN_URL), library) == expected
        said = str(verify(places)) if isinstance(verify(places), Path) else verify(places)
        with llmwatch.Client(limits=Limits(ttfb=LONG), retry=QUICK) as ours:
            if expected == "ok":
                assert ours.request("GET", PLAIN_URL, verify=said).status_code == 200
                return
            with pytest.raises(llmwatch.ConnectFailed) as found:
                ours.request("GET", PLAIN_URL, verify=said)
        assert f"the certificate of the proxy {server.netloc} does not verify" in str(found.value)
        assert (found.value.cause, found.value.retryable) == ("proxy", False)
        assert server.requests == []


@libraries
@each(("name", "verify", "expected"), VERIFIES)
def test_verify_holds_for_a_proxy_with_a_tunnel(
    serve: Any, server_tls: ssl.SSLContext, places: dict[str, str], library: Any, name: str, verify: Any, expected: str
) -> None:
    """A context, a file and a directory hold for the proxy in front of a tunnel.

    They hold as they do for the server behind it.
    """
    server = serve(tls=server_tls)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), ProxyServer(tls=server_tls) as proxy:
        warnings.simplefilter("ignore")
        patch.setenv("SSL_CERT_FILE", places["other"])
        patch.setenv("HTTPS_PROXY", proxy.url)
        patch.setenv("NO_PROXY", "")
        with watched(library, verify=verify(places)) as client:
            assert outcome(lambda: client.get(server.url), library) == expected
        said = str(verify(places)) if isinstance(verify(places), Path) else verify(places)
        with llmwatch.Client(limits=Limits(ttfb=LONG), retry=QUICK) as ours:
            if expected == "ok":
                assert ours.request("GET", server.url, verify=said).status_code == 200
                return
            with pytest.raises(llmwatch.ConnectFailed, match=f"the certificate of the proxy {proxy.netloc}"):
                ours.request("GET", server.url, verify=said)


@libraries
def test_a_context_decides_about_the_name_of_a_proxy(
    serve: Any, server_tls: ssl.SSLContext, places: dict[str, str], library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy with a certificate for another name is refused.

    A context that does not look at names accepts the proxy.
    """
    server = serve(tls=server_tls)
    monkeypatch.setenv("NO_PROXY", "")
    with ProxyServer(tls=server_tls, host="127.0.0.2") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        for names, expected in ((True, "refused"), (False, "ok")):
            with watched(library, verify=_context(places, names=names)) as client:
                assert outcome(lambda client=client: client.get(server.url), library) == expected
