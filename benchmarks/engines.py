"""The same studies on the engines `inline`, `local` and `ray`: the same tables, and fits per minute.

    python -m benchmarks.engines [--studies 20] [--repeats 5] [--fits 24]

1. Studies of five commands on tables and texts of their own, small enough to be done three times over: in this process, on two
   processes, and as tasks of Ray on two CPUs. Compared are ``scores.json`` (scores, losses, choices, verdicts), every fit in
   the ledger (scores, history, forecasts, losses, model) and the forecasts of the final model: all but seconds and places.
2. Fits per minute of one plan on two processes and on two CPUs of Ray. Both are started and have run the plan before the
   clock; they take turns, in two orders; each repeat has a new ledger. The ratio is that of the medians.
3. What it takes until the first result of an engine that was not running; and from that, the ratio of studies of other
   lengths with everything included.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
from benchmarks.study_faults import result_of

import heldout
from heldout.config import Config, TextConfig
from heldout.data.layout import read_series
from heldout.data.splits import Fold, split_series
from heldout.recipe import Recipe
from heldout.studies.engine import Engine, InlineEngine, LocalEngine
from heldout.studies.ledger import Ledger
from heldout.studies.plan import Job, plan, run_plan
from heldout.studies.ray_engine import RayEngine
from heldout.studies.study import Context, make_context
from heldout.training.settle import settle

SMALL = {
    "target": "y", "horizon": 2, "lookback": 12, "season": 12, "hidden_size": 4, "max_epochs": 2, "n_folds": 2, "n_seeds": 2,
}  # fmt: skip
TEXTS = {
    "text": "text", "target": "label", "hidden_size": 3, "embedding_size": 4, "max_epochs": 1, "n_folds": 2, "n_seeds": 2,
    "valid_size": 0.2,
}  # fmt: skip
BARE = {"regularization": 0.0, "patience": "none", "restore_best": False}
LENGTHS = (1, 10, 60)  # minutes of a study

Run = Callable[..., object]


def studies(folder: Path) -> list[tuple[str, Run]]:
    """Twenty, by name: each a function that takes ``out`` and ``engine``."""
    found: list[tuple[str, Run]] = []

    def add(kind: str, function: Run, values: Mapping[str, Any], **options: Any) -> None:
        number = len(found)
        table = folder / f"{number}.csv"
        write_table(table, number, 240 + 10 * number)
        config = Config().with_values(SMALL | dict(values))
        found.append((f"{kind} {values or options}", partial(function, str(table), config, **options)))

    for values in ({}, {"num_layers": 2}, {"loss": "quantile"}, {"horizon": 4}, {"max_epochs": 6, "n_seeds": 1}, {"batch_size": 16}):  # fmt: skip
        add("fit", heldout.fit, values)
    for values in ({}, {"horizon": 1}, {"n_seeds": 1}):
        add("reduce", heldout.reduce_capacity, values, budget="60 fits")
    for values in ({}, {"hidden_size": 8}, {"n_folds": 3}):
        add("judge", heldout.judge, BARE | values, budget="60 fits")
    for names in (
        ["linear shortcut", "seed ensemble"],
        ["recurrent dropout"],
        ["linear shortcut", "more data"],
    ):
        add("remedies", heldout.rank_remedies, {"max_epochs": 1}, remedies=names)
    for trials in (2, 3, 4):
        add("tune", heldout.tune, {"max_epochs": 9}, n_trials=trials)
    for seed in (0, 1):
        table = folder / f"texts-{seed}.csv"
        write_texts(table, seed)
        config = TextConfig().with_values(TEXTS)
        found.append((f"texts {seed}", partial(heldout.fit, str(table), config)))
    return found


def write_table(path: Path, seed: int, n_rows: int) -> None:
    """A season, what follows from another column, and noise."""
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=n_rows), np.arange(n_rows)
    y = np.sin(2 * np.pi * t / 12) + 0.6 * np.roll(x, 1) + 0.2 * rng.normal(size=n_rows)
    stamps = np.datetime64("2020-01-01T00", "us") + t * np.timedelta64(1, "h")
    pl.DataFrame({"time": stamps, "y": y, "x": x}).write_csv(path)


def write_texts(path: Path, seed: int, n_rows: int = 150) -> None:
    """Two classes with words of their own among others."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(["good", "bad"], n_rows)
    texts = [
        " ".join(rng.permutation([f"{label}{rng.integers(3)}", *(f"w{k}" for k in rng.integers(60, size=6))]))
        for label in labels
    ]
    pl.DataFrame({"text": texts, "label": labels}).write_csv(path)


