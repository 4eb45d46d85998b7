"""The plots of the page: models of Bokeh with empty sources, which the page's script fills.

Healthy calls come as bins, so that the number of marks does not grow with the number of calls.
"""

from __future__ import annotations

from typing import Any, Literal

from bokeh.core.properties import value
from bokeh.document import Document
from bokeh.models import BoxSelectTool, ColumnDataSource, CrosshairTool, FixedTicker, HoverTool, Range1d
from bokeh.plotting import figure
from bokeh.resources import Resources

from llmwatch.report.tuning import MEASURED

__all__ = ["NAMES", "documents", "library"]

_FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', sans-serif"
_LEFT = 56
"""Pixels left of the plots that share an axis of time; one has an axis of numbers there."""

_TICKS = [digit * 10.0**power for power in range(-3, 5) for digit in (1, 2, 5)]
_BARS = ("left", "right", "bottom", "top", "color", "words")

NAMES = ("timeline", "lost", *MEASURED, "slowest")
"""The plots; each is drawn into the element of this name with ``plot-`` before it."""


def library() -> str:
    """Bokeh's script, which has everything that these plots need."""
    return "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)


def documents() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The arguments of ``Bokeh.embed.embed_items``: all plots, and where each is drawn."""
    document = Document()
    time = Range1d(start=0, end=1, name="time")
    plots = [_timeline(time), _lost(time), *map(_distribution, MEASURED), _slowest()]
    for plot in plots:
        document.add_root(plot)
    items = [
        {
            "docid": "report",
            "roots": {plot.id: f"plot-{name}" for name, plot in zip(NAMES, plots, strict=True)},
            "root_ids": [plot.id for plot in plots],
        }
    ]
    return {"report": document.to_json(deferred=False)}, items


def _source(name: str, *columns: str) -> ColumnDataSource:
    return ColumnDataSource({column: [] for column in columns}, name=name)


def _figure(
    name: str, *, height: int, x: Literal["linear", "log", "datetime"] = "linear", left: int = 0, **more: Any
) -> Any:
    plot = figure(
        name=name,
        height=height,
        sizing_mode="stretch_width",
        x_axis_type=x,
        toolbar_location=None,
        tools=[],
        min_border=0,
        min_border_left=left,
        min_border_right=8,
        min_border_bottom=6,
        outline_line_color=None,
        background_fill_alpha=0,
        border_fill_alpha=0,
        **more,
    )
    plot.axis.major_label_text_font = _FONT
    plot.axis.axis_label_text_font = _FONT
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.major_label_text_font_size = "12px"
    plot.axis.axis_label_text_font_size = "12px"
    plot.axis.minor_tick_line_color = None
    plot.xgrid.visible = x != "datetime"
    return plot


def _rows(plot: Any) -> None:
    # Names of rows stand above their bars: beside the plot they would take half of a telephone.
    plot.yaxis.visible = False
    plot.ygrid.visible = False
    names = _source(f"{plot.name}-names", "x", "y", "text")
    plot.text(
        x="x",
        y="y",
        text="text",
        source=names,
        text_font=value(_FONT),
        text_font_size="12px",
        text_baseline="bottom",
        name="names",
    )


def _hover(plot: Any, *renderers: Any) -> None:
    # The words are made by the page's script; Bokeh shows them as text.
    plot.add_tools(HoverTool(tooltips=[("", "@words")], renderers=list(renderers), point_policy="follow_mouse"))


def _timeline(time: Any) -> Any:
    plot = _figure("timeline", height=170, x="datetime", left=_LEFT, x_range=time, y_range=Range1d(start=0, end=1))
    plot.yaxis.axis_label = "calls"
    plot.xaxis.visible = False
    source = _source("timeline-bars", *_BARS)
    bars = plot.quad(
        left="left", right="right", bottom="bottom", top="top", fill_color="color", line_color=None, source=source
    )
    bars.nonselection_glyph = bars.glyph
    _hover(plot, bars)
    select = BoxSelectTool(dimensions="width", name="select")
    plot.add_tools(select)
    plot.toolbar.active_drag = select
    return plot


def _lost(time: Any) -> Any:
    plot = _figure("lost", height=120, x="datetime", left=_LEFT, x_range=time, y_range=Range1d(start=1, end=0))
    plot.xaxis.axis_label = "time"
    spans = _source("lost-spans", "x0", "x1", "y", "color")
    plot.segment(x0="x0", x1="x1", y0="y", y1="y", line_color="color", line_width=3, source=spans)
    marks = _source("lost-marks", "x", "y", "color", "marker", "words")
    drawn = plot.scatter(
        x="x",
        y="y",
        marker="marker",
        size=9,
        fill_color="color",
        fill_alpha=0.25,
        line_color="color",
        line_width=2,
        source=marks,
    )
    _hover(plot, drawn)
    _rows(plot)
    return plot


def _distribution(name: str) -> Any:
    plot = _figure(name, height=160, x="log", x_range=Range1d(start=0.01, end=10), y_range=Range1d(start=1, end=0))
    plot.xaxis.ticker = FixedTicker(ticks=_TICKS)
    plot.xaxis.major_label_overrides = {tick: _duration(tick) for tick in _TICKS}
    bars = _source(f"{name}-bars", *_BARS)
    drawn = plot.quad(
        left="left", right="right", bottom="bottom", top="top", fill_color="color", line_color=None, source=bars
    )
    for which, dash in (("force", "solid"), ("advice", "dashed")):
        limits = _source(f"{name}-{which}", "x", "y0", "y1", "color")
        plot.segment(x0="x", x1="x", y0="y0", y1="y1", line_color="color", line_width=2, line_dash=dash, source=limits)
    ends = _source(f"{name}-ends", "x", "y", "color")
    plot.scatter(x="x", y="y", marker="x", size=9, line_color="color", line_width=2, source=ends)
    words = _source(f"{name}-words", "x", "y", "color", "text")
    plot.text(
        x="x",
        y="y",
        text="text",
        text_color="color",
        x_offset=7,
        source=words,
        text_font=value(_FONT),
        text_font_size="11px",
        text_baseline="middle",
    )
    _hover(plot, drawn)
    _rows(plot)
    return plot


def _duration(tick: float) -> str:
    return f"{tick * 1000:g} ms" if tick < 1 else f"{tick:,g} s"


def _slowest() -> Any:
    plot = _figure("slowest", height=400, x_range=Range1d(start=0, end=1), y_range=Range1d(start=1, end=0))
    plot.xaxis.axis_label = "seconds since the call began"
    bars = _source("slowest-bars", *_BARS)
    drawn = plot.quad(
        left="left", right="right", bottom="bottom", top="top", fill_color="color", line_color=None, source=bars
    )
    marks = _source("slowest-marks", "x", "y", "color", "marker")
    plot.scatter(x="x", y="y", marker="marker", size=9, line_color="color", fill_color="color", source=marks)
    _hover(plot, drawn)
    plot.add_tools(CrosshairTool(dimensions="height"))
    _rows(plot)
    return plot
