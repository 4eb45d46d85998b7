"""A token that runs out is replaced before the API has to say so."""

from __future__ import annotations

import requests

from llmwatch.watch.clock import ManualClock
from tests.auth.conftest import Connect, Serve
from tests.auth.tokens import asking_at, granting, guarded, refreshing_on, token
from tests.end_to_end.calls import collect


def test_a_token_is_used_until_shortly_before_its_end(serve: Serve, connect: Connect) -> None:
    """One refresh serves every call of its hour but the last minute.

    Then there is another, and never a 401.
    """
    clock = ManualClock()
    auths, api = serve(granting(expires_in=3600)), serve(guarded(1, 2))
    client, auth = connect(), refreshing_on(clock, asking_at(auths))
    for _ in range(3):
        collect(client, api.chat_url, auth=auth).done()
    clock.advance(3539.0)
    collect(client, api.chat_url, auth=auth).done()
    assert (len(auths.requests), len(api.requests)) == (1, 4)
    clock.advance(1.1)
    collect(client, api.chat_url, auth=auth).done()
    assert requests.post(api.chat_url, json={}, auth=auth).status_code == 200
    assert (len(auths.requests), len(api.requests)) == (2, 6)
    assert [one.header("authorization") for one in api.requests] == [f"Bearer {token(1)}"] * 4 + [
        f"Bearer {token(2)}"
    ] * 2


def test_the_wall_clock_does_not_age_a_token(serve: Serve, connect: Connect) -> None:
    """Setting the wall clock forwards or back makes no token older or younger."""
    clock = ManualClock()
    auths, api = serve(granting(expires_in=3600)), serve(guarded(1))
    client, auth = connect(), refreshing_on(clock, asking_at(auths))
    for wall in (0.0, 4e9, 1.0):
        clock.set_wall(wall)
        collect(client, api.chat_url, auth=auth).done()
    assert len(auths.requests) == 1


def test_a_token_of_unknown_life_is_used_until_it_is_refused(serve: Serve, connect: Connect) -> None:
    """Without ``expires_in`` only a 401 says that a token is over."""
    clock = ManualClock()
    auths, api = serve(granting()), serve(guarded(1), guarded(2))
    client, auth = connect(), refreshing_on(clock, asking_at(auths))
    collect(client, api.chat_url, auth=auth).done()
    clock.advance(1e7)
    collect(client, api.chat_url, auth=auth).done()
    assert (len(auths.requests), len(api.requests)) == (2, 3)
