"""Secrets that were sent are removed from a message."""

from __future__ import annotations

import base64
import html
import json
import pickle
import time
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmwatch.payload import secrets_in
from llmwatch.redaction import redact
from llmwatch.redaction.normalise import Reading
from llmwatch.redaction.sent import LEAST, MOST_VALUES, Secrets, may_repeat
from tests.rows import each

MANY = settings(max_examples=300, deadline=None)
URL = "https://api.example.com/v1/chat/completions"
FALCON = "team7-blue-4471-falcon"


def sent(headers: dict[str, Any] | None = None, url: str = URL, body: object = None) -> Secrets:
    return Secrets.of([(url, headers or {})], secrets_in(body))


def masked(message: str, headers: dict[str, Any] | None = None, url: str = URL, body: object = None) -> str:
    return sent(headers, url, body).masked(message)


@each(
    ("headers", "secret"),
    [
        ({"x-gateway-key": FALCON}, FALCON),
        ({"X-Gateway-Key": FALCON.encode()}, FALCON),
        ({"Authorization": "Bearer hunter2-prod"}, "hunter2-prod"),
        ({"authorization": "hunter2-prod"}, "hunter2-prod"),
        ({"Authorization": "Hawk hunter prod"}, "hunter prod"),
        ({"Authorization": "Basic " + base64.b64encode(b"jane:pass:word").decode()}, "pass:word"),
        ({"Authorization": "Basic " + base64.b64encode(b"jane:pass:word").decode()}, "amFuZTpwYXNzOndvcmQ"),
        ({"Authorization": 'Digest username="jane.doe", realm="r", nonce="dcd98b71"'}, "jane.doe"),
        ({"Authorization": 'Digest username="jane.doe", realm="r", nonce="dcd98b71"'}, "dcd98b71"),
        ({"Authorization": "AWS4-HMAC-SHA256 Credential=AKID/20250101, Signature=fe5f80f7"}, "fe5f80f7"),
        ({"Proxy-Authorization": "Bearer hunter2"}, "hunter2"),
        ({"api-key": "Bearer hunter-prod"}, "hunter-prod"),
        ({"Cookie": "theme=darkblue; session=Zk82hGq1"}, "Zk82hGq1"),
        ({"Cookie": "theme=darkblue; session=Zk82hGq1"}, "darkblue"),
        ({"Cookie": 'user="name=jane&token=Zk82hGq1"'}, "Zk82hGq1"),
        ({"X-Callback": "https://jane:hunter2@hooks.example.com/x?code=abc123x"}, "hunter2"),
        ({"X-Callback": "https://jane:hunter2@hooks.example.com/x?code=abc123x"}, "abc123x"),
        ({"X-Callback": "https://hooks.example.com/jane"}, "hooks.example.com/jane"),
        ({"OpenAI-Organization": "org-acme"}, "org-acme"),
        ({"X-Sig": "t=1700000000,v1=5257a869"}, "5257a869"),
    ],
)
def test_the_value_of_a_header_and_its_parts_are_masked(headers: dict[str, Any], secret: str) -> None:
    """The value, what follows its scheme, what is encoded in it, and its parts, cookies one by one."""
    assert masked(f"caller {secret} is not known", headers) == "caller *** is not known"


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("https://jane:hunter2@api.example.com/", "hunter2"),
        ("https://jane.doe:x@api.example.com/", "jane.doe"),
        ("https://jane:s3cret%21%2Fpw@api.example.com/", "s3cret!/pw"),
        ("https://jane:hunter2@api.example.com/", base64.b64encode(b"jane:hunter2").decode()),
        ("https://j%C3%A4ne:hunter2@api.example.com/", base64.b64encode("jäne:hunter2".encode()).decode()),
        ("https://j%C3%A4ne:hunter2@api.example.com/", base64.b64encode("jäne:hunter2".encode("latin-1")).decode()),
        ("https://api.example.com/v1?key=plainword&alt=sse", "plainword"),
        ("https://api.example.com/v1?plainword", "plainword"),
        ("https://api.example.com/v1?q=two+words%21", "two words!"),
        ("https://api.example.com/v1?q=two+words%21", "two+words!"),
        ("https://api.example.com/botAbC123dEf456GhI789jKl/send", "AbC123dEf456GhI789jKl"),
        ("jane:hunter2@proxy.example.com:3128", "hunter2"),
    ],
)
def test_secrets_of_a_url_are_masked(url: str, secret: str) -> None:
    """User info, its parts and its base64, values of the query, keys in the path.

    Those of a proxy without a scheme count too.
    """
    assert secret not in masked(f"caller {secret} is not known", url=url)
    assert "***" in masked(f"caller {secret} is not known", url=url)


