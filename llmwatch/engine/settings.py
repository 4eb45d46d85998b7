"""Settings of a client, options of a call, the logs and the unknown names in the environment."""

from __future__ import annotations

import logging
import os
import random as randomness
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, get_type_hints

from llmwatch.engine.hosts import Hosts
from llmwatch.engine.library_loop import LibraryLoop
from llmwatch.engine.notices import NoticeCallback
from llmwatch.engine.request import CallRequest
from llmwatch.engine.timeouts import Timeouts
from llmwatch.errors import ConfigError
from llmwatch.interruption import is_interruption
from llmwatch.payload import IDEMPOTENT, is_model_call
from llmwatch.policy import (
    Limits,
    Retry,
    check_profile,
    environment,
    resolve_keepalive,
    resolve_max_body,
    resolve_max_event,
    resolve_override,
)
from llmwatch.policy.environment import (
    CALL_LOG_VARIABLE,
    INCIDENT_LOG_VARIABLE,
    LOG_SIZE_VARIABLE,
    STATUS_FILE_VARIABLE,
)
from llmwatch.records import CallLog, Sink
from llmwatch.records.call_log import MAX_BYTES
from llmwatch.records.log import log_failure
from llmwatch.records.sinks import IncidentLog, JsonLinesSink
from llmwatch.recovery import EntryPoint
from llmwatch.transport.retries import AdapterRetries
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.cancel import CancelToken
from llmwatch.watch.clock import SYSTEM, Clock
from llmwatch.wire import MAX_EVENT, check_dialect

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "CallOptions",
    "ClientSettings",
    "RequestKind",
    "Settings",
    "checked_settings",
    "environment_sinks",
    "log_unknown",
    "shows_settings",
]

F = TypeVar("F", bound=Callable[..., Any])


class RequestKind(Enum):
    """The kind of a request, by the server's work until the answer is complete.

    ``STREAM`` sends events as they arise. ``PLAIN`` is a model call that is silent and at work until its whole answer,
    so a kill after sent means slow but alive. ``OTHER`` is any other request: it has the limits of a plain call, but
    nothing shows that the server is at work.
    """

    STREAM = "stream"
    PLAIN = "plain"
    OTHER = "other"


class ClientSettings(TypedDict, total=False):
    """The settings that every entry point takes; :class:`~llmwatch.Client` explains each."""

    limits: Limits | None
    retry: Retry | None
    profile: str | None
    dialect: str
    keepalive: float | None
    max_event: int | None
    max_body: int | None
    override_timeouts: bool
    sinks: Sequence[Sink]
    on_notice: NoticeCallback | None
    notice_every: float


