"""Memory of a fit on a long series: windows are gathered by index and never laid out.

    python benchmarks/memory.py

Trains on a series of 5 million rows and 4 columns with a lookback of 200 (laid out as float32, its windows would take
5e6 x 200 x 4 x 4 bytes = 16 GB) and prints the peak resident memory beyond that of the process with the data.
"""

import resource
import threading
import time

import numpy as np
import psutil
import torch

from heldout.data.calendar import Frequency
from heldout.data.series import SeriesData
from heldout.data.splits import split_series
from heldout.recipe import Recipe
from heldout.training.fit import fit_series

ROWS, COLUMNS, LOOKBACK = 5_000_000, 4, 200


def main() -> None:
    values = np.random.default_rng(0).normal(size=(ROWS, COLUMNS))
    for column in range(COLUMNS):  # waves with noise, made in place
        values[:, column] += np.sin(np.arange(ROWS, dtype=np.float32) / (10 + column))
    names = tuple("yabc")
    place = np.arange(ROWS, dtype=np.int64)
    data = SeriesData(
        values=values, columns=names, targets=names[:1], past=names[1:], time=place, position=place,
        offsets=np.array([0, ROWS]), ids=("series",), frequency=Frequency(),
    )  # fmt: skip
    torch.ones(1).sum()
    process = psutil.Process()
    before = process.memory_info().rss
    peak, done = [before], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    fold = split_series(data, LOOKBACK, n_folds=0)[-1]
    recipe = Recipe(lookback=LOOKBACK, max_epochs=2)
    _, history = fit_series(data, fold.train.rows(data, LOOKBACK), fold.valid.rows(data, LOOKBACK), recipe)
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    print(
        f"{ROWS} rows x {COLUMNS} columns, lookback {LOOKBACK}: data {values.nbytes / 1e6:.0f} MB, peak beyond it "
        f"{(peak[0] - before) / 1e6:.0f} MB (aim <= 1000), {len(history.epochs) - 1} epochs in {seconds:.0f} s, "
        f"peak of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB"
    )


if __name__ == "__main__":
    main()