TOOLS: dict[str, Any] = {
    "OpenAI": {"tools": [{"type": "function", "function": {"name": "transfer_funds_acme", "parameters": {}}}]},
    "Responses": {"tools": [{"type": "function", "name": "transfer_funds_acme"}]},
    "custom": {"tools": [{"type": "custom", "custom": {"name": "transfer_funds_acme"}}]},
    "namespace": {"tools": [{"type": "namespace", "name": "bank", "tools": [{"name": "transfer_funds_acme"}]}]},
    "Anthropic": {"tools": [{"name": "transfer_funds_acme", "input_schema": {}}]},
    "functions": {"functions": [{"name": "transfer_funds_acme"}]},
    "choice": {"tool_choice": {"type": "tool", "name": "transfer_funds_acme"}},
    "Gemini": {"tools": [{"functionDeclarations": [{"name": "transfer_funds_acme"}]}]},
    "Gemini's choice": {"toolConfig": {"functionCallingConfig": {"allowedFunctionNames": ["transfer_funds_acme"]}}},
    "Bedrock": {"toolConfig": {"tools": [{"toolSpec": {"name": "transfer_funds_acme", "inputSchema": {}}}]}},
    "MCP": {"tools": [{"type": "mcp", "server_label": "x", "allowed_tools": ["transfer_funds_acme"]}]},
    "MCP's label": {"tools": [{"type": "mcp", "server_label": "transfer_funds_acme"}]},
    "MCP's key": {"tools": [{"type": "mcp", "headers": {"X-Any": "Bearer transfer_funds_acme"}}]},
    "MCP's token": {"mcp_servers": [{"type": "url", "authorization_token": "transfer_funds_acme"}]},
    "MCP's address": {"tools": [{"type": "mcp", "server_url": "https://x.test/?tok=transfer_funds_acme"}]},
    "data": {"data_sources": [{"parameters": {"authentication": {"type": "api_key", "key": "transfer_funds_acme"}}}]},
    "data, before 2024": {"dataSources": [{"parameters": {"key": "transfer_funds_acme"}}]},
    "data's model": {"dataSources": [{"parameters": {"embeddingKey": "transfer_funds_acme"}}]},
    "person": {"user": "transfer_funds_acme"},
}


@each("body", TOOLS.values(), ids=TOOLS.keys())
def test_tool_names_and_credentials_in_the_body_are_masked(body: Any) -> None:
    """Names of tools of any provider, credentials of servers and the user's id are masked.

    So are the credentials of data sources.
    """
    said = masked("Invalid schema for 'transfer_funds_acme' (api_key, function)", body=body)
    assert said == "Invalid schema for '***' (api_key, function)"


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Accept": "text/event-stream", "Content-Type": "application/json; charset=utf-8"}, "application/json"),
        ({"User-Agent": "python-requests/2.34", "Host": "api.example.com"}, "python-requests api.example.com"),
        ({"Connection": "keep-alive", "Cache-Control": "no-cache"}, "keep-alive no-cache"),
        ({"anthropic-version": "2023-06-01", "anthropic-beta": "prompt-caching"}, "2023-06-01 prompt-caching"),
        ({"X-Stainless-Runtime": "CPython", "X-Any-Timeout": "600000"}, "CPython 600000"),
        (
            {"X-Any": "application/json", "X-Day": "2025-01-31", "X-No": "1.22.333"},
            "application/json 2025-01-31 1.22.333",
        ),
        ({"X-Request-Id": "req-4711-0815", "traceparent": "00-abcdef-01"}, "req-4711-0815 00-abcdef-01"),
        ({"X-Short": "abcde", "X-None": None, "X-Empty": ""}, "abcde"),
    ],
)
def test_descriptive_headers_stay(headers: dict[str, Any], said: str) -> None:
    """Media types, versions, the client's software, names of requests, and short values.

    A short value has less than six characters.
    """
    assert masked(f"{said} is not accepted", headers) == f"{said} is not accepted"


def test_names_of_provider_tools_and_versions_stay() -> None:
    """Names of a provider's own tools, versions of its interface, and what is said of a tool's fields."""
    body = {
        "tools": [
            {"type": "web_search_20250305", "name": "web_search"},
            {"name": "t", "input_schema": {"properties": {"name": {"type": "string", "default": "recipient"}}}},
            {"name": "t", "description": "Send money."},
        ]
    }
    said = "web_search, recipient, Send money., 2024-10-21-preview, max_tokens"
    assert masked(said, url=f"{URL}?api-version=2024-10-21-preview", body=body) == said


WAYS: dict[str, Any] = {
    "plain": str,
    "upper": str.upper,
    "URL": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "every byte": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "page": html.escape,
    "Python": repr,
}


@each("way", WAYS.values(), ids=WAYS.keys())
@each("secret", [FALCON, 'pass "w\u00f6rd" \\ & 7/8', "a/7b<c>d'e", "4471\\frd\\u0041rd"])
def test_a_secret_is_masked_however_it_is_written(way: Any, secret: str) -> None:
    """In any case, percent-encoded, escaped for JSON once or twice, for a page, as Python shows it."""
    said = masked(f"caller={way(secret)}; is not known", {"X-Key": secret})
    assert said.startswith("caller=")
    assert said.endswith("; is not known")
    assert "***" in said
    for piece in ("falcon", "FALCON", "4471", "rd", "RD", "7/8", "c>d", "C>D"):
        assert piece not in said.partition("; ")[0].removeprefix("caller=")


