"""The clients that the helpers make: what they are, what they take, what they say."""

from __future__ import annotations

import gc
import json
import pickle
import subprocess
import sys
from typing import Any

import anthropic
import openai
import pytest
import requests

import llmwatch
from llmwatch import CancelToken, Limits, Retry, sdk
from llmwatch.faults import refused_port
from llmwatch.faults.catalogue import ANSWER
from llmwatch.sdk import Transport
from tests.end_to_end.calls import eventually
from tests.sdk.clients import ASKS, MAKERS, PLAIN, QUICK, STREAMS, ask
from tests.sdk.times import LIMIT, LONG, PATIENCE

BOTH = pytest.mark.parametrize("package", ["openai", "anthropic"])
ONE = {"openai": "chat-stream", "anthropic": "messages-stream"}
ENTRY_POINTS = pytest.mark.parametrize("entry_point", list(MAKERS))


def helper(package: str, **more: Any) -> Any:
    return getattr(sdk, package)(**{"api_key": "sk-test-key", "base_url": "http://127.0.0.1:9/v1", **more})


@BOTH
def test_the_helper_makes_the_sdks_own_client(package: str) -> None:
    """The client is of exactly the SDK's class, with its own retries off and its defaults unchanged."""
    with helper(package) as client:
        kind = openai.OpenAI if package == "openai" else anthropic.Anthropic
        assert type(client) is kind
        with kind(api_key="k") as usual:
            assert client.max_retries == 0
            assert client.timeout == usual.timeout
            assert client._client.follow_redirects is usual._client.follow_redirects
        assert client._client.trust_env is False


@BOTH
def test_the_helper_refuses_conflicting_arguments(package: str) -> None:
    """An ``http_client`` of the user's, and an object that is no transport.

    The third case is a transport together with settings.
    """
    with pytest.raises(TypeError, match="makes the http_client itself"):
        helper(package, http_client=None)
    with pytest.raises(TypeError, match=r"must be a llmwatch\.sdk\.Transport, not int"):
        helper(package, transport=3)
    for more in ({"limits": Limits()}, {"retry": Retry()}, {"session": requests.Session()}, {"verify": False}):
        with pytest.raises(TypeError, match=f"give {next(iter(more))} to the transport"):
            helper(package, transport=Transport(), **more)
    with pytest.raises(llmwatch.ConfigError):
        helper(package, transport=Transport(dialect="klingon"))
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        helper(package, nonsense=1)


@BOTH
def test_a_missing_package_is_an_error_that_says_what_to_install(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"needs the package {package}: pip install 'llmwatch\[sdk\]'"):
        helper(package)