def _ignore_start(attempt: Attempt[Any]) -> None:
    """Ignore the start of an attempt: the default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a client's calls. Times in seconds; the environment decides a value of ``None``."""

    limits: Limits | None = None
    retry: Retry | None = None
    profile: str | None = None
    dialect: str = "auto"
    keepalive: float | None = None
    max_event: int | None = None
    max_body: int | None = None
    override_timeouts: bool = False
    sinks: Sequence[Sink] = ()
    on_notice: NoticeCallback | None = None
    notice_every: float = 1.0
    started: Callable[[Attempt[Any]], None] = _ignore_start
    hosts: Hosts = field(default_factory=Hosts)
    clock: Clock = SYSTEM
    random: Callable[[], float] = randomness.random

    @property
    def heeds_timeouts(self) -> bool:
        """Whether the time-outs that a request carries count. Reads the environment."""
        return not resolve_override(self.override_timeouts, os.environ)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """The options of one call.

    * ``whole``: the caller gets nothing before the end, whatever the entry point. ``documents_whole``: the same for a
      document that answers a plain call. ``strict``: a fault in an answer that is handed on as it comes ends the call.
    * ``redirected``: a session follows a redirect of a model call; the answer has the bounds of that call. ``ends_at``
      is then the instant at which the ``deadline`` of that call ends.
    * ``library_loop``: the library around the call makes every resend, that for a dead connection too; this is one of
      the loop's requests.
    * ``adapter_retries`` are asked if no other rule resends. ``timeouts`` are those of the request.
    * ``recorded_as``: the entry point's name in the record, where it is not that of ``entry_point``.
    * ``caps`` lower limits and never raise one: seconds by name, from ``caps_source``.
    """

    request: CallRequest
    entry_point: EntryPoint
    request_kind: RequestKind = RequestKind.STREAM
    whole: bool = False
    documents_whole: bool = False
    strict: bool = False
    redirected: bool = False
    library_loop: LibraryLoop | None = None
    limits: Limits | None = None
    retry: Retry | None = None
    cancel: CancelToken | None = None
    adapter_retries: AdapterRetries | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    recorded_as: str = ""
    caps: Mapping[str, float] = field(default_factory=dict)
    caps_source: str = ""
    ends_at: float | None = None

    @property
    def plain(self) -> bool:
        """Whether this is a model call that is silent until its answer is complete."""
        return self.request_kind is RequestKind.PLAIN

    @property
    def telling(self) -> bool:
        """Whether the request's body tells what the server will do.

        The body of a model call does: it names the tools. For any other request only an idempotent method tells,
        whatever ``on_retry`` makes of the body.
        """
        request = self.request
        if self.entry_point is EntryPoint.REQUEST:
            known = is_model_call(request.method, request.url, request.body)
        else:
            known = self.entry_point is not EntryPoint.SESSION or self.request_kind is not RequestKind.OTHER
        return known or request.method in IDEMPOTENT

    @property
    def decides_as(self) -> EntryPoint:
        """The entry point whose rules judge a failure."""
        return EntryPoint.COLLECT if self.whole else self.entry_point


def checked_settings(**settings: Unpack[ClientSettings]) -> Settings:
    """The arguments as :class:`Settings`.

    Raises :class:`~llmwatch.ConfigError` for invalid values, :class:`TypeError` for a wrong name or type.
    """
    unknown = [name for name in settings if name not in ClientSettings.__annotations__]
    if unknown:
        known = ", ".join(ClientSettings.__annotations__)
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}; the settings are {known}")
    given = Settings(**settings)
    if given.limits is not None and not isinstance(given.limits, Limits):
        raise TypeError(f"limits must be a Limits, such as Limits(ttfb=45), not {given.limits!r}")
    if given.retry is not None and not isinstance(given.retry, Retry):
        raise TypeError(f"retry must be a Retry, such as Retry(max_attempts=3), not {given.retry!r}")
    sinks = () if callable(given.sinks) else tuple(given.sinks)
    if callable(given.sinks) or not all(map(callable, sinks)):
        raise TypeError(f"sinks must be a sequence of functions of a record, such as [print], not {given.sinks!r}")
    if given.on_notice is not None and not callable(given.on_notice):
        raise TypeError(f"on_notice must be a function of a notice, such as print, not {given.on_notice!r}")
    check_dialect(given.dialect)
    every = given.notice_every
    if isinstance(every, bool) or not isinstance(every, (int, float)) or not 0 < every < 1e6:
        raise ConfigError(
            f"notice_every must be a number of seconds above 0, not {every!r}.", field="notice_every", value=every
        )
    if given.profile is not None:
        check_profile(given.profile)
    resolve_keepalive(given.keepalive, {})
    resolve_max_event(given.max_event, {}, default=MAX_EVENT)
    resolve_max_body(given.max_body, {})
    resolve_override(given.override_timeouts, {})
    return replace(given, sinks=sinks)


def shows_settings(function: F) -> F:
    """Show each setting of ``function(..., **settings)`` as a parameter with its default, for ``help()``,
    :func:`inspect.signature` and :func:`typing.get_type_hints`. Type checkers expand the settings by themselves.
    """
    hints = get_type_hints(Settings)
    settings = [setting for setting in fields(Settings) if setting.name in ClientSettings.__annotations__]
    shown = [
        Parameter(setting.name, Parameter.KEYWORD_ONLY, default=setting.default, annotation=setting.type)
        for setting in settings
    ]
    own = signature(function)
    *parameters, catch_all = own.parameters.values()
    keywords = [parameter for parameter in parameters if parameter.kind is Parameter.KEYWORD_ONLY]
    before = parameters[: len(parameters) - len(keywords)]
    function.__signature__ = own.replace(parameters=[*before, *shown, *keywords])  # type: ignore[attr-defined]
    del function.__annotations__[catch_all.name]
    function.__annotations__.update({setting.name: hints[setting.name] for setting in settings})
    return function


