"""A log of training as columns of cells, whoever wrote it: files and objects of Keras, Lightning, skorch, TensorBoard and others."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np

from heldout.check import InputError
from heldout.data.event_files import read_event_files
from heldout.data.log_columns import axis_of, part_of
from heldout.data.tables import as_utf8, file_bytes, open_table

Cells = dict[str, list[Any]]


@dataclass(frozen=True, kw_only=True)
class Log:
    """Columns of a log, equally long.

    Attributes
    ----------
    cells : dict of str to list
        By column; numbers, or texts as they stand in a file.
    source : str
        What wrote it: "Keras", "Lightning", "skorch", "TensorBoard" or "table".
    notes : tuple of str
        What was inferred, one sentence each.
    """

    cells: Cells
    source: str = "table"
    notes: tuple[str, ...] = ()


_LOGS = (
    "metrics.csv",
    "trainer_state.json",
    "history.json",
    "history.csv",
)  # of Lightning and Hugging Face, and usual names


def read_log(source: object) -> Log:
    """Give the columns of a log.

    Parameters
    ----------
    source : path, mapping, sequence of mapping, data frame or Keras' history
        A file or directory, or the same in memory.

    Returns
    -------
    Log
        Where a column says ``train`` or ``val`` in each row, that has become part of the names of the others.

    Raises
    ------
    InputError
        If it cannot be read, or is no log.

    Examples
    --------
    >>> read_log([{"phase": "train", "loss": 1.0}, {"phase": "val", "loss": 1.2}]).cells
    {'train_loss': [1.0, None], 'valid_loss': [None, 1.2]}
    """
    return _stacked(_log_of(source))


def _log_of(source: object) -> Log:
    if isinstance(source, str | Path):
        return _from_path(Path(source))
    if isinstance(source, Mapping):
        return _from_mapping(source)
    if isinstance(source, list | tuple):
        return _from_records(source)
    held = getattr(source, "history", None)
    if isinstance(held, Mapping):  # what Keras' fit gives
        return replace(_from_mapping(held), source="Keras")
    return _from_frame(source)


def _from_path(path: Path) -> Log:
    if path.is_dir():
        return _from_folder(path)
    data = file_bytes(path)
    if data[:4] == b"PAR1":
        return _from_frame(path)
    text = as_utf8(path, data, "utf-8").decode()
    if text.lstrip()[:1] in ("{", "["):
        return _from_json(path, text)
    log = _from_csv(path, text)
    return replace(log, source="Lightning") if path.name == "metrics.csv" and "step" in log.cells else log


def _from_folder(path: Path) -> Log:
    for name in _LOGS:
        if (path / name).exists():
            return _from_path(path / name)
    folders = {file.parent for file in path.rglob("*tfevents*")}
    if not folders:
        below = sorted(file for name in _LOGS for file in path.rglob(name))
        if len(below) > 1:
            raise InputError(f"{path} holds several logs: give one of them, {', '.join(map(str, below[:5]))}")
        if below:
            return _from_path(below[0])
    runs = sorted(
        one.relative_to(path).as_posix() for one in folders if not set(map(part_of, _split(one.name))) - {""}
    )
    if len(runs) > 1:
        raise InputError(f"{path} holds several runs: give one of them, {', '.join(runs[:5])}")
    points = read_event_files(_holds_all(folders, path) if folders else path)
    steps = sorted({x for curve in points.values() for x, _ in curve})
    cells: Cells = {}
    for name, curve in points.items():
        held = dict(curve)
        cells[name] = [held.get(x) for x in steps]
    by_epoch = any("epoch_" in name for name in points)
    cells = {name: column for name, column in cells.items() if name not in ("epoch", "step")}
    return Log(cells={"epoch" if by_epoch else "step": steps, **cells}, source="TensorBoard")


def _holds_all(folders: Iterable[Path], asked: Path) -> Path:
    """The lowest directory with all event files whose name does not tell a part: names of curves begin below it."""
    lowest = Path(commonpath(folders))
    tells_part = any(map(part_of, _split(lowest.name)))
    return lowest.parent if tells_part and lowest != asked else lowest


def _split(name: str) -> list[str]:
    return name.replace("-", "_").replace(".", "_").split("_")


def _from_json(path: Path, text: str) -> Log:
    try:
        held = json.loads(text)
    except RecursionError as error:
        raise InputError(f"{path} is no log: its brackets go too deep") from error
    except ValueError:
        try:
            held = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} must be JSON, but it is damaged ({error}): write it again") from error
    return _from_mapping(held) if isinstance(held, Mapping) else _from_records(held)


def _from_csv(path: Path, text: str) -> Log:
    head = text.strip("\ufeff\r\n").partition("\n")[0]
    separator = max(",;\t|", key=head.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text.strip("\ufeff\r\n")), delimiter=separator) if row]
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as a table: {error}; save it as CSV") from error
    header, body = [name.strip() for name in rows[0]] if rows else [], rows[1:]
    wrong = next((n for n, row in enumerate(body, 2) if len(row) != len(header)), None)
    if wrong or not body:
        why = (
            f"row {wrong} has {len(body[wrong - 2])} fields and the first {len(header)}"
            if wrong
            else "there is no row"
        )
        raise InputError(f"{path} must be a table of curves with a header, but {why}: look at the file")
    cells: Cells = {name: [row[n] for row in body] for n, name in enumerate(header)}
    if separator == ";":  # where that separates, a comma is a decimal sign
        cells = {name: [cell.replace(",", ".") for cell in column] for name, column in cells.items()}
    return Log(cells=cells, source=_lightning(cells))


def _lightning(cells: Cells) -> str:
    """Whether rows are as Lightning logs them: training and validation on lines of their own, both counts beside them."""
    sparse = any(str(cell).strip() == "" for column in cells.values() for cell in column)
    return "Lightning" if {"epoch", "step"} <= cells.keys() and sparse else "table"


def _from_frame(source: object) -> Log:
    table = open_table(source)
    frame = table.frame
    # A pandas column cannot tell "not logged" from "not a number".
    absent = frame.implementation.is_pandas_like()
    cells: Cells = {}
    for name in frame.columns:
        column = frame[name].to_list()
        cells[name] = [None if absent and isinstance(x, float) and isnan(x) else x for x in column]
    sparse = {name: ["" if x is None else x for x in column] for name, column in cells.items()}
    return Log(cells=cells, source=_lightning(sparse), notes=table.notes)


def _from_records(records: object) -> Log:
    if (
        not isinstance(records, Sequence)
        or not records
        or not all(isinstance(row, Mapping) for row in records)
    ):
        raise InputError(
            "a log must be a table, a mapping of lists or a list of mappings, one for each epoch"
        )
    names = dict.fromkeys(name for row in records for name in row)
    cells: Cells = {str(name): [row.get(name) for row in records] for name in names}
    return Log(cells=cells, source="skorch" if "batches" in cells else "table")


def _from_mapping(held: Mapping[Any, Any]) -> Log:
    if "log_history" in held:  # of Hugging Face's Trainer
        return _from_records(held["log_history"])
    if isinstance(held.get("epochs"), list) and held["epochs"] and isinstance(held["epochs"][0], Mapping):
        return _from_records(held["epochs"])
    flat: dict[str, list[Any]] = {}
    for name, value in held.items():
        inner = value.items() if isinstance(value, Mapping) else [("", value)]
        for below, column in inner:
            if isinstance(column, Sequence | np.ndarray) and not isinstance(column, str):
                flat[f"{name}_{below}".strip("_")] = list(column)
    if not flat or not max(map(len, flat.values())):
        raise InputError(
            "a log must hold lists of values by name, as History.history of Keras does, but there is none"
        )
    longest = max(map(len, flat.values()))
    thinned = {name: len(column) for name, column in flat.items() if len(column) < longest}
    cells = {name: _spread(name, column, longest) for name, column in flat.items() if column}
    notes = tuple(
        f"{name} has {size} values of {longest}: it is taken to be of every {longest // size} epochs"
        for name, size in thinned.items()
        if size
    )
    return Log(cells=cells, notes=notes)


def _spread(name: str, column: list[Any], longest: int) -> list[Any]:
    """Values of every k-th epoch, as Keras' ``validation_freq`` leaves them, at their places."""
    every = longest // len(column)
    if longest // every != len(column):
        raise InputError(
            f"curves must be equally long, or of every so many epochs, but {name} has {len(column)} values and another {longest}: add a column of epochs"
        )
    spread: list[Any] = [None] * longest
    spread[every - 1 : every * len(column) : every] = column
    return spread


def _stacked(log: Log) -> Log:
    """A column that says ``train`` or ``val`` in each row becomes part of the names of the others."""
    for key, column in log.cells.items():
        parts = [part_of(cell) for cell in column]
        if {"train", "valid"} <= set(parts) and all(parts):
            axis = {name for name in axis_of(log.cells) if name}
            cells: Cells = {name: log.cells[name] for name in axis}
            for name in [name for name in log.cells if name not in axis | {key}]:
                for part in sorted(set(parts)):
                    own = zip(log.cells[name], parts, strict=True)
                    cells[f"{part}_{name}"] = [cell if here == part else None for cell, here in own]
            return replace(log, cells=cells)
    return log
