"""Scripts that write a whole and good answer in bytes that are hard to read."""

from __future__ import annotations

import json
import zlib

import pytest

from llmwatch.faults import FaultServer, catalogue
from tests.faults import reading
from tests.faults.client import FRAMINGS, SHAPES, WireClient, asking

WBITS = {"gzip": 31, "deflate": 15}


def test_unframed_has_no_length():
    """The body ends with its connection and says the whole answer."""
    for shape in SHAPES:
        with FaultServer("unframed") as server, asking(server, shape) as client:
            client.read()
            assert (client.framing, client.headers["connection"], client.ended) == ("close", "close", "end")
            assert reading.text(shape, client.body) == catalogue.ANSWER


def test_coalesced_writes_end_inside_events():
    """Each write but the last holds many events and ends in the middle of one."""
    for shape in SHAPES:
        with FaultServer("coalesced:pieces=4") as server, asking(server, shape) as client:
            client.read()
            assert len(client.chunks) == 4
            assert all(chunk.count(b"\n") > 2 for chunk in client.chunks)
            assert not any(chunk.endswith(b"\n") for chunk in client.chunks[:-1])
            assert reading.text(shape, client.body) == catalogue.ANSWER


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("encoding", WBITS)
def test_compressed_answer_is_whole(encoding: str, framing: str):
    """The body decompresses to a whole answer and to the end of the compression."""
    with FaultServer(f"gzip:encoding={encoding}", framing=framing) as server, asking(server) as client:
        client.read()
        unpacker = zlib.decompressobj(wbits=WBITS[encoding])
        body = unpacker.decompress(client.body)
        assert client.headers["content-encoding"] == encoding
        assert unpacker.eof
        assert reading.text("openai-chat", body) == catalogue.ANSWER


def test_every_compressed_chunk_holds_its_event():
    """Compression holds no event back: each chunk decompresses to whole events."""
    with FaultServer("gzip") as server, asking(server) as client:
        client.read()
        unpacker = zlib.decompressobj(wbits=31)
        *pieces, last = [unpacker.decompress(chunk) for chunk in client.chunks]
        assert all(piece.endswith(b"\n\n") for piece in pieces)
        assert last == b""


@pytest.mark.parametrize("encoding", WBITS)
def test_cut_compression_has_no_end(encoding: str):
    """The body ends in good order, the compression and the answer in it do not."""
    with FaultServer(f"gzip-cut:encoding={encoding}") as server, asking(server) as client:
        assert client.read().ended == "end"
        unpacker = zlib.decompressobj(wbits=WBITS[encoding])
        body = unpacker.decompress(client.body)
        assert not unpacker.eof
        assert reading.text("openai-chat", body) == catalogue.answer(3)


def test_other_encodings_are_errors_of_the_script():
    """An encoding that the script cannot write is an error when the server is left."""
    with (
        pytest.raises(ValueError, match="encoding is 'br'"),
        FaultServer("gzip:encoding=br") as server,
        WireClient(server.url) as client,
    ):
        client.send("/").end_of_connection()


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("newlines-cr", [b"\r"]),
        ("newlines-lf", [b"\n"]),
        ("newlines-crlf", [b"\r\n"]),
        ("newlines-split", [b"\r\n"]),
        ("newlines-mixed", [b"\r", b"\r\n", b"\n"]),
    ],
)
def test_lines_end_as_they_are_named(name: str, ends: list[bytes]):
    """With these ends of lines put back to LF the body is that of a healthy answer.

    Each kind of end occurs.
    """
    for shape in SHAPES:
        with FaultServer([name, "healthy"]) as server:
            with asking(server, shape) as client:
                body = client.read().body
                chunks = client.chunks
            with asking(server, shape) as client:
                healthy = client.read().body.replace(b"fault2", b"fault1")
        assert body.replace(b"\r\n", b"\n").replace(b"\r", b"\n") == healthy
        bare = body.replace(b"\r\n", b"")
        seen = {b"\r\n": body.count(b"\r\n") > 0, b"\r": b"\r" in bare, b"\n": b"\n" in bare}
        assert [end for end, is_seen in seen.items() if is_seen] == [end for end in seen if end in ends]
        assert (max(map(len, chunks)) == 1) == (name == "newlines-split")


def test_bom_is_before_the_first_event():
    """A byte order mark comes first and only once."""
    with FaultServer("bom") as server, asking(server) as client:
        mark, body = client.read().body[:3], client.body[3:]
        assert mark == b"\xef\xbb\xbf"
        assert mark not in body
        assert reading.text("openai-chat", body) == catalogue.ANSWER


def test_utf8_split_cuts_every_character():
    """Every character of more than one byte is cut wherever it can be."""
    with FaultServer("utf8-split") as server, asking(server, "generic") as client:
        client.read()
        starts = [chunk[0] for chunk in client.chunks[1:]]
        assert len(starts) == sum(len(character.encode()) - 1 for character in catalogue.ANSWER)
        assert all(byte & 0xC0 == 0x80 for byte in starts)
        assert reading.text("generic", client.body) == catalogue.ANSWER


def test_bad_utf8_reads_as_a_replacement():
    """The body is no UTF-8, and reads as promised once the bad byte is replaced."""
    for shape in SHAPES:
        with FaultServer("bad-utf8") as server, asking(server, shape) as client:
            body = client.read().body
            with pytest.raises(UnicodeDecodeError):
                body.decode()
            assert reading.text(shape, body.decode(errors="replace").encode()) == catalogue.BAD_UTF8_ANSWER


def test_giant_event_is_one_event():
    """One event holds 2 MiB of text, in an answer that is whole."""
    for shape in SHAPES:
        with FaultServer("giant-event") as server, asking(server, shape) as client:
            body = client.read().body
            assert reading.text(shape, body) == "x" * (2 << 20)
            assert sum(len(line) > 2 << 20 for line in body.split(b"\n")) >= 1
            assert reading.is_terminated(shape, body)


def test_endless_event_never_ends_its_line():
    """A line begins and continues beyond the size of any event."""
    with FaultServer("endless-event") as server, asking(server) as client:
        client.read(at_least=20 << 20)
        assert client.body.split(b"\n")[-1].startswith(b"data: xxx")
        assert len(client.body.split(b"\n")[-1]) > 16 << 20


def test_text_of_the_answer_can_be_chosen():
    """A server or a script can be asked to say something else."""
    with FaultServer(["healthy", "bom:text=from the script"], text="from the server") as server:
        for expected in ("from the server", "from the script"):
            with asking(server) as client:
                body = client.read().body.removeprefix(b"\xef\xbb\xbf")
                assert reading.text("openai-chat", body) == expected
                assert all(json.loads(data) for _, data in reading.events(body)[:-1])
