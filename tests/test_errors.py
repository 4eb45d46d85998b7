"""The error tree: the meaning, the data and the copies of each class."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import dataclass
from typing import Any

import pytest

from llmwatch import errors
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
from tests.rows import each


@dataclass(frozen=True)
class Remembered:
    """Stands for a record: any frozen value."""

    number: int


def _provider() -> ProviderError:
    return ProviderError("said no", status=429, code="slow_down", type="rate_limit", retry_after=1.5, retryable=True)


SAMPLES: dict[str, LLMWatchError] = {
    "root": LLMWatchError("something"),
    "timeout": WatchTimeout("no first byte", limit="ttfb", limit_seconds=45.0, phase="waiting", elapsed=45.001),
    "deadline": WatchTimeout("out of time", limit="deadline", limit_seconds=60.0, phase="waiting", elapsed=60.5),
    "connect": ConnectFailed("refused", cause="refused"),
    "unknown host": ConnectFailed("no such host", cause="dns"),
    "cut": StreamCut("reset"),
    "truncated": StreamTruncated("no end"),
    "empty": EmptyStream("nothing"),
    "page": NotAStream("a page"),
    "malformed": MalformedEvent("not JSON"),
    "large": EventTooLarge("17 MiB"),
    "body": BodyTooLarge("2 GiB"),
    "provider": _provider(),
    "bare provider": ProviderError("said no"),
    "circuit": CircuitOpen("open", retry_after=12.5),
    "orphans": TooManyOrphans("64 workers"),
    "threads": TooManyThreads("no thread"),
    "refresh": RefreshFailed(
        "timed out", retryable=True, limit="refresh", limit_seconds=30.0, phase="waiting", elapsed=30.001
    ),
    "cancelled": Cancelled("given up", by="user"),
    "config": ConfigError("not a number", field="ttfb", value="soon"),
}
# What else each class is, and whether a resend could work.
TREE: dict[type[LLMWatchError], tuple[tuple[type[BaseException], ...], bool]] = {
    WatchTimeout: ((TimeoutError, OSError), True),
    ConnectFailed: ((ConnectionError, OSError), True),
    StreamCut: ((ConnectionError, OSError), True),
    StreamTruncated: ((), True),
    EmptyStream: ((), True),
    NotAStream: ((), True),
    MalformedEvent: ((), True),
    EventTooLarge: ((), False),
    BodyTooLarge: ((), False),
    ProviderError: ((), False),
    CircuitOpen: ((), True),
    TooManyOrphans: ((), True),
    TooManyThreads: ((), True),
    RefreshFailed: ((), False),
    Cancelled: ((), False),
    ConfigError: ((ValueError,), False),
}
FOREIGN = (TimeoutError, ConnectionError, OSError, ValueError, TypeError, RuntimeError, KeyError)


def fresh(cls: type[LLMWatchError]) -> LLMWatchError:
    """An error of that class made with what it needs and no more."""
    needed: dict[type[LLMWatchError], dict[str, Any]] = {
        WatchTimeout: {"limit": "stale", "limit_seconds": 1.0, "phase": "content", "elapsed": 1.0},
        ConnectFailed: {"cause": "refused"},
        CircuitOpen: {"retry_after": 1.0},
        Cancelled: {"by": "user"},
    }
    return cls("a message", **needed.get(cls, {}))


def test_the_tree_is_complete() -> None:
    """Every class of the module is the root or stands in the tree, and is exported."""
    classes = {cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, LLMWatchError)}
    assert classes == {*TREE, LLMWatchError}
    assert set(errors.__all__) == {cls.__name__ for cls in classes}
    assert {type(sample) for sample in SAMPLES.values()} == classes


def test_the_tree_is_the_one_that_the_docstring_draws() -> None:
    """Each class stands in the drawing, with what it also is."""
    drawing = {line.split("── ")[1].split()[0]: line for line in (errors.__doc__ or "").splitlines() if "── " in line}
    assert set(drawing) == {cls.__name__ for cls in TREE}
    for cls, (bases, _) in TREE.items():
        for base in bases[:1]:
            assert f"(also {base.__name__})" in drawing[cls.__name__]
        assert bases or "(also" not in drawing[cls.__name__]


@each("cls", TREE)
def test_each_class_is_caught_as_its_documented_bases(cls: type[LLMWatchError]) -> None:
    """An error is caught as the root, as the builtins that the tree names, and as nothing else."""
    bases, _ = TREE[cls]
    assert issubclass(cls, LLMWatchError)
    assert {base for base in FOREIGN if issubclass(cls, base)} == set(bases)
    assert [other for other in TREE if issubclass(cls, other)] == [cls]


@each("cls", TREE)
def test_each_class_is_retryable_or_not(cls: type[LLMWatchError]) -> None:
    """Each class knows by itself whether a resend could work."""
    assert fresh(cls).retryable is TREE[cls][1]


@each(
    ("limit", "retryable"),
    [
        *(
            (limit, True)
            for limit in [
                "connect",
                "send",
                "headers",
                "ttfb",
                "first_event",
                "first_content",
                "stale",
                "progress",
                "total",
            ]
        ),
        ("deadline", False),
    ],
)
def test_every_limit_but_the_deadline_is_retryable(limit: str, retryable: bool) -> None:
    """The deadline belongs to the whole call, so another attempt cannot help."""
    assert (
        WatchTimeout("out of time", limit=limit, limit_seconds=1.0, phase="waiting", elapsed=1.5).retryable is retryable
    )


@pytest.mark.parametrize(
    ("cause", "retryable"),
    [
        ("refused", True),
        ("reset", True),
        ("dns", False),
        ("dns_temporary", True),
        ("tls", False),
        ("proxy", False),
        ("unreachable", True),
    ],
)
def test_unknown_hosts_and_certificates_are_not_retryable(cause: str, retryable: bool) -> None:
    """An unknown host and a certificate stay as they are.

    The caller of the constructor has the last word.
    """
    assert ConnectFailed("failed", cause=cause).retryable is retryable
    assert ConnectFailed("failed", cause=cause, retryable=not retryable).retryable is not retryable


@pytest.mark.parametrize("retryable", [True, False])
def test_the_constructor_may_set_retryable(retryable: bool) -> None:
    """If a class allows it, ``retryable`` is the constructor's argument."""
    assert ProviderError("said no", retryable=retryable).retryable is retryable
    assert RefreshFailed("failed", retryable=retryable).retryable is retryable
    assert LLMWatchError("failed", retryable=retryable).retryable is retryable


