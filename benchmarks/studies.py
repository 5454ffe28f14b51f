"""Fits per minute of a study: 1 worker against 2, what is kept beside the fits, and other people's grid searches.

    python benchmarks/studies.py [--repeats 3] [--rows 4000] [--epochs 5] [--peers PYTHON] [--no-keras]

1. The plan below with one worker process and with two; their losses must be the same bits.
2. Fits that compute nothing, with the key, the arrays, the history and the scores of a real one, through `run_plan` and the
   ledger: milliseconds a fit.
3. The same grid, folds, epochs, samples and batches, in wall time: scikit-learn's GridSearchCV over skorch and KerasTuner's
   GridSearch on Keras-TensorFlow (`study_peers.py`, in the interpreter given), two cores each.

The plan: ETTh1, oil temperature, 24 hours ahead from windows of 96 rows at stride 1; units 8, 16, 32 x learning rates 3e-4,
1e-3, 3e-3 x 3 walk-forward folds = 27 fits; every one trains all epochs; batches of 64, Adam, squared error. The network is
one LSTM layer, read row by row (segment=1; by default heldout would cut the window into 12 steps, shown as a line of its
own), and one linear layer on the last state.

What differs, and in whose favour: heldout has recurrent dropout .1, as Keras has, and skorch has none (skorch's favour).
heldout evaluates the validation and the training loss before training and after every epoch, and checkpoints every epoch
and keeps every forecast; the others do none of it (theirs). Peers get windows that are cut and scaled beforehand; heldout
learns scales in each fold and gathers windows for each batch (theirs). heldout makes its weights ready for use, and its
fits may be killed and gone on with. All worker processes are started and warmed up before the clock; sides take turns;
ratios are those of the medians. KerasTuner runs its trials one after the other, each on both cores; a trial there traces
its graph anew.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl

from heldout.data.layout import read_series
from heldout.data.series import SeriesData
from heldout.data.splits import Fold, split_series
from heldout.recipe import Recipe
from heldout.studies.engine import LocalEngine
from heldout.studies.ledger import Finished, Ledger
from heldout.studies.plan import Job, plan, run_plan
from heldout.studies.study import Context, make_context
from heldout.training.settle import settle

FILE = Path(__file__).parents[1] / "../shared/data/timeseries/ETTh1.csv.gz"
LOOKBACK, HORIZON, BATCH = 96, 24, 64
HIDDEN, LR = (8, 16, 32), (3e-4, 1e-3, 3e-3)
EMPTY_FITS, MOST_MS = 200, 50


class Empty(Context):
    """A study whose fits compute nothing and leave what a real one does."""

    def run(self, job: Job, report: Callable[[dict[str, Any]], None]) -> Finished:
        row = {"epoch": 1, "train_loss": 1.0, "valid_loss": 1.0, "lr": 1e-3}
        report(row)
        n = 500
        arrays = {"origin": np.arange(n), "forecast": np.ones((n, HORIZON, 1)), "loss": np.ones(n)}
        return Finished(
            name=job.name,
            spec=job.model.to_dict(),
            scores={"mse": 1.0, "stopped": True},
            history=[row] * 10,
            arrays=arrays,
        )


def read(n_rows: int) -> tuple[SeriesData, tuple[Fold, ...]]:
    if not FILE.exists():
        raise SystemExit(f"the data are not there: {FILE}")
    table = pl.read_csv(FILE.read_bytes(), try_parse_dates=True).head(n_rows)
    data = read_series(table, target="OT", past=(), horizon=HORIZON)
    return data, split_series(data, LOOKBACK, n_folds=3)[:-1]


def recipes(data: SeriesData, epochs: int, segment: int | None) -> dict[str, Recipe]:
    plain = {
        "shortcut": "none", "window_norm": "none", "transform": "none", "outliers": 0.0, "regularization": 0.0, "clip_norm": 0.0,
        "recurrent_dropout": 0.1, "optimizer": "adam", "patience": None, "restore_best": False, "scale_by": "all",
    }  # fmt: skip
    sizes = {"lookback": LOOKBACK, "segment": segment, "batch_size": BATCH, "max_epochs": epochs}
    return {
        f"{hidden} units, lr {lr:g}": settle(Recipe(hidden_size=hidden, lr=lr, **sizes, **plain), data)
        for hidden in HIDDEN
        for lr in LR
    }


class Ours:
    """The plan on some workers that stay."""

    def __init__(
        self,
        data: SeriesData,
        folds: tuple[Fold, ...],
        found: dict[str, Recipe],
        workers: int,
        folder: Path,
        kind: type[Context] = Context,
    ) -> None:
        self.folds, self.recipes, self.folder = folds, found, folder / uuid4().hex
        self.folder.mkdir()
        context = make_context(data, self.recipe, folds[0], self.folder / "checkpoints")
        self.context = kind(**vars(context))
        self.engine = LocalEngine(workers)

    @property
    def recipe(self) -> Recipe:
        return next(iter(self.recipes.values()))

    def run(self, jobs: list[Job]) -> list[Finished]:
        with Ledger(self.folder / f"{uuid4().hex}.sqlite") as ledger:  # a new one remembers nothing
            return run_plan(self.context, jobs, ledger, engine=self.engine)

    def warm(self) -> None:
        small = self.recipe.with_values({"max_epochs": 1})
        self.run([Job(candidate="warm", fold=fold, model=small) for fold in self.folds[:2]])

    def search(self) -> float:
        fits = self.run(plan(self.recipes, self.folds, (0,)))
        self.losses = np.array([fit.scores["mse"] for fit in fits]).reshape(len(self.folds), -1)
        return float(self.losses.mean(axis=0).min())

    def empty(self) -> None:
        jobs = [Job(candidate="e", fold=self.folds[0], model=self.recipe, seed=n) for n in range(EMPTY_FITS)]
        self.run(jobs)


class Peer:
    """`study_peers.py` in another interpreter."""

    def __init__(self, python: str, form: str, file: Path) -> None:
        command = [python, str(Path(__file__).with_name("study_peers.py")), form, str(file)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.answer() != "ready":
            raise SystemExit(f"{python} could not run {form}; see requirements-peers.txt")

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def search(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write("1\n")
        self.process.stdin.flush()
        return float(self.answer())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def write_windows(file: Path, data: SeriesData, folds: tuple[Fold, ...], epochs: int) -> float:
    """Cut and scale what the peers read; gives the variance that one of their units of loss stands for."""
    values = data.values[:, 0]
    rows = [(fold.train.rows(data, LOOKBACK), fold.test.rows(data, LOOKBACK)) for fold in folds]
    origins = np.unique(np.concatenate([part for pair in rows for part in pair]))
    sd = values[rows[0][0]].std()
    scaled = ((values - values[rows[0][0]].mean()) / sd).astype(np.float32)
    parts = {
        f"{name}{n}": np.searchsorted(origins, part)
        for n, pair in enumerate(rows)
        for name, part in zip(("train", "test"), pair, strict=True)
    }
    x = scaled[origins[:, None] + np.arange(1 - LOOKBACK, 1)][:, :, None]
    y = scaled[origins[:, None] + np.arange(1, HORIZON + 1)]
    np.savez(file, x=x, y=y, n_folds=len(rows), hidden=HIDDEN, lr=LR, epochs=epochs, **parts)
    return float(sd**2)


def take_turns(sides: dict[str, Any], repeats: int) -> tuple[dict[str, float], dict[str, float]]:
    """Give the median seconds and the best loss of each side."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    best = {}
    for _ in range(repeats):
        for name, side in sides.items():
            began = time.perf_counter()
            best[name] = side.search()
            seconds[name].append(time.perf_counter() - began)
            print(f"  {name}: {seconds[name][-1]:.1f} s", file=sys.stderr, flush=True)
    return {name: median(found) for name, found in seconds.items()}, best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter with requirements-peers.txt")
    parser.add_argument("--no-keras", action="store_true", help="leave out KerasTuner, which takes minutes")
    asked = parser.parse_args()
    data, folds = read(asked.rows)
    n_fits = len(HIDDEN) * len(LR) * len(folds)
    by_row, by_default = (recipes(data, asked.epochs, segment) for segment in (1, None))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sides: dict[str, Any] = {
            "heldout, 2 workers": Ours(data, folds, by_row, 2, folder),
            "heldout, 1 worker": Ours(data, folds, by_row, 1, folder),
            "heldout, 2 workers, 12 steps": Ours(data, folds, by_default, 2, folder),
        }
        empty = Ours(data, folds, by_row, 2, folder, Empty)
        for side in (*sides.values(), empty):
            stack.enter_context(side.engine.kept())
            side.warm()
        units = dict.fromkeys(sides, 1.0)
        if asked.peers:
            file = folder / "windows.npz"
            variance = write_windows(file, data, folds, asked.epochs)
            forms = {"GridSearchCV, skorch": "skorch", "KerasTuner, TensorFlow": "keras"}
            for name, form in list(forms.items())[: 1 if asked.no_keras else 2]:
                sides[name] = Peer(asked.peers, form, file)
                stack.callback(sides[name].close)
                units[name] = variance
        seconds, best = take_turns(sides, asked.repeats)
        show(seconds, best, units, n_fits, asked)
        one, two = sides["heldout, 1 worker"], sides["heldout, 2 workers"]
        assert np.array_equal(one.losses, two.losses), "one worker and two disagree"
        bookkeeping(empty)


