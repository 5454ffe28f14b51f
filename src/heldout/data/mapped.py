"""Prepared series in files, mapped into memory: windows are cut from them without any of it being held."""

import json
import mmap
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heldout.data.prepare import Prepare
from heldout.data.series import SeriesData
from heldout.data.windows import Batch, Windows
from heldout.files import write_atomically

_DESCRIBED = "windows.json"
_FILES = {"inputs": np.float32, "level": np.float64}
_AT_ONCE = 64
"""Samples after which a process gives back the pages that it has touched: of a file just written each may bring 2 MiB."""


@dataclass(frozen=True, eq=False)
class MappedWindows(Windows):
    """`Windows` whose tensors lie in files.

    Parameters
    ----------
    maps : tuple of numpy memmap
        What ``inputs`` and ``level`` show.
    """

    maps: tuple[Any, ...] = ()

    def gather(self, rows: Tensor, *, labelled: bool = True) -> Batch:
        """Cut the windows that end at these rows, see `Windows.gather`; memory does not grow with the rows that were read."""
        parts = []
        for some in rows.split(_AT_ONCE):
            parts.append(super().gather(some, labelled=labelled))
            release(self.maps)
        if len(parts) == 1:
            return parts[0]
        fields = zip(*parts, strict=True)
        return Batch(*(None if field[0] is None else torch.cat(field) for field in fields))  # type: ignore[arg-type] # x and y are there


def release(maps: tuple[Any, ...]) -> None:
    """Give the pages of mapped arrays back; they stay in the system's cache of files."""
    for one in maps:
        with suppress(AttributeError):  # Windows has none: it takes pages from who needs them least
            one._mmap.madvise(mmap.MADV_DONTNEED)


def map_file(path: Path, dtype: type) -> NDArray[Any]:
    """Map a file of numbers, to read them.

    Parameters
    ----------
    path : Path
        It may be empty.
    dtype : type
        Of the numbers.
    """
    return np.memmap(path, dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype)


def write_windows(
    folder: Path, prepare: Prepare, blocks: Iterator[SeriesData], lookback: int, key: str
) -> None:
    """Prepare series, a block of them at a time, and write what `open_windows` opens.

    Parameters
    ----------
    folder : Path
        Where to; made if it is missing.
    prepare : Prepare
        Fitted.
    blocks : iterator of SeriesData
        Whole series, in order, all of them.
    lookback : int
        Rows in a window.
    key : str
        Of all that this depends on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _DESCRIBED).unlink(missing_ok=True)
    shapes: dict[str, list[int]] = {}
    checks, static, lengths = dict.fromkeys(_FILES, 0), [], [0]
    windows: Windows | None = None
    with (folder / "inputs.bin").open("wb") as inputs, (folder / "level.bin").open("wb") as level:
        for data in blocks:
            windows = prepare.apply(data, lookback)
            for name, file in (("inputs", inputs), ("level", level)):
                own = getattr(windows, name).numpy()
                rows, columns = shapes.get(name, [0, own.shape[1]])
                shapes[name] = [rows + len(own), columns]
                checks[name] = crc32(own, checks[name])
                file.write(own.data)
            lengths += np.diff(data.offsets).tolist()
            static += [] if windows.static is None else [windows.static.numpy()]
    assert windows is not None
    described = {
        "key": key,
        "shapes": shapes,
        "checks": checks,
        "lookback": lookback,
        "steps": windows.steps.tolist(),
        "window_norm": windows.window_norm,
        "differenced": windows.differenced.tolist(),
        "n_columns": len(prepare.columns),
        "n_future": prepare.n_future,
        "offsets": np.cumsum(lengths).tolist(),
        "static": np.concatenate(static).tolist() if static else None,
        "prepare": prepare.to_dict(),
    }
    write_atomically(folder / _DESCRIBED, json.dumps(described).encode())


def prepared_by(folder: Path, key: str) -> Prepare | None:
    """Give what has prepared the windows of a key that lie in a folder, if they are whole and undamaged; all are read.

    Parameters
    ----------
    folder : Path
        Where they would lie.
    key : str
        As given to `write_windows`.
    """
    with suppress(OSError, ValueError, KeyError, TypeError):
        described = json.loads((folder / _DESCRIBED).read_bytes())
        whole = all(_check(folder / f"{name}.bin") == described["checks"][name] for name in _FILES)
        if whole and described["key"] == key:
            return Prepare.from_dict(described["prepare"])
    return None


def _check(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while part := file.read(2**24):
            found = crc32(part, found)
    return found


def open_windows(folder: Path) -> MappedWindows:
    """Map what `write_windows` has written.

    Parameters
    ----------
    folder : Path
        Where it lies.
    """
    described = json.loads((folder / _DESCRIBED).read_bytes())
    maps = {
        # copy-on-write, as torch takes no array that cannot be written; nothing is
        name: np.memmap(folder / f"{name}.bin", dtype, mode="c", shape=tuple(described["shapes"][name]))
        for name, dtype in _FILES.items()
    }
    for one in maps.values():
        if hasattr(mmap, "MADV_RANDOM"):  # what lies beside a window is not read with it
            one._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined] # numpy's own name for it
    inputs = _tensor(maps["inputs"])
    columns, n_future = described["n_columns"], described["n_future"]
    static = described["static"]
    return MappedWindows(
        inputs=inputs,
        level=_tensor(maps["level"]),
        lookback=described["lookback"],
        steps=torch.tensor(described["steps"]),
        window_norm=described["window_norm"],
        differenced=torch.tensor(described["differenced"]),
        future=inputs[:, columns - n_future : columns] if n_future else None,
        static=torch.tensor(static, dtype=torch.float32) if static is not None else None,
        offsets=torch.tensor(described["offsets"]) if static is not None else None,
        maps=tuple(maps.values()),
    )


def _tensor(mapped: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.asarray(mapped))