@each("name", SAMPLES)
def test_an_error_says_its_message(name: str) -> None:
    """``str`` is the message, in errors with several bases too."""
    sample = SAMPLES[name]
    assert str(sample) == sample.message == sample.args[0]
    assert sample.message in repr(sample)


@each("name", SAMPLES)
def test_an_error_begins_without_a_history(name: str) -> None:
    """Recovery, record and partial text are there and empty until the loop fills them in."""
    sample = SAMPLES[name]
    assert (sample.recovery, sample.record, sample.partial) == (None, None, "")


def copies(error: LLMWatchError) -> dict[str, LLMWatchError]:
    """The error through every way of copying it."""
    found = {
        f"pickle {protocol}": pickle.loads(pickle.dumps(error, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    }
    return found | {"copy": copy.copy(error), "deepcopy": copy.deepcopy(error)}


@each("name", SAMPLES)
@each("filled", [False, True])
def test_an_error_survives_copying(name: str, filled: bool) -> None:
    """Pickled, copied or deeply copied, an error has the same class, attributes and message.

    The protocol of pickling makes no difference.
    """
    original = copy.copy(SAMPLES[name])
    if filled:
        original.recovery = Remembered(1)  # type: ignore[assignment]
        original.record = Remembered(2)  # type: ignore[assignment]
        original.partial = "Once upon a ti"
    for way, again in copies(original).items():
        assert type(again) is type(original), way
        assert again is not original
        assert again.__dict__ == original.__dict__, way
        assert again.args == original.args, way
        assert str(again) == str(original), way
        assert again.retryable is original.retryable, way
        if isinstance(original, OSError):
            assert isinstance(again, OSError)
            assert (again.errno, again.strerror) == (original.errno, original.strerror), way


def test_a_copied_error_can_be_raised_and_caught() -> None:
    """An unpickled error behaves as an exception of all its bases."""
    for base in (WatchTimeout, TimeoutError, OSError, LLMWatchError):
        with pytest.raises(base, match="no first byte"):
            raise pickle.loads(pickle.dumps(SAMPLES["timeout"]))


def test_notes_are_copied() -> None:
    """A note of ``add_note`` stays with the copy."""
    error = copy.copy(SAMPLES["cut"])
    error.__notes__ = ["on the third attempt"]  # add_note needs Python 3.11
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["on the third attempt"]


class Derived(WatchTimeout):
    """As the drop-in entry points derive errors: another constructor, one more attribute."""

    def __init__(self, origin: WatchTimeout) -> None:
        super().__init__(
            origin.message,
            limit=origin.limit,
            limit_seconds=origin.limit_seconds,
            phase=origin.phase,
            elapsed=origin.elapsed,
        )
        self.extra = "more"


def test_a_derived_error_with_another_constructor_survives_copying() -> None:
    """Copying does not call the constructor, so it need not know its arguments."""
    origin = SAMPLES["timeout"]
    assert isinstance(origin, WatchTimeout)
    for again in copies(Derived(origin)).values():
        assert type(again) is Derived
        assert (again.limit, again.limit_seconds, again.phase, again.extra) == ("ttfb", 45.0, "waiting", "more")


def test_a_bad_setting_is_kept_as_text() -> None:
    """The value of a ConfigError may be anything, so only its representation is carried."""
    error = ConfigError("that is invalid", field="limits", value=lambda: None)
    assert error.value is not None
    assert error.value.startswith("<function")
    assert pickle.loads(pickle.dumps(error)).value == error.value
    assert ConfigError("that is invalid").value is None


def test_details_are_keyword_only() -> None:
    """Only the message is a positional argument."""
    for cls in [*TREE, LLMWatchError]:
        with pytest.raises(TypeError):
            cls("message", "more")  # type: ignore[call-arg]
