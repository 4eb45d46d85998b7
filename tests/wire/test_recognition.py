"""``llmwatch.wire.recognition``: when a body is a dialect's, and when it is known to be none's."""

from __future__ import annotations

import json

from llmwatch.wire import Decoder, Recognition
from tests.rows import each

EVENTS = "text/event-stream"
CHAT = "http://provider.test/v1/chat/completions"
MESSAGES = "http://provider.test/v1/messages"
LOCAL = "http://provider.test/api/chat"
GENERATE = "http://provider.test/v1/generate"


def _json(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def _judged(body: bytes, size: int, url: str, content_type: str, dialect: str = "auto") -> tuple[bool, bool, bool]:
    decoder = Decoder(dialect, url=url, content_type=content_type, tolerant=True)
    recognition = Recognition(dialect, framing=decoder.framing, content_type=content_type)
    for at in range(0, len(body), size):
        piece = body[at : at + size]
        recognition.look_at(piece)
        if recognition.hopeless:
            decoder.give_up()
        recognition.read(decoder.feed(piece), decoder.dialect)
    return recognition.seen, recognition.foreign, recognition.hopeless


SEEN, FOREIGN, HOPELESS, NOTHING = (True, False, False), (False, True, False), (False, True, True), (False,) * 3
CHUNK = b"data: " + _json(choices=[{"delta": {"role": "assistant"}}]) + b"\n\n"


@each(
    ("body", "url", "content_type", "found"),
    [
        (CHUNK, CHAT, EVENTS, SEEN),
        (b"\xef\xbb\xbf\r\n: hi\r\n\r\n" + CHUNK.replace(b"\n", b"\r\n"), CHAT, EVENTS, SEEN),
        (b"event: ping\ndata: {}\n\n" + CHUNK, CHAT, "text/plain", SEEN),
        (b'event: message_start\ndata: {"type": "message_start"}\n\n', MESSAGES, EVENTS, SEEN),
        (_json(message={"content": ""}, done=False) + b"\n", LOCAL, "application/x-ndjson", SEEN),
        (_json(message={"content": ""}, done=False) + b"\n", "http://provider.test/x", "application/json", SEEN),
        (_json(error="no such model") + b"\n", LOCAL, "application/x-ndjson", SEEN),
        (b'data: {"error": {"message": "no"}}\n\n', CHAT, EVENTS, SEEN),
        (b"", CHAT, EVENTS, NOTHING),
        (b": hi\n\n\n: hi\n\n", CHAT, EVENTS, NOTHING),
        (b'event: ping\ndata: {"type": "ping"}\n\ndata: {}\n\ndata:\n\n', MESSAGES, EVENTS, NOTHING),
        (b"id: 1\nretry: 5\nevent: x\ndat", CHAT, EVENTS, NOTHING),
        (CHUNK[:-1], CHAT, EVENTS, NOTHING),
        (_json(done=False), LOCAL, "application/x-ndjson", NOTHING),
        (b'data: {"piece": "a"}\n\n', CHAT, EVENTS, FOREIGN),
        (CHUNK[:-1] + CHUNK[:-1], CHAT, EVENTS, FOREIGN),
        (b"event: a\r\ndata: {}\r\nevent: b\r\ndata: {}\r\n", CHAT, EVENTS, FOREIGN),
        (b"data: words\ndata: more\n", CHAT, EVENTS, FOREIGN),
        (b"data: {\ndata: \ndata: }\n", CHAT, EVENTS, NOTHING),
        (CHUNK[:-1] + CHUNK[:-2], CHAT, EVENTS, NOTHING),
        (CHUNK[:-1] + b"id: 1\n: hi\n", CHAT, EVENTS, NOTHING),
        (_json(message={"role": "assistant", "content": "hi"}), LOCAL, "application/json", FOREIGN),
        (_json(response="hello", ok=True) + b"\n", LOCAL, "application/json", FOREIGN),
        (_json(response="hello", done=False) + b"\n", LOCAL, "application/json", SEEN),
        (b"data: words\n\n", MESSAGES, EVENTS, FOREIGN),
        (b": hi\n\nevent: ping\ndata: {}\n\ndata: words\n\n", "http://provider.test/x", EVENTS, FOREIGN),
        (b"words: and more\n", CHAT, EVENTS, FOREIGN),
        (_json(reply="a"), LOCAL, "application/x-ndjson", FOREIGN),
        (_json(reply="a") + b"\n", LOCAL, "application/x-ndjson", FOREIGN),
        (_json(piece="a") + b"\n", GENERATE, "application/json", HOPELESS),
        (_json(a=1) + _json(b=2), GENERATE, "application/json", HOPELESS),
        (b'{\n "choices": []\n}', GENERATE, "application/json", HOPELESS),
        (_json(a=1) + b"\0", LOCAL, "text/plain", HOPELESS),
        (_json(a=1), CHAT, "application/json", HOPELESS),
        (b"[" + _json(candidates=[]), CHAT, "application/json", HOPELESS),
        (b"<html>", CHAT, "text/html", HOPELESS),
        (b"Hello world", CHAT, "text/plain", HOPELESS),
        (b"RIFF\0\1", LOCAL, "audio/wav", HOPELESS),
        (b"data", GENERATE, "text/plain", NOTHING),
        (b"dates: 3", GENERATE, "text/plain", HOPELESS),
    ],
)
def test_a_body_is_recognised_as_soon_as_its_bytes_show_it(
    body: bytes, url: str, content_type: str, found: tuple[bool, bool, bool]
) -> None:
    """No split of the bytes shows a dialect that is not there."""
    assert _judged(body, len(body) or 1, url, content_type) == found
    for size in range(1, len(body)):
        seen, foreign, _ = _judged(body, size, url, content_type)
        assert (seen, foreign) == found[:2]


def test_generic_set_by_the_user_stays() -> None:
    """Under ``generic`` every event is one of it."""
    assert _judged(b"data: words\n\n", 99, CHAT, EVENTS, "generic") == SEEN
    assert _judged(b"words", 99, CHAT, "text/plain", "generic") == HOPELESS


def test_a_dialect_can_be_recognised_late() -> None:
    """Events of a dialect may follow foreign bytes."""
    seen, foreign, hopeless = _judged(b'data: {"meta": 1}\n\n' + CHUNK, 7, CHAT, EVENTS)
    assert (seen, foreign, hopeless) == (True, True, False)
