"""``tgi``: Text Generation Inference (``/``, ``/generate_stream``) and Hugging Face's endpoints.

Source: TGI's API reference, and the clients text-generation 0.7.0 and huggingface_hub 0.36.2 and 2.4.0.
(``/v1/chat/completions`` is ``openai-chat``.)

An event is a token. A *special* token, such as the end of a sequence, is not text. ``generated_text`` in the last event
restates the whole text, adds only the missing part, and is the end mark. ``details``, if requested, has the finish
reason.
"""

from __future__ import annotations

from typing import Any

from llmwatch.wire.dialects.base import Dialect, Said, error_event, is_cut, is_keepalive, kind_of_news, words_of
from llmwatch.wire.error_objects import has_error
from llmwatch.wire.event import Event, Kind

__all__ = ["TGI"]


_KNOWN = frozenset(("token", "text", "generated_text", "details", "top_tokens"))


def _news(value: dict[str, Any]) -> Kind | None:
    """The kind of an event with text in an unknown field, of its token or beside it."""
    token = value.get("token")
    return kind_of_news(token if isinstance(token, dict) else {}, _KNOWN) or kind_of_news(value, _KNOWN)


class TGI(Dialect):
    """One attempt in TGI's dialect."""

    name = "tgi"

    def __init__(self) -> None:
        super().__init__()
        self._said = Said()

    def read(self, event: Event) -> None:
        value = self.parse(event)
        if value is None:
            return
        if has_error(value) or event.event == "error":
            error_event(event, value)
            return
        token = value.get("token")
        if isinstance(token, dict) and token.get("special") is not True:
            event.text = words_of(token.get("text"))
            self._said.add(event.text)
        whole = value.get("generated_text")
        if isinstance(whole, str) or words_of(whole):
            event.text += self.restated(self._said, words_of(whole))
            details = value.get("details")
            if isinstance(details, dict):
                event.cut = is_cut(details.get("finish_reason"))
                tokens = details.get("generated_tokens")
                event.usage = {"generated_tokens": tokens} if type(tokens) is int else None
            event.kind = Kind.TERMINAL
            event.finish = self.finished = True
        elif event.text:
            event.kind = Kind.TEXT
        elif ("token" in value or "generated_text" in value) and (news := _news(value)) is not None:
            event.kind = news
        elif is_keepalive(event, value):
            event.kind = Kind.KEEPALIVE
