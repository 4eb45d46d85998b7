"""The dialects, which give events their meaning: one module for each, and their registry."""

from llmwatch.wire.dialects.base import Dialect
from llmwatch.wire.dialects.detect import (
    DialectDetector,
    by_event,
    by_url,
    check_dialect,
    create,
    names,
    register_dialect,
    unregister_dialect,
)
from llmwatch.wire.dialects.generic import DialectReader

__all__ = [
    "Dialect",
    "DialectDetector",
    "DialectReader",
    "by_event",
    "by_url",
    "check_dialect",
    "create",
    "names",
    "register_dialect",
    "unregister_dialect",
]