def show(
    seconds: dict[str, float], best: dict[str, float], units: dict[str, float], n_fits: int, asked: Any
) -> None:
    own = seconds["heldout, 2 workers"]
    print(
        f"{n_fits} fits of {asked.epochs} epochs, {asked.rows} rows, medians of {asked.repeats}, taking turns"
    )
    print(f"{'':32}  seconds  fits/min  x heldout's time  best mean test mse")
    for name, found in seconds.items():
        print(
            f"{name:32} {found:8.1f} {60 * n_fits / found:9.1f} {found / own:17.2f} {best[name] * units[name]:19.2f}"
        )
    print(f"2 workers against 1: {seconds['heldout, 1 worker'] / own:.2f} x the fits per minute (aim >= 1.8)")
    for name, aim in (("GridSearchCV, skorch", 3), ("KerasTuner, TensorFlow", 8)):
        if name in seconds:
            print(f"against {name}: {seconds[name] / own:.2f} x (aim >= {aim})")


def bookkeeping(side: Ours) -> None:
    found = []
    for _ in range(3):
        began = time.perf_counter()
        side.empty()
        found.append(1e3 * (time.perf_counter() - began) / EMPTY_FITS)
    print(f"bookkeeping: {median(found):.1f} ms a fit (aim <= {MOST_MS})")


if __name__ == "__main__":
    from studies import main as run  # worker processes find `Empty` by the name of this module

    run()
