"""Do ten thousand calls end as their faults allow, whatever else goes on beside them?

``python -m tests.bench.soak [CALLS] [THREADS] [SEED]`` makes that many calls (10,000 in 64 threads with seed 15 unless
given) to servers in a process of their own, one for each fault of the catalogue, over plain TCP and over TLS. Each call
draws its entry point (``collect`` or ``stream``), its transport, and two faults: the first attempt meets the one, the
resend, where there is one, the other. Every call has to end as :data:`ALLOWED` says, with exactly the requests at the
server that follow from it, and with the text of its own fault's server.

The command prints what came out otherwise, how late the supervisor was, and what the process held before and after the
calls; the first tenth warms up what is kept for good, and is not in that. It exits with 1 if anything is wrong.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import random
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import trustme

import llmwatch
from llmwatch import CallRecord, Client, Limits, LLMWatchError, Resend, Retry, WatchTimeout
from llmwatch.faults import FaultServer, catalogue
from llmwatch.faults.shapes.choice import SHAPES
from tests.bench.faulted_calls import Left
from tests.bench.measure import descriptors, quantile
from tests.calibration import scale_of_this_run

CALLS, THREADS, SEED = 10_000, 64, 15
OBJECTS = 10_000
"""Most objects that all calls may leave: one a call, and what is kept of each server.

Pages of memory would show what the allocator keeps of the largest moment.
"""
SCALE = scale_of_this_run()
SHORT, LATER, LONG = 1.0 * SCALE, 2.5 * SCALE, 10.0 * SCALE
"""Seconds of a limit that ends silence, of one that ends a slow answer, and of all others.

