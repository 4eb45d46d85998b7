"""The page in a real browser: what it draws and says, and what the filters do to it."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser

from llmwatch import CallRecord
from llmwatch.report.columns import Columns
from llmwatch.report.totals import Totals
from tests.cli.traffic import LENGTH, MINI, ORIGINS, SLOW, STEADY, planned
from tests.page.browser import Opened, opened
from tests.page.test_document import NASTY, page_of
from tests.report.making import answered, hung, refused

PLAN = planned()
TELEPHONE = {"viewport": {"width": 375, "height": 812}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def totals(log: Path) -> Totals:
    """The numbers that ``report --text`` prints."""
    made = Totals()
    for line in log.read_text(encoding="ascii").splitlines():
        made.add(CallRecord.from_json(line))
    return made


def numbers(totals: Totals) -> dict[str, int]:
    """The numbers at the top of the page."""
    names = {"done": "good"}
    return {"calls": totals.calls, **{names.get(name, name): totals.outcomes[name] for name in OUTCOMES}}


OUTCOMES = ("done", "recovered", "failed", "cancelled")


def colour(page: Opened, name: str) -> tuple[int, ...]:
    """A colour of the page's style, as red, green and blue."""
    text: str = page.page.evaluate(
        "name => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()", name
    )
    return tuple(bytes.fromhex(text.lstrip("#")))


def picture(page: Opened, selector: str) -> Image.Image:
    """An element as the browser shows it."""
    return Image.open(io.BytesIO(page.page.locator(selector).screenshot())).convert("RGB")


def near(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= 12 for a, b in zip(one, other, strict=True))


def column_at(page: Opened, plot: str, value: float) -> int:
    """The pixel of a value on the horizontal axis of a plot, from its left."""
    place: float = page.page.evaluate(
        """([name, value]) => {
            const model = Bokeh.documents[0].get_model_by_name(name), view = Bokeh.index.get_one(model);
            return view.frame.x_scale.compute(value);
        }""",
        [plot, value],
    )
    return round(place)


def drawn_in(picture: Image.Image, wanted: tuple[int, ...], columns: range) -> int:
    """The number of pixels of a colour in some columns."""
    found = 0
    for x in columns:
        for y in range(picture.height):
            pixel = picture.getpixel((x, y))
            assert isinstance(pixel, tuple)
            found += near(pixel, wanted)
    return found


def test_it_opens_without_a_request_or_a_complaint(browser: Browser, page: Path) -> None:
    """Nothing is loaded, and the console has no warning and no error."""
    with opened(browser, page) as shown:
        assert (shown.requests, shown.noted) == ([], [])


def test_its_numbers_are_those_of_the_text(browser: Browser, page: Path, totals: Totals) -> None:
    """Calls by outcome, by name, and lost attempts by cause."""
    with opened(browser, page) as shown:
        assert shown.tiles() == numbers(totals)
        for name in ("model", "status", "process", "label"):
            rows = shown.page.locator(f"table[data-by={name}] tbody tr").all()
            cells = [[cell.inner_text() for cell in row.locator("td").all()] for row in rows]
            expected = {
                "none" if value is None else str(value): [sum(counts), *counts] for value, counts in totals.rows(name)
            }
            assert {row[0]: [int(cell.replace(",", "")) for cell in row[1:]] for row in cells} == expected
        causes = shown.page.locator("#causes tbody tr").all()
        assert len(causes) == len(totals.lost)
        first = [cell.inner_text() for cell in causes[0].locator("td").all()]
        assert first[:9] == [MINI, "127.0.0.1:8441", "limit ttfb", "waiting", "none", "16", "14", "13", "1"]
        recovered = totals.outcomes["recovered"]
        assert f"{recovered} calls got their answers by a resend" in shown.text("#saved")
        assert "Limits ended 32 hanging attempts" in shown.text("#saved")
        assert "5.3 h more" in shown.text("#saved")


