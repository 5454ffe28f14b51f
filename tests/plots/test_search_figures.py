"""Figures of searches: the band is the rule, every number is there, Optuna's plots need no more than lines and bars."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.plots.capacity import size_chart
from heldout.plots.outer import outer_chart
from heldout.plots.trials import history_chart, importance_chart, parallel_chart, slice_chart
from heldout.plots.tuning import gains_chart
from heldout.studies.proposals import load_study
from tests.plots.test_figures import HOSTILE, texts
from tests.report.searches import capacity_scores, export_study, trials, tune_scores

OPTUNA = (history_chart, importance_chart, slice_chart, parallel_chart)


def stage(name="hidden_size", **options):
    return next(one for one in capacity_scores(**options)["stages"] if one["name"] == name)


def named(figure, name):
    return next(trace for trace in figure.data if trace.name == name)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    pytest.importorskip("optuna")
    return load_study(export_study(tmp_path_factory.mktemp("study") / "optuna.sqlite", trials()))


@pytest.fixture(scope="module")
def figures(study):
    scores, tuned = capacity_scores(), tune_scores()
    return {
        "size": size_chart(stage(), start=scores["start"], outer=scores["outer"]["rows"]),
        "depth": size_chart(stage("depth", plan="depth")),
        "outer": outer_chart(scores["outer"], scores["baselines"]),
        "gains": gains_chart(tuned["inside"], tuned["outside"], tuned["lucky"]),
        **{make.__name__: make(study) for make in OPTUNA},
    }


def test_every_figure_says_what_it_shows_with_numbers_and_few_digits(figures):
    def check(value):
        if isinstance(value, float):
            assert float(f"{value:.6g}") == value
        elif isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                check(item)

    for figure in figures.values():
        meta = figure.layout.meta
        assert meta["title"] in meta["description"]
        assert any(letter.isdigit() for letter in meta["description"])
        assert "color" not in json.dumps(
            [note.to_plotly_json().get("font", {}) for note in figure.layout.annotations]
        )
        for trace in json.loads(figure.to_json())["data"]:
            check([trace.get("y"), trace.get("error_x"), trace.get("error_y")])


def test_every_figure_needs_no_more_of_plotly_than_lines_and_bars(figures):
    assert {trace.type for figure in figures.values() for trace in figure.data} == {"scatter", "bar"}


def test_names_are_shown_and_never_act():
    rows = [row | {"label": f"{HOSTILE}{n}"} for n, row in enumerate(stage()["rows"])]
    lines = [line | {"label": HOSTILE} for line in capacity_scores()["outer"]["rows"]]
    drawn = [
        size_chart({"name": HOSTILE, "rows": rows}),
        outer_chart({"rows": lines, "n_folds": 1}, [{"name": HOSTILE, "loss": 1.0}]),
    ]
    for figure in drawn:
        for text in texts(json.loads(figure.to_json())):
            assert "<" not in text.replace("<br>", "").replace("<extra></extra>", "")
            assert "%{customer}" not in text


@given(st.lists(st.tuples(st.floats(0, 0.2), st.floats(0.001, 0.1)), min_size=1, max_size=8))
@settings(deadline=None, max_examples=15)
def test_a_size_is_within_the_band_just_where_the_rule_of_one_standard_error_takes_it(sizes):
    base = stage()["rows"][0]
    rows = [
        base | {"values": {}, "label": "best", "n_parameters": 10**6, "loss": 1.0, "se": 0.0, "best": True}
    ]
    for n, (apart, se) in enumerate(sizes):
        new = {
            "label": f"{n}",
            "n_parameters": 100 * 3**n,
            "loss": 1 + apart,
            "difference": apart,
            "se": se,
            "best": False,
        }
        rows.append(base | new)
    figure = size_chart({"name": "hidden_size", "rows": rows})
    top, points = (
        named(figure, "one SE of the difference to the best"),
        named(figure, "test parts, inner folds"),
    )
    assert top.x == points.x
    inside = [y <= high + 1e-9 for y, high in zip(points.y, top.y, strict=True)]
    assert sum(inside) == 1 + sum(float(f"{1 + apart:.6g}") <= float(f"{1 + se:.6g}") for apart, se in sizes)


def test_a_size_that_the_race_stopped_is_hollow_and_stands_where_its_paired_difference_puts_it():
    rows = stage()["rows"]
    rows[-1] |= {"loss": 3.0, "difference": 0.15}
    figure = size_chart({"name": "hidden_size", "rows": rows})
    stopped = named(figure, "stopped by the race")
    assert stopped.y == (1.15,)
    assert stopped.marker.symbol == "circle-open"
    assert "stopped by the race" in figure.layout.meta["description"]
    assert rows[-1]["n_parameters"] not in named(figure, "training parts").x


def test_the_choice_the_start_and_the_estimate_outside_are_marked_at_their_sizes():
    scores = capacity_scores(plan="depth")
    figure = size_chart(scores["stages"][0], start=scores["start"], outer=scores["outer"]["rows"])
    assert (named(figure, "chosen").x, named(figure, "start").x) == ((1.0,), (2.0,))
    assert len(named(figure, "test parts, outer folds").x) == 2


def test_an_estimate_outside_that_would_press_the_curve_flat_is_said_and_not_drawn():
    outer = [line | {"loss": 50.0, "low": None, "high": None} for line in capacity_scores()["outer"]["rows"]]
    figure = size_chart(stage(), outer=outer)
    assert "50 (1 x 16)" in figure.layout.meta["note"]
    assert all(trace.name != "test parts, outer folds" for trace in figure.data)


def test_sizes_whose_names_would_overlap_stand_at_equal_distances():
    text, series = size_chart(stage(modality="text")), size_chart(stage())
    assert (text.layout.xaxis2.type, series.layout.xaxis2.type) == ("linear", "log")
    assert np.ptp(np.diff(text.layout.xaxis2.tickvals)) == 0
    words = size_chart(stage("embedding_size", modality="text"))
    assert [tick.partition("<br>")[0] for tick in words.layout.xaxis2.ticktext] == ["100", "200", "300"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("1-SE", "smallest within one standard error"),
        ("best", "lowest loss"),
        ("simplest", "not shown to be worse"),
    ],
)
def test_the_title_says_by_what_rule_the_choice_was_made(rule, words):
    assert words in size_chart(stage(), rule=rule).layout.meta["title"]


def test_the_title_of_depths_speaks_of_the_shallowest():
    title = size_chart(stage("depth", plan="depth")).layout.meta["title"]
    assert (
        title
        == "1 x 110 is the shallowest within one standard error of the best, of 3 depths at about equal parameters"
    )


def test_without_a_loss_there_is_nothing_to_draw():
    with pytest.raises(InputError, match="no size has a loss"):
        size_chart({"name": "depth", "rows": [stage()["rows"][0] | {"loss": None}]})
    with pytest.raises(InputError, match="no outer fold"):
        outer_chart({"rows": []})
    with pytest.raises(InputError, match="no gain"):
        gains_chart({"gain": None}, {"gain": None})


@given(st.lists(st.floats(0.01, 100), max_size=6), st.floats(0.001, 1))
@settings(deadline=None, max_examples=15)
def test_every_line_is_on_the_forest_and_its_loss_beside_it(losses, half):
    scores = capacity_scores()
    lines = [
        line | {"low": line["loss"] - half, "high": line["loss"] + half} for line in scores["outer"]["rows"]
    ]
    figure = outer_chart(
        scores["outer"] | {"rows": lines}, [{"name": f"b{n}", "loss": x} for n, x in enumerate(losses)]
    )
    low, high = figure.layout.xaxis.range
    points = [x for trace in figure.data for x in trace.x]
    assert len(points) == len(figure.layout.annotations) == 3 + len(losses)
    assert all(low <= x <= high for x in points)


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        ((0.02, 0.005, 0.035), "loses 2 % less than the start, between 0.5 % and 3.5 %"),
        ((-0.02, -0.035, -0.005), "loses 2 % more than the start, between 0.5 % and 3.5 %"),
        ((0.02, -0.01, 0.05), "No difference to the start is shown"),
        ((0.02, None, None), "too few folds"),
    ],
)
def test_the_title_of_the_forest_follows_the_interval(saved, words):
    assert words in outer_chart(capacity_scores(saved=saved)["outer"]).layout.meta["title"]


def test_a_choice_that_is_the_start_is_called_so():
    assert "choice is the start" in outer_chart(capacity_scores(keep=True)["outer"]).layout.meta["title"]


def test_gains_without_interval_are_hollow_and_those_with_one_are_barred(figures):
    for trace in figures["gains"].data:
        assert (trace.error_x.array is None) == ("open" in trace.marker.symbol)


def test_gains_are_drawn_without_luck_too():
    figure = gains_chart(
        {"gain": 0.1, "low": None, "high": None}, {"gain": -0.02, "low": -0.05, "high": 0.01}, None
    )
    assert [trace.x for trace in figure.data] == [(-2.0,), (10.0,)]
    assert "−2 % is left" in figure.layout.meta["title"]


def test_the_plots_of_optuna_hold_just_the_finished_trials(figures, study):
    losses = sorted(trial.value for trial in study.trials if trial.state.name == "COMPLETE")
    shown = sorted(figures["history_chart"].data[0].y)
    assert np.allclose(shown, losses, rtol=1e-5)
    assert f"{len(study.trials) - len(losses)} trials" in figures["history_chart"].layout.meta["note"]
    assert len(figures["parallel_chart"].data) == len(losses)
    assert math.isclose(sum(figures["importance_chart"].data[0].x), 100, rel_tol=1e-4)
    assert len(figures["slice_chart"].data) == len(study.trials[0].params)


def test_the_plots_of_optuna_are_the_same_each_time(figures, study):
    for make in OPTUNA:
        assert make(study).to_json() == figures[make.__name__].to_json()


def test_panels_of_slices_do_not_overlap_and_fit_the_width(figures):
    layout = figures["slice_chart"].to_plotly_json()["layout"]
    assert "width" not in layout
    boxes = [
        (*layout[f"xaxis{n}"]["domain"], *layout[f"yaxis{n}"]["domain"]) for n in ("", *map(str, range(2, 6)))
    ]
    assert all(0 <= end <= 1 for box in boxes for end in box)
    for one in boxes:
        for two in boxes:
            apart = one[1] <= two[0] or two[1] <= one[0] or one[3] <= two[2] or two[3] <= one[2]
            assert one is two or apart


@pytest.mark.parametrize("make", OPTUNA)
def test_one_trial_cannot_be_compared(make, tmp_path):
    alone = load_study(export_study(tmp_path / "optuna.sqlite", trials(1)))
    with pytest.raises(InputError, match="2 at least"):
        make(alone)


def test_of_many_options_the_parallel_plot_shows_those_that_matter_most(tmp_path):
    space = {f"option_{n}": {"low": 0.0, "high": 1.0, "log": False, "step": None} for n in range(9)}
    rng = np.random.default_rng(0)
    tried = [
        one | {"values": dict(zip(space, rng.random(9).tolist(), strict=True)), "state": "complete"}
        for one in trials(30)
    ]
    for one in tried:
        one["loss"] = one["values"]["option_8"]
    figure = parallel_chart(load_study(export_study(tmp_path / "optuna.sqlite", tried, space=space)))
    assert len(figure.layout.xaxis.ticktext) == 1 + 6
    assert "option<br>8" in figure.layout.xaxis.ticktext
    assert figure.layout.meta["note"] == "The 6 options that matter most, of 9."


def test_a_search_that_chose_the_start_saves_nothing_and_says_so():
    nothing = {"gain": 0.0, "low": 0.0, "high": 0.0}
    assert gains_chart(nothing, nothing).layout.meta["title"] == "Nothing is saved: the choice is the start"
