"""`diagnose`: each planted shape is said, what cannot be known is not, and one word never falls."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

import heldout
from heldout.cli.command import guarded
from heldout.cli.diagnose import diagnose as command
from heldout.diagnosis import diagnose
from heldout.histories import History
from heldout.report.diagnosis import write_diagnosis

T = np.arange(50)
RNG = np.random.default_rng(0)
NOISE = 0.01 * RNG.normal(size=50)
FALL = 0.4 + np.exp(-T / 6)
RISE = FALL + 0.01 * np.maximum(0, T - 15) + NOISE
SCORE = 0.6 + 0.25 * (1 - np.exp(-T / 12))


def codes(found, kind=None):
    return {one.code for one in found.statements if kind in (None, one.kind)}


def of(train, valid, **more):
    log = {
        "train_loss": list(train),
        "valid_loss": list(valid),
        **{name: list(x) for name, x in more.items()},
    }
    return diagnose({name: column for name, column in log.items() if len(column)})


@pytest.mark.parametrize(
    ("found", "expected", "absent"),
    [
        (of(FALL / 2, RISE), {"best-epoch", "rose-after-best", "noise", "gap", "remedies", "keep-best"}, {"still-falling"}),
        (of(FALL, 10 - T / 10 + NOISE), {"still-falling", "train-longer"}, {"rose-after-best", "remedies-first"}),
        (of(FALL, FALL + 0.02 + NOISE), {"flat-after-best"}, {"rose-after-best", "still-falling"}),
        (of(FALL, np.exp(-T / 3) + 1), {"levelled-off"}, {"still-falling", "flat-after-best"}),
        (of(FALL[:5], RISE[:5]), {"too-few"}, {"noise", "rose-after-best"}),
        (of(FALL, 1 + T / 10), {"first-is-best", "rose-after-best", "lower-rate"}, {"still-falling"}),
        (of(FALL, np.where(T > 20, np.nan, RISE)), {"not-a-number", "lower-rate", "best-epoch"}, set()),
        (of(np.where(T > 20, np.inf, FALL), RISE), {"not-a-number"}, set()),
        (of(np.ones(50), RISE), {"constant"}, set()),
        (of(RISE, RISE + 0.1), {"training-rises"}, set()),
        (of(FALL, 50 * FALL), {"scales-differ"}, {"gap", "valid-below-train"}),
        (of(FALL, 0.9 * FALL), {"valid-below-train"}, {"gap", "scales-differ"}),
        (of(FALL / 2, RISE, valid_acc=SCORE), {"loss-and-score-part", "calibrate"}, set()),
        (of(FALL / 2, RISE, valid_acc=SCORE - RISE), {"rose-after-best"}, {"loss-and-score-part"}),
        (of([], RISE), {"no-training", "best-epoch"}, {"gap", "measured-while-training"}),
        (of(FALL, []), {"no-validation", "validate"}, {"best-epoch", "chosen-value"}),
        (of(FALL, FALL + np.exp(-(((T - 25) / 6) ** 2))), {"second-fall"}, set()),
    ],
)  # fmt: skip
def test_a_planted_shape_is_said(found, expected, absent):
    assert expected <= codes(found)
    assert not absent & codes(found)
    assert {"harm", "one-fit", "audit", "judge"} <= codes(found)


def test_noise_alone_is_seldom_called_a_rise():
    rng = np.random.default_rng(5)
    said = [codes(of(FALL, 1 + 0.1 * rng.normal(size=50))) for _ in range(60)]
    assert sum("rose-after-best" in found for found in said) <= 5
    assert sum("second-fall" in found for found in said) <= 2


def test_a_running_mean_explains_validation_below_training_where_half_an_epoch_does():
    course = 10 * 0.95**T
    mean = 10 * 0.95 ** (T[:, None] - 1 + np.linspace(0, 1, 50)).mean(axis=1)
    said = of(mean, 1.005 * course).statement("valid-below-train").sentence
    assert "half an epoch later it is no longer so" in said
    assert "Dropout" in of(2 * course, course).statement("valid-below-train").sentence


def test_a_long_curve_that_creeps_down_is_still_falling():
    slow = np.exp(-np.arange(5000) / 900)
    assert "still-falling" in codes(of(slow, slow + 0.1))


def test_numbers_are_those_of_the_log():
    found = of(FALL / 2, RISE)
    best = found.statement("best-epoch").numbers
    assert best["best_epoch"] == RISE.argmin() + 1
    assert best["best"] == RISE.min()
    assert best["epochs_after"] == 49 - RISE.argmin()
    patience = next(row for row in found.rules if row["rule"] == "patience 5")
    assert patience["kept"] <= patience["stopped"] - 5
    assert patience["value"] == RISE[int(patience["kept"]) - 1]


def test_accuracy_is_turned_round():
    up = SCORE - 0.008 * np.maximum(0, T - 20) + 0.002 * RNG.normal(size=50)
    found = diagnose({"accuracy": list(up + 0.05), "val_accuracy": list(up)})
    assert found.statement("best-epoch").numbers["best_epoch"] == up.argmax() + 1
    assert "highest" in found.statement("best-epoch").sentence
    assert "fallen by" in found.statement("rose-after-best").sentence
    assert {row["rule"].split()[0] for row in found.rules} == {"UP", "patience"}


def test_what_a_framework_keeps_is_said_and_what_was_kept_is_known_of_heldout():
    keras = diagnose({"loss": list(FALL), "val_loss": list(RISE)})
    assert "restore_best_weights" in keras.statement("kept-unknown").sentence
    own = History(
        epochs=T + 0.0, train=FALL, valid=RISE, metric="loss", direction="lower", source="heldout", evaluated=True, kept=15.0
    )  # fmt: skip
    found = diagnose(own)
    assert found.statement("kept").numbers == {"kept": 15.0}
    assert "measured-while-training" not in codes(found)


CURVE = st.lists(
    st.one_of(st.floats(-1e3, 1e3), st.sampled_from([0.0, np.nan, np.inf, 1e-300, 1e300])), max_size=25
)


@given(train=CURVE, valid=CURVE, score=CURVE, metric=st.sampled_from(["loss", "accuracy", "reward"]))
def test_any_curves_give_a_text_json_and_a_figure_and_never_the_word(train, valid, score, metric):
    n = max(len(train), len(valid))
    rows = [
        {
            "epoch": k,
            f"train_{metric}": train[k] if k < len(train) else None,
            f"val_{metric}": valid[k] if k < len(valid) else None,
            "val_f1": score[k] if k < len(score) else None,
        }
        for k in range(n)
    ]
    if not n:
        return
    found = diagnose(rows)
    told = json.dumps(found.to_dict(), allow_nan=False) + str(found) + found._repr_html_()
    if np.isfinite([*found.history.train, *found.history.valid]).any():
        told += str(found.plot().layout.meta)
    assert not re.search("over-?fit", told, re.IGNORECASE)


def test_no_source_of_a_diagnosis_holds_the_word_in_what_it_says():
    folder = Path(heldout.__path__[0])
    for name in (
        "readings/seen.py",
        "readings/unseen.py",
        "diagnosis.py",
        "cli/diagnose.py",
        "report/diagnosis.py",
    ):
        assert not re.search("over-?fit", (folder / name).read_text(), re.IGNORECASE), name


def test_texts_of_the_log_are_shown_and_never_act(tmp_path):
    rows = [
        {"epoch": n, "train_<b>x</b>_loss": 1.0 / (n + 1), "val_<b>x</b>_loss": 2.0 / (n + 1)}
        for n in range(9)
    ]
    found = diagnose(rows, train="train_<b>x</b>_loss", valid="val_<b>x</b>_loss")
    assert "<b>" not in found._repr_html_()
    page = write_diagnosis(found, tmp_path / "page.html").read_text()
    assert "<b>x" not in page


def test_the_chart_marks_the_best_epoch_and_the_stops():
    drawn = of(FALL / 2, RISE).plot()
    by_name = {trace.name: trace for trace in drawn.data}
    assert {"training", "validation", "lowest", "GL 5 stops", "patience 10 stops"} <= by_name.keys()
    assert by_name["lowest"].x == (RISE.argmin() + 1,)


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
app.command()(guarded(command))


def run(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["heldout", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            app()
    return end.value.code


@pytest.fixture
def log(tmp_path):
    lines = [f"{n},{FALL[n] / 2},{RISE[n]}" for n in range(50)]
    (tmp_path / "log.csv").write_text("epoch,loss,val_loss\n" + "\n".join(lines))
    return tmp_path / "log.csv"


def test_the_command_prints_what_was_found_and_the_rules(log, capsys):
    assert run(log) == 0
    shown = capsys.readouterr()
    for heading in (
        "What the curves show",
        "What they cannot show",
        "What to do next",
        "patience 10",
        "heldout judge",
    ):
        assert heading in shown.out
    assert "read loss as training" in shown.err


def test_json_is_all_that_stands_on_the_output_and_the_page_is_written(log, tmp_path, capsys):
    assert run(log, "--json", "--out", tmp_path / "page.html", "--valid", "val_loss") == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["kind"] == "diagnosis"
    assert len(found["curves"]["valid"]) == 50
    page = (tmp_path / "page.html").read_text()
    assert "What can they not show?" in page
    assert "heldout judge TABLE" in page
    text = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search("over-?fit", text, re.IGNORECASE)


def test_a_mistake_is_one_sentence(log, capsys):
    assert run(log, "--valid", "val_los") == 2
    assert "did you mean 'val_loss'?" in capsys.readouterr().err


def test_a_log_that_ends_in_no_numbers_is_not_said_to_end_before():
    away = diagnose({"val_loss": [3.0, 2.0, 1.0, float("nan")], "loss": [3.0, 2.0, 1.0, float("nan")]})
    assert "the last that is a number is there" in str(away)
    assert "still falling" not in str(away)
    nothing = diagnose({"loss": [1.0, 0.5], "val_loss": [float("nan")] * 2})
    assert "no validation value is a number" in str(nothing)
    assert "has no validation curve" not in str(nothing)
