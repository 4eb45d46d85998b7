"""Scripts: the behaviour of a server for one request, with a name and parameters.

A script's ``play`` is a function of a :class:`Context` that yields steps. Its keyword-only parameters are the script's
parameters (``"stall-after-content:tokens=5"``).
"""

from __future__ import annotations

import inspect
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from llmwatch.faults.request import Request
from llmwatch.faults.shapes.choice import NAMES
from llmwatch.faults.shapes.shape import Shape
from llmwatch.faults.steps import End, Framing, Head, ReadBody, Step

__all__ = ["ANSWER", "ENDLESS", "FRAMINGS", "Context", "Option", "Play", "Script", "answer", "read_all", "tokens_of"]

ANSWER = (
    "A watchdog counts silence, not work: naïve, café, 語 and 🐕 pass through whole, "
    "and what was said once is never said twice.\nThe end."
)
"""The default text of the answers."""

FRAMINGS: tuple[Framing, ...] = ("chunked", "length", "close")

ENDLESS = 1 << 40
"""The Content-Length of an endless body."""

_MISSING = 1 << 20

Play = Callable[..., Iterable[Step]]
"""A function that yields the steps of an answer, or of reading a request."""

Option = str | int | float | bool
"""The value of a script's parameter."""

_OPTION = re.compile(r",(?=[a-z_]+=)")
_TOKEN = re.compile(r"\s*\S+|\s+\Z")


def tokens_of(text: str, count: int = 0) -> list[str]:
    """``text`` cut before white space: all tokens once (``count`` 0), or ``count`` tokens, cyclically."""
    tokens = _TOKEN.findall(text)
    return list(itertools.islice(itertools.cycle(tokens), count)) if count else tokens


