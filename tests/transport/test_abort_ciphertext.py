"""A kill while a TLS reader is busy: whatever the reader got is plaintext."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from llmwatch.faults import FaultServer, ProxyServer, Script, steps
from llmwatch.faults.steps import Framing
from llmwatch.transport.sender import Sender
from llmwatch.watch.machine import VerdictKind
from tests.transport.drive import SCALE, Call, assert_over
from tests.transport.scenes import Network

_KILLS = 10
_MOST_KILLS = 200
_FRAMINGS: Sequence[Framing] = ("chunked", "length", "close")
_PATTERN = bytes(range(256)) * 256


def _play(context: Any) -> Iterator[steps.Step]:
    yield from context.answer([steps.Repeat([steps.Chunk(_PATTERN)])], ends=False)


def _is_plaintext(data: bytes) -> bool:
    whole, rest = divmod(len(data), len(_PATTERN))
    return data == _PATTERN * whole + _PATTERN[:rest]


@pytest.mark.parametrize("proxy", [None, "plain", "tls"], ids=["direct", "tunnel", "tls-in-tls"])
@pytest.mark.parametrize("framing", _FRAMINGS)
def test_every_byte_that_was_read_is_plaintext(
    framing: Framing, proxy: str | None, sender: Sender, network: Network
) -> None:
    """No read returns ciphertext when an attempt is killed.

    A server streams TLS as fast as it can, and the attempt is killed at random moments.
    """
    moments = random.Random(f"{framing} {proxy}")
    script = Script(name="flood", description="a known pattern for ever", play=_play, framing=framing)
    seen = kills = 0
    with (
        FaultServer(script, tls=network.tls) as server,
        ProxyServer(tls=network.tls if proxy == "tls" else None) as between,
    ):
        # More of them where the machine lets the readers wait for their turn.
        while kills < _KILLS or (seen <= len(_PATTERN) and kills < _MOST_KILLS):
            kills += 1
            limits = {"total": moments.uniform(0.001, 0.03) * SCALE}
            proxies = {} if proxy is None else {"https": between.url}
            call = Call(
                sender,
                server.chat_url,
                limits=limits,
                reading=Call.read_blindly,
                verify=network.bundle,
                proxies=proxies,
            )
            call.start().take()
            assert_over(call)
            assert call.verdict.kind is VerdictKind.KILLED
            assert _is_plaintext(bytes(call.seen))
            seen += len(call.seen)
        server.wait_for_closed(kills)
    assert seen > len(_PATTERN), "the readers were never busy"
