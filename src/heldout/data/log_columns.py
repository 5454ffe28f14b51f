"""Which column of a training log is which: its part (training or validation), its metric, and which way is better."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Direction = Literal["lower", "higher", ""]

_PARTS = {
    "train": {"train", "training", "trn"},
    "valid": {"val", "valid", "validation", "dev", "eval", "evaluation"},
    "test": {"test", "testing"},
}
_EPOCH = ("epoch", "epochs")
_STEP = ("step", "steps", "iteration", "iterations", "iter", "global_step")
_NO_METRIC = {
    "best", "batch", "batches", "lr", "rate", "time", "dur", "duration", "seconds", "runtime", "epoch", "epochs", "step", "steps",
    "iteration", "iterations", "iter", "index", "momentum", "grad", "size", "count", "memory",
}  # fmt: skip
_LOWER = {
    "loss", "error", "err", "mse", "mae", "rmse", "mape", "smape", "mase", "msle", "nll", "logloss", "crossentropy", "entropy", "bce",  # codespell:ignore mape
    "ce", "perplexity", "ppl", "brier", "crps", "pinball", "deviance", "wer", "cer", "divergence", "kld", "huber",
}  # fmt: skip
_HIGHER = {
    "accuracy", "acc", "auc", "auroc", "roc", "f1", "fbeta", "precision", "recall", "specificity", "r2", "map", "iou", "dice", "kappa",
    "mcc", "bleu", "rouge", "ndcg", "score", "elbo", "likelihood", "skill", "sharpe", "neg",  # codespell:ignore rouge
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """What a column's name says.

    Attributes
    ----------
    name : str
        The name.
    part : {"train", "valid", "test", ""}
        Whose value it is.
    metric : str
        The rest of the name; empty where it is no curve.
    grain : {"epoch", "step", ""}
        Whether it is told to be a mean over an epoch, or of one step.

    Examples
    --------
    >>> Column.of("val_loss"), Column.of("Training Loss").part, Column.of("train_loss_best").metric
    (Column(name='val_loss', part='valid', metric='loss', grain=''), 'train', '')
    """

    name: str
    part: str
    metric: str
    grain: str

    @classmethod
    def of(cls, name: str) -> "Column":
        """Read a name."""
        words = _words(name)
        part = ""
        for key, known in _PARTS.items():
            if not part and known & set(words):
                part, words = key, [word for word in words if word not in known]
        words = [word for word in words if word != "ptl"]  # of Lightning's users
        grain = next((word for word in words if word in ("epoch", "step")), "") if len(words) > 1 else ""
        words = [word for word in words if word != grain]
        metric = "" if _NO_METRIC & set(words) else "_".join(words) or ("value" if part else "")
        return cls(name, part, metric, grain)


def direction_of(metric: str) -> Direction:
    """Say whether lower or higher values of a metric are better, or nothing where its name does not tell.

    Parameters
    ----------
    metric : str
        As `Column` gives it.

    Examples
    --------
    >>> direction_of("loss"), direction_of("accuracy"), direction_of("neg_mean_squared_error"), direction_of("reward")
    ('lower', 'higher', 'higher', '')
    """
    words = _words(metric)
    if words[:1] == ["neg"]:
        return "higher"
    if _LOWER & set(words):
        return "lower"
    return "higher" if _HIGHER & set(words) else ""


def part_of(value: object) -> str:
    """Give the part that a cell such as ``"val"`` names, or an empty text."""
    word = str(value).strip().lower()
    return next((part for part, known in _PARTS.items() if word in known), "")


def axis_of(names: Iterable[str]) -> tuple[str | None, str | None]:
    """Find the columns that count epochs and steps.

    Parameters
    ----------
    names : iterable of str
        All columns.

    Returns
    -------
    epoch, step : str or None
        The first of each.

    Examples
    --------
    >>> axis_of(["step", "Epoch", "loss"])
    ('Epoch', 'step')
    """
    by_name = {"_".join(_words(name)): name for name in reversed(list(names))}
    epoch, step = (next((by_name[key] for key in known if key in by_name), None) for known in (_EPOCH, _STEP))
    return epoch, step


def curves_of(names: Iterable[str]) -> dict[str, dict[str, Column]]:
    """Sort columns into curves.

    Parameters
    ----------
    names : iterable of str
        All columns.

    Returns
    -------
    dict of str to dict of str to Column
        By metric, then by part; those that have both parts come first, then those that are to be low, losses before all. A
        column that names no part is the training part.

    Examples
    --------
    >>> found = curves_of(["epoch", "accuracy", "loss", "val_accuracy", "val_loss", "lr"])
    >>> [(metric, {part: column.name for part, column in parts.items()}) for metric, parts in found.items()]
    [('loss', {'train': 'loss', 'valid': 'val_loss'}), ('accuracy', {'train': 'accuracy', 'valid': 'val_accuracy'})]
    """
    found: dict[str, dict[str, Column]] = {}
    columns = [column for column in map(Column.of, names) if column.metric]
    known = {column.metric for column in columns if column.part or direction_of(column.metric)}
    # Means over an epoch before those of a step; a name without a part says less than one with it.
    for column in sorted(columns, key=lambda one: (one.grain != "epoch", one.grain == "step", not one.part)):
        if column.metric in known:
            found.setdefault(column.metric, {}).setdefault(column.part or "train", column)
    order = ("train", "valid", "test")
    sorted_parts = {
        metric: {part: parts[part] for part in order if part in parts} for metric, parts in found.items()
    }
    return dict(sorted(sorted_parts.items(), key=_rank))


def _rank(item: tuple[str, dict[str, Column]]) -> tuple[bool, ...]:
    metric, parts = item
    direction = direction_of(metric)
    both = "train" in parts and len(parts) > 1
    return (
        not both,
        "train" in parts and len(parts) == 1,
        metric != "loss",
        direction == "",
        direction == "higher",
    )


def _words(name: str) -> list[str]:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return [word for word in re.split(r"[^a-z0-9]+", apart.lower()) if word]
