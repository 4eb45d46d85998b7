"""Where does the time for an event of a saturated stream go?

The same 20,000 events are read, framed, parsed into fields, parsed as JSON, classified, handed over and looked at by
the caller; processor time of each stage for each event, in units of what the whole costs bare requests with
sseclient-py and ``json.loads``. Read, frame, fields, JSON and caller are run alone. To classify is the decoder without
frame, fields and JSON; to hand over is ``Client.stream`` without all the others. The goals add up to 1, the goal of the
whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import requests

from llmwatch import Client
from llmwatch.wire import Event
from llmwatch.wire.decoder import Decoder
from llmwatch.wire.event import Fields
from llmwatch.wire.framing import Framer
from tests.bench.entry_points import BODY, read_bare, read_client
from tests.bench.measure import Figure, Result, Sample, Spread, Work, sample
from tests.bench.server import chat_event, running

EVENTS = 20_000
SIZE = 65536
"""Bytes of a read."""
FIGURES = (
    Figure(name="stages.read", what="read the bytes of an event / all of bare requests", goal=0.1),
    Figure(name="stages.frame", what="cut them into blocks / the same", goal=0.05),
    Figure(name="stages.fields", what="parse the fields of a block / the same", goal=0.15),
    Figure(name="stages.parse", what="parse the data as JSON / the same", goal=0.3),
    Figure(name="stages.classify", what="find kind and text / the same", goal=0.2),
    Figure(name="stages.hand_over", what="hand it over to the caller / the same", goal=0.15),
    Figure(name="stages.caller", what="look at it in the caller / the same", goal=0.05),
)


def works(client: Client, session: requests.Session, url: str, events: int) -> dict[str, Work]:
    """Everything that is run, by name."""
    stream = b"".join(chat_event(f" token{number % 100}") for number in range(events))
    pieces = [stream[start : start + SIZE] for start in range(0, len(stream), SIZE)]
    framer = Framer()
    blocks = [framer.feed(piece) for piece in pieces]
    unparsed = Fields()
    decoded: list[Event] = []
    decoder = Decoder(url=url, content_type="text/event-stream")
    for piece in pieces:
        decoded += decoder.feed(piece)

    def read() -> int:
        raw = session.post(url, json=BODY, stream=True).raw
        while raw.read1(SIZE, decode_content=False):
            pass
        return events

    def frame() -> int:
        fresh = Framer()
        return sum(len(fresh.feed(piece)) for piece in pieces)

    def fields() -> int:
        return sum(len(unparsed.parse(some)) for some in blocks)

    def fields_and_parse() -> int:
        count = 0
        for some in blocks:
            for event in unparsed.parse(some):
                event.json()
                count += 1
        return count

    def decode() -> int:
        fresh = Decoder(url=url, content_type="text/event-stream")
        return sum(len(fresh.feed(piece)) for piece in pieces)

    return {
        "read": read,
        "frame": frame,
        "fields": fields,
        "fields_and_parse": fields_and_parse,
        "decode": decode,
        "caller": lambda: sum(1 for event in decoded if event.text),
        "whole": lambda: sum(1 for _ in read_client(client, url)),
        "bare": lambda: sum(1 for _ in read_bare(session, url)),
    }


def stages(taken: dict[str, Sample]) -> dict[str, float]:
    """The stages of one run, in seconds for each event."""
    cost = {name: sample.processor for name, sample in taken.items()}
    parse = cost["fields_and_parse"] - cost["fields"]
    return {
        "read": cost["read"],
        "frame": cost["frame"],
        "fields": cost["fields"],
        "parse": parse,
        "classify": cost["decode"] - cost["frame"] - cost["fields_and_parse"],
        "hand_over": cost["whole"] - cost["read"] - cost["decode"] - cost["caller"],
        "caller": cost["caller"],
    }


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """All stages in each run, in turn; the order is turned round from run to run."""
    found, bare = [], []
    with running("burst", EVENTS) as url, Client() as client, requests.Session() as session:
        all_works = list(works(client, session, url, EVENTS).items())
        for number in range((3 if quick else 11) + 1):
            order = all_works if number % 2 == 0 else all_works[::-1]
            taken = {name: sample(work) for name, work in order}
            if number:
                found.append(stages(taken))
                bare.append(taken["bare"].processor)
    theirs = Spread.of(bare).times(1e6)
    results = []
    for figure in FIGURES:
        costs = [run[figure.name.partition(".")[2]] for run in found]
        ratio = Spread.of([cost / other for cost, other in zip(costs, bare, strict=True)])
        results.append(Result(figure=figure, value=ratio, ours=Spread.of(costs).times(1e6), theirs=theirs, unit="us"))
    return results
