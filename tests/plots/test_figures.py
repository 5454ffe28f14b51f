"""Figures: what they say is true, what they leave out is said, what comes from data acts on nothing."""

import json
import math
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.plots.curves import learning_curves, optimism_chart
from heldout.plots.errors import errors_by_step, errors_over_time, residuals
from heldout.plots.forecasts import forecast_chart
from heldout.plots.intervals import coverage_chart
from heldout.plots.scores import losses_by_fold, series_chart, skill_chart
from heldout.plots.splits import split_chart
from heldout.plots.theme import label_axes, without_title
from heldout.plots.values import log_axis, plain

HOSTILE = "</script><img src=x onerror=alert(1)><b>%{customer}</b>\u202e&lt;"


def row(name, skill, low=None, high=None):
    return {"name": name, "value": 1 - skill, "skill_vs_naive": skill, "skill_low": low, "skill_high": high}


def part(start, stop):
    return {"first_origin": start, "last_origin": stop, "last_label": stop + 3, "n": stop - start + 1}


def fit(label, best=2, n=6):
    epochs = [{"epoch": e, "train_loss": 1 / (e + 1), "valid_loss": 1 + (e - best) ** 2} for e in range(n)]
    return {"label": label, "epochs": epochs, "best_epoch": best}


def every_figure(name="y", n=50):
    """One of each kind, with ``name`` wherever text comes from data."""
    rng = np.random.default_rng(0)
    days = [(date(2020, 1, 1) + timedelta(k)).isoformat() for k in range(n)]
    truth = rng.normal(size=n)
    step = {"mean": 0.2, "low": 0.1, "high": 0.3}
    parts = {"name": name, "train": part(0, 50), "valid": part(53, 60), "test": part(63, 90)}
    kind = {"level": 0.9, "coverage": 0.8, "coverage_low": 0.7, "coverage_high": 0.9, "width": 1.0}
    return {
        "skill": skill_chart([row("heldout", 0.2, 0.1, 0.3), row("naive", 0.0), row(name, -9.0)]),
        "series": series_chart([{"series": f"{name}{k}", "loss": 1.0, "naive": 1.0, "skill": k / n - 0.5} for k in range(n)]),
        "folds": losses_by_fold({"heldout": [[1.0, 2.0], [2.0, 1.0]], "naive": [[2.0], [3.0]], name: [[3.0], [4.0]]}),
        "curves": learning_curves([fit(f"{name}, seed {s}") for s in range(2)] + [fit("final, seed 0")]),
        "optimism": optimism_chart({"train": 1.0, "in_period": 1.2, "future": 1.4, "optimism": step, "drift": step}),
        "forecast": label_axes(
            forecast_chart(days, truth, truth + 0.1, low=truth - 1, high=truth + 1, history=(days, truth), level=0.9), y=name
        ),
        "time": errors_over_time(days, truth, naive_error=2 * truth),
        "step": errors_by_step(range(1, n + 1), np.arange(1, n + 1.0), np.arange(1, n + 1.0) ** 1.1),
        "residuals": residuals(truth),
        "coverage": coverage_chart([kind | {"method": "conformal", "promised": False}, kind | {"method": name}]),
        "splits": split_chart([parts, parts], {"target": name, "time": [0, 90], "low": [0.0, 1.0], "high": [1.0, 2.0]}),
    }  # fmt: skip


@pytest.fixture(scope="module")
def figures():
    return every_figure()


