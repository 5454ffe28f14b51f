"""What one model on many workers costs: a formula, its constants measured here, checked, and extrapolated.

    python benchmarks/sizing.py

A step of a batch of B windows on N workers takes  t0 + B / N * w + s(N, P):  what a step costs beside its arithmetic, the arithmetic
of a window, and the sum of P gradients over N workers. t0 and w are fitted to steps of one process, s is measured between two; the
formula is then held against steps of two workers that it has not seen. Reading costs r seconds a row, once.
"""

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from heldout.data.layout import read_series
from heldout.data.prepare import Prepare
from heldout.recipe import Recipe
from heldout.training.distributed import ALONE, Ranks, only_here
from heldout.training.loop import train
from heldout.training.settle import settle
from heldout.training.start import start_network

_FITTED = [(32, 64), (32, 512), (32, 2048), (128, 64), (128, 256), (128, 1024)]
_CHECKED = [(32, 1024), (128, 512), (128, 2048)]
_REPEATS = 3
_NETWORK = 1.25e9  # bytes a second and seconds of latency of the extrapolated machines: assumed, not measured
_LATENCY = 100e-6


def step_seconds(hidden: int, batch: int, ranks: Ranks = ALONE) -> tuple[float, int]:
    """Median time of a step, and the numbers in the network."""
    rng = np.random.default_rng(0)
    table = pl.DataFrame({f"x{k}": rng.standard_normal(30_000) for k in range(8)})
    data = read_series(table, target="x0", horizon=4)
    options: dict[str, Any] = {"hidden_size": hidden, "batch_size": batch, "epoch_samples": 12 * batch}
    recipe = settle(
        Recipe(lookback=60, max_epochs=1, transform="none", shortcut="none", valid_samples=64, **options),
        data,
    )
    rows = np.arange(100, 28_000)
    windows = Prepare.fit(data, rows, 60, recipe).apply(data, 60)
    parts = torch.from_numpy(rows), torch.arange(28_100, 29_900)
    network = start_network(data, windows, parts, recipe, seed=0)
    found = []
    for _ in range(_REPEATS):
        times = [time.perf_counter()]
        train(
            network,
            windows,
            *parts,
            recipe,
            ranks=ranks,
            on_step=lambda *_, times=times: times.append(time.perf_counter()),
        )
        found += np.diff(times)[2:].tolist()
    return statistics.median(found), sum(p.numel() for p in network.parameters())


def _rank(rank: int, meeting: str, out: str) -> None:
    torch.set_num_threads(1)
    with Ranks.joined(rank, 2, Path(meeting)) as ranks:
        found: dict[str, Any] = {}
        for n in (1_000, 10_000, 100_000, 1_000_000):
            values, times = torch.zeros(n), []
            for _ in range(60):
                began = time.perf_counter()
                ranks.total(values)
                times.append(time.perf_counter() - began)
            found[f"sum {n}"] = statistics.median(times[10:])
        for hidden, batch in _CHECKED:
            found[f"step {hidden} {batch}"] = step_seconds(hidden, batch, ranks)[0]
        if ranks.first:
            torch.save(found, out)


def main() -> None:
    torch.set_num_threads(1)
    os.environ.update(only_here())
    alone = {pair: step_seconds(*pair) for pair in {*_FITTED, *_CHECKED}}
    fits = {}
    for hidden in (32, 128):
        pairs = [(batch, alone[h, batch][0]) for h, batch in _FITTED if h == hidden]
        sizes, times = map(np.array, zip(*pairs, strict=True))
        w, t0 = np.polyfit(sizes, times, 1, w=1 / times)  # each to the same share of itself
        fits[hidden] = t0, w
        print(f"{hidden} units: a step costs {1e3 * t0:.2f} ms and {1e6 * w:.1f} us a window")
    with tempfile.TemporaryDirectory() as folder:
        spawn = multiprocessing.get_context("spawn")
        names = f"{folder}/meeting", f"{folder}/found"
        ranks = [spawn.Process(target=_rank, args=(rank, *names)) for rank in range(2)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
        found = torch.load(names[1], weights_only=True)
    sizes = [int(name.split()[1]) for name in found if name.startswith("sum")]
    per, fixed = np.polyfit(sizes, [found[f"sum {n}"] for n in sizes], 1)
    print(f"a sum over two workers costs {1e3 * fixed:.2f} ms and {1e9 * per:.2f} ns a number")
    for hidden, batch in _CHECKED:
        (t0, w), (one, numbers) = fits[hidden], alone[hidden, batch]
        told = t0 + batch / 2 * w + fixed + per * numbers
        own = found[f"step {hidden} {batch}"]
        print(
            f"{hidden} units, {batch} windows: one process {1e3 * one:.1f} ms (formula {1e3 * (t0 + batch * w):.1f}), two workers "
            f"{1e3 * own:.1f} ms (formula {1e3 * told:.1f}, {told / own:.2f} x), {one / own:.2f} x as fast as one"
        )
    print(
        "extrapolated, not measured: 10^10 windows once, 128 units, 100 machines of 16 workers, 1.25 GB/s, 0.1 ms"
    )
    (t0, w), numbers = fits[128], alone[128, 512][1]
    for batch in (16_384, 131_072):
        summed = 2 * (np.log2(1600) * _LATENCY + 4 * numbers / _NETWORK)
        step = t0 + batch / 1600 * w + summed
        print(f"  batches of {batch:,}: {1e3 * step:.1f} ms a step, {1e10 / batch * step / 3600:.1f} hours")


if __name__ == "__main__":
    sys.exit(main())