L = TypeVar("L", bound=JsonLinesSink)

# The logs that were opened in this process, by class and absolute path, and by class and the name given. The latter
# serves when the working directory is gone, or is another one in which no file can be made. No lock: if two threads
# open the same log at once, setdefault() keeps one of the two sinks.
_opened: dict[tuple[object, str], Any] = {}
_LOGGED: tuple[Sink, ...] = (log_failure,)
_NONE: tuple[Sink, ...] = ()


def environment_sinks(environ: Mapping[str, str]) -> tuple[tuple[Sink, ...], tuple[Sink, ...], str | None]:
    """The sinks of incidents and the sinks of every call that the environment adds to the client's.

    The third value is the name of the status file, ``None`` without one.

    Raises :class:`ConfigError` for a log that cannot be written and never could be in this process: the variable is
    wrong. A log that is lost later harms no call; its sink reports it. A relative name is looked up in each working
    directory. If it cannot be opened there, the file of an earlier directory stays the log.
    """
    named = environment.settings(environ)
    if INCIDENT_LOG_VARIABLE not in named and CALL_LOG_VARIABLE not in named and STATUS_FILE_VARIABLE not in named:
        return _LOGGED, _NONE, None
    incidents, calls = _LOGGED, _NONE
    if INCIDENT_LOG_VARIABLE in named:
        incidents += (
            _opened_log(IncidentLog, INCIDENT_LOG_VARIABLE, named, lambda path: IncidentLog(path, now=SYSTEM.now)),
        )
    if CALL_LOG_VARIABLE in named:
        size = environment.bytes_from(named, LOG_SIZE_VARIABLE)
        log = _opened_log(CallLog, CALL_LOG_VARIABLE, named, CallLog)
        log.max_bytes = MAX_BYTES if size is None else size
        calls = (log,)
    return incidents, calls, environment.status_file_from(named)


def _opened_log(kind: type[L], variable: str, named: Mapping[str, str], make: Callable[[str], L]) -> L:
    path = named[variable]
    try:
        known = _absolute(path)
        log: L | None = _opened.get((kind, known))
        if log is None:
            log = _opened.setdefault((kind, known), make(path))
        _opened[kind, path] = log
        return log
    except OSError as error:
        if is_interruption(error):
            raise
        before: L | None = _opened.get((kind, path))
        if before is not None:
            return before
        raise ConfigError(
            f"{variable}={path} is not usable: {error.strerror}. Name a file in a"
            " directory that exists and can be written, or unset it.",
            field=variable,
            value=path,
        ) from None


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)
    except OSError as error:
        if is_interruption(error):
            raise
        return path


_log = logging.getLogger("llmwatch")

_MOST_NAMES = 100
"""The most names that are logged: some programs generate names of variables."""

# The names that were logged. A dict's setdefault is one step of the interpreter: one of many threads logs a name, and
# there is no lock that a forked child could find held.
_told: dict[str, object] = {}


def log_unknown(environ: Mapping[str, str]) -> None:
    """Log a warning for each unknown variable of ``environ`` that begins with ``LLMWATCH_``.

    The warning names the variable that was probably meant, and never shows a value. Raises nothing.
    """
    # A handler of the log may raise anything; a warning must not end a call.
    try:
        for name, text in environment.settings(environ).items():
            if name in environment.KNOWN_VARIABLES or name in _told or len(_told) >= _MOST_NAMES:
                continue
            this = object()
            if _told.setdefault(name, this) is this:
                for sentence in environment.unknown({name: text}):
                    _log.warning("llmwatch: %s", sentence)
    except Exception as error:
        if is_interruption(error):
            raise
