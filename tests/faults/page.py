"""The catalogue as a page: ``python -m tests.faults.page`` writes ``llmwatch/faults/README.md``."""

from __future__ import annotations

import inspect
from pathlib import Path

import llmwatch.faults
from llmwatch.faults import Script
from llmwatch.faults.catalogue import SCRIPTS
from llmwatch.faults.shapes.choice import SHAPES

__all__ = ["PATH", "page"]

PATH = Path(llmwatch.faults.__file__).with_name("README.md")

_BEGINNING = """\
# The catalogue of faults

How providers and networks fail, as a server that does it on purpose. `python -m tests.faults.page` makes this page from
the code. A fault stands for one request; the last one that is named repeats.

| you test | what you write |
|---|---|
| a Python program, with pytest | `provider = llm_faults("silent", "healthy")`: see `help(llmwatch.testing)` |
| a program in any language | `llmwatch faults serve silent healthy --port 8000` |
| anything, by hand | `with llmwatch.faults.FaultServer(["silent", "healthy"]) as server:` |

Parameters follow the name: `drip:every=0.5,size=1`. Every fault takes `shape` (else the request's path decides),
`framing` (`chunked`, `length` or `close`) and `text` as well. *Shows in* names the parts of the exchange in which the
fault shows; where it is empty, the answer is whole.
"""


def page() -> str:
    """The text of the page."""
    lines = [_BEGINNING, "## Faults\n", "| name | what the server does | parameters | shows in |", "|---|---|---|---|"]
    lines += [_row(script) for script in SCRIPTS.values()]
    lines += ["", "## Shapes of an answer\n", "| shape | path of a call | base URL of its client |", "|---|---|---|"]
    lines += [f"| `{name}` | `{shape.path}` | `http://127.0.0.1:PORT{shape.base}` |" for name, shape in SHAPES.items()]
    return "\n".join(lines) + "\n"


def _row(script: Script) -> str:
    parameters = ", ".join(f"`{key}={_value(value)}`" for key, value in script.parameters.items())
    notes = " ".join(inspect.cleandoc(script.play.__doc__ or "").replace("``", "`").split())
    said = f"{script.description}. {notes}".strip() if notes else script.description
    return f"| `{script.name}` | {said} | {parameters} | {', '.join(script.phases)} |".replace("|  |", "| |")


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    PATH.write_text(page(), encoding="utf-8")
