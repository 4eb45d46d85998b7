"""The label of calls."""

from __future__ import annotations

import contextvars
import threading

import pytest

import llmwatch
from llmwatch import ConfigError
from llmwatch.policy import LABEL


@pytest.fixture(autouse=True)
def in_a_context_of_its_own() -> None:
    """No test leaves a label behind."""
    llmwatch.label(None)


def test_a_label_holds_until_the_next_one() -> None:
    """A label is set by the call, and None takes it back."""
    llmwatch.label("job-7")
    assert LABEL.get() == "job-7"
    llmwatch.label("job-8")
    assert LABEL.get() == "job-8"
    llmwatch.label(None)
    assert LABEL.get() is None


def test_a_block_restores_the_label_before_it() -> None:
    """Blocks nest, and an exception ends them too."""
    with llmwatch.label("outer"):
        with pytest.raises(KeyError), llmwatch.label("inner"):
            assert LABEL.get() == "inner"
            raise KeyError
        assert LABEL.get() == "outer"
    assert LABEL.get() is None


def test_a_label_belongs_to_its_context() -> None:
    """A copied context inherits the label and keeps its own; another thread has none."""
    found: list[str | None] = []
    with llmwatch.label("mine"):
        context = contextvars.copy_context()
        context.run(llmwatch.label, "theirs")
        thread = threading.Thread(target=lambda: found.append(LABEL.get()))
        thread.start()
        thread.join()
        assert LABEL.get() == "mine"
    assert context[LABEL] == "theirs"
    assert found == [None]


@pytest.mark.parametrize("name", ["job-7", "a", "x" * 64, "team/etl:2026-11-30", "a.b_c", "größe", "7"])
def test_a_label_has_letters_digits_and_a_few_marks(name: str) -> None:
    """What has the form is taken as it is."""
    with llmwatch.label(name):
        assert LABEL.get() == name


@pytest.mark.parametrize(
    "name", ["", "x" * 65, "job 7", "job-7\n", "a@b", "<b>", "\x1b[2J", "a\u202eb", 7, b"job", True]
)
def test_any_other_label_is_a_config_error(name: object) -> None:
    """The label before it stays, and the error does not repeat the text."""
    with llmwatch.label("before"):
        with pytest.raises(ConfigError, match="1 to 64") as raised:
            llmwatch.label(name)  # type: ignore[arg-type]
        assert raised.value.field == "label"
        assert LABEL.get() == "before"