def texts(value):
    """All strings of a figure but its description, which no figure draws."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            if key != "meta":
                yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def test_every_figure_says_what_it_shows_with_numbers(figures):
    for name, figure in figures.items():
        meta = figure.layout.meta
        assert any(c.isdigit() for c in meta["description"]), name
        assert meta["title"] in meta["description"]
        assert figure.layout.title.text.replace("<br>", " ").replace("&lt;", "<") == meta["title"]


def test_text_from_data_is_shown_and_never_acts():
    for name, figure in every_figure(HOSTILE).items():
        for text in texts(json.loads(figure.to_json())):
            bare = text.replace("<br>", "").replace("<extra></extra>", "")
            assert "<" not in bare, (name, text)
            assert "%{customer}" not in text, (name, text)
            assert "\u202e" not in text


def test_axes_and_titles_hold_on_light_and_dark_pages(figures):
    for figure in figures.values():
        layout = figure.layout.template.layout
        assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0,0,0,0)"
        assert layout.font.color == "#757575"
        said = figure.to_plotly_json()["layout"]
        assert "color" not in said["title"]["font"]
        assert all("color" not in note.get("font", {}) for note in said.get("annotations", []))


def test_a_figure_without_its_title_is_lower_by_it(figures):
    for figure in figures.values():
        bare = without_title(figure)
        assert bare.layout.title.text is None
        plot = [f.layout.height - f.layout.margin.t for f in (figure, bare)]
        assert plot[0] == plot[1]
        assert bare.layout.margin.t >= 12
        assert figure.layout.title.text


def test_a_long_run_stays_small_and_what_is_left_out_is_said():
    n = 100_000
    rng = np.random.default_rng(0)
    stamps = np.datetime64("2000-01-01") + np.arange(n) * np.timedelta64(1, "h")
    truth = rng.normal(size=n).cumsum()
    drawn = forecast_chart(stamps, truth, truth, low=truth - 1, high=truth + 1)
    assert len(drawn.to_json()) < 400_000
    assert "2,000 of 100,000" in drawn.layout.meta["note"]
    assert "neighbouring" in errors_over_time(stamps, truth).layout.meta["note"]
    assert len(errors_over_time(stamps, truth).to_json()) < 20_000
    assert len(residuals(truth).to_json()) < 20_000
    runs = [fit(f"fold {f}, seed {s}", n=1000) for f in range(30) for s in range(20)]
    curves = learning_curves(runs)
    assert "96 of 600 fits" in curves.layout.meta["note"]
    assert len(curves.to_json()) < 1_500_000
    folds = [{"name": f"f{k}", "train": part(0, k), "valid": part(k, k), "test": part(k, k)} for k in range(1, 100)]  # fmt: skip
    assert "20 of 99" in split_chart(folds).layout.meta["note"]


def test_numbers_are_rounded_before_they_go_into_the_page(figures):
    def count(value):
        if isinstance(value, float):
            assert len(f"{value:.15g}".lstrip("-0.").replace(".", "").partition("e")[0]) <= 6, value
        elif isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                count(item)

    for figure in figures.values():
        count(json.loads(figure.to_json())["data"])


def test_no_colour_alone_tells_two_things_apart(figures):
    for name in ("folds", "time", "step", "curves", "forecast", "optimism"):
        drawn = [
            t for t in figures[name].data if t.mode and (t.showlegend is not False) and t.name != "before"
        ]
        looks = [
            (t.line.dash if "lines" in t.mode else None, str(t.marker.symbol), t.line.width) for t in drawn
        ]
        assert len(set(looks)) == len(looks), (name, looks)
    shapes = [bar.marker.pattern.shape for bar in figures["splits"].data if bar.type == "bar"]
    assert len(set(shapes)) >= len(shapes) - 1


@given(st.lists(st.floats(-50, 0.99), min_size=1, max_size=9), st.floats(0, 0.5))
@settings(deadline=None, max_examples=30)
def test_every_candidate_is_on_the_skill_chart_and_its_number_beside_it(skills, half):
    rows = [row(f"c{n}", s, s - half, min(s + half, 1)) for n, s in enumerate(skills)]
    rows.append(row("heldout", 0.1, 0.05, 0.2))
    figure = skill_chart(rows)
    low, high = figure.layout.xaxis.range
    points = [x for trace in figure.data for x in trace.x]
    assert len(points) == len(rows)
    assert all(low <= x <= high for x in points)
    assert sum("%" in note.text for note in figure.layout.annotations) == len(rows)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.1, 0.3, "saves 20 % of the last value's loss, between 10 % and 30 %"),
        (-0.1, 0.5, "No skill is shown"),
    ],
)
def test_the_title_of_the_skill_chart_follows_the_interval(low, high, words):
    assert words in skill_chart([row("heldout", 0.2, low, high)]).layout.meta["title"]


def test_a_loss_above_the_last_values_is_called_so():
    title = skill_chart([row("heldout", -0.2, -0.3, -0.1)]).layout.meta["title"]
    assert "loses 20 % more than the last value, between 10 % and 30 %" in title


def test_one_scale_for_all_panels_of_learning_curves(figures):
    layout = figures["curves"].layout
    assert {layout.yaxis2.matches, layout.yaxis2.matches or "y"} == {"y"}
    kept = [t for t in figures["curves"].data if t.name == "kept epoch"]
    assert [(t.x, t.y) for t in kept] == [((2,), (1.0,))] * 3


@pytest.mark.parametrize(
    ("best", "n", "words"),
    [(0, 6, "did not lower"), (5, 6, "still falling"), (2, 6, "raised the validation loss by 900 %")],
)
def test_the_title_of_the_curves_says_where_training_should_have_ended(best, n, words):
    assert words in learning_curves([fit("fold 1", best, n)]).layout.meta["title"]


def test_a_difference_within_the_noise_is_called_so():
    unsure, unknown = {"mean": 0.2, "low": -0.1, "high": 0.5}, {"mean": 0.2, "low": None, "high": None}
    figure = optimism_chart(
        {"train": 1.0, "in_period": 1.2, "future": 1.4, "optimism": unsure, "drift": unknown}
    )
    assert "20 % more than training rows (within the noise)" in figure.layout.meta["title"]
    assert "16.7 % more than those (no interval)" in figure.layout.meta["title"]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300))
@settings(deadline=None, max_examples=30)
def test_the_bars_of_the_residuals_hold_all_errors(errors):
    bars = residuals(errors).data[0]
    assert math.isclose(sum(bars.y), 100, abs_tol=0.1)


def test_the_share_of_truths_in_the_interval_is_counted():
    figure = forecast_chart([1, 2, 3, 4], [0, 0, 0, None], [0] * 4, low=[-1, -1, 1, 1], high=[1, 1, 2, 2], level=0.8)  # fmt: skip
    assert "the 80 % interval holds 66.7 % of the truths" in figure.layout.meta["title"]


def test_a_forecast_without_truth_says_how_far_it_reaches():
    figure = forecast_chart([1, 2], None, [1.0, 2.0], history=([-1, 0], [0.0, 0.5]))
    assert figure.layout.meta["title"] == "Forecast for 2 steps"
    assert [trace.name for trace in figure.data] == ["before", "forecast"]


def test_the_purged_gap_lies_between_the_parts(figures):
    gap = next(bar for bar in figures["splits"].data if bar.name == "purged gap")
    assert list(zip(gap.base, gap.x, strict=True)) == [(50, 3), (60, 3)] * 2


def test_a_sealed_test_of_one_moment_is_as_long_as_its_labels():
    split = {"name": "final", "train": part(0, 85), "valid": part(88, 95), "test": part(98, 98)}
    sealed = next(bar for bar in split_chart([split]).data if bar.name == "sealed test")
    assert (sealed.base, sealed.x) == ((98,), (3,))


@given(st.text("ab", min_size=30, max_size=40), st.integers(1, 29))
def test_a_long_name_is_cut_to_its_length_and_keeps_both_ends(name, most):
    shown = plain(name, most)
    head, tail = shown.split("…")
    assert len(shown) == most
    assert name.startswith(head)
    assert name.endswith(tail)
    assert abs(len(head) - len(tail)) <= 1


def test_candidates_that_share_a_beginning_are_told_apart():
    names = [f"a long name of a shop, number {n}" for n in range(10)]
    assert len(set(skill_chart([row(name, 0.1) for name in names]).layout.yaxis.ticktext)) == 10


def test_only_a_skill_without_an_interval_is_called_hollow():
    whole = [row("heldout", 0.2, 0.1, 0.3), row("naive", 0.0)]
    assert skill_chart(whole).layout.meta["note"] == ""
    assert "Hollow" in skill_chart([*whole, row("drift", 0.1)]).layout.meta["note"]


@given(st.floats(1e-9, 1e9), st.floats(10, 1e12))
def test_ticks_of_a_logarithmic_axis_are_few_and_say_their_own_number(low, factor):
    found = log_axis(low, low * factor)
    assert 1 <= len(found["tickvals"]) <= 10
    for value, text in zip(found["tickvals"], found["ticktext"], strict=True):
        assert low <= value <= low * factor
        assert float(text.replace(",", "").replace("−", "-")) == value


@pytest.mark.parametrize(
    "make",
    [
        lambda: learning_curves([fit("a", best=1, n=2)]),
        lambda: errors_by_step([1, 2], [1.0, 2.0]),
        lambda: errors_over_time([100, 101], [1.0, 2.0]),
        lambda: forecast_chart([100, 101], None, [1.0, 2.0]),
        lambda: split_chart([{"name": "f", "train": part(0, 0), "valid": part(1, 1), "test": part(2, 2)}]),
        lambda: losses_by_fold({"heldout": [[1.0]]}),
    ],
)
def test_what_is_counted_has_no_half_ticks(make):
    assert make().layout.xaxis.dtick == 1


def test_times_with_and_without_hours_mix_on_the_axis_of_splits():
    def times(a, b):
        return {"first_origin": a, "last_origin": b, "last_label": b, "n": 3}

    both = times("2024-01-01", "2024-01-01T12:00:00")
    figure = split_chart([{"name": "final", "train": both, "valid": both, "test": both}])
    assert figure.data[0].x == (12 * 3600 * 1000,)
    assert figure.layout.xaxis.type == "date"


@pytest.mark.parametrize(
    "make",
    [
        lambda: skill_chart([]),
        lambda: series_chart([{"series": "a", "skill": None}]),
        lambda: losses_by_fold({"heldout": []}),
        lambda: learning_curves([]),
        lambda: optimism_chart({"why_not": "the training period is too short"}),
        lambda: forecast_chart([], [], []),
        lambda: forecast_chart([1], [1], [1, 2]),
        lambda: forecast_chart([1], [1], [1], low=[0]),
        lambda: errors_over_time([1], [None]),
        lambda: errors_by_step([], []),
        lambda: residuals([float("nan")]),
        lambda: coverage_chart([]),
        lambda: split_chart([]),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(make):
    with pytest.raises(InputError, match=r"\w+ \w+"):
        make()
