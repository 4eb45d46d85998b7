"""``.partial`` through the entry points for existing code.

It holds the text that had been handed out when the call failed.
"""

from __future__ import annotations

import pytest
import requests

import llmwatch
from llmwatch import Limits, LLMWatchError, Session
from llmwatch.faults import FaultServer
from llmwatch.faults.catalogue import ANSWER
from tests.end_to_end.calls import asking
from tests.session.times import LIMIT


@pytest.mark.parametrize("script", ["stall-after-content:tokens=3", "eof-without-terminal:tokens=3"])
@pytest.mark.parametrize("read", ["lines", "content", "raw"])
def test_an_error_has_the_text_that_came_before_it(script: str, read: str) -> None:
    """However the body was read, ``.partial`` is the text that came before the error."""
    with FaultServer(script) as server, Session(limits=Limits(stale=LIMIT)) as session:
        response = session.post(server.chat_url, json=asking(), stream=True)
        with pytest.raises(requests.RequestException) as caught:
            if read == "raw":
                response.raw.read()
            else:
                list(response.iter_lines() if read == "lines" else response.iter_content(7))
    assert isinstance(caught.value, LLMWatchError)
    assert len(caught.value.partial.split()) == 3
    assert ANSWER.startswith(caught.value.partial)


def test_partial_has_no_text_of_a_discarded_attempt() -> None:
    """A call that returns whole and fails has an empty ``.partial``."""
    with (
        FaultServer("stall-after-content") as server,
        Session(limits=Limits(stale=LIMIT)) as session,
        pytest.raises(llmwatch.WatchTimeout) as caught,
    ):
        session.post(server.chat_url, json=asking())
    assert caught.value.partial == ""
    assert len(server.requests) == 2
