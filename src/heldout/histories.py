"""`History`: the curves that a training left behind, whoever trained; `read_history` finds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from heldout.check import InputError, check_choice, did_you_mean
from heldout.data.log_columns import axis_of, curves_of, direction_of
from heldout.data.logs import Log, read_log
from heldout.plots.values import shortened

if TYPE_CHECKING:
    from heldout.studies.ledger import Finished

FloatArray = NDArray[np.float64]
Points = list[tuple[float, float]]  # place on the axis, value
_MISSING = {"", "na", "n/a", "none", "null", "-"}
_FEW_EPOCHS = 3
_OURS = "heldout"


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """Curves of one training on one axis.

    Attributes
    ----------
    epochs : array of shape (n,)
        Rising, as the log counts them; steps where ``axis`` says so.
    train, valid : array of shape (n,)
        Values; NaN where none was logged, infinite where what was logged is no number.
    metric : str
        What they are, "loss" for example.
    direction : {"lower", "higher"}
        Which is better.
    source : str
        What wrote the log: "Keras", "Lightning", "skorch", "heldout", "TensorBoard" or "table".
    axis : {"epoch", "step"}
        What ``epochs`` counts.
    score : (str, array of shape (n,)) or None
        Another validation curve of which higher is better, the accuracy for example.
    evaluated : bool
        Whether training values are known to be measured as validation values are: after the epoch, in evaluation mode.
    kept : float or None
        The epoch whose weights were kept, where the log tells.
    notes : tuple of str
        What was inferred while reading, one sentence each.
    """

    epochs: FloatArray
    train: FloatArray
    valid: FloatArray
    metric: str
    direction: Literal["lower", "higher"]
    source: str
    axis: Literal["epoch", "step"] = "epoch"
    score: tuple[str, FloatArray] | None = None
    evaluated: bool = False
    kept: float | None = None
    notes: tuple[str, ...] = ()


def read_history(
    source: object,
    *,
    epoch: str | None = None,
    train: str | None = None,
    valid: str | None = None,
    direction: str | None = None,
) -> History:
    """Give the training and validation curves in a log.

    Parameters
    ----------
    source : path, mapping, sequence of mapping, data frame or history
        A CSV file (of Keras' or Lightning's ``CSVLogger``, or any with columns of epochs, training and validation values), a
        JSON file (``History.history`` of Keras, ``history.json`` of skorch, JSON lines), a directory (of TensorBoard, of
        Lightning, a run of heldout), or the same in memory.
    epoch, train, valid : str, optional
        Columns, where their names do not say what they are.
    direction : {"lower", "higher"}, optional
        Which values are better; by default told by the metric's name, and lower where it does not tell.

    Returns
    -------
    History

    Raises
    ------
    InputError
        If there is no such file, it holds no curve, or a column that was named is not there.

    Examples
    --------
    >>> history = read_history({"loss": [1.0, 0.5, 0.2], "val_loss": [1.1, 0.9, 1.3]})
    >>> history.source, history.metric, history.epochs.tolist(), history.valid.tolist()
    ('Keras', 'loss', [1.0, 2.0, 3.0], [1.1, 0.9, 1.3])
    """
    log, kept = _opened(source)
    for name in (epoch, train, valid):
        if name is not None and name not in log.cells:
            near = did_you_mean(name, log.cells)
            raise InputError(f"there is no column {name!r}{near}: the log holds {', '.join(log.cells)}")
    if direction is not None:
        check_choice("direction", direction, ("lower", "higher"))
    cells = {name: numbers for name, column in log.cells.items() if (numbers := _numbers(column)) is not None}
    left_out = _left_out(log.cells, cells)
    metric, columns, notes = _chosen(curves_of(cells), train, valid, cells)
    place, axis = _axis(cells, epoch)
    cells, place, said = _in_order(cells, place)
    notes = [*left_out, *notes, *said]
    curves = curves_of(cells)
    whole = axis == "epoch" and all(x is None or x.is_integer() for x in place)
    points = {part: _points(place, cells[name]) for part, name in columns.items()}
    epochs, values = _aligned(points, whole=whole)
    way = direction or direction_of(metric)
    if not way:
        notes.append(f"{metric} is taken to be better when lower: if not, say direction='higher'")
    return History(
        epochs=epochs,
        train=values["train"],
        valid=values["valid"],
        metric=metric,
        direction="higher" if way == "higher" else "lower",
        source="Keras" if log.source == "table" and _is_keras(columns) else log.source,
        axis="epoch" if axis == "epoch" else "step",
        score=_score(curves, metric, cells, place, epochs),
        evaluated=log.source == _OURS,
        kept=kept,
        notes=(*log.notes, *notes),
    )


def _chosen(
    curves: Mapping[str, Mapping[str, Any]], train: str | None, valid: str | None, cells: Mapping[str, object]
) -> tuple[str, dict[str, str], list[str]]:
    """The metric, the column of each part, and notes."""
    notes: list[str] = []
    metric, parts = next(iter(curves.items()), ("", {}))
    if train or valid:
        named = {"train": train, "valid": valid}
        metric = next(
            (m for m, own in curves.items() if any(c.name in named.values() for c in own.values())), ""
        )
        wrong = [name for name in (train, valid) if name is not None and name not in cells]
        if wrong:
            raise InputError(f"the column {wrong[0]!r} must hold numbers, but it holds something else")
        columns = {part: column.name for part, column in curves.get(metric, {}).items()}
        columns = {part: name for part, name in columns.items() if name not in (train, valid)}
        columns |= {part: name for part, name in named.items() if name is not None}
    else:
        columns = {part: column.name for part, column in parts.items()}
    if not columns:
        held = f"it holds {', '.join(cells)}" if cells else "it holds no column of numbers"
        raise InputError(
            f"a log must have a curve, as in columns 'epoch', 'train_loss' and 'valid_loss', but {held}: name them with train and valid"
        )
    if "test" in columns:
        name = columns.pop("test")
        if "valid" not in columns:
            columns["valid"] = name
            notes.append(
                f"{name} is read as the validation curve: a test set that chose an epoch is none any more"
            )
    told = " and ".join(
        f"{name} as {'training' if part == 'train' else 'validation'}" for part, name in columns.items()
    )
    return metric or "value", columns, [f"read {told}", *notes]


def _is_keras(columns: Mapping[str, str]) -> bool:
    return "valid" in columns and columns["valid"] == f"val_{columns.get('train')}"


def _axis(cells: Mapping[str, list[float | None]], named: str | None) -> tuple[list[float | None], str]:
    """Where every row stands, and on what: epochs, which may be parts of one, or steps."""
    epoch, step = axis_of(cells)
    rows = len(next(iter(cells.values())))
    name = named or epoch or step
    if name is None:
        return [float(n) for n in range(1, rows + 1)], "epoch"
    place = cells.get(name)
    if place is None:
        raise InputError(f"the column {name!r} must count epochs, but it holds something else than numbers")
    seen = {x for x in place if x is not None}
    if named is None and epoch and step and len(seen) < _FEW_EPOCHS < len(set(cells[step])):
        return cells[step], "step"
    return place, "step" if name == step else "epoch"


def _left_out(columns: Mapping[str, Sequence[object]], cells: Mapping[str, object]) -> list[str]:
    """Curves that cannot be used for a cell that is no number."""
    found = []
    for parts in curves_of(columns).values():
        for name in (column.name for column in parts.values() if column.name not in cells):
            for row, cell in enumerate(columns[name], 1):
                if _numbers([cell, 0.0]) is None:
                    found.append(
                        f"the column {name!r} is left out: {shortened(repr(cell))} in row {row} is no number"
                    )
                    break
    return found


def _in_order(
    cells: dict[str, list[float | None]], place: list[float | None]
) -> tuple[dict[str, list[float | None]], list[float | None], list[str]]:
    """Rows by epoch, where each stands once but in another order: no training began again there."""
    told = [x for x in place if x is not None]
    if len(told) < len(place) or len(set(told)) < len(told) or told == sorted(told):
        return cells, place, []
    order = np.argsort(told)
    turned = {name: [column[n] for n in order] for name, column in cells.items()}
    return turned, [told[n] for n in order], ["the rows were put in order"]


def _points(place: Sequence[float | None], column: Sequence[float | None]) -> Points:
    """What was logged, in order; where the axis falls back, training was begun again there and the rest of it is void."""
    found: Points = []
    for x, value in zip(place, column, strict=True):
        if x is None or value is None:
            continue
        if found and x < found[-1][0]:
            found = [point for point in found if point[0] < x]
        found.append((x, np.inf if isnan(value) else value))
    return found


def _aligned(points: Mapping[str, Points], *, whole: bool) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Put the parts on one axis: of epochs all that were logged, of steps those where validation was."""
    main = [x for x, _ in points.get("valid") or points["train"]]
    if whole:
        main += [x for x, _ in points.get("train", [])]
    epochs = np.unique(np.array(main, dtype=np.float64))
    values = {}
    for part in ("train", "valid"):
        values[part] = np.full(len(epochs), np.nan)
        logged = np.array(points.get(part, []), dtype=np.float64).reshape(-1, 2)
        bins = np.searchsorted(epochs, logged[:, 0])  # of the epoch at or after it
        logged, bins = logged[bins < len(epochs), 1], bins[bins < len(epochs)]
        # Each validation is a whole pass, so the last counts; training values are of one batch each.
        if part == "train":
            counts = np.bincount(bins, minlength=len(epochs))
            with np.errstate(invalid="ignore"):
                values[part] = np.bincount(bins, logged, len(epochs)) / np.where(counts, counts, np.nan)
        else:
            values[part][bins] = logged
    return epochs, values


