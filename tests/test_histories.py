"""Logs of other frameworks: the curves that went in come out, whoever wrote the file."""

import csv
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.histories import read_history
from heldout.training.history import History as FitHistory
from tests.data.test_event_files import event, simple, tensor, write

TRAIN, VALID = [3.0, 2.0, 1.0, 0.5], [3.5, 2.5, 2.0, 2.25]
KERAS = {
    "accuracy": [0.1, 0.2, 0.3, 0.4],
    "loss": TRAIN,
    "val_accuracy": [0.1, 0.2, 0.2, 0.3],
    "val_loss": VALID,
}


def table(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def keras_csv(path):
    """As Keras' CSVLogger writes it: sorted names, epochs from 0."""
    rows = [[n, *(KERAS[name][n] for name in sorted(KERAS))] for n in range(4)]
    return table(path / "log.csv", ["epoch", *sorted(KERAS)], rows)


def keras_json(path):
    (path / "history.json").write_text(json.dumps(KERAS))
    return path / "history.json"


def skorch_json(path):
    """As skorch's net.save_params(f_history=...) writes it."""
    epochs = [
        {
            "batches": [{"train_loss": a, "train_batch_size": 32}, {"valid_loss": b, "valid_batch_size": 8}],
            "epoch": n, "train_batch_count": 1, "valid_batch_count": 1, "dur": 0.08, "train_loss": a, "train_loss_best": True,
            "valid_loss": b, "valid_loss_best": n < 4, "valid_acc": 0.5, "valid_acc_best": False,
        }
        for n, (a, b) in enumerate(zip(TRAIN, VALID, strict=True), 1)
    ]  # fmt: skip
    (path / "history.json").write_text(json.dumps(epochs, indent=2))
    return path / "history.json"


def lightning_csv(path):
    """As Lightning's CSVLogger writes it: a line per call, so steps, means and validation are on lines of their own."""
    rows = []
    for n, (a, b) in enumerate(zip(TRAIN, VALID, strict=True)):
        rows += [[n, 10 * n + 4, a + 1, "", ""], [n, 10 * n + 9, a + 2, "", ""]]
        rows += [[n, 10 * n + 9, "", b, ""], [n, 10 * n + 9, "", "", a]]
    return table(
        path / "metrics.csv", ["epoch", "step", "train_loss_step", "val_loss", "train_loss_epoch"], rows
    )


def tensorboard(path):
    """As Keras' TensorBoard callback writes it: a folder per part."""
    for part, values in (("train", TRAIN), ("validation", VALID)):
        write(path / "logs" / part, *(event(n, tensor("epoch_loss", x)) for n, x in enumerate(values)))
    return path / "logs"


def phases(path):
    rows = [[n, part, x] for n in range(4) for part, x in (("train", TRAIN[n]), ("val", VALID[n]))]
    return table(path / "phases.csv", ["epoch", "phase", "loss"], rows)


def trainer_state(path):
    """As Hugging Face's Trainer writes it."""
    rows = []
    for n in range(4):
        rows += [
            {"epoch": n + 1.0, "loss": TRAIN[n], "step": 9 * n},
            {"epoch": n + 1.0, "eval_loss": VALID[n], "step": 9 * n},
        ]
    (path / "trainer_state.json").write_text(json.dumps({"log_history": rows, "best_metric": 2.0}))
    return path / "trainer_state.json"


def json_lines(path):
    rows = [json.dumps({"epoch": n, "train/loss": TRAIN[n], "dev/loss": VALID[n]}) for n in range(4)]
    (path / "log.jsonl").write_text("\n".join(rows) + "\n")
    return path / "log.jsonl"


def european(path):
    lines = [f"{n};{str(TRAIN[n]).replace('.', ',')};{str(VALID[n]).replace('.', ',')}" for n in range(4)]
    (path / "log.csv").write_text("\ufeffEpoch;Training loss;Validation loss\r\n" + "\r\n".join(lines))
    return path / "log.csv"


@pytest.mark.parametrize(
    ("make", "source", "first"),
    [
        (keras_csv, "Keras", 0), (keras_json, "Keras", 1), (skorch_json, "skorch", 1), (lightning_csv, "Lightning", 0),
        (tensorboard, "TensorBoard", 0), (phases, "table", 0), (trainer_state, "table", 1), (json_lines, "table", 0),
        (european, "table", 0),
    ],
)  # fmt: skip
def test_every_format_gives_the_same_curves(tmp_path, make, source, first):
    found = read_history(make(tmp_path))
    assert found.epochs.tolist() == [first, first + 1, first + 2, first + 3]
    assert found.train.tolist() == TRAIN
    assert found.valid.tolist() == VALID
    assert (found.source, found.metric, found.direction, found.axis) == (source, "loss", "lower", "epoch")


@pytest.mark.parametrize(
    "held",
    [
        KERAS,
        SimpleNamespace(history=KERAS, epoch=[0, 1, 2, 3]),
        {"train": {"loss": TRAIN}, "valid": {"loss": VALID}},
        {"train": TRAIN, "valid": VALID},
        {"loss": np.array(TRAIN), "val_loss": np.array(VALID)},
        pd.DataFrame(KERAS),
        pl.DataFrame({"epoch": [1, 2, 3, 4], "train_loss": TRAIN, "valid_loss": VALID}),
        [{"train_loss": a, "valid_loss": b} for a, b in zip(TRAIN, VALID, strict=True)],
        FitHistory(
            [{"epoch": n, "train_loss": TRAIN[n], "valid_loss": VALID[n], "lr": 0.1} for n in range(4)], 2
        ),
    ],
    ids=lambda held: type(held).__name__,
)
def test_what_is_in_memory_is_read_too(held):
    found = read_history(held)
    assert (found.train.tolist(), found.valid.tolist()) == (TRAIN, VALID)


def test_an_own_fit_is_known_to_measure_alike():
    found = read_history(FitHistory([{"epoch": 0, "train_loss": 1.0, "valid_loss": 2.0, "lr": 0.1}], 0))
    assert (found.source, found.evaluated, found.kept) == ("heldout", True, 0)


@given(
    values=st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 2), min_size=1, max_size=20),
    missing=st.sets(st.integers(0, 19), max_size=10),
)
def test_csv_gives_back_what_was_written_and_gaps_stay_gaps(tmp_path_factory, values, missing):
    rows = [[n, a, "" if n in missing else b] for n, (a, b) in enumerate(values)]
    path = table(tmp_path_factory.mktemp("log") / "log.csv", ["epoch", "train_loss", "val_loss"], rows)
    found = read_history(path)
    assert found.train.tolist() == [a for a, _ in values]
    expected = [np.nan if n in missing else b for n, (_, b) in enumerate(values)]
    np.testing.assert_array_equal(found.valid, expected)


