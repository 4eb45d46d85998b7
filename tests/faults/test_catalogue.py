"""The catalogue: its names, and what every script does on the wire.

It is what the script's row says, in every shape and framing.
"""

from __future__ import annotations

import contextlib
import threading

import pytest

from llmwatch.faults import FaultServer, Script, UnknownScript, catalogue
from tests.faults.client import FRAMINGS, PATHS, QUIET, SHAPES, WireClient

# How the answer ends, as a client of HTTP sees it: "end" in good order, "eof" and "reset" before that, "open" not at
# all; "none" where there is no answer.
ENDS = {
    "healthy": "end",
    "silent": "none open",
    "headers-then-silent": "open",
    "late-headers:after=0.01": "end",
    "comment-then-silent": "open",
    "keepalive-only:every=0.01": "open",
    "lifecycle-only:every=0.01": "open",
    "stall-after-content": "open",
    "flood-comments": "open",
    "flood-pings": "open",
    "flood-empty": "open",
    "flood-cr": "open",
    "flood-content": "open",
    "pings-after-content:every=0.01": "open",
    "reasoning-only:every=0": "end",
    "tool-arguments-only:every=0": "end",
    "long-gap:gap=0.01": "end",
    "drip": "open",
    "endless-content": "open",
    "linger-after-done": "open",
    "finish-without-done:every=0.01": "open",
    "usage-tail:delay=0": "end",
    "lifecycle-then-terminal": "end",
    "finish-then-more:delay=0": "end",
    "restated-whole": "end",
    "error-field": "end",
    "error-line": "end",
    "done-then-cut": "eof",
    "unknown-wire": "end",
    "call-without-arguments": "end",
    "buffered:delay=0.01": "end",
    "unframed": "end",
    "coalesced": "end",
    "gzip": "end",
    "gzip-cut": "end",
    "upload-stall": "none open",
    "slow-upload": "end",
    "eof-without-terminal": "end",
    "reset-mid-stream": "reset",
    "reset-before-response": "none reset",
    "fin-before-response": "none eof",
    "cut-chunk": "eof",
    "aws-frames": "end",
    "aws-cut": "eof",
    "aws-exception": "end",
    "missing-last-chunk": "eof",
    "short-length": "eof",
    "tls-cut": "eof unless unframed",
    "tls-cut-unframed": "end",
    "malformed-event": "end",
    "error-event": "end",
    "json-instead": "end",
    "html-instead": "end",
    "html-52x": "end",
    "error-body-stall": "open",
    "retry-after": "end",
    "empty-stream": "end",
    "newlines-cr": "end",
    "newlines-lf": "end",
    "newlines-crlf": "end",
    "newlines-mixed": "end",
    "newlines-split": "end",
    "bom": "end",
    "utf8-split": "end",
    "bad-utf8": "end",
    "giant-event:size=100000": "end",
    "endless-event": "open",
    "redirect-302": "end",
    "redirect-307": "end",
    "redirect-loop": "end",
    "tool-call-cut": "end",
    "tool-call-complete-then-cut": "reset",
    "late-terminal": "open",
    "bad-request": "end",
    "proxy-buffered:delay=0.01": "end",
    "proxy-cut:after=0.01": "eof",
    "status": "end",
}
# Reads after which a body that goes on is taken to go on for ever; more than the longest whole answer takes here.
ENOUGH = 6


def test_catalogue_covers_every_name():
    """Every script has a row here, and every row a script."""
    assert {name.partition(":")[0] for name in ENDS} == set(catalogue.SCRIPTS)
    assert all(name == script.name for name, script in catalogue.SCRIPTS.items())
    assert all(script.description for script in catalogue.SCRIPTS.values())