def _score(
    curves: Mapping[str, Mapping[str, Any]],
    metric: str,
    cells: Mapping[str, list[float | None]],
    place: Sequence[float | None],
    epochs: FloatArray,
) -> tuple[str, FloatArray] | None:
    for name, parts in curves.items():
        if name != metric and direction_of(name) == "higher" and "valid" in parts:
            points = [point for point in _points(place, cells[parts["valid"].name]) if point[0] in epochs]
            found = np.full(len(epochs), np.nan)
            for x, value in points:
                found[np.searchsorted(epochs, x)] = value
            return name, found
    return None


def _opened(source: object) -> tuple[Log, float | None]:
    """A log, and of heldout's own fits the epoch that was kept."""
    if isinstance(source, str | Path) and (Path(source) / "run.json").exists():
        return _from_run(Path(source))
    epochs = getattr(source, "epochs", None)
    if isinstance(epochs, list) and not isinstance(source, Mapping):  # of a fit
        return replace(read_log(epochs), source=_OURS), getattr(source, "best_epoch", None)
    return read_log(source), None


def _from_run(path: Path) -> tuple[Log, float | None]:
    """The final fit of a run, of its first seed; a fold's where the run has not come so far."""
    from heldout.runs import Run  # noqa: PLC0415 - only a run directory needs torch
    from heldout.studies.ledger import Ledger  # noqa: PLC0415 - as above

    run, fits = Run(path), []
    if run.ledger_path.exists():
        with Ledger(run.ledger_path, readonly=True) as ledger:
            done = [
                event.key for event in ledger.events() if event.what == "finished" and "seed" in event.detail
            ]
            fits = [found for key in dict.fromkeys(done) if (found := ledger.get(key)) and found.history]
    if not fits:
        raise InputError(f"{path} holds no finished fit of a network: give its command again")

    def order(fit: "Finished") -> tuple[bool, bool, int]:
        return (
            fit.spec["candidate"] not in (_OURS, "as given"),
            fit.spec["fold"]["name"] != "final",
            fit.spec["seed"],
        )

    fit = min(fits, key=order)
    where = f"{fit.spec['candidate']}, {fit.spec['fold']['name']}, seed {fit.spec['seed']}"
    note = f"of {len(fits)} fits in this run, the curves are of {where}; heldout report shows all"
    return replace(read_log(fit.history), source=_OURS, notes=(note,)), fit.scores.get("best_epoch")


def _numbers(column: Sequence[object]) -> list[float | None] | None:
    """A column as numbers, None where nothing was logged; None for the whole where it holds anything else."""
    try:
        found = [_number(cell) for cell in column]
    except (TypeError, ValueError, OverflowError):
        return None
    return found if any(x is not None for x in found) else None


def _number(cell: object) -> float | None:
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in _MISSING):
        return None
    if isinstance(cell, bool | np.bool_) or not isinstance(cell, str | Real):
        raise TypeError(type(cell))
    return float(cell)