An expiry that the supervisor notices late gets a second of grace; the order of the limits has to survive that.
"""
SILENT, SLOW = ("send", "ttfb", "stale"), ("first_content", "progress", "total")
MOST = {"first_content": ("ttfb",), "total": (*SILENT, *SLOW)}
"""The limits that may not be longer."""
MOST_OF_EVENT = 4 << 20
RARE = 5
"""Of so many rounds of all faults, one has those in which a server sends as fast as it is read."""
RARELY = frozenset({"flood-comments", "flood-pings", "flood-empty", "flood-cr", "flood-content", "endless-event"})


class Again(Enum):
    """Whether a call is sent again after a fault."""

    NEVER = "never"
    ALWAYS = "always"
    """Nothing of an answer had come."""
    COLLECTED = "collected"
    """A part had come, which ``stream`` has delivered and ``collect`` has not."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """How a call may end whose last attempt meets a fault.

    * ``end``: ``answered``, or the error's class and the limit or the status.
    * ``collect``, ``tls``: another end of ``collect``, and over TLS.
    * ``again``: whether an earlier attempt that meets it is followed by another.
    * ``text``: of the answer, ``{text}`` for that of the server. ``requests``: that one attempt makes.
    """

    end: str
    again: Again = Again.NEVER
    collect: str = ""
    tls: str = ""
    text: str = "{text}"
    requests: int = 1

    def ends_as(self, entry: str, transport: str) -> str:
        """The end in this entry point over this transport."""
        return (entry == "collect" and self.collect) or (transport == "tls" and self.tls) or self.end

    def is_resent(self, entry: str) -> bool:
        """Whether this entry point sends again."""
        return self.again is Again.ALWAYS or (self.again is Again.COLLECTED and entry == "collect")


def _rows(allowed: Allowed, names: str) -> dict[str, Allowed]:
    return dict.fromkeys(names.split(), allowed)


ALLOWED: Mapping[str, Allowed] = {
    **_rows(
        Allowed("answered"),
        "healthy late-headers reasoning-only long-gap linger-after-done finish-without-done late-terminal buffered"
        " slow-upload usage-tail finish-then-more restated-whole unframed coalesced gzip newlines-cr newlines-lf"
        " newlines-crlf newlines-mixed newlines-split bom utf8-split aws-frames proxy-buffered",
    ),
    **_rows(Allowed("answered", text=""), "call-without-arguments tool-arguments-only"),
    **_rows(Allowed("answered", text="\ufffd {text}"), "bad-utf8"),
    **_rows(Allowed("answered", text="x" * (2 << 20)), "giant-event"),
    **_rows(Allowed("answered", text="", collect="EmptyStream"), "lifecycle-then-terminal"),
    **_rows(Allowed("WatchTimeout send", Again.ALWAYS), "upload-stall"),
    **_rows(Allowed("WatchTimeout ttfb", Again.ALWAYS), "silent headers-then-silent"),
    **_rows(Allowed("WatchTimeout stale", Again.ALWAYS), "comment-then-silent"),
    **_rows(Allowed("WatchTimeout stale", Again.COLLECTED), "stall-after-content"),
    **_rows(
        Allowed("WatchTimeout first_content"),
        "keepalive-only lifecycle-only flood-comments flood-pings flood-empty flood-cr",
    ),
    **_rows(Allowed("WatchTimeout progress"), "pings-after-content"),
    **_rows(Allowed("WatchTimeout total"), "drip endless-content flood-content"),
    **_rows(Allowed("StreamCut", Again.ALWAYS), "reset-before-response fin-before-response"),
    **_rows(
        Allowed("StreamCut", Again.COLLECTED),
        "reset-mid-stream cut-chunk missing-last-chunk short-length tls-cut done-then-cut gzip-cut aws-cut"
        " tool-call-complete-then-cut proxy-cut",
    ),
    **_rows(Allowed("StreamTruncated", Again.COLLECTED), "eof-without-terminal tool-call-cut"),
    # TLS tells a cut from an end where the body does not.
    **_rows(Allowed("StreamTruncated", Again.COLLECTED, tls="StreamCut"), "tls-cut-unframed"),
    **_rows(Allowed("EmptyStream", Again.ALWAYS), "empty-stream"),
    **_rows(Allowed("MalformedEvent", Again.COLLECTED), "malformed-event"),
    **_rows(Allowed("EventTooLarge"), "endless-event"),
    **_rows(Allowed("NotAStream", Again.ALWAYS), "html-instead"),
    **_rows(Allowed("NotAStream"), "unknown-wire"),
    **_rows(Allowed("ProviderError 200", Again.ALWAYS), "error-event json-instead aws-exception"),
    **_rows(Allowed("ProviderError 200", Again.COLLECTED), "error-field error-line"),
    **_rows(Allowed("ProviderError 500", Again.ALWAYS), "status error-body-stall"),
    **_rows(Allowed("ProviderError 502", Again.ALWAYS), "html-52x"),
    **_rows(Allowed("ProviderError 429", Again.ALWAYS), "retry-after"),
    **_rows(Allowed("ProviderError 400"), "bad-request"),
    **_rows(Allowed("ProviderError 302"), "redirect-302"),
    # Five redirects are followed within an origin.
    **_rows(Allowed("ProviderError 307", requests=6), "redirect-307 redirect-loop"),
}
"""Every fault of the catalogue, played for every request."""

_CALL = "X-Call"
"""The header that holds the number of the call."""
_BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "?"}]}
_SIZES = {"upload-stall": 8 << 20, "slow-upload": 1 << 20}
"""Bytes of the prompt; no kernel takes the first at once."""
_BODIES = {fault: {**_BODY, "messages": [{"role": "user", "content": "?" * size}]} for fault, size in _SIZES.items()}


@dataclass(frozen=True, slots=True)
class Draw:
    """One call: the fault of its first attempt, that of its second, its entry point and transport."""

    number: int
    first: str
    second: str
    entry: str
    transport: str

    @property
    def faults(self) -> list[str]:
        """The faults that the call meets, in this order."""
        return [self.first, self.second] if ALLOWED[self.first].is_resent(self.entry) else [self.first]


@dataclass(frozen=True, slots=True)
class Came:
    """What came of a call: its end, the text of its answer (``None`` without one) and its record."""

    end: str
    text: str | None
    record: CallRecord | None


def draws(count: int, seed: int, first: int = 0, *, often: bool = False) -> Iterator[Draw]:
    """``count`` calls from number ``first`` on, in rounds, in each of which every fault comes once.

    Those of :data:`RARELY` come in one round of :data:`RARE`, the first of all; with ``often`` in none.
    """
    chance, common = random.Random(seed), sorted(ALLOWED.keys() - RARELY)
    rounds = itertools.cycle([common] if often else [sorted(ALLOWED), *[common] * (RARE - 1)])
    order: list[str] = []
    for number in range(first, first + count):
        order = order or chance.sample(names := next(rounds), len(names))
        entry, transport = chance.choice(["collect", "stream"]), chance.choice(["tcp", "tls"])
        yield Draw(number, order.pop(), chance.choice(common), entry, transport)


def limits_of(faults: Sequence[str]) -> Limits:
    """Those of a call that meets ``faults``: no limit is near but those that end its attempts."""
    expire = {ALLOWED[fault].end.removeprefix("WatchTimeout ") for fault in faults}
    found = {"connect": LONG, "finish": SHORT / 2, "drain": SHORT / 2} | dict.fromkeys((*SILENT, *SLOW), LONG)
    for limit in expire.intersection(SLOW):
        found |= dict.fromkeys((limit, *MOST.get(limit, ())), LATER)
    return Limits(**found | dict.fromkeys(expire.intersection(SILENT), SHORT))


@dataclass(slots=True)
class Soak:
    """Calls to servers at ``urls`` (by transport and fault), and what was wrong with them."""

    urls: Mapping[str, Mapping[str, str]]
    verify: str
    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    requests: bytearray = field(default_factory=bytearray)
    """How many requests each call has to have made; like ``lags`` it makes no object a call."""
    lags: array[float] = field(default_factory=lambda: array("d"))
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Protects the four before it; taken after each call, with no other lock held."""

    def run(self, calls: Iterable[Draw], threads: int) -> None:
        """Make ``calls`` by a client of their own in ``threads`` threads."""
        waiting = iter(calls)
        retry = Retry(max_attempts=2, backoff=0, budget=0, breaker=0, pace=False)
        with Client(retry=retry, max_event=MOST_OF_EVENT) as client:
            running = [threading.Thread(target=self._work, args=(client, waiting)) for _ in range(threads)]
            for thread in running:
                thread.start()
            for thread in running:
                thread.join()

    def _work(self, client: Client, waiting: Iterator[Draw]) -> None:
        while True:
            with self.lock:
                draw = next(waiting, None)
            if draw is None:
                return
            try:
                came = self._call(client, draw)
            except Exception as error:
                came = Came(f"not ours: {error!r}", None, None)
            self.judge(draw, came)

    def _call(self, client: Client, draw: Draw) -> Came:
        def to_the_second(resend: Resend) -> Mapping[str, Any]:
            return {"url": url(draw.second), "json": _BODIES.get(draw.second, _BODY)}

        url = self.urls[draw.transport].__getitem__
        settings: dict[str, Any] = {
            "json": _BODIES.get(draw.first, _BODY),
            "headers": {_CALL: str(draw.number)},
            "verify": self.verify,
            "limits": limits_of(draw.faults),
            "retry": Retry(on_retry=to_the_second),
        }
        text = ""
        try:
            if draw.entry == "collect":
                answer = client.collect("POST", url(draw.first), **settings)
                return Came("answered", answer.text, answer.record)
            with client.stream("POST", url(draw.first), **settings) as stream:
                for event in stream:
                    text += event.text
            return Came("answered", text, stream.record)
        except WatchTimeout as error:
            return Came(f"WatchTimeout {error.limit}", None, error.record)
        except LLMWatchError as error:
            status = getattr(error, "status", None)
            return Came(type(error).__name__ + (f" {status}" if status else ""), None, error.record)

    def judge(self, draw: Draw, came: Came) -> None:
        """Note what is wrong with a call."""
        *earlier, last = (ALLOWED[fault] for fault in draw.faults)
        attempts = came.record.attempts if came.record else ()
        allowed, wrong = last.ends_as(draw.entry, draw.transport), []
        if came.end != allowed:
            wrong.append(f"{came.end} in place of {allowed}")
        elif came.text is not None and came.text != last.text.format(text=text_of(draw.faults[-1])):
            wrong.append(f"another text: {came.text[:60]!r}")
        if len(attempts) != len(draw.faults):
            wrong.append(f"{len(attempts)} attempts")
        causes = [attempt.limit or attempt.cause for attempt in attempts]
        with self.lock:
            self.ends[came.end] += 1
            self.wrong += [f"{draw}: {one}; {causes}" for one in wrong]
            self.requests[draw.number] = last.requests + sum(one.requests for one in earlier)
            self.lags.extend(attempt.kill_lag for attempt in attempts if attempt.kill_lag is not None)


