"""The page of the catalogue is that of the code."""

from __future__ import annotations

import re

from llmwatch.faults.catalogue import SCRIPTS, get
from tests.faults.page import PATH, page


def test_the_page_is_up_to_date() -> None:
    """``python -m tests.faults.page`` would change nothing."""
    assert PATH.read_text(encoding="utf-8") == page()


def test_every_fault_has_a_row_with_its_parameters() -> None:
    """Each fault stands there once, and what its row offers can be served as it stands."""
    rows = re.findall(r"^\| `([\w-]+)` \| (.+) \|([^|]*)\|([^|]*)\|$", page().partition("## Shapes")[0], re.MULTILINE)
    assert [name for name, *_ in rows] == list(SCRIPTS)
    for name, said, parameters, phases in rows:
        script = SCRIPTS[name]
        assert said.startswith(script.description)
        assert phases.strip() == ", ".join(script.phases)
        given = re.findall(r"`(\w+=[^`]*)`", parameters)
        assert len(given) == len(script.parameters)
        assert get(f"{name}:{','.join(given)}" if given else name).name == name