def test_a_value_that_is_no_number_is_told_from_one_that_was_not_logged(tmp_path):
    path = table(
        tmp_path / "log.csv", ["epoch", "loss", "val_loss"], [[0, 1, 2], [1, 0.5, "NA"], [2, "nan", "inf"]]
    )
    found = read_history(path)
    assert np.isinf(found.train).tolist() == [False, False, True]
    assert np.isnan(found.valid).tolist() == [False, True, False]
    assert np.isinf(found.valid[2])


def test_validation_of_every_other_epoch_is_put_at_its_place():
    found = read_history({"loss": [5.0, 4, 3, 2, 1], "val_loss": [4.5, 2.5]})
    np.testing.assert_array_equal(found.valid, [np.nan, 4.5, np.nan, 2.5, np.nan])
    assert "every 2 epochs" in " ".join(found.notes)


def test_of_a_log_that_two_runs_wrote_the_last_counts(tmp_path):
    rows = [[0, 9, 9], [1, 8, 8], [2, 7, 7], [0, 3, 4], [1, 2, 3]]
    found = read_history(table(tmp_path / "log.csv", ["epoch", "loss", "val_loss"], rows))
    assert (found.epochs.tolist(), found.train.tolist(), found.valid.tolist()) == ([0, 1], [3, 2], [4, 3])


def test_training_values_between_two_validations_are_averaged(tmp_path):
    train = [event(10 * n, simple("train/loss", float(n))) for n in range(1, 9)]
    valid = [event(n, simple("val/loss", 1.0)) for n in (40, 80)]
    write(tmp_path, *train, *valid)
    found = read_history(tmp_path)
    assert (found.axis, found.epochs.tolist(), found.train.tolist()) == ("step", [40, 80], [2.5, 6.5])


def test_parts_of_an_epoch_are_averaged_up_to_the_next_validation():
    rows = [{"epoch": n / 2, "loss": float(n), "eval_loss": 1.0 if n % 2 == 0 else None} for n in range(1, 7)]
    found = read_history(rows)
    assert (found.axis, found.epochs.tolist(), found.train.tolist()) == ("epoch", [1, 2, 3], [1.5, 3.5, 5.5])


def test_few_epochs_with_many_validations_are_read_by_step(tmp_path):
    rows = [[0, n, 1.0, ""] for n in range(8)] + [[0, n, "", 2.0] for n in (3, 7)]
    found = read_history(table(tmp_path / "metrics.csv", ["epoch", "step", "train_loss", "val_loss"], rows))
    assert (found.axis, found.epochs.tolist()) == ("step", [3, 7])


def test_a_test_curve_stands_in_for_validation_and_that_is_said():
    found = read_history({"train_loss": [1, 2], "test_loss": [3, 4]})
    assert found.valid.tolist() == [3, 4]
    assert any("a test set that chose an epoch is none any more" in note for note in found.notes)


