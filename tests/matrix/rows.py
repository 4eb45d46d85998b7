"""All rows of the matrix, section by section."""

from __future__ import annotations

from tests.matrix import cuts, process, silence
from tests.matrix.row import Row

__all__ = ["ROWS", "SECTIONS"]

SECTIONS: dict[str, tuple[Row, ...]] = {
    "Silence": silence.ROWS,
    "Cuts and wrong content": cuts.ROWS,
    "Abort, process, connection": process.ROWS,
    "Figures that people report": process.FIGURES,
}
"""The rows under their headings."""

ROWS: tuple[Row, ...] = tuple(row for rows in SECTIONS.values() for row in rows)
