"""Untouched SDKs under ``llmwatch run``.

These are the rows of ``python -m tests.bench.reach`` that need no other environment.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench.reach import look


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["openai", "anthropic", "botocore"])
def test_an_sdk_is_reached(name: str) -> None:
    """A healthy call is as bare. Silence costs a second request.

    Silence in mid-stream is an error after one request.
    """
    assert [cell for cell in look(Path(sys.executable), name, "") if not cell.expected] == []
