"""The pytest plugin of llmwatch: the fixture ``llm_faults``.

pytest imports this module in every run where llmwatch is installed. It lies outside the package, whose import takes a
tenth of a second, and imports the package once a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from llmwatch.testing import LLMFaults

__all__ = ["llm_faults"]


@pytest.fixture
def llm_faults() -> Iterator[LLMFaults]:
    """Providers that fail: ``llm_faults("silent", "healthy")`` starts one, ``run()`` judges a program."""
    from llmwatch.testing import LLMFaults

    with LLMFaults() as started:
        yield started