def test_it_says_which_model_hung_when_how_often_and_what_it_cost(browser: Browser, page: Path, totals: Totals) -> None:
    """A sentence for each kind, hangs first, and the lines to set."""
    silent = totals.lost[ORIGINS[0], MINI, "ttfb", None]
    with opened(browser, page) as shown:
        sentences = [item.inner_text() for item in shown.page.locator("#findings li").all()]
        clock = shown.page.evaluate(
            "times => times.map(at => new Date(at * 1000).toISOString().slice(11, 19))", [silent.first, silent.last]
        )
        assert sentences[0] == (
            f"{MINI} at 127.0.0.1:8441 hung 16 times between {clock[0]} and {clock[1]}: it was silent before its first"
            " byte (ended by the limit ttfb of 0.8 s). Of 14 calls, 13 got their answers by a resend, 1 failed; it cost"
            f" {silent.seconds:.1f} s."
        )
        assert sentences[1].startswith(f"{STEADY} at 127.0.0.1:8441 hung 13 times between ")
        assert "it stalled in mid-answer (ended by the limit stale of 1.2 s). Of 13 calls, 9 got" in sentences[1]
        assert sentences[2].startswith(f"{SLOW} at 127.0.0.1:8442 hung 3 times between ")
        assert "All 3 calls failed" in sentences[2]
        assert len(sentences) == 7
        assert shown.text("#set").splitlines() == [
            "LLMWATCH_TTFB_TIMEOUT_SECONDS=0.9",
            "LLMWATCH_FIRST_CONTENT_TIMEOUT_SECONDS=1.1",
            "LLMWATCH_STALE_TIMEOUT_SECONDS=1.2",
        ]


def test_every_call_is_in_the_bars_and_every_lost_attempt_has_a_mark(
    browser: Browser, page: Path, totals: Totals
) -> None:
    """The heights of the bars add up to the calls; the axis of time spans them."""
    with opened(browser, page) as shown:
        bars = shown.data("timeline-bars")
        heights = [top - bottom for top, bottom in zip(bars["top"], bars["bottom"], strict=True)]
        assert sum(heights) == totals.calls
        by_colour = Counter[str]()
        for name, height in zip(bars["color"], heights, strict=True):
            by_colour[name] += height
        assert sorted(by_colour.values()) == sorted(totals.outcomes.values())
        marks = shown.data("lost-marks")
        assert len(marks["x"]) == sum(one.attempts for one in totals.lost.values())
        assert Counter(marks["marker"])["x"] == totals.outcomes["failed"]
        span = shown.page.evaluate("(({start, end}) => [start, end])(Bokeh.documents[0].get_model_by_name('time'))")
        assert span[0] / 1000 < totals.first < totals.first + LENGTH - 5 < span[1] / 1000
        assert shown.data("lost-names")["text"][0] == f" {STEADY}: 34 attempts lost"


def test_the_limits_are_drawn_where_they_are(browser: Browser, page: Path) -> None:
    """In force and recommended, as lines of their colours at their places on the axis."""
    with opened(browser, page) as shown:
        force, advice = shown.data("ttfb-force"), shown.data("ttfb-advice")
        assert force["x"] == [2.5, 0.8, 0.9]
        assert advice["x"] == [0.8]
        assert [words for words in shown.data("ttfb-words")["text"] if "ended" in words] == ["16 ended"]
        drawn = picture(shown, "#plot-ttfb")
        for value, name in ((2.5, "force"), (0.8, "advice")):
            place = column_at(shown, "ttfb", value)
            assert drawn_in(drawn, colour(shown, name), range(place - 1, place + 2)) > 15, name
        between = column_at(shown, "ttfb", 1.7)
        assert drawn_in(drawn, colour(shown, "force"), range(between - 1, between + 2)) == 0
        bars = shown.data("ttfb-bars")
        assert bars["left"][0] > 0.0009
        assert max(bars["right"]) < 1.2
        ticks = shown.page.evaluate(
            """() => { const axis = Bokeh.documents[0].get_model_by_name("ttfb").below[0];
                return axis.ticker.ticks.map(tick => axis.major_label_overrides.get(tick)); }"""
        )
        assert ticks[6:9] == ["100 ms", "200 ms", "500 ms"]