def table_of(out: Path) -> dict[str, Any]:
    """All that a study found: of arrays and models the bytes."""
    found = {"scores": result_of(out)}
    found["scores"].pop("path", None)
    for row in found["scores"].get("rows", []):
        row.pop("cost", None)  # of a remedy: in seconds of its fits against those of the control
    with Ledger(out / "ledger.sqlite", readonly=True) as ledger:
        for key in sorted(ledger.keys()):
            fit = ledger.get(key)
            assert fit is not None
            arrays = {name: (str(x.dtype), x.shape, x.tobytes()) for name, x in fit.arrays.items()}
            history = [
                {name: value for name, value in row.items() if name != "seconds"} for row in fit.history
            ]
            found[key] = [fit.name, fit.spec, fit.scores, history, arrays, fit.model]
    if (out / "predictions.parquet").exists():
        found["forecasts"] = pl.read_parquet(out / "predictions.parquet").to_dict(as_series=False)
    return found


def count_same(engines: Mapping[str, Engine], n_studies: int) -> tuple[int, int]:
    """How many studies have one table on all engines, of how many."""
    same = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = studies(folder)[:n_studies]
        for number, (title, study) in enumerate(chosen):
            tables = []
            for word, engine in engines.items():
                out = folder / f"{number}-{word}" / "run"  # runs beside one another count each other's looks
                study(out=out, engine=engine)
                tables.append(json.dumps(table_of(out), sort_keys=True, default=repr))
            equal = len(set(tables)) == 1
            same += equal
            print(f"{'same' if equal else 'NOT THE SAME'}: {title}", file=sys.stderr, flush=True)
    return same, len(chosen)


def make_plan(folder: Path, n_fits: int) -> tuple[Context, list[Job]]:
    """Fits of about a second each: a wide window, three folds."""
    write_table(folder / "table.csv", 0, 1500)
    data = read_series(str(folder / "table.csv"), target="y", horizon=6)
    recipe = settle(
        Recipe(lookback=48, hidden_size=16, max_epochs=4, patience=None, segment=1, transform="none"), data
    )
    folds: tuple[Fold, ...] = tuple(split_series(data, 48, n_folds=3))[:3]
    context = make_context(data, recipe, folds[0], folder / "checkpoints")
    return context, plan({"lstm": recipe}, folds, range(max(1, n_fits // len(folds))))


def timed(context: Context, jobs: list[Job], engine: Engine, folder: Path) -> float:
    """Seconds of a plan with a ledger of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as name, Ledger(Path(name, "ledger.sqlite")) as ledger:
        began = time.perf_counter()
        run_plan(context, jobs, ledger, engine=engine)
        return time.perf_counter() - began


def rates(n_fits: int, repeats: int) -> None:
    """Print fits per minute, start-ups, and the ratios."""
    engines: dict[str, Engine] = {"local": LocalEngine(2), "ray": RayEngine(2)}
    first: dict[str, float] = {}
    seconds: dict[str, list[float]] = {word: [] for word in engines}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        context, jobs = make_plan(folder, n_fits)
        for word, engine in engines.items():
            began = time.perf_counter()
            stack.enter_context(engine.kept())
            timed(context, jobs[:2], engine, folder)
            started = time.perf_counter() - began
            first[word] = started - timed(context, jobs[:2], engine, folder)
            timed(context, jobs, engine, folder)
        for number in range(repeats):
            for word in sorted(engines, reverse=number % 2 == 1):
                seconds[word].append(timed(context, jobs, engines[word], folder))
    for word in engines:
        spread = ", ".join(f"{len(jobs) * 60 / one:.0f}" for one in seconds[word])
        rate = len(jobs) * 60 / median(seconds[word])
        print(f"{word}: {rate:.1f} fits per minute ({spread}); start-up {first[word]:.1f} s")
    ratio = median(seconds["local"]) / median(seconds["ray"])
    print(f"fits per minute, ray against local, both running: {ratio:.3f}")
    for minutes in LENGTHS:
        local = 60 * minutes
        whole = (local + first["local"]) / (local / ratio + first["ray"])
        print(f"of a study that takes {minutes} min on local, start-up included: {whole:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--fits", type=int, default=24, help="of the plan that is timed; 0: none is")
    asked = parser.parse_args()
    failed = False
    if asked.studies:
        with LocalEngine(2).kept() as local, RayEngine(2).kept() as ray:
            engines: dict[str, Engine] = {"inline": InlineEngine(), "local": local, "ray": ray}
            same, n = count_same(engines, asked.studies)
        failed = same < n
        print(f"the same table on inline, local and ray: {same}/{n} studies", flush=True)
    if asked.fits:
        rates(asked.fits, asked.repeats)
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