@pytest.mark.parametrize("name", ENDS)
def test_script_ends_as_its_row_says(name: str):
    """A script ends the answer in the same way in every shape and framing.

    Its faults are none of its own.
    """
    expected = ENDS[name]
    kinds = [(shape, framing) for shape in SHAPES for framing in FRAMINGS]
    scripts = [catalogue.get(name, shape=shape, framing=framing) for shape, framing in kinds]
    with FaultServer(scripts) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(WireClient(server.url)) for _ in kinds]
        for number, (client, (shape, _)) in enumerate(zip(clients, kinds, strict=True), 1):
            client.send(PATHS[shape])
            server.wait_for_requests(number)
        if expected.endswith("open"):
            # Time for an end that must not come, once for all of them.
            threading.Event().wait(QUIET)
        seen = [_end(client, expected) for client in clients]
    assert seen == [_adjusted(expected, framing) for _, framing in kinds]


def _end(client: WireClient, expected: str) -> str:
    if expected == "none open":
        return "none open" if client.is_quiet(0) else "something"
    if expected.startswith("none"):
        return f"none {client.end_of_connection()}"
    client.head()
    if expected == "open":
        client.read(reads=ENOUGH, patience=0)
    else:
        client.read()
    return client.ended or "open"


def _adjusted(expected: str, framing: str) -> str:
    # Where nothing but the end of the connection ends a body, any FIN does so in good order.
    return expected.replace("eof unless unframed", "end" if framing == "close" else "eof")


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("name", ["cut-chunk", "missing-last-chunk", "short-length"])
def test_cuts_of_a_framing_bring_their_framing_along(name: str, framing: str):
    """A cut of one framing uses that framing, whatever the server's framing is."""
    with FaultServer(name, framing=framing) as server, WireClient(server.url) as client:
        assert client.ask().read().ended == "eof"


def test_unknown_name_lists_near_ones():
    """A name that is not in the catalogue is an error that says which ones come near."""
    with pytest.raises(
        UnknownScript, match=r"no script 'stall-after' in the catalogue; did you mean .*stall-after-content"
    ):
        catalogue.get("stall-after")
    with pytest.raises(KeyError):
        FaultServer("helthy")


def test_parameters_come_from_the_name_and_from_keywords():
    """Parameters are given in the name or as keywords, and are converted to the kind of their default."""
    script = catalogue.get("healthy:tokens=50,delay=0.01", framing="close", text="a b")
    assert script.options == {"tokens": 50, "delay": 0.01}
    assert (script.framing, script.text, script.shape) == ("close", "a b", None)
    assert script.label == "healthy:tokens=50,delay=0.01"


def test_values_may_hold_commas():
    """A comma that no key follows belongs to the value, so that a date can be one."""
    script = catalogue.get("retry-after:value=Wed, 21 Oct 2026 07:28:00 GMT,status=503")
    assert script.options == {"value": "Wed, 21 Oct 2026 07:28:00 GMT", "status": 503}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("healthy:token=3", "has no parameter 'token'; it has tokens, delay, idle, leave, shape, framing, text"),
        ("healthy:tokens=many", "tokens is 'many', but must be of the kind of 0"),
        ("healthy:delay=-1", "delay is '-1'"),
        ("healthy:delay=nan", "delay is 'nan'"),
        ("healthy:framing=none", "framing is 'none', not one of chunked, length, close"),
        ("healthy:shape=openai", "shape is 'openai', not one of openai-chat"),
        ("healthy:tokens", "'tokens' is not key=value"),
        ("buffered:head=maybe", "head is 'maybe'"),
    ],
)
def test_wrong_parameters_are_errors(name: str, message: str):
    """A parameter that a script has not, or a value of another kind, is an error that names both."""
    with pytest.raises(ValueError, match=message):
        catalogue.get(name)


def test_answer_counts_tokens():
    """The tokens of the answer add up to it, and a number of them starts over at its end."""
    assert catalogue.answer() == catalogue.ANSWER
    assert catalogue.answer(3) == "A watchdog counts"
    assert catalogue.answer(4, text="one two") == "one twoone two"


def test_script_of_steps_has_no_parameters():
    """A script that is made of steps plays them, and takes no parameters of its own."""
    assert Script.of("mine").parameters == {}