def test_importing_the_helpers_imports_no_sdk_and_no_library() -> None:
    """No SDK and no library is imported before it is used, and none is required."""
    script = (
        "import sys\n"
        "for name in ('httpx', 'httpx2', 'openai', 'anthropic'): sys.modules[name] = None\n"
        "from llmwatch import sdk\n"
        "sdk.Transport().close()\n"
        "print(sdk.__all__)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert done.stdout == "['Through', 'Translate', 'Transport', 'Verify', 'anthropic', 'client', 'openai']\n"


@BOTH
def test_copies_of_the_client_are_watched_and_explained(serve: Any, package: str) -> None:
    """``copy`` and ``with_options`` keep the transport, and the cause of a status error."""
    server = serve("status:status=400")
    with MAKERS["helper"](package, server) as client:
        for other in (client.copy(), client.with_options(max_retries=1), client.with_options().copy()):
            error: Any = ask(other, ONE[package]).error
            assert error.status_code == 400
            assert isinstance(error.__cause__, llmwatch.ProviderError)
            assert error.__cause__.record.attempts[0].status == 400
    assert len(server.requests) == 3


@BOTH
def test_a_status_error_of_another_http_client_has_no_cause(serve: Any, package: str) -> None:
    """The status error of an SDK copy with an HTTP client of its own has no cause of llmwatch's."""
    module = openai if package == "openai" else anthropic
    server = serve("status:status=400")
    with MAKERS["helper"](package, server) as client, module.DefaultHttpxClient() as own:
        error: Any = ask(client.copy(http_client=own), ONE[package]).error
    assert error.status_code == 400
    assert error.__cause__ is None


@BOTH
@pytest.mark.parametrize("wrapper", ["with_raw_response", "with_streaming_response"])
def test_raw_responses_are_explained(serve: Any, package: str, wrapper: str) -> None:
    """The record of a call is within reach, and a status error has its cause."""
    server = serve("healthy", "status:status=404")
    with MAKERS["helper"](package, server) as client:
        resource = client.chat.completions if package == "openai" else client.messages
        body: Any = {"model": "m", "messages": [{"role": "user", "content": "Say it."}], "max_tokens": 9}

        def create() -> Any:
            made = getattr(resource, wrapper).create(**body)
            if wrapper == "with_raw_response":
                return made.http_response, made.parse()
            with made as response:
                return response.http_response, response.parse()

        response, parsed = create()
        assert response.extensions["llmwatch"].record.outcome == "done"
        assert json.dumps(ANSWER) in json.dumps(parsed.model_dump())
        with pytest.raises((openai.NotFoundError, anthropic.NotFoundError)) as caught:
            create()
    assert isinstance(caught.value.__cause__, llmwatch.ProviderError)


@BOTH
@pytest.mark.parametrize("how", PLAIN)
def test_a_cut_plain_answer_is_a_connection_error(serve: Any, make: Any, package: str, how: str) -> None:
    """The cut body of a plain call is a connection error, with llmwatch's behind it, before it is parsed."""
    if ASKS[how].sdk != package:
        return
    server = serve("short-length")
    outcome = ask(make("helper", package, server), how)
    error: Any = outcome.error
    assert type(error) is (openai if package == "openai" else anthropic).APIConnectionError
    assert isinstance(error.__cause__, llmwatch.StreamCut)
    assert len(server.requests) == len(error.__cause__.record.attempts)


@BOTH
@ENTRY_POINTS
def test_a_refused_connection_is_the_sdks_connection_error(
    package: str, entry_point: str, make: Any, sdk_waits: list[int]
) -> None:
    """A refused connection is the SDK's own, after our attempts and no more."""
    with refused_port() as port:
        server: Any = type("Nowhere", (), {"url": f"http://127.0.0.1:{port}"})
        error: Any = ask(make(entry_point, package, server), ONE[package]).error
    assert type(error) is (openai if package == "openai" else anthropic).APIConnectionError
    assert isinstance(error.__cause__, llmwatch.ConnectFailed)
    assert len(error.__cause__.record.attempts) == 3


@BOTH
@pytest.mark.parametrize("entry_point", ["helper", "helper, its retries on"])
def test_a_cancellation_is_not_an_error_of_the_sdk(
    serve: Any, make: Any, sdk_waits: list[int], package: str, entry_point: str
) -> None:
    """The SDK neither reports nor retries it, before the response and in mid-stream."""
    server, token = serve("stall-after-content:tokens=3"), CancelToken()
    transport = Transport(limits=Limits(ttfb=LONG, stale=LONG), cancel=token)
    make_client = sdk.openai if package == "openai" else sdk.anthropic
    base_url = f"{server.url}/v1" if package == "openai" else server.url
    retries = {"max_retries": 2} if entry_point != "helper" else {}

    class Seen(list[str]):
        """Cancels when something has come."""

        def append(self, piece: str) -> None:
            super().append(piece)
            token.cancel()

        def extend(self, pieces: Any) -> None:
            for piece in filter(None, pieces):
                self.append(piece)

    with make_client(transport=transport, api_key="k", base_url=base_url, **retries) as client:
        for _ in range(2):
            with pytest.raises(llmwatch.Cancelled) as caught:
                ASKS[ONE[package]].run(client, Seen(), {})
            assert caught.value.by == "user"
            assert isinstance(caught.value, anthropic.AnthropicError) is (package == "anthropic")
            again = pickle.loads(pickle.dumps(caught.value))
            assert (type(again), again.by, str(again)) == (type(caught.value), "user", str(caught.value))
    assert len(server.requests) == 1
    assert sdk_waits == []


@BOTH
def test_an_invalid_variable_is_a_config_error(
    serve: Any, make: Any, sdk_waits: list[int], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake in the settings comes as it is, at once."""
    monkeypatch.setenv("LLMWATCH_TTFB_TIMEOUT_SECONDS", "soon")
    server = serve()
    error = ask(make("helper, its retries on", package, server), ONE[package]).error
    assert isinstance(error, llmwatch.ConfigError)
    assert server.requests == []
    assert sdk_waits == []


@BOTH
def test_closing_the_client_closes_the_connections(serve: Any, package: str) -> None:
    """The idle connection goes with the client."""
    server = serve()
    with MAKERS["helper"](package, server) as client:
        assert ask(client, ONE[package]).text == ANSWER
        assert server.open_connections == 1
    eventually(lambda: server.open_connections == 0, "the connection is closed")


@ENTRY_POINTS
@pytest.mark.parametrize("package", ["openai", "anthropic"])
@pytest.mark.parametrize("leave", ["close", "drop"])
def test_a_stream_closed_or_dropped_early_closes_its_connection(
    serve: Any, make: Any, set_aside: None, entry_point: str, package: str, leave: str
) -> None:
    """Closed or dropped in the middle, the connection goes with it."""
    server = serve("endless-content")
    client = make(entry_point, package, server)
    body: Any = {"model": "m", "messages": [{"role": "user", "content": "Say it."}], "max_tokens": 9, "stream": True}
    stream = (client.chat.completions if package == "openai" else client.messages).create(**body)
    next(iter(stream))
    assert server.open_connections == 1
    if leave == "close":
        stream.close()
    del stream
    # The stream of one of them is part of a cycle.
    gc.collect()
    eventually(lambda: server.open_connections == 0, "the connection is closed")


# -- whose time-out it is --------------------------------------------------------


def limits_of(serve: Any, package: str, limits: Limits | None, **more: Any) -> dict[str, float | None]:
    """The limits that a call went by."""
    records: list[llmwatch.CallRecord] = []
    server = serve()
    transport = Transport(limits=limits, profile="hosted", sinks=[records.append])
    base_url = f"{server.url}/v1" if package == "openai" else server.url
    with helper(package, base_url=base_url, transport=transport, **more) as client:
        assert ask(client, ONE[package]).text == ANSWER
    (record,) = records
    return {name: limit["value"] for name, limit in record.limits.items()}


@BOTH
def test_the_sdks_default_timeout_changes_no_limit(serve: Any, package: str) -> None:
    """Its 600 s, and 5 s to connect, were set by no user and move no limit."""
    found = limits_of(serve, package, None)
    assert (found["connect"], found["ttfb"], found["stale"], found["send"]) == (10, 120, 360, 60)
    found = limits_of(serve, package, Limits(connect=30, ttfb=900, stale=900, first_content=0, send=0))
    assert (found["connect"], found["ttfb"], found["stale"], found["send"]) == (30, 900, 900, None)


@BOTH
def test_the_sdks_default_timeout_does_not_change_a_variable(
    serve: Any, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit that the environment sets is explicit."""
    monkeypatch.setenv("LLMWATCH_CONNECT_TIMEOUT_SECONDS", "20")
    monkeypatch.setenv("LLMWATCH_STALE_TIMEOUT_SECONDS", "700")
    found = limits_of(serve, package, None)
    assert (found["connect"], found["stale"]) == (20, 700)


@BOTH
def test_a_timeout_of_the_client_lowers_limits_and_never_raises_them(serve: Any, package: str) -> None:
    """``timeout=`` of the client bounds connecting, sending and silence.

    Whatever source set a longer limit, the bound holds.
    """
    found = limits_of(serve, package, Limits(connect=30, ttfb=7), timeout=20.0)
    assert (found["connect"], found["ttfb"], found["stale"], found["send"]) == (20, 7, 20, 20)
    found = limits_of(serve, package, None, timeout=None)
    assert (found["connect"], found["ttfb"], found["stale"], found["send"]) == (10, 120, 360, 60)


@BOTH
def test_a_timeout_of_the_client_can_be_set_aside(serve: Any, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a program whose own is too short."""
    monkeypatch.setenv("LLMWATCH_OVERRIDE_TIMEOUTS", "1")
    found = limits_of(serve, package, None, timeout=20.0)
    assert (found["connect"], found["ttfb"], found["stale"], found["send"]) == (10, 120, 360, 60)


@BOTH
def test_a_timeout_of_one_call_counts(serve: Any, make: Any, package: str) -> None:
    """``timeout=`` of a method bounds that call."""
    server = serve("silent")
    client = make("helper", package, server, retry=Retry.none())
    # It limits the connection as well, for which a busy machine needs longer.
    error: Any = ask(client, ONE[package], timeout=10 * LIMIT).error
    assert (error.__cause__.limit, error.__cause__.limit_seconds) == ("ttfb", 10 * LIMIT)


# -- what the SDKs do by themselves ------------------------------------------------


def test_a_token_that_was_refused_is_renewed_once(serve: Any) -> None:
    """anthropic's credentials with ``max_retries=1``.

    A 401 is answered with a new token, and nothing else is.
    """
    tokens = iter(["old", "new"])

    def credentials(*, force_refresh: bool = False) -> Any:
        return anthropic.AccessToken(next(tokens), None)

    server = serve("bad-request:status=401", "healthy", "status:status=500")
    with sdk.anthropic(credentials=credentials, base_url=server.url, max_retries=1, retry=QUICK) as client:
        assert ask(client, "messages").text == ANSWER
        assert [one.header("authorization") for one in server.requests] == ["Bearer old", "Bearer new"]
        assert isinstance(ask(client, "messages").error, anthropic.InternalServerError)
    assert len(server.requests) == 2 + 3


@BOTH
@ENTRY_POINTS
def test_a_request_that_is_no_model_call_leaves_statuses_to_the_sdk(
    serve: Any, make: Any, sdk_waits: list[int], package: str, entry_point: str
) -> None:
    """A list whose server is silent is sent again by llmwatch alone.

    Its error status is left to the retries of the SDK.
    """
    retries = 2 if entry_point.endswith("its retries on") else 0
    server = serve("silent")
    client = make(entry_point, package, server, limits=Limits(ttfb=LIMIT))
    with pytest.raises((openai.APITimeoutError, anthropic.APITimeoutError)) as caught:
        client.models.list()
    assert isinstance(caught.value.__cause__, llmwatch.WatchTimeout)
    server.wait_for_requests(3, PATIENCE)
    assert len(server.requests) == 3
    assert len(sdk_waits) in (0, retries)
    sdk_waits.clear()
    server = serve("status:status=500")
    with pytest.raises((openai.InternalServerError, anthropic.InternalServerError)):
        make(entry_point, package, server).models.list()
    assert len(server.requests) == 1 + retries
    assert sdk_waits == list(range(retries))


@pytest.mark.parametrize("how", STREAMS)
def test_a_repeated_call_of_the_users_loop_is_sent(serve: Any, make: Any, sdk_waits: list[int], how: str) -> None:
    """After a call has failed for good, the user's own loop is not taken for the SDK's retry."""
    server = serve("silent")
    client = make("bare, its retries on", ASKS[how].sdk, server, limits=Limits(ttfb=LIMIT), retry=Retry.none())
    for count in (1, 2):
        assert ask(client, how).error is not None
        server.wait_for_requests(count, PATIENCE)
        assert len(server.requests) == count
    assert sdk_waits == [0, 1, 0, 1]
