"""Streaming LLM calls that cannot hang, for synchronous Python.

Public are ``llmwatch``, ``llmwatch.errors``, ``llmwatch.records``, ``llmwatch.sdk``, ``llmwatch.faults`` and the
command line. Every other module may change with any version.
"""

from llmwatch import sdk
from llmwatch.auth import Refresh, Refreshing, refreshing
from llmwatch.client import Client, Collected, Stream, collect, effective_limits, request, stats, stream
from llmwatch.engine import DelayNotice, Notice, NoticeCallback, ProgressNotice, Resend, RetryNotice, WaitNotice
from llmwatch.errors import (
    BodyTooLarge,
    Cancelled,
    CircuitOpen,
    ConfigError,
    ConnectFailed,
    EmptyStream,
    EventTooLarge,
    LLMWatchError,
    MalformedEvent,
    NotAStream,
    ProviderError,
    RefreshFailed,
    StreamCut,
    StreamTruncated,
    TooManyOrphans,
    TooManyThreads,
    WatchTimeout,
)
from llmwatch.payload import register_model_url, register_reasoning_model
from llmwatch.policy import UNSET, EffectiveLimit, EffectiveLimits, Limits, OnRetry, Retry, Seconds, Unset
from llmwatch.records import AttemptRecord, CallRecord, Decision, JsonLinesSink, Recovery, Sink
from llmwatch.session import Session, install, mount, uninstall
from llmwatch.watch import CancelToken
from llmwatch.wire import (
    DialectDetector,
    DialectReader,
    Event,
    Kind,
    Meaning,
    StreamError,
    ToolCall,
    ToolDelta,
    Usage,
    register_dialect,
    unregister_dialect,
)
from llmwatch.wrap import Iterating, beat, call, iterate, on_abort, paused, watched

__all__ = [
    "UNSET",
    "AttemptRecord",
    "BodyTooLarge",
    "CallRecord",
    "CancelToken",
    "Cancelled",
    "CircuitOpen",
    "Client",
    "Collected",
    "ConfigError",
    "ConnectFailed",
    "Decision",
    "DelayNotice",
    "DialectDetector",
    "DialectReader",
    "EffectiveLimit",
    "EffectiveLimits",
    "EmptyStream",
    "Event",
    "EventTooLarge",
    "Iterating",
    "JsonLinesSink",
    "Kind",
    "LLMWatchError",
    "Limits",
    "MalformedEvent",
    "Meaning",
    "NotAStream",
    "Notice",
    "NoticeCallback",
    "OnRetry",
    "ProgressNotice",
    "ProviderError",
    "Recovery",
    "Refresh",
    "RefreshFailed",
    "Refreshing",
    "Resend",
    "Retry",
    "RetryNotice",
    "Seconds",
    "Session",
    "Sink",
    "Stream",
    "StreamCut",
    "StreamError",
    "StreamTruncated",
    "TooManyOrphans",
    "TooManyThreads",
    "ToolCall",
    "ToolDelta",
    "Unset",
    "Usage",
    "WaitNotice",
    "WatchTimeout",
    "beat",
    "call",
    "collect",
    "effective_limits",
    "install",
    "iterate",
    "mount",
    "on_abort",
    "paused",
    "refreshing",
    "register_dialect",
    "register_model_url",
    "register_reasoning_model",
    "request",
    "sdk",
    "stats",
    "stream",
    "uninstall",
    "unregister_dialect",
    "watched",
]

__version__ = "0.1.0"