def answer(tokens: int = 0, text: str = ANSWER) -> str:
    """The first ``tokens`` tokens of ``text``, joined; all of them with 0."""
    return "".join(tokens_of(text, tokens))


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The request that a script answers, and the means to answer it.

    ``shape`` is new for each request and counts the written pieces. ``streaming`` is false for a plain call, whose
    answer is one JSON document. ``url`` is the server's URL.
    """

    request: Request
    shape: Shape
    framing: Framing
    text: str
    streaming: bool
    url: str

    def tokens(self, count: int = 0) -> list[str]:
        return tokens_of(self.text, count)

    def opening(self) -> list[bytes]:
        """The blocks before the content."""
        return self.shape.opening() if self.streaming else []

    def content(self, tokens: int = 0) -> list[bytes]:
        """The content of ``tokens`` tokens (0: all); in a plain call the first half of the document."""
        if self.streaming:
            return [block for token in self.tokens(tokens) for block in self.shape.text(token)]
        document = self.document()
        return [document[: len(document) // 2]]

    def part(self, tokens: int) -> list[bytes]:
        """The beginning of an answer: the blocks before the content, and ``tokens`` tokens."""
        return [*self.opening(), *(self.content(tokens) if tokens else [])]

    def ending(self, reason: str = "stop") -> list[bytes]:
        """The blocks after the content: the finish reason, usage and the terminal event."""
        if not self.streaming:
            document = self.document()
            return [document[len(document) // 2 :]]
        return [*self.shape.finish(reason), *self.shape.usage(), *self.shape.terminal()]

    def whole(self, tokens: int = 0) -> list[bytes]:
        """A complete answer, one block for each event."""
        if not self.streaming:
            return [self.document()]
        return [*self.part(0), *self.content(tokens), *self.ending()]

    def document(self) -> bytes:
        """The answer of a plain call."""
        return to_json(type(self.shape)(self.request.number).plain(self.text))

    def error_document(self, status: int, message: str = "") -> bytes:
        """The body of an HTTP error in this shape."""
        kind = _ERROR_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        return to_json(self.shape.error_body(kind, str(status), message or f"The fault server answers {status}."))

    def answer(
        self,
        steps: Iterable[Step],
        *,
        status: int = 200,
        headers: Iterable[tuple[str, str]] = (),
        content_type: str | None = None,
        framing: Framing | None = None,
        ends: bool = True,
    ) -> Iterator[Step]:
        """Head, body and end of an answer, with a Content-Length if the framing needs one.

        With ``ends=False`` the body is left open: the last chunk is missing, or the length is too large.
        """
        body = list(steps)
        length = sum(step.body_length() for step in body)
        if math.isinf(length):
            length = ENDLESS
        elif not ends:
            length += _MISSING
        if content_type is None:
            content_type = self.shape.content_type if self.streaming else "application/json"
        identity = f"req_fault{self.request.number}"
        fixed = [("Content-Type", content_type), ("x-request-id", identity), ("request-id", identity)]
        yield Head(status, [*fixed, *headers], framing or self.framing, int(length))
        yield from body
        if ends:
            yield End()


_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def to_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def read_all() -> Iterable[Step]:
    """The default reading of a request: the whole body at once."""
    return (ReadBody(),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The behaviour of a server for one request.

    ``reading(**parameters)`` yields the steps that read the request's body; then ``play(context, **parameters)`` yields
    the steps of the answer. ``phases`` are the parts of the exchange in which the fault shows (``send``, ``headers``,
    ``body``, ``end``); empty for a complete answer. ``shape``, ``framing`` and ``text`` override the server's.
    """

    name: str
    description: str
    play: Play
    reading: Play = read_all
    phases: tuple[str, ...] = ()
    shape: str | None = None
    framing: Framing | None = None
    text: str | None = None
    options: Mapping[str, Option] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, *steps: Step, description: str = "") -> Script:
        """A script that plays ``steps`` for any request."""
        return cls(name=name, description=description, play=lambda context: steps)

    @property
    def parameters(self) -> dict[str, Option]:
        """The script's own parameters with their defaults."""
        return {**_defaults(self.reading), **_defaults(self.play)}

    @property
    def label(self) -> str:
        """The name with the given options."""
        given = [f"{key}={value}" for key, value in self.options.items()]
        return self.name + (":" + ",".join(given) if given else "")

    def having(self, **options: object) -> Script:
        """This script with parameters set. Every script takes ``shape``, ``framing`` and ``text``.

        Raises ``ValueError`` for an unknown parameter, or a value of the wrong type.
        """
        script, own = self, dict(self.options)
        known = self.parameters
        for key, value in options.items():
            if key in known:
                own[key] = _convert(self.name, key, value, known[key])
            elif key == "shape":
                script = replace(script, shape=_one_of(self.name, key, value, NAMES))
            elif key == "framing":
                chosen = _one_of(self.name, key, value, FRAMINGS)
                script = replace(script, framing=next(name for name in FRAMINGS if name == chosen))
            elif key == "text":
                script = replace(script, text=str(value))
            else:
                listed = ", ".join([*known, "shape", "framing", "text"])
                raise ValueError(f"script {self.name!r} has no parameter {key!r}; it has {listed}")
        return replace(script, options=own)

    def configured(self, options: str) -> Script:
        """This script with parameters from ``key=value,key=value``; a value may contain a comma."""
        given = {}
        for option in _OPTION.split(options):
            key, equals, value = option.partition("=")
            if not equals:
                raise ValueError(f"script {self.name!r}: {option!r} is not key=value")
            given[key.strip()] = value
        return self.having(**given)

    def read_steps(self) -> Iterable[Step]:
        return self.reading(**self._those_of(self.reading))

    def answer_steps(self, context: Context) -> Iterable[Step]:
        return self.play(context, **self._those_of(self.play))

    def _those_of(self, function: Play) -> dict[str, Option]:
        return {key: value for key, value in self.options.items() if key in _defaults(function)}


def _defaults(function: Play) -> dict[str, Option]:
    parameters = inspect.signature(function).parameters.values()
    return {one.name: one.default for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}


def _one_of(script: str, key: str, value: object, allowed: Iterable[str]) -> str:
    if value not in tuple(allowed):
        raise ValueError(f"script {script!r}: {key} is {value!r}, not one of {', '.join(allowed)}")
    return str(value)


def _convert(script: str, key: str, value: object, default: Option) -> Option:
    kind = type(default)
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    try:
        if kind is bool and str(value).lower() in ("true", "false", "1", "0", "yes", "no"):
            return str(value).lower() in ("true", "1", "yes")
        if kind is float and isinstance(value, (str, int)):
            number = float(value)
            if number >= 0 and math.isfinite(number):
                return number
        elif kind is int and isinstance(value, str):
            return int(value)
    except ValueError:
        pass
    raise ValueError(f"script {script!r}: {key} is {value!r}, but must be of the kind of {default!r}")
