"""Streaming LLM calls that cannot hang, for synchronous Python."""

from llmwatch import sdk
from llmwatch.auth import refreshing
from llmwatch.client import Client, Collected, Stream, collect, effective_limits, request, stats, stream
from llmwatch.engine import DelayNotice, ProgressNotice, Resend, RetryNotice, WaitNotice
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
from llmwatch.policy import Limits, Retry
from llmwatch.records import AttemptRecord, CallRecord, Decision, Recovery
from llmwatch.session import Session, install, mount, uninstall
from llmwatch.watch import CancelToken
from llmwatch.wire import Event, Kind, Meaning, ToolCall, ToolDelta
from llmwatch.wrap import Iterating, beat, call, iterate, on_abort, paused, watched

__all__ = [
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
    "EmptyStream",
    "Event",
    "EventTooLarge",
    "Iterating",
    "Kind",
    "LLMWatchError",
    "Limits",
    "MalformedEvent",
    "Meaning",
    "NotAStream",
    "ProgressNotice",
    "ProviderError",
    "Recovery",
    "RefreshFailed",
    "Resend",
    "Retry",
    "RetryNotice",
    "Session",
    "Stream",
    "StreamCut",
    "StreamTruncated",
    "TooManyOrphans",
    "TooManyThreads",
    "ToolCall",
    "ToolDelta",
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
    "register_model_url",
    "register_reasoning_model",
    "request",
    "sdk",
    "stats",
    "stream",
    "uninstall",
    "watched",
]

__version__ = "0.1.0"