@pytest.mark.parametrize("model", [STEADY, MINI, SLOW])
def test_a_filter_acts_on_everything(browser: Browser, page: Path, model: str) -> None:
    """Numbers, sentences, tables and plots are of that model alone; all are back when it is taken off."""
    wanted = [call for call in PLAN if call.model == model]
    with opened(browser, page) as shown:
        before = shown.tiles()
        shown.choose(model=model)
        assert shown.tiles()["calls"] == len(wanted)
        assert shown.text("#showing") == f"{len(wanted):,} of {len(PLAN):,} calls are shown."
        assert {item.locator("b").first.inner_text() for item in shown.page.locator("#findings li").all()} == {model}
        bars = shown.data("timeline-bars")
        assert sum(bars["top"]) - sum(bars["bottom"]) == len(wanted)
        assert len(shown.data("ttfb-names")["text"]) == 1
        assert all(model in words for words in shown.data("slowest-names")["text"])
        assert all(model in item.inner_text() for item in shown.page.locator("#slowest summary").all())
        shown.page.click("button[type=reset]")
        shown.page.wait_for_function("() => document.getElementById('showing').textContent.startsWith('All')")
        assert shown.tiles() == before


def test_filters_hold_together(browser: Browser, page: Path, totals: Totals) -> None:
    """Label, outcome, origin and time; none that passes is said."""
    with opened(browser, page) as shown:
        shown.choose(outcome="failed")
        assert shown.tiles() == {"calls": 13, "good": 0, "recovered": 0, "failed": 13, "cancelled": 0}
        shown.choose(origin="127.0.0.1:8442")
        assert shown.tiles()["failed"] == 3
        shown.choose(outcome="recovered")
        assert shown.tiles()["calls"] == 0
        assert shown.text("#findings") == "No call passes the filters."
        shown.choose(outcome="all", origin="all", label="chat")
        assert shown.tiles()["calls"] == sum(call.label == "chat" for call in PLAN)
        shown.choose(label="no label")
        assert shown.tiles()["calls"] == sum(call.label is None for call in PLAN)


def test_dragging_across_the_calls_chooses_their_time(browser: Browser, page: Path) -> None:
    """The filter of time is set to what was dragged over, and the axis follows."""
    with opened(browser, page) as shown:
        shown.page.locator("#plot-timeline").scroll_into_view_if_needed()
        area = shown.page.locator("#plot-timeline").bounding_box()
        assert area is not None
        middle = area["y"] + area["height"] / 2
        shown.page.mouse.move(area["x"] + area["width"] * 0.3, middle)
        shown.page.mouse.down()
        shown.page.mouse.move(area["x"] + area["width"] * 0.6, middle, steps=5)
        shown.page.mouse.up()
        shown.page.wait_for_function("() => document.getElementById('from').value !== ''")
        chosen = shown.tiles()["calls"]
        assert len(PLAN) * 0.25 < chosen < len(PLAN) * 0.35
        bars = shown.data("timeline-bars")
        assert sum(bars["top"]) - sum(bars["bottom"]) == chosen


