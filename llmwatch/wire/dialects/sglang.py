"""``sglang``: SGLang's own interface (``/generate``).

Source: SGLang's documentation of its native API and sampling parameters (0.4 and 0.5). (``/v1/chat/completions`` is
``openai-chat``.)

Each event has the whole text so far in ``text``, or only the new part, depending on an option of the server.
``meta_info`` has the counts and, in the last event, the finish reason, an object with a ``type``. ``[DONE]`` is the end
mark. With several answers, each has an ``index``.
"""

from __future__ import annotations

from typing import Any

from llmwatch.wire.dialects.base import Dialect, error_event, is_cut, is_keepalive, words_of
from llmwatch.wire.event import Event, Kind

__all__ = ["SGLang", "is_sglang"]

_COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens")


def is_sglang(value: dict[str, Any]) -> bool:
    """Whether an event's object has the form of this interface."""
    return isinstance(value.get("meta_info"), dict) and ("text" in value or "output_ids" in value)


class SGLang(Dialect):
    """One attempt in SGLang's dialect."""

    name = "sglang"

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[int, str] = {}
        self._restates: bool | None = None  # None: not known yet
        self._done: set[int] = set()

    def read(self, event: Event) -> None:
        value = self.parse(event)
        if value is None:
            return
        meta = value.get("meta_info")
        info = meta if isinstance(meta, dict) else {}
        reason = info.get("finish_reason")
        kind = reason.get("type") if isinstance(reason, dict) else reason
        if kind == "abort" and isinstance(reason, dict) and reason.get("message"):
            about = {"message": reason["message"], "code": reason.get("status_code"), "type": reason.get("err_type")}
            error_event(event, {"error": about})
            return
        self.count(event, {name: info[name] for name in _COUNTS if type(info.get(name)) is int})
        index = value.get("index")
        index = index if type(index) is int else 0
        event.text = self._new(index, words_of(value.get("text")), value.get("output_ids"), info, ended=bool(kind))
        if isinstance(kind, str) and kind:
            self._done.add(index)
            event.cut = is_cut(kind)
            event.finish = True
        elif index in self._done and event.text:
            self._done.discard(index)
        self.finished = len(self._done) >= self.choices and len(self._done) >= len(self._said)
        event.finish = event.finish and self.finished
        if event.text:
            event.kind = Kind.TEXT
        elif is_keepalive(event, value) or (is_sglang(value) and not kind):
            event.kind = Kind.KEEPALIVE

    def _new(self, index: int, text: str, ids: object, info: dict[str, Any], *, ended: bool) -> str:
        """The new part of ``text`` under ``index``."""
        tokens = info.get("completion_tokens")
        if self._restates is None and isinstance(ids, list) and type(tokens) is int and 0 < len(ids) < tokens:
            # Fewer tokens than the model has written: the event has only the new ones.
            self._restates = False
        if self._restates is False:
            self._said.setdefault(index, "")
            return text
        earlier = self._said.get(index, "")
        if not ended:
            # U+FFFD stands for the first bytes of a character of several tokens; the next event has the character.
            text = text.rstrip("\ufffd")
        if not text.startswith(earlier):
            if self._restates is None:
                self._restates = False
                return text
            self.contradictions += 1
            return ""
        if earlier and len(text) > len(earlier):
            self._restates = True
        self._said[index] = text
        return text[len(earlier) :]