def test_columns_may_be_named(tmp_path):
    path = table(tmp_path / "log.csv", ["n", "a", "b", "word"], [[1, 0.1, 0.2, "x"], [2, 0.3, 0.4, "y"]])
    found = read_history(path, epoch="n", train="a", valid="b", direction="higher")
    assert (found.epochs.tolist(), found.train.tolist(), found.valid.tolist()) == (
        [1, 2],
        [0.1, 0.3],
        [0.2, 0.4],
    )
    assert found.direction == "higher"
    with pytest.raises(InputError, match="'word' must hold numbers"):
        read_history(path, epoch="n", train="a", valid="word")
    with pytest.raises(InputError, match=r"there is no column 'c': the log holds n, a, b, word"):
        read_history(path, train="c")
    with pytest.raises(InputError, match="direction must be one of"):
        read_history(path, train="a", direction="up")


def test_accuracy_alone_is_to_be_high_and_rides_along_otherwise():
    alone = read_history({"accuracy": [0.1, 0.2], "val_accuracy": [0.1, 0.3]})
    assert (alone.metric, alone.direction, alone.score) == ("accuracy", "higher", None)
    name, values = read_history(KERAS).score
    assert (name, values.tolist()) == ("accuracy", KERAS["val_accuracy"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "there is no row"),
        ("epoch,loss\n", "there is no row"),
        ("epoch,loss\n1,2,3\n", "row 2 has 3 fields and the first 2"),
        ("epoch,name\n1,x\n", "must have a curve"),
        ("[1, 2]", "a list of mappings"),
        ('{"loss": [1', "must be JSON"),
        ('{"loss": 3}', "lists of values by name"),
        ('{"loss": [1, 2, 3], "val_loss": [1, 2]}', "equally long"),
    ],
)
def test_what_is_no_log_is_one_sentence(tmp_path, content, message):
    (tmp_path / "log").write_text(content)
    with pytest.raises(InputError, match=message):
        read_history(tmp_path / "log")


@pytest.mark.parametrize(
    ("make", "name"),
    [(lightning_csv, "metrics.csv"), (trainer_state, "trainer_state.json"), (tensorboard, "loss")],
)
def test_a_folder_is_searched_for_the_only_log_below_it(tmp_path, make, name):
    deep = tmp_path / "logs" / "version_0"
    deep.mkdir(parents=True)
    made = make(deep)
    if made.is_file():
        made.rename(deep / name)
    found = read_history(tmp_path)
    assert found.valid.tolist() == VALID
    assert found.metric == "loss"
    if made.is_file() or (deep / name).exists():
        shutil.copytree(deep, tmp_path / "logs" / "version_1")
        with pytest.raises(InputError, match="several logs: give one of them"):
            read_history(tmp_path)


def test_rows_in_another_order_are_put_in_order_and_a_column_with_a_word_is_left_out_aloud(tmp_path):
    order = [2, 0, 3, 1]
    table = pl.DataFrame(
        {"epoch": order, "train_loss": [TRAIN[n] for n in order], "val_loss": [VALID[n] for n in order]}
    )
    found = read_history(table)
    assert found.valid.tolist() == VALID
    assert "the rows were put in order" in found.notes
    (tmp_path / "log.csv").write_text("epoch,loss,val_loss\n0,1,2\n1,abc,1\n")
    assert (
        "the column 'loss' is left out: 'abc' in row 2 is no number"
        in read_history(tmp_path / "log.csv").notes
    )


@pytest.mark.parametrize("content", ["[" * 100_000, '{"loss": [1' + "0" * 400 + ", 2]}"])
def test_json_that_is_beyond_reading_is_one_sentence(tmp_path, content):
    (tmp_path / "log.json").write_text(content)
    with pytest.raises(InputError):
        read_history(tmp_path / "log.json")


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 5)), min_size=1, max_size=30))
def test_values_of_an_epoch_are_put_together_as_one_by_one(logged):
    logged.sort(key=lambda pair: pair[0])
    held = {"epoch": [e for e, _ in logged], "train_loss": [v for _, v in logged]}
    found = read_history(held)
    for epoch, value in zip(found.epochs, found.train, strict=True):
        assert value == pytest.approx(np.mean([v for e, v in logged if e == epoch]))


def test_folders_that_hold_no_log_or_several_are_refused(tmp_path):
    with pytest.raises(InputError, match="there is none"):
        read_history(tmp_path)
    for name in ("run_1", "run_2"):
        write(tmp_path / name, event(1, simple("loss/val", 1.0)))
    with pytest.raises(InputError, match="several runs: give one of them, run_1, run_2"):
        read_history(tmp_path)
    with pytest.raises(InputError, match="no-such"):
        read_history(tmp_path / "no-such.csv")
