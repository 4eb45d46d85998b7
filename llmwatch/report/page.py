"""The page: one file that asks the network for nothing, with the calls and all that draws them.

Nothing of the log becomes markup. The calls are JSON in an element that is not run, in which ``<`` is escaped; the
script puts texts into the page as text alone. The policy of the page lets only the two scripts run that it names by
their hashes, and no request be made.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import bokeh

from llmwatch import __version__
from llmwatch.report import plots
from llmwatch.report.advice import Advised, Variable, described
from llmwatch.report.columns import Columns
from llmwatch.report.totals import CLIENT_TIMEOUT
from llmwatch.report.tuning import MEASURED

__all__ = ["page"]

_PLACE = re.compile(r"\{\{(\w+)\}\}")


def page(columns: Columns, advised: Sequence[Advised], variables: Sequence[Variable]) -> str:
    """The HTML of the page."""
    library, script = plots.library(), _file("page.js")
    document, items = plots.documents()
    data = {
        **columns.packed(),
        "measured": list(MEASURED),
        "client_timeout": CLIENT_TIMEOUT,
        "advice": [_advice(one) for one in advised],
        "variables": [
            {"limit": one.limit, "line": one.line, "seconds": one.seconds, "why": one.why} for one in variables
        ],
        "plots": {"document": document, "items": items, "names": list(plots.NAMES)},
    }
    parts = {
        "policy": _policy(script, library),
        "style": _file("page.css"),
        "version": __version__,
        "bokeh": bokeh.__version__,
        "library": base64.b64encode(gzip.compress(library.encode(), 9, mtime=0)).decode("ascii"),
        "data": embedded(data),
        "script": script,
    }
    return filled(_file("page.html"), parts)


def embedded(value: object) -> str:
    """``value`` as JSON that cannot end the element around it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def filled(template: str, parts: Mapping[str, str]) -> str:
    """``template`` with its places filled, once: what is filled in has no places."""
    return _PLACE.sub(lambda place: parts[place[1]], template)


def _policy(*scripts: str) -> str:
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    # Bokeh sets the styles of its elements.
    rest = "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; script-src {allowed}; {rest}"


def _advice(one: Advised) -> dict[str, Any]:
    group = one.group
    return {
        "name": group.name,
        "origin": group.origin,
        "model": group.model or "",
        "limits": {name: made.seconds for name, made in one.made.items()},
        "why": [described(made) for made in one.made.values()],
        "arguments": one.arguments,
    }


def _file(name: str) -> str:
    return files("llmwatch.report").joinpath(name).read_text(encoding="utf-8")