def test_the_slowest_calls_have_their_own_timeline(browser: Browser, page: Path) -> None:
    """The slowest was silent thrice: three silences in its bar, and a line for each attempt."""
    with opened(browser, page) as shown:
        words = [text for text in shown.data("slowest-bars")["words"] if text.startswith("call 1:")]
        assert sum("silent, 0.80" in text for text in words) == 3
        assert sum("waiting to send again" in text for text in words) == 2
        summary = shown.page.locator("#slowest summary").first
        assert f"{MINI}, label nightly/" in summary.inner_text()
        assert "failed, 3 attempts" in summary.inner_text()
        summary.click()
        lines = [line.inner_text() for line in shown.page.locator("#slowest li").first.locator("p").all()]
        assert len(lines) == 4
        assert all("killed by the limit ttfb of 0.8 s in phase waiting" in line for line in lines[:3])
        assert ", call " in lines[3]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_legible_in_both_schemes(browser: Browser, page: Path, scheme: str) -> None:
    """Text and back stand apart, and the plots have the scheme's colours."""
    with opened(browser, page, color_scheme=scheme) as shown:
        back, text = colour(shown, "card"), colour(shown, "text")
        assert (sum(back) < sum(text)) == (scheme == "dark")
        assert abs(sum(back) - sum(text)) > 500
        drawn = picture(shown, "#plot-timeline")
        assert drawn_in(drawn, colour(shown, "good"), range(100, 400)) > 5_000
        assert drawn_in(drawn, back, range(100, 400)) > 2_000


def test_a_change_of_scheme_repaints_the_plots(browser: Browser, page: Path) -> None:
    """Marks get the colours of the new scheme."""
    with opened(browser, page, color_scheme="light") as shown:
        before = shown.data("timeline-bars")["color"]
        shown.page.emulate_media(color_scheme="dark")
        shown.page.wait_for_function(
            "first => Bokeh.documents[0].get_model_by_name('timeline-bars').data.color[0] !== first",
            arg=before[0],
        )
        assert not set(before) & set(shown.data("timeline-bars")["color"])


def test_it_fits_a_telephone(browser: Browser, page: Path, totals: Totals) -> None:
    """At 375 pixels nothing is wider than the screen, the plots fill it, and a drag scrolls."""
    with opened(browser, page, **TELEPHONE) as shown:
        assert shown.page.evaluate("document.documentElement.scrollWidth") == 375
        assert shown.tiles() == numbers(totals)
        for plot in ("timeline", "ttfb", "slowest"):
            area = shown.page.locator(f"#plot-{plot}").bounding_box()
            assert area is not None
            assert 300 < area["width"] < 375
        assert not shown.page.locator("#drag").is_visible()
        assert shown.page.evaluate(
            "Bokeh.documents[0].get_model_by_name('timeline').toolbar.tools.every(tool => tool.name !== 'select')"
        )
        assert (shown.requests, shown.noted) == ([], [])


def test_names_of_the_log_are_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    """Markup in a label, an entry point or an origin makes no element and runs nothing."""
    columns = Columns()
    columns.add(answered(1, label=NASTY, entry_point=NASTY))
    columns.add(hung(2, 10.0, label=NASTY))
    path = tmp_path / "nasty.html"
    path.write_text(page_of(columns), encoding="utf-8")
    with opened(browser, path) as shown:
        assert shown.page.locator("img").count() == 0
        assert NASTY in shown.text("table[data-by=label]")
        shown.choose(label=NASTY)
        assert shown.tiles()["calls"] == 2
        shown.page.locator("#slowest summary").first.click()
        assert NASTY in shown.text("#slowest")
        assert (shown.requests, shown.noted) == ([], [])


def test_one_call_is_enough(browser: Browser, tmp_path: Path) -> None:
    """A log of one good call, or of one that failed at once, is drawn as well."""
    for name, record in (("good", answered(1)), ("failed", refused(1))):
        columns = Columns()
        columns.add(record)
        path = tmp_path / f"{name}.html"
        path.write_text(page_of(columns), encoding="utf-8")
        with opened(browser, path) as shown:
            assert shown.tiles()["calls"] == shown.tiles()[name] == 1
            assert (shown.requests, shown.noted) == ([], [])


def test_an_old_browser_says_so(browser: Browser, page: Path) -> None:
    """Without a way to unpack its data the page says what it needs."""
    with browser.new_context() as context:
        context.add_init_script("delete window.DecompressionStream")
        shown = Opened(context.new_page())
        shown.go(page)
        assert "It needs a browser of 2023 or later." in shown.text("body > p.bad")
