"""The catalogue of all scripts by name.

``get("stall-after-content:tokens=5,framing=close")`` is a script with parameters. Each script takes ``shape``,
``framing`` and ``text``, and its own parameters, which ``SCRIPTS[name].parameters`` lists with their defaults.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from llmwatch.faults import (
    answers,
    awsstreams,
    content,
    cuts,
    encodings,
    floods,
    proxied,
    silence,
    statuses,
    tool_calls,
)
from llmwatch.faults.encodings import BAD_UTF8_ANSWER
from llmwatch.faults.script import ANSWER, Script, answer
from llmwatch.faults.tool_calls import TOOL_ARGUMENTS, TOOL_ID, TOOL_NAME, tool_arguments

__all__ = [
    "ANSWER",
    "BAD_UTF8_ANSWER",
    "SCRIPTS",
    "TOOL_ARGUMENTS",
    "TOOL_ID",
    "TOOL_NAME",
    "UnknownScript",
    "answer",
    "get",
    "tool_arguments",
]

_THEMES = (
    silence.SCRIPTS,
    floods.SCRIPTS,
    cuts.SCRIPTS,
    content.SCRIPTS,
    answers.SCRIPTS,
    statuses.SCRIPTS,
    encodings.SCRIPTS,
    tool_calls.SCRIPTS,
    awsstreams.SCRIPTS,
    proxied.SCRIPTS,
)

SCRIPTS: Mapping[str, Script] = MappingProxyType({script.name: script for theme in _THEMES for script in theme})


class UnknownScript(KeyError):
    """No script has this name; the message lists similar names."""

    def __str__(self) -> str:
        return str(self.args[0])


def get(name: str, **options: object) -> Script:
    """The script ``name``, with parameters from ``name:key=value,key=value`` and from the keywords.

    Raises ``UnknownScript`` (a ``KeyError``) for an unknown name, ``ValueError`` for an invalid parameter or value.
    """
    bare, colon, given = name.partition(":")
    if bare not in SCRIPTS:
        near = difflib.get_close_matches(bare, SCRIPTS, n=4, cutoff=0.5) or sorted(SCRIPTS)
        raise UnknownScript(f"no script {bare!r} in the catalogue; did you mean {', '.join(near)}?")
    script = SCRIPTS[bare]
    if colon:
        script = script.configured(given)
    return script.having(**options)