def text_of(fault: str) -> str:
    """The text of the healthy answers of a fault's server, which no other server gives."""
    return f"{fault} has answered: naïve 語 and whole."


def serve() -> None:
    """A server for each fault and transport.

    Prints their URLs and the certificate as JSON; once standard input ends, the number of requests of each call.
    """
    descriptors(8192)
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    counts: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        servers = {
            transport: {
                name: stack.enter_context(FaultServer(name, tls=context, text=text_of(name))) for name in ALLOWED
            }
            for transport, context in (("tcp", None), ("tls", tls))
        }
        urls = {
            transport: {
                name: server.url + SHAPES[catalogue.get(name).shape or "openai-chat"].path
                for name, server in by_name.items()
            }
            for transport, by_name in servers.items()
        }
        certificate = authority.cert_pem.bytes().decode()
        print(json.dumps({"urls": urls, "certificate": certificate}), flush=True)
        sys.stdin.read()
        for by_name in servers.values():
            for server in by_name.values():
                counts.update(request.header(_CALL) or "" for request in server.requests)
    print(json.dumps(counts), flush=True)


class Held(Left):
    """What this process holds, and the number of its objects."""

    def __init__(self) -> None:
        super().__init__()
        gc.collect()
        self.blocks = sys.getallocatedblocks()

    def __str__(self) -> str:
        return f"{super().__str__()}, {self.blocks:,} objects"


