"""requests-cache and CacheControl.

requests-cache answers in place of the session, and CacheControl listens in its adapter.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
import requests
import requests_cache
from cachecontrol import CacheControl, CacheControlAdapter
from cachecontrol.cache import DictCache

import llmwatch
from llmwatch import Limits
from llmwatch.faults import FaultServer, Script, steps
from tests.end_to_end.calls import QUICK, asking
from tests.end_to_end.times import LIMIT, LONG
from tests.session.entry_points import Way
from tests.session.scripts import LINES, encoded, reply

FRESH = [("Cache-Control", "max-age=600"), ("Date", formatdate(usegmt=True))]
"""CacheControl keeps nothing without a date."""
ONCE = Script.of("once", steps.Reset())
"""What a second request would get."""

READERS: dict[str, Callable[[requests.Response], bytes]] = {
    "content": lambda response: response.content,
    "iter_content": lambda response: b"".join(response.iter_content(100)),
    "iter_lines": lambda response: b"\n".join([*response.iter_lines(), b""]),
    "raw": lambda response: response.raw.read(decode_content=True),
    "raw.stream": lambda response: b"".join(response.raw.stream(100, decode_content=True)),
    "file": lambda response: b"".join(response.raw),
}
every_framing = pytest.mark.parametrize("framing", ["chunked", "close", "length"])


# -- requests-cache: what it has read it puts back as a plain file that stays open


def _cached(way: Way) -> Any:
    """A session of requests-cache, watched in the way that is asked for."""
    if way.name == "Session":

        class Both(requests_cache.CacheMixin, llmwatch.Session):
            """As its documentation mixes the cache into another kind of session."""

        return Both(backend="memory", allowable_methods=["GET", "POST"], retry=QUICK)
    return requests_cache.CachedSession(backend="memory", allowable_methods=["GET", "POST"])


def _open_cached(way: Way) -> Any:
    return _cached(way) if way.name == "Session" else way.session(_cached(way))


@pytest.mark.parametrize("stream", [True, False])
@every_framing
def test_requests_cache_answers_the_second_time(way: Way, stream: bool, framing: Any) -> None:
    """Streamed or not, by any way of reading: one request, and the body that bare requests-cache gives."""

    def act(session: Any, server: FaultServer) -> Any:
        found = []
        for path, read in READERS.items():
            for _ in range(2):
                response = session.get(f"{server.url}/{path}", stream=stream)
                found.append((path, response.from_cache, read(response)))
        return found

    scripts = [reply(LINES, framing=framing)] * len(READERS) + [ONCE]
    with FaultServer(scripts) as bare, requests_cache.CachedSession(backend="memory") as session:
        expected = act(session, bare)
    with FaultServer(scripts) as server, _open_cached(way) as session:
        assert act(session, server) == expected
        assert len(server.requests) == len(READERS)
    assert [cached for _, cached, _ in expected] == [False, True] * len(READERS)
    assert not stream or {body for _, cached, body in expected if not cached} == {LINES}


def test_requests_cache_keeps_the_answer_of_a_model(way: Way) -> None:
    """A streamed answer is read by the cache, and comes again from there.

    It ends in whatever way it is read.
    """
    with FaultServer(["healthy", ONCE]) as server, _open_cached(way) as session:
        found = set()
        for read in READERS.values():
            response = session.post(server.chat_url, json=asking(), stream=True)
            found.add(read(response).rstrip())
        (answer,) = found
        assert b"[DONE]" in answer
        assert len(server.requests) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_requests_cache_and_a_compressed_body(way: Way, stream: bool) -> None:
    """The body is decoded once, from the wire and from the cache."""
    with FaultServer([encoded(LINES, "gzip"), ONCE]) as server, _open_cached(way) as session:
        for _ in range(2):
            assert b"".join(session.get(server.url, stream=stream).iter_content(100)) == LINES


def test_requests_cache_keeps_nothing_of_what_was_cut(way: Way) -> None:
    """A body that breaks off raises, and is asked for again the next time."""
    cut = Script.of("cut", steps.Head(200, (), "chunked"), steps.Chunk(b"half"), steps.Close())
    with FaultServer([cut, reply(LINES)]) as server, _open_cached(way) as session:
        with pytest.raises(requests.RequestException):
            session.post(server.url + "/orders", stream=True)
        assert session.post(server.url + "/orders", stream=True).content == LINES
        assert len(server.requests) == 2


# -- CacheControl: what is read through its file is kept, and nothing else


def _controlled(way: Way, cache: DictCache) -> Any:
    return way.session(CacheControl(requests.Session(), cache=cache))


@pytest.mark.parametrize("stream", [True, False])
@every_framing
def test_cachecontrol_fills_its_cache(way: Way, stream: bool, framing: Any) -> None:
    """The second request is answered from the cache, with the body of the first.

    The framing of the first answer makes no difference.
    """
    cache = DictCache()
    scripts = [reply(LINES, framing=framing, headers=FRESH)] * len(READERS) + [ONCE]
    with FaultServer(scripts) as server, _controlled(way, cache) as session:
        for path, read in READERS.items():
            first = session.get(f"{server.url}/{path}", stream=stream)
            body = read(first)
            second = session.get(f"{server.url}/{path}", stream=stream)
            assert (first.from_cache, second.from_cache) == (False, True)
            assert second.content == LINES
            assert not stream or body == LINES
        assert len(server.requests) == len(cache.data) == len(READERS)


def test_cachecontrol_and_a_compressed_body(way: Way) -> None:
    """The cache keeps the body as it came over the wire, and decodes it each time."""
    packed = gzip.compress(LINES)
    script = reply(packed, headers=[*FRESH, ("Content-Encoding", "gzip")])
    with FaultServer([script, ONCE]) as server, _controlled(way, DictCache()) as session:
        for _ in range(2):
            assert session.get(server.url).content == LINES
        assert len(server.requests) == 1


@every_framing
def test_cachecontrol_asks_whether_it_is_still_fresh(way: Way, framing: Any) -> None:
    """A 304 is answered from the cache, and the connection is used again."""
    script = reply(LINES, framing=framing, headers=[("ETag", '"a"'), FRESH[1]])
    with FaultServer([script, reply(b"", status=304, headers=[("ETag", '"a"'), FRESH[1]])]) as server:
        with _controlled(way, DictCache()) as session:
            assert session.get(server.url).content == LINES
            again = session.get(server.url)
            assert (again.content, again.from_cache) == (LINES, True)
        assert ("If-None-Match", '"a"') in server.requests[1].headers


def test_cachecontrol_keeps_a_redirect(way: Way) -> None:
    """A permanent redirect is kept with the body that it had, and followed without being asked for again."""
    moved = reply(b"moved", status=301, headers=[("Location", "/to")])
    with FaultServer([moved, reply(LINES, headers=FRESH), ONCE]) as server, _controlled(way, DictCache()) as session:
        for _ in range(2):
            assert session.get(server.url + "/from").content == LINES
        assert [one.target for one in server.requests] == ["/from", "/to"]


def test_cachecontrol_keeps_nothing_of_what_was_cut(way: Way) -> None:
    """A body that breaks off is not kept; what was asked for again and came whole is."""
    for framing in ("chunked", "length"):
        cut = reply(b"half", headers=FRESH, framing=framing, ends=False, after=[steps.Close()])
        cache = DictCache()
        with FaultServer([cut, reply(LINES, headers=FRESH), ONCE]) as server:
            with _controlled(way, cache) as session:
                with pytest.raises(llmwatch.StreamCut):
                    session.get(server.url, stream=True).content  # noqa: B018 (it is read here)
                assert cache.data == {}
                assert [session.get(server.url).content for _ in range(2)] == [LINES, LINES]
            assert len(server.requests) == 2


def test_what_comes_slowly_through_cachecontrol_is_not_silence() -> None:
    """Bytes are seen as they come, not when a buffer is full.

    A trickle that lasts longer than ``stale`` is whole.
    """
    body = b"abcdef"
    for framing in ("length", "chunked", "close"):
        trickle = reply(b"", headers=FRESH, framing=framing, after=[steps.Trickle(body, every=LIMIT / 3)])
        limits = Limits(stale=LIMIT, ttfb=LONG)
        with FaultServer([trickle, ONCE]) as server:
            with llmwatch.mount(CacheControl(requests.Session(), cache=DictCache()), limits=limits) as session:
                assert session.get(server.url, stream=True).content == body
                assert session.get(server.url).content == body
            assert len(server.requests) == 1


def test_an_adapter_of_cachecontrol_that_is_mounted_later(way: Way) -> None:
    """Mounted on the prefix of one host."""
    with FaultServer([reply(LINES, headers=FRESH), ONCE]) as server:
        prepared = requests.Session()
        prepared.mount("http://127.0.0.1", CacheControlAdapter(cache=DictCache()))
        with way.session(prepared) as session:
            if way.name == "Session":
                session.mount("http://127.0.0.1", CacheControlAdapter(cache=DictCache()))
            assert [session.get(server.url).content for _ in range(2)] == [LINES, LINES]


def test_a_file_of_cachecontrol_reads_like_a_file(way: Way) -> None:
    """A response from the cache can be wrapped as a file."""
    with FaultServer([reply(LINES, headers=FRESH), ONCE]) as server, _controlled(way, DictCache()) as session:
        for _ in range(2):
            raw: Any = session.get(server.url, stream=True).raw
            assert io.BufferedReader(raw).read() == LINES
