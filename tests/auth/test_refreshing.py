"""The settings of ``refreshing``, the header that it sets, and its ``repr``."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import requests

from llmwatch import ConfigError, Limits
from llmwatch.auth import Refreshing, refreshing
from llmwatch.policy.environment import REFRESH_VARIABLE
from tests.auth.tokens import token
from tests.rows import each

URL = "https://api.provider.test/v1"


def refresh() -> str:
    """A refresh function that can be pickled."""
    return token(1)


def prepared(auth: Refreshing) -> requests.PreparedRequest:
    return requests.Request("POST", URL, data=b"x", auth=auth).prepare()


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        ({}, "Authorization", f"Bearer {token(1)}"),
        ({"scheme": "Token"}, "Authorization", f"Token {token(1)}"),
        ({"scheme": None}, "Authorization", token(1)),
        ({"scheme": ""}, "authorization", token(1)),
        ({"header": "X-Api-Key", "scheme": None}, "X-Api-Key", token(1)),
        ({"header": "X-Auth"}, "X-Auth", f"Bearer {token(1)}"),
        ({"token": "given"}, "Authorization", "Bearer given"),
    ],
)
def test_the_token_goes_into_the_configured_header(settings: dict[str, Any], name: str, value: str) -> None:
    """The header and the scheme are those that were asked for, and no other header is touched."""
    without = requests.Request("POST", URL, data=b"x").prepare()
    found = prepared(refreshing(refresh, **settings))
    assert found.headers[name] == value
    assert {key for key in found.headers if key not in without.headers} == {name.title()} or name == "authorization"
    assert found.headers["Content-Length"] == "1"


def test_refreshing_is_an_auth_base_of_requests() -> None:
    """``isinstance`` says that the object is requests' ``AuthBase``."""
    assert isinstance(refreshing(refresh), requests.auth.AuthBase)
    assert type(refreshing(refresh)) is Refreshing


@each(
    ("settings", "field"),
    [
        ({"token": ""}, "token"),
        ({"token": "se cret"}, "token"),
        ({"token": "secret\n"}, "token"),
        ({"header": ""}, "header"),
        ({"header": "X Y"}, "header"),
        ({"header": "X:"}, "header"),
        ({"scheme": "Bea rer"}, "scheme"),
        ({"scheme": "B\u00e9arer"}, "scheme"),
        ({"leeway": -1}, "leeway"),
        ({"leeway": float("nan")}, "leeway"),
        ({"leeway": "60"}, "leeway"),
        ({"leeway": True}, "leeway"),
        ({"limits": Limits(ttfb=5)}, "limits"),
        ({"limits": Limits.single(5)}, "limits"),
    ],
)
def test_an_invalid_setting_is_a_config_error(settings: dict[str, Any], field: str) -> None:
    """A wrong value is a ConfigError that names it, and a token is not quoted."""
    with pytest.raises(ConfigError) as caught:
        refreshing(refresh, **settings)
    assert caught.value.field == field
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "settings", [{"refresh": None}, {"refresh": "f"}, {"limits": 5}, {"token": b"t"}, {"header": None}, {"scheme": 7}]
)
def test_a_setting_of_the_wrong_type_is_a_type_error(settings: dict[str, Any]) -> None:
    """A setting of the wrong type is a TypeError."""
    with pytest.raises(TypeError):
        refreshing(**{"refresh": refresh, **settings})


def test_only_total_of_the_limits_counts() -> None:
    """Limits without a field are none, and others may stand beside ``total``."""
    assert refreshing(refresh, limits=Limits())._limit() == 30.0
    assert refreshing(refresh, limits=Limits(ttfb=5, total=20))._limit() == 20.0


@pytest.mark.parametrize(
    ("limits", "text", "limit"),
    [
        (None, "", 30.0),
        (None, " ", 30.0),
        (None, "12.5", 12.5),
        (None, "0", None),
        (Limits(total=7), "", 7.0),
        (Limits(total=7), "12.5", 7.0),
        (Limits(total=7), "0", 7.0),
        (Limits(total=0), "12.5", None),
        (Limits(total=None), "12.5", None),
    ],
)
def test_the_limit_comes_from_argument_environment_or_default(
    monkeypatch: pytest.MonkeyPatch, limits: Limits | None, text: str, limit: float | None
) -> None:
    """Argument, environment and 30 s, in this order; 0 turns the limit off.

    The environment is read at every use.
    """
    auth = refreshing(refresh, limits=limits)
    monkeypatch.setenv(REFRESH_VARIABLE, text)
    assert auth._limit() == limit


