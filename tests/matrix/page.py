"""The matrix as a page: ``python -m tests.matrix.page`` writes ``README.md`` beside this file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.matrix.row import ALL, NAMES, SOME, TRANSPORTS, Case, Cell, Row
from tests.matrix.rows import SECTIONS

__all__ = ["PATH", "page"]

PATH = Path(__file__).with_name("README.md")

# Times have the scale of the machine that reads them.
_TIMES = re.compile(r"(?<=[:,])(?:every|after|delay|gap)=[^,]*,?|[:,](?:every|after|delay|gap)=[^,]*$")

_HEAD = """\
# The fault matrix

What providers, proxies and networks do to streaming calls, and what each entry point makes of it. Made from the rows in
this folder by `python -m tests.matrix.page`; `test_cells.py` plays every cell over plain TCP and over TLS, and checks
besides it that threads and descriptors are back where they were.

`stream`, `collect` and `request` are a `Client`'s; `Session` is `llmwatch.Session` with `stream=True`; `sdk` is the
provider's SDK by `llmwatch.sdk`; `httpx` is an untouched client under `llmwatch.install()`. `×2` are requests that
reached the server. Of the text, `4 words` means that the first four were handed out before the error.
"""


def page() -> str:
    """The page's text."""
    return "\n".join([_HEAD, *(line for section, rows in SECTIONS.items() for line in _section(section, rows))])


def _section(section: str, rows: tuple[Row, ...]) -> Iterator[str]:
    yield f"## {section}\n"
    notes: dict[str, int] = {}
    yield f"| fault | the server does | must be observed | case | {' | '.join(NAMES)} |"
    yield "|" + "---|" * (4 + len(NAMES))
    for row in rows:
        head = f"`{row.name}` | {row.does} | {row.observe}"
        for case in row.cases:
            yield f"| {head} | {_case(case, notes)} | {' | '.join(_cell(case.cells[name], notes) for name in NAMES)} |"
            head = " | | "
        if row.tests:
            said = ", ".join(f"`{test.removeprefix('tests/')}`" for test in row.tests)
            reason = f"{row.apart}: " if row.apart else ""
            yield f"| {head} | {reason}{said} |{' |' * len(NAMES)}"
    yield ""
    yield from (f"{number}. {text}" for text, number in notes.items())
    yield ""


def _case(case: Case, notes: dict[str, int]) -> str:
    played = ", ".join(f"`{_TIMES.sub('', one) if isinstance(one, str) else one.name}`" for one in case.scripts)
    said = [f"{case.name}: {played}" if case.name else played]
    if case.server != "up":
        said.append(f"server {case.server}")
    if case.shape != "openai-chat":
        said.append(case.shape)
    said += [f"`{name}`" for name in case.limits]
    for transport in TRANSPORTS:
        if transport in case.transports:
            said.append(f"not {transport} {_note(case.transports[transport], notes)}")
    return "; ".join(said)


def _cell(cell: Cell | str, notes: dict[str, int]) -> str:
    if isinstance(cell, str):
        return f"– {_note(cell, notes)}"
    if cell.error is not None:
        said = f"`{cell.error.__name__}`" + (f" `{cell.limit}`" if cell.limit else "")
    else:
        said = "answer" if cell.tokens == ALL and cell.status is None else "as it came"
        said += f" {cell.status}" if cell.status not in (None, 200) else ""
        said += f", record: `{cell.fault}`" if cell.fault else ""
    said += f" ×{cell.requests}"
    if cell.error is not None and cell.tokens:
        said += ", words as they came" if cell.tokens == SOME else f", {cell.tokens} words"
    return said + (f", {' or '.join(f'`{reason}`' for reason in cell.reasons)}" if cell.reasons else "")


def _note(text: str, notes: dict[str, int]) -> str:
    return f"[{notes.setdefault(text, len(notes) + 1)}]"


if __name__ == "__main__":
    PATH.write_text(page())
