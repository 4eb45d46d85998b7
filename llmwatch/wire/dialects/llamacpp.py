"""``llamacpp``: the own interface (``/completion``, ``/infill``) of llama.cpp and llamafile.

Source: the README of llama.cpp's server (b5000 and later); llamafile 0.8 for the older form, with ``stopped_limit`` and
similar fields in place of ``stop_type``. (``/v1/chat/completions`` is ``openai-chat``.)

An event has a piece in ``content``. The event with ``stop: true`` is finish mark and end mark, with the reason in
``stop_type`` and the counts. With a list of prompts there is one such event for each ``index``.
"""

from __future__ import annotations

from typing import Any

from llmwatch.wire.dialects.base import Dialect, is_cut, is_keepalive, words_of
from llmwatch.wire.event import Event, Kind

__all__ = ["LlamaCpp", "is_llama"]

_COUNTS = ("tokens_evaluated", "tokens_predicted")


def is_llama(value: dict[str, Any]) -> bool:
    """Whether an event's object has the form of this interface."""
    content = value.get("content")
    return bool(content == "" or words_of(content)) and isinstance(value.get("stop"), bool)


class LlamaCpp(Dialect):
    """One attempt in llama.cpp's dialect."""

    name = "llamacpp"

    def __init__(self) -> None:
        super().__init__()
        self._open: set[int] = set()
        self._done: set[int] = set()

    def read(self, event: Event) -> None:
        value = self.parse(event)
        if value is None:
            return
        event.text = words_of(value.get("content"))
        counts = {name: value[name] for name in _COUNTS if type(value.get(name)) is int}
        index = value.get("index")
        index = index if type(index) is int else 0
        if value.get("stop") is True:
            self.count(event, counts)
            self._open.discard(index)
            self._done.add(index)
            event.cut = is_cut(value.get("stop_type")) or value.get("stopped_limit") is True
            self.finished = len(self._done) >= self.choices and not self._open
            event.finish = self.finished
            event.kind = Kind.TERMINAL if self.finished else Kind.TEXT if event.text else Kind.LIFECYCLE
            return
        if index not in self._done:
            self._open.add(index)
        if event.text:
            event.kind = Kind.TEXT
        elif is_llama(value) or is_keepalive(event, value):
            event.kind = Kind.KEEPALIVE