@pytest.mark.parametrize("text", ["abc", "-1", "nan", "inf", "30s", "1_0", "true"])
@pytest.mark.parametrize("limits", [None, Limits(total=5)])
def test_an_invalid_variable_is_a_config_error_at_the_first_use(
    monkeypatch: pytest.MonkeyPatch, limits: Limits | None, text: str
) -> None:
    """A wrong variable is a ConfigError at the first use.

    So it is where an argument or a token would make it idle. Legacy code finds it among requests' exceptions.
    """
    monkeypatch.setenv(REFRESH_VARIABLE, text)
    for auth in (refreshing(refresh, limits=limits), refreshing(refresh, limits=limits, token="t")):
        with pytest.raises(ConfigError) as caught:
            prepared(auth)
        assert isinstance(caught.value, requests.RequestException)
        assert (caught.value.field, caught.value.value) == (REFRESH_VARIABLE, repr(text))


def test_repr_shows_no_token_and_no_argument() -> None:
    """Neither the object nor the hook that it leaves in a request shows a token or an argument."""
    auth = refreshing(refresh, token=token(7))
    assert repr(auth) == "<refreshing tests.auth.test_refreshing.refresh>"
    request = prepared(auth)
    assert token(7) not in repr(request.hooks)
    assert token(7) not in repr([vars(hook) for hook in request.hooks["response"]])


@pytest.mark.parametrize("way", ["pickle", "copy", "deepcopy"])
def test_a_copy_has_the_settings_and_no_token(way: str) -> None:
    """Pickled or copied it begins without a token: its copy gets one for itself."""
    auth = refreshing(refresh, token=token(7), header="X-Api-Key", scheme=None, leeway=5, limits=Limits(total=3))
    written = pickle.dumps(auth)
    assert token(7).encode() not in written
    ways = {
        "pickle": lambda: pickle.loads(written),
        "copy": lambda: copy.copy(auth),
        "deepcopy": lambda: copy.deepcopy(auth),
    }
    found = ways[way]()
    assert found.__getstate__() == auth.__getstate__()
    assert prepared(auth).headers["X-Api-Key"] == token(7)
    assert prepared(found).headers["X-Api-Key"] == token(1)


def test_a_session_with_it_can_be_pickled() -> None:
    """A session is pickled with its auth, as with any other."""
    session = requests.Session()
    session.auth = refreshing(refresh, token=token(7))
    auth = pickle.loads(pickle.dumps(session)).auth
    assert isinstance(auth, Refreshing)


def test_a_request_can_be_pickled_whatever_the_function_is() -> None:
    """A request, and so every response, can be pickled with the hook in it.

    The hook does nothing there and needs no llmwatch.
    """
    written = pickle.dumps(prepared(refreshing(lambda: token(1))))
    assert b"llmwatch" not in written
    found = pickle.loads(written)
    (hook,) = found.hooks["response"]
    response = requests.Response()
    assert hook(response, stream=False) is response


def test_a_reset_with_a_token() -> None:
    """After a login the new token can be handed in."""
    auth = refreshing(refresh, token="old")
    auth.reset("new")
    assert prepared(auth).headers["Authorization"] == "Bearer new"
    auth.reset()
    assert prepared(auth).headers["Authorization"] == f"Bearer {token(1)}"
    with pytest.raises(ConfigError):
        auth.reset("n w")


def test_a_refresh_with_its_own_auth_is_an_error_at_once() -> None:
    """A refresh that sends its request with this very auth would wait for itself, so it raises at once."""

    def circular() -> requests.Response:
        return requests.post("http://127.0.0.1:1/token", auth=auth)

    auth = refreshing(circular)
    with pytest.raises(RuntimeError, match="without this auth"):
        prepared(auth)


def test_a_programming_error_of_the_function_comes_out_unchanged() -> None:
    """An exception that has nothing to do with a server keeps its type and its text.

    It keeps the place where it was raised too.
    """

    def broken() -> str:
        raise KeyError("REFRESH_TOKEN")

    with pytest.raises(KeyError, match="REFRESH_TOKEN") as caught:
        prepared(refreshing(broken))
    assert caught.traceback[-1].name == "broken"


def test_a_return_of_the_wrong_type_is_a_type_error() -> None:
    """A return value of the wrong kind is a TypeError."""
    with pytest.raises(TypeError, match="and not NoneType"):
        prepared(refreshing(lambda: None))  # type: ignore[arg-type,return-value]