_values = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=LEAST, max_size=40)


@given(_values, st.sampled_from(sorted(WAYS)), st.text(max_size=30), st.text(max_size=30))
@MANY
def test_no_sent_value_survives_masking(secret: str, way: str, before: str, after: str) -> None:
    """No value survives in any surroundings, and a second pass changes nothing."""
    secrets = sent({"X-Key": secret})
    # Escapes are undone before anything is compared: what is left of the value may be too short to be sought.
    assume(secrets.values and len(Reading(secret, folded=True).text.strip(' "=')) >= LEAST)
    # A percent sign, or the beginning of an escape, in front of it would make it another text.
    assume(not before.endswith(("%", "\\", "&", "#")) and len(before + after) < LEAST)
    once = secrets.masked(f"{before} {WAYS[way](secret)} {after}")
    assert secret.lower() not in once.lower() or secret.strip('"') == ""
    assert secrets.masked(once) == once


@pytest.mark.parametrize("cap", range(60, 130, 7))
def test_the_cut_beginning_of_a_secret_is_masked(cap: int) -> None:
    """The beginning of a secret where a text was cut is masked, if it has at least six characters."""
    message = f"{'x ' * 8}:{','.join([FALCON] * 8)}"
    said = masked(redact.text(message, cap=cap), {"X-Key": FALCON})
    assert "team7-" not in said
    assert said.startswith("x x x x x x x x :***")
    assert said.endswith("characters omitted]")


def test_a_doubly_escaped_value_is_masked() -> None:
    """A value that was escaped for an address twice, or already was when it was sent."""
    assert masked("see %252Fa%2Fb%25252Fc-d", {"X-Key": "/a/b/c-d"}) == "see ***"
    assert masked("see /a%2Fb/c-d", {"X-Key": "%2Fa%2Fb%2Fc-d"}) == "see ***"


def test_twelve_characters_of_a_secret_are_masked() -> None:
    """Twelve characters of a longer secret are masked at any place; fewer could belong to anything."""
    assert (
        masked("caller ...-4471-falcon is unknown; a falcon", {"X-Key": FALCON}) == "caller ...*** is unknown; a falcon"
    )


def test_overlapping_secrets_are_masked_as_one() -> None:
    """A value that is part of another leaves no rest of the longer value."""
    assert masked("x abcdef-ghijkl x", {"A": "abcdef-ghijkl", "B": "def-ghi"}) == "x *** x"


def test_the_repr_of_sent_secrets_shows_none() -> None:
    """Neither the ``repr`` nor an error that holds the secrets shows them."""
    assert repr(sent({"X-Key": FALCON})) == "Secrets()"


def test_any_headers_and_bodies_are_accepted() -> None:
    """Addresses that cannot be read, headers of other types, and bodies of any shape are passed over."""
    asked: list[Any] = [("http://[::1", {b"X-Key": 5, "X": b"\xff\xfe\xff\xfe\xff\xfe"}), ("", {"A": None})]
    body = {"tools": {"name": [{"name": None}, 5]}, "user": 5, "functions": "text", "tool_choice": "auto", 7: 7}
    assert Secrets.of(asked, secrets_in(body)).masked("nothing is changed") == "nothing is changed"
    assert Secrets.of([], secrets_in(["no object"])).masked("nothing is changed") == "nothing is changed"
    deep: Any = {"name": FALCON}
    for _ in range(5000):
        deep = [deep]
    Secrets.of([], secrets_in({"tools": deep}))


def test_the_cost_of_masking_is_bounded() -> None:
    """What is compared is bounded, and so is the time.

    The request has thousands of headers and tools, and cookies of any size.
    """
    headers = {f"X-{number}": f"%41\\u0041{number:06}" * 40 for number in range(3000)}
    headers["Cookie"] = "; ".join(f"c{number}={number:09}" for number in range(3000))
    body = {"tools": [{"name": f"tool_number_{number}"} for number in range(50_000)]}
    before = time.process_time()
    secrets = sent(headers, body=body)
    assert len(secrets.values) <= MOST_VALUES
    secrets.masked("tool_number_7 %41 " * 55)
    assert time.process_time() - before < 2.0


def test_a_request_id_that_repeats_a_header_is_found_without_a_search() -> None:
    """Whether a request id repeats a header is told without a search, in either direction and any case."""
    asked = [(URL, {"X-Key": FALCON.encode(), "X-No": None, "X-Short": "req"})]
    assert may_repeat(f"req-{FALCON.upper()}-1", asked)
    assert may_repeat("blue-4471", asked)
    assert may_repeat("hunter2", [(URL, {"Authorization": "Basic " + base64.b64encode(b"jane:hunter2").decode()})])
    assert not may_repeat("req_011CTx9283", asked)


def test_sent_secrets_are_a_plain_picklable_value() -> None:
    """Secrets are a plain value: equal to another of the same values, and picklable for another process."""
    assert pickle.loads(pickle.dumps(sent({"X-Key": FALCON}))) == sent({"X-Key": FALCON})
