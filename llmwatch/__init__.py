"""Streaming LLM calls that cannot hang, for synchronous Python.

Public are ``llmwatch``, ``llmwatch.errors``, ``llmwatch.records``, ``llmwatch.sdk``, ``llmwatch.faults`` and
``llmwatch.testing`` (with what they export), and the command line. Every other module may change with any version.

Which package answers which question; each imports only from those below it::

    cli           What does a command print, and with which code does it exit?
    report        What does a call log say: what happened, and which limits fit?
    testing       How is a program tested that makes calls: without waits, against faults?
    hooks         How are the calls of other libraries watched in place?
    proxy         How does a program in any language get watched calls, by a base URL on this machine?
    sdk           How does the client of a provider's SDK, or of httpx, get watched connections?
    auth          How is a token kept fresh by a refresh that cannot hang?
    session       How does code on requests get watched connections, and errors that it knows?
    wrap          How is a function or an iterator watched that makes its call itself?
    client        What does a user call: Client, Stream, Collected and the module's functions?
    engine        Which attempts make up a call, what waits between them, and what does a worker do?
    recovery      Why did an attempt fail, could a resend work, is it safe, and when?
    transport     How do requests and urllib3 send for an attempt, and on which socket?
    watch         Where does an attempt stand, which limit expires, and what ends it?
    policy        What has the user decided: limits, retries, variables, profiles?
    wire          What do the bytes mean, and is the answer whole?
    payload       What does the request's body ask for: model, stream, tools, prompt, choices?
    errors        What is raised?
    records       What is remembered of a call, and where does it go?
    redaction     What must not be repeated, and how is it taken out?
    lazy_names    How does a name of the package cost nothing until it is used?
    at_fork       What happens in a forked child, and in which order?
    interruption  Which exceptions are Ctrl-C, and not failures?
    lazy_pattern  How does a regular expression cost nothing until it is used?
    faults        How do providers fail? A server that does, for tests; it imports none of the above.

A call, from ``stream()`` to the socket and back:

1. The caller enters a ``Stream`` (client/client.py). Its reader (engine/call_reader.py) begins a
   ``Call`` (engine/call.py), which resolves limits and retries (policy), waits for its turn (engine/hosts.py), and
   starts an ``Attempt`` (watch/attempt.py). This registers with the supervisor and starts its worker, its own thread.
2. The worker runs engine/exchange.py. transport/sender.py has requests prepare and send, transport/pools.py hands out a
   connection, and transport/sockets.py gives the attempt a duplicate of the socket before it connects.
3. The worker reads what has come and reports it to the attempt, whose state machine (watch/machine.py) resets limits.
   wire/decoder.py makes events of the bytes, and the attempt puts them into its channel (watch/channel.py).
4. The caller takes events from the channel. When the attempt is over, engine/observe.py collects the facts and
   engine/planner.py asks recovery what follows: the call succeeds, begins its next attempt, or raises.

A kill, from the expiry of a limit to the exception:

1. The supervisor (watch/supervisor.py), one thread for the process, sleeps until the earliest expiry. It asks the
   attempt's state machine, which may grant a grace where bytes wait unread, and stores the verdict under the attempt's
   lock. The first verdict stands.
2. When every verdict of the moment is stored, the supervisor shuts the attempt's duplicates down and wakes the caller.
3. The caller does not wait for the worker. It hands out the events that came before, then decides as in step 4 above:
   a resend on another connection, or a ``WatchTimeout`` with ``recovery`` and ``record``.
4. The worker's blocked read returns at once. The worker finds the verdict, closes the connection and ends. The
   worker of a name look-up or of a watched function cannot be woken: it finds the verdict when that returns.

A worker that reads after an expiry stores the same verdict itself. Only the worker whose attempt owns a connection
closes its socket. An idle one is closed by the worker that takes it from the pool or returns it to a closed pool, by
the thread that closes the client or calls ``uninstall()`` (for the main thread, a helper: transport/aside.py), or by a
forked child, for itself. The worker releases its duplicate, all that is ever shut down, before it pools a connection.
"""

import typing as _typing

from llmwatch import lazy_names as _lazy_names

__all__ = [
    "UNSET",
    "AttemptRecord",
    "BodyTooLarge",
    "CallLog",
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
    "Reason",
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
    "label",
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

if _typing.TYPE_CHECKING:
    from llmwatch import sdk
    from llmwatch.auth import Refresh, Refreshing
    from llmwatch.auth.refreshing import refreshing
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
    from llmwatch.hooks.install import install, uninstall
    from llmwatch.payload import register_model_url, register_reasoning_model
    from llmwatch.policy import UNSET, EffectiveLimit, EffectiveLimits, Limits, OnRetry, Retry, Seconds, Unset
    from llmwatch.policy.label import label
    from llmwatch.records import AttemptRecord, CallLog, CallRecord, Decision, JsonLinesSink, Recovery, Sink
    from llmwatch.recovery import Reason
    from llmwatch.session import Session, mount
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
else:
    # Out of sight of type checkers, which would let any name pass.
    __getattr__, __dir__ = _lazy_names.functions(__name__, __all__)
