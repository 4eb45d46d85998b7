"""A function's name in the words of a request."""

from __future__ import annotations

import functools
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from llmwatch.redaction import redact
from llmwatch.wrap.function_request import FunctionRequest, name_of

_lambda = lambda: None  # noqa: E731


class Agent:
    def run(self) -> None: ...

    def __call__(self) -> None: ...


def _inner() -> Any:
    def function() -> None: ...

    return function


class Größe:
    def messen(self) -> None: ...


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (_lambda, "tests.wrap.test_function_request.lambda"),
        (_inner(), "tests.wrap.test_function_request.inner.function"),
        (Agent().run, "tests.wrap.test_function_request.Agent.run"),
        (Agent(), "tests.wrap.test_function_request.Agent"),
        (Agent, "tests.wrap.test_function_request.Agent"),
        (functools.partial(functools.partial(Agent.run), 1), "tests.wrap.test_function_request.Agent.run"),
        (requests.get, "requests.api.get"),
        (len, "builtins.len"),
        ([].append, "list.append"),
        (Größe().messen, "tests.wrap.test_function_request.Gr-e.messen"),
    ],
)
def test_a_functions_host_is_its_module_and_qualified_name(function: object, name: str) -> None:
    """Module and qualified name, without what may not stand in a host."""
    assert name_of(function).replace("._inner", ".inner").replace("naming._lambda", "naming.lambda") == name


def test_a_long_name_keeps_its_end() -> None:
    """Its end is kept, which says the most."""

    def function() -> None: ...

    function.__qualname__ = "x" * 500 + ".the_end"
    assert name_of(function).endswith("x.the_end")
    assert len(name_of(function)) == 200


@pytest.mark.parametrize("name", ["", "<>", "...", "::", "a:b@c/d?e#f"])
def test_any_name_gives_a_readable_url(name: str) -> None:
    """The URL of a function with any name can be parsed."""

    def function() -> None: ...

    function.__qualname__, function.__module__ = name, None  # type: ignore[assignment]
    url = FunctionRequest.naming("CALL", function).url
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port is None
    assert url == f"function://{parts.netloc}"


def test_a_functions_request_has_no_body_and_survives_redaction() -> None:
    """The request has no body, may be run again, and survives the redaction of URLs and messages."""
    request = FunctionRequest.naming("ITERATE", Agent().run)
    assert request.url == "function://tests.wrap.test_function_request.Agent.run"
    assert request.host == "tests.wrap.test_function_request.Agent.run"
    assert (request.method, request.body, request.size, request.replayable) == ("ITERATE", None, 0, True)
    assert redact.url(request.url) == request.origin == request.url.lower()
    said = f"The function {request.host} went silent."
    assert redact.text(said) == said
