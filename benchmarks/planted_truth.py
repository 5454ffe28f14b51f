"""A planted truth: whether `reduce_capacity` finds the size of the network that made the data, and judges it honestly.

    python benchmarks/planted_truth.py [--seeds 20] [--workers 2] [--out runs/planted]

The teacher is an LSTM of 4 units. Each unit reads an input of its own through a gate of its own, so that nothing smaller
says the same; the target is the sum and difference of its states, plus noise. Its weights are fixed; a seed draws 2400 rows
of inputs and noise. The student's recipe can say just that (one layer, no linear shortcut, no dropout, windows of 10 rows,
which the teacher has forgotten by then), and the walk goes down from 32 units: 32, 16, 8, 4, 2.

Counted over the seeds:

- size: the choice is the true size or its neighbour on the ladder, 2, 4 or 8. (2 is refuted easily, so what is asked is
  whether the walk goes down far enough and stops in time.)
- risk: the 95 % interval of the choice's loss on the outer folds holds the true risk of the networks that were judged:
  their mean squared error on 20 000 fresh rows. They are fitted anew for that, and must give the loss that was reported.

A seed takes a run directory of its own; a stopped benchmark goes on where it was.
"""

import argparse
import json
import time
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import nn

from heldout.config import Config
from heldout.data.layout import read_series
from heldout.files import write_atomically
from heldout.reduce import reduce_capacity
from heldout.search import Search
from heldout.studies.engine import LocalEngine
from heldout.training.fit import fit_series

TRUE_UNITS, NOISE, ROWS, FRESH_ROWS = 4, 0.3, 2400, 20_000
NEIGHBOURS = (2, 4, 8)
WARM_UP = 50  # rows after which the teacher has forgotten its start
CONFIG = Config().with_values(
    {
        "target": "y", "horizon": 1, "lookback": 10, "n_folds": 4, "n_seeds": 1, "test_size": 0.05, "season": 1,
        "num_layers": 1, "hidden_size": 32, "segment": 1, "shortcut": "none", "window_norm": "none", "transform": "none",
        "scale_by": "all", "outliers": 0.0, "regularization": 0.0, "lr": 0.02, "batch_size": 32, "max_epochs": 30, "patience": 6,
    }
)  # fmt: skip


def make_teacher() -> nn.LSTM:
    lstm = nn.LSTM(TRUE_UNITS, TRUE_UNITS)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.zero_()
        own = torch.eye(TRUE_UNITS)
        lstm.weight_ih_l0.copy_(torch.cat([3.0 * own, 0.0 * own, 1.5 * own, 0.0 * own]))  # i, f, g, o
        forget = torch.tensor([0.4, 0.9, 0.4, 0.9])
        lstm.bias_ih_l0.copy_(torch.cat([torch.zeros(4), forget, torch.zeros(4), torch.full((4,), 2.0)]))
    return lstm


def draw(seed: int, n_rows: int) -> pl.DataFrame:
    """Rows of the teacher's inputs, and of what it says about the next row, with noise."""
    rng = np.random.default_rng([7, seed])
    x = rng.normal(size=(n_rows + WARM_UP, TRUE_UNITS)).astype(np.float32)
    with torch.no_grad():
        states = make_teacher()(torch.from_numpy(x)[:, None])[0][:, 0].numpy()
    said = states @ np.array([1.0, -1.0, 1.0, -1.0]) / 0.525  # a standard deviation of 1
    y = said[WARM_UP - 1 : -1] + NOISE * rng.normal(size=n_rows)
    return pl.DataFrame({"y": y, **{f"x{n}": x[WARM_UP:, n] for n in range(TRUE_UNITS)}})


def true_risk(table: pl.DataFrame, row: dict[str, Any]) -> float:
    """Risk of the networks that were judged, the mean over outer folds; fitted anew, and checked against what was said."""
    search = Search.make(table, CONFIG)
    data, lookback = search.context.data, search.context.lookback
    fresh = read_series(draw(10_000, FRESH_ROWS), target="y", horizon=1)
    rows, recipe = fresh.origins(lookback), search.variant({**row["values"], "lr": row["lr"]})
    judged, risks, weights = [], [], []
    for fold in search.outer:
        train, valid, test = (part.rows(data, lookback) for part in (fold.train, fold.valid, fold.test))
        model, _ = fit_series(data, train, valid, recipe, seed=search.seeds()[0])
        for held, origins, into in ((data, test, judged), (fresh, rows, risks)):
            said = model.point(model.predict(held, origins))[:, 0, 0]
            into.append(float(np.square(said - held.values[origins + 1, 0]).mean()))
        weights.append(len(test))
    again = float(np.average(judged, weights=weights))
    assert isclose(again, row["loss"], rel_tol=1e-6), f"reported {row['loss']}, fitted anew {again}"
    return float(np.average(risks, weights=weights))


def one_seed(seed: int, out: Path, workers: int) -> dict[str, Any]:
    """What came out for a seed, from a file if it was done before."""
    path = out / f"seed-{seed:02}.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    began, table = time.perf_counter(), draw(seed, ROWS)
    found = reduce_capacity(table, CONFIG, out=out / f"seed-{seed:02}", engine=LocalEngine(workers)).found
    seconds = time.perf_counter() - began
    row = found["outer"]["rows"][0]
    sizes = {one["values"]["hidden_size"]: one for stage in found["stages"] for one in stage["rows"]}
    result = {
        "seed": seed,
        "units": row["values"]["hidden_size"],
        "losses": {units: f"{one['loss']:.3f}{' stopped' * one['stopped']}" for units, one in sizes.items()},
        "best": found["best"]["hidden_size"],
        "loss": row["loss"],
        "low": row["low"],
        "high": row["high"],
        "risk": true_risk(table, row),
        "seconds": seconds,
    }
    write_atomically(path, json.dumps(result).encode())
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/planted"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    right = covered = exact = 0
    for n, seed in enumerate(range(asked.seeds), start=1):
        found = one_seed(seed, asked.out, asked.workers)
        right += found["units"] in NEIGHBOURS
        exact += found["units"] == TRUE_UNITS
        covered += found["low"] <= found["risk"] <= found["high"]
        losses = ", ".join(f"{units}: {loss}" for units, loss in found["losses"].items())
        print(
            f"seed {seed:2}: chose {found['units']:2} (best {found['best']}; {losses}); outer {found['loss']:.4f} "
            f"[{found['low']:.4f}, {found['high']:.4f}], true {found['risk']:.4f}; {found['seconds']:.0f} s | "
            f"size {right}/{n} ({exact} exact), risk {covered}/{n}",
            flush=True,
        )
    print(
        f"true size or its neighbour: {right}/{asked.seeds} (aim >= 16 of 20), the true size itself {exact}; "
        f"true risk within the 95 % interval: {covered}/{asked.seeds} (aim >= 18 of 20)"
    )


if __name__ == "__main__":
    main()
