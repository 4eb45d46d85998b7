"""The example of a token refresh says what it promises.

It sends exactly the requests that it should.
"""

from __future__ import annotations

import re

from tests.examples.running import run


def test_tokens_are_refreshed_once_and_never_hang() -> None:
    """One refresh for eight calls, one after a 401, one after a silent one, and one that is rejected."""
    printed = run("token_refresh.py")
    scenes = [scene.partition("\n")[2] for scene in printed.strip().split("\n\n")]
    many, refused, silent, rejected = scenes
    counts = [re.findall(r"token endpoint: (\d+), at the provider: (\d+)", scene) for scene in scenes]
    assert counts == [[("1", "8")], [("1", "2")], [("2", "1")], [("1", "0")]]
    assert many.count("answered, attempts: 1") == 8
    assert "answered, attempts: 1" in refused
    assert "answered, attempts: 2" in silent
    assert rejected.count("RefreshFailed, retryable: False: ") == 2
    assert rejected.count("(error invalid_grant)") == 2
