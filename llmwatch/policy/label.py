"""The label of calls: the program's own name for the work that they belong to."""

from __future__ import annotations

import contextvars
from contextlib import AbstractContextManager
from types import TracebackType

from llmwatch.errors import ConfigError
from llmwatch.lazy_pattern import lazy

__all__ = ["LABEL", "label"]

LABEL: contextvars.ContextVar[str | None] = contextvars.ContextVar("llmwatch_label", default=None)
"""The label of calls that begin in this context."""

_FORM = lazy(r"[\w.:/-]{1,64}")


class _LabelScope(AbstractContextManager[None]):
    """The block in which a label holds; its end restores the label before."""

    __slots__ = ("_before",)

    def __init__(self, before: str | None) -> None:
        self._before = before

    def __enter__(self) -> None:
        """The label holds already."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        LABEL.set(self._before)


def label(name: str | None) -> AbstractContextManager[None]:
    """Give every call that begins from now on in this context the label ``name``; ``None``: no label.

    As a statement, ``llmwatch.label("job-7")``, it holds until the next one. In ``with llmwatch.label("job-7"):`` it
    holds in the block. The label is a context variable: another thread has its own, a task and the worker of a wrapped
    function inherit it. It stands in the records, in the call log, in the incident log and in the lines of the logger
    ``llmwatch``; it is never sent.

    A label has 1 to 64 letters, digits and ``_.:/-``. Raises :class:`~llmwatch.ConfigError` for anything else.
    """
    if name is not None and (not isinstance(name, str) or not _FORM.fullmatch(name)):
        raise ConfigError(
            "A label has 1 to 64 letters, digits or characters of '_.:/-', such as 'job-7'; this one has another form.",
            field="label",
            value=name,
        )
    before = LABEL.get()
    LABEL.set(name)
    return _LabelScope(before)
