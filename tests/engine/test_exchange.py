"""The requests of an exchange to the transport."""

from __future__ import annotations

from llmwatch.engine.exchange import _backstop
from llmwatch.policy import READ_LIMITS, Limits, resolve_limits
from llmwatch.transport.sockets import BACKSTOP_MARGIN
from tests.rows import each

LONG = 5000.0


@each("name", READ_LIMITS)
def test_a_socket_waits_longer_than_each_limit_on_reading(name: str) -> None:
    """The time-out of a socket that is read never ends what a limit still allows."""
    limits = resolve_limits(call=Limits(**{name: LONG}), environ={}, profile="hosted").seconds
    assert _backstop(limits, *READ_LIMITS) == LONG + BACKSTOP_MARGIN