@dataclass(frozen=True, slots=True)
class Report:
    """What a soak found."""

    calls: int
    seconds: float
    ends: Counter[str]
    wrong: Sequence[str]
    lags: Sequence[float]
    before: Held
    after: Held

    @property
    def complaints(self) -> list[str]:
        """All that is wrong."""
        before, after = self.before, self.after
        left = [
            f"{after.threads - before.threads} threads are left" * (after.threads > before.threads),
            f"{after.descriptors - before.descriptors} descriptors are left" * (after.descriptors > before.descriptors),
            f"{after.close_wait} connections are in CLOSE_WAIT" * (after.close_wait > 0),
            f"{after.blocks - before.blocks} objects are left" * (after.blocks - before.blocks > OBJECTS),
        ]
        return [*self.wrong, *filter(None, left)]

    def __str__(self) -> str:
        lags, wake_ups = sorted(self.lags), llmwatch.stats()["supervisor_lag"]
        figures = [1000 * lag for lag in (quantile(lags, 0.5), quantile(lags, 0.99), lags[-1])]
        return "\n".join(
            [
                f"{self.calls:,} calls in {self.seconds:.0f} s: {dict(self.ends.most_common())}",
                "supervisor lag, from the expiry to the verdict of {:,} kills: p50 {:.2f} ms, p99 {:.1f} ms,"
                " max {:.1f} ms".format(len(lags), *figures),
                f"supervisor lag of the last wake-ups: median {1000 * wake_ups['median']:.2f} ms,"
                f" max {1000 * wake_ups['max']:.1f} ms",
                f"before: {self.before}",
                f"after:  {self.after}",
                f"{len(self.complaints)} are wrong",
                *self.complaints[:50],
            ]
        )


def soak(count: int, threads: int, seed: int) -> Report:
    """Make the calls, and compare."""
    descriptors(8192)
    command = [sys.executable, "-c", "from tests.bench.soak import serve; serve()"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        path = Path(folder, "authority.pem")
        path.write_text(told["certificate"], encoding="utf-8")
        warming = max(count // 10, len(ALLOWED))
        whole = Soak(told["urls"], str(path), requests=bytearray(warming + count))
        whole.run(draws(warming, seed, often=True), threads)
        before = Held()
        began = time.monotonic()
        whole.run(draws(count, seed + 1, warming), threads)
        seconds = time.monotonic() - began
        after = Held()
        server.stdin.close()
        came = Counter(json.loads(server.stdout.readline()))
    wrong = list(whole.wrong)
    for number, expected in enumerate(whole.requests):
        if expected != came[str(number)]:
            wrong.append(f"call {number}: {came[str(number)]} requests at the server in place of {expected}")
    if server.returncode or came.total() != sum(whole.requests):
        wrong.append(f"{came.total()} requests reached the servers, which ended with {server.returncode}")
    return Report(count, seconds, whole.ends, wrong, whole.lags, before, after)


def main(count: int = CALLS, threads: int = THREADS, seed: int = SEED) -> int:
    """Soak and print; 1 if anything is wrong."""
    report = soak(count, threads, seed)
    print(report)
    return int(bool(report.complaints))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
