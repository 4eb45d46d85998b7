"""The command that measures all figures: its table, its JSON and its choice of figures.

Nothing here asserts a time.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmwatch import Client, Retry
from llmwatch.engine import call
from tests.bench.kill_lag import Noted, ours
from tests.bench.measure import Figure, Result, Sample, Spread, as_json, pairs, table
from tests.bench.runner import MODULES, figures_of, main, measured, run, wanted
from tests.bench.server import running

FIGURE = Figure(name="kind.one", what="ours / theirs", goal=1.5)
EXPECTED = """
    events.client events.session events.sdk
    short_streams.client short_streams.session short_streams.sdk
    plain_calls.client plain_calls.session plain_calls.sdk
    import_time.llmwatch
    kill_lag.p50 kill_lag.p99 kill_lag.together kill_lag.many
    stream_memory.stream many_streams.bare many_streams.flat hand_over.p50 hand_over.p99
    recovery_time.dead large_event.bare large_event.linear long_stream.memory long_stream.time
    reporting.record reporting.incident_log reporting.on_notice
    stages.read stages.frame stages.fields stages.parse stages.classify stages.hand_over stages.caller
    left_alone.request flood_lag.most faulted_calls.threads faulted_calls.descriptors faulted_calls.memory
"""


def samples(*processor: float) -> list[Sample]:
    """A sample of each processor time, with twice the wall time."""
    return [Sample(seconds, 2 * seconds, 1) for seconds in processor]


def test_each_figure_has_a_module_a_meaning_and_a_goal() -> None:
    figures = [figure for module in MODULES for figure in figures_of(module)]
    names = [figure.name for figure in figures]
    assert len(set(names)) == len(names)
    assert set(EXPECTED.split()) <= set(names)
    for module in MODULES:
        assert all(figure.name.startswith(f"{module}.") for figure in figures_of(module))
    assert all(figure.what and figure.goal >= 0 for figure in figures)
    assert sum(figure.goal for figure in figures_of("stages")) == pytest.approx(1.0)


def test_names_choose_modules_and_figures() -> None:
    assert list(wanted([])) == list(MODULES)
    chosen = wanted(["import_time", "events.session"])
    assert [figure.name for figures in chosen.values() for figure in figures] == [
        "events.session",
        "import_time.llmwatch",
        "import_time.client",
    ]
    with pytest.raises(SystemExit):
        main(["no-such-figure"])


def test_pairs_alternate() -> None:
    order: list[str] = []
    pairs(lambda: order.append("ours"), lambda: order.append("theirs"), 3)
    assert order == ["ours", "theirs", "ours", "theirs", "theirs", "ours", "ours", "theirs"]


def test_the_ratio_is_of_pairs_and_the_worst_run_counts_where_each_must_reach_the_goal() -> None:
    ours, theirs = samples(1, 4, 9), samples(1, 2, 3)
    result = Result.of(FIGURE, list(zip(ours, theirs, strict=True)))
    assert result.value == Spread(3, 2, 1, 1.5, 2.5, 3)
    assert not FIGURE.reached(result.value)
    assert FIGURE.reached(Spread.of([1, 1, 9]))
    assert not Figure(name="kind.two", what="worst", goal=1.5, each=True).reached(Spread.of([1, 1, 9]))
    line = table([result, Result(figure=FIGURE, value=None)]).splitlines()
    assert line[1].split()[-1] == "no"
    assert line[2].endswith("not measured")
    assert [one["judged"] for one in json.loads(as_json([result], quick=False))["figures"]] == [2]


def test_a_cheap_figure_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "figures.json"
    assert main(["import_time.llmwatch", "--quick", "--json", str(path)]) == 0
    output = capsys.readouterr().out
    assert "import_time.llmwatch" in output
    assert "<= 0.300 x" in output
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["quick"]
    (figure,) = found["figures"]
    assert figure["figure"]["goal"] == 0.3
    assert figure["value"]["median"] > 0
    assert figure["value"]["least"] <= figure["judged"] <= figure["value"]["most"]
    assert figure["ours"]["median"] > 0
    assert figure["theirs"]["median"] > 0


def test_calls_to_a_server_are_measured() -> None:
    (result,) = measured("plain_calls", ["plain_calls.client"], True)
    assert result.value is not None
    assert result.value.count == 3
    assert result.notes == ("connections opened in 200 calls more: 0, 0 without llmwatch",)


def test_the_lag_of_a_kill_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "Attempt", Noted)
    with running("silent") as url, Client(retry=Retry.none()) as client:
        lags = ours(client, url, streams=3, step=0.0)
    assert 0 < lags.p50 <= lags.p99 <= lags.most


def test_a_figure_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.runner.fresh", lambda *_: 1 / 0)
    (result,) = run({"kind": [FIGURE]}, quick=True)
    assert result.value is None
    assert "ZeroDivisionError" in result.notes[0]
