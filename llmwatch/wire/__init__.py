"""From bytes to events: framing, fields, dialects, and collecting an answer. No I/O."""

from llmwatch.wire.collect import Collector, ToolCall
from llmwatch.wire.decoder import Decoder
from llmwatch.wire.dialects import (
    DialectDetector,
    DialectReader,
    check_dialect,
    names,
    register_dialect,
    unregister_dialect,
)
from llmwatch.wire.event import Event, Kind, Meaning, StreamError, ToolDelta, any_content
from llmwatch.wire.framing import MAX_EVENT, Framer, LineFramer
from llmwatch.wire.places import beginning, end_of_events
from llmwatch.wire.recognition import Recognition
from llmwatch.wire.refusal import is_loading, media_type, not_a_stream, provider_error
from llmwatch.wire.sniff import begins_lines
from llmwatch.wire.usage import Usage, tokens_of

__all__ = [
    "MAX_EVENT",
    "Collector",
    "Decoder",
    "DialectDetector",
    "DialectReader",
    "Event",
    "Framer",
    "Kind",
    "LineFramer",
    "Meaning",
    "Recognition",
    "StreamError",
    "ToolCall",
    "ToolDelta",
    "Usage",
    "any_content",
    "beginning",
    "begins_lines",
    "check_dialect",
    "end_of_events",
    "is_loading",
    "media_type",
    "names",
    "not_a_stream",
    "provider_error",
    "register_dialect",
    "tokens_of",
    "unregister_dialect",
]
