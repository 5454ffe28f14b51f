"""Columns of a log by their names: those that many tools write, in any spelling."""

import pytest

from heldout.data.log_columns import Column, axis_of, curves_of, direction_of


@pytest.mark.parametrize(
    ("name", "part", "metric", "grain"),
    [
        ("val_loss", "valid", "loss", ""),
        ("loss", "", "loss", ""),
        ("train_loss_epoch", "train", "loss", "epoch"),
        ("train_loss_step", "train", "loss", "step"),
        ("ptl/val_loss", "valid", "loss", ""),
        ("validation/epoch_loss", "valid", "loss", "epoch"),
        ("Training Loss", "train", "loss", ""),
        ("valLoss", "valid", "loss", ""),
        ("eval_f1", "valid", "f1", ""),
        ("test-loss", "test", "loss", ""),
        ("train_loss_best", "train", "", ""),
        ("learning_rate", "", "", ""),
        ("epoch", "", "", ""),
        ("valid_batch_count", "valid", "", ""),
        ("value", "", "value", ""),
        ("valid", "valid", "value", ""),
    ],
)
def test_a_name_says_part_metric_and_grain(name, part, metric, grain):
    assert Column.of(name) == Column(name, part, metric, grain)


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("rmse", "lower"),
        ("binary_crossentropy", "lower"),
        ("categorical_cross_entropy", "lower"),
        ("accuracy_loss", "lower"),
        ("val_acc", "higher"),
        ("macro-F1", "higher"),
        ("neg_root_mean_squared_error", "higher"),
        ("reward", ""),
    ],
)
def test_the_metric_tells_which_way_is_better(metric, better):
    assert direction_of(metric) == better


def test_a_loss_with_both_parts_comes_before_everything_else():
    found = curves_of(
        ["val_mae", "accuracy", "val_accuracy", "test_mse", "loss", "val_loss", "gradient_norm"]
    )
    assert list(found)[:2] == ["loss", "accuracy"]
    assert "gradient_norm" not in found


def test_means_over_an_epoch_come_before_those_of_a_step():
    found = curves_of(["train_loss_step", "train_loss_epoch", "val_loss"])
    assert found["loss"]["train"].name == "train_loss_epoch"


def test_epochs_and_steps_are_found_in_any_spelling():
    assert axis_of(["Epoch", "Step", "x"]) == ("Epoch", "Step")
    assert axis_of(["loss"]) == (None, None)
