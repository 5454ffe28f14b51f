"""heldout as a statistical instrument: how often its verdicts are wrong on data whose truth is known.

    python benchmarks/error_rates.py [STUDY ...] [--runs 100] [--workers 2] [--out runs/error_rates]

Studies:

- noise: the target is white noise. `judge` must flag NO-SKILL (aim: 95 of 100).
- linear: the target is an autoregression with Gaussian noise, the recipe heldout's own, small. The harm that the interval is
  about is known from all runs together: what the chosen member saves, over what the procedure loses. The two-sided 90 %
  interval must hold it, and its 95 % form too (aim: 93 of 100).
- habit: the same data, a network far too large with nothing against overfitting. It must be called OVERFIT (aim: 90 of 100).
- drift: the mean shifts where every test begins. It must be flagged DRIFT, and not called OVERFIT (aim: 95 of 100).
- leaks: eight kinds of leak are planted, by run one after the other; the audit must find each. On clean data of the same
  kinds it must find none (aim: 1 of 100 at most).

Every run is a pure function of its number. A finished one is kept in a file, an unfinished one goes on from its ledger.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from heldout.auditing import audit
from heldout.config import Config
from heldout.files import write_atomically
from heldout.judging import judge
from heldout.studies.engine import InlineEngine, LocalEngine

Found = dict[str, Any]
SMALL = Config().with_values(
    {
        "target": "y", "horizon": 1, "lookback": 8, "season": 1, "hidden_size": 8, "max_epochs": 10, "n_seeds": 1,
        "patience": 3, "lr": 0.005, "transform": "none",
    }
)  # fmt: skip
HABIT = SMALL.with_values(
    {
        "hidden_size": 32, "regularization": 0.0, "patience": "none", "restore_best": False, "shortcut": "none",
        "max_epochs": 20, "lr": 0.01, "batch_size": 16, "window_norm": "none", "clip_norm": 0.0,
    }
)  # fmt: skip
ROWS = 500


def noise(seed: int) -> pl.DataFrame:
    return pl.DataFrame({"y": np.random.default_rng([1, seed]).normal(size=ROWS)})


def autoregression(seed: int, n_rows: int = ROWS) -> pl.DataFrame:
    shocks, y = np.random.default_rng([2, seed]).normal(size=n_rows + 50), np.zeros(n_rows + 50)
    for t in range(1, len(y)):
        y[t] = 0.6 * y[t - 1] + shocks[t]
    return pl.DataFrame({"y": y[50:]})


def steps(seed: int) -> pl.DataFrame:
    """White noise around a level that rises by 4 standard deviations where each of the 8 tests begins."""
    y = np.random.default_rng([3, seed]).normal(size=ROWS)
    before = round(0.8 * ROWS)  # what is not sealed
    starts = np.linspace(0.5 * before, before, 9)[:-1]
    return pl.DataFrame({"y": y + 4.0 * np.searchsorted(starts, np.arange(ROWS), side="right")})


def judged(table: pl.DataFrame, config: Config, folder: Path, workers: int) -> Found:
    engine = LocalEngine(workers) if workers > 1 else InlineEngine()
    found = judge(table, config, out=folder, engine=engine, budget="130 fits").found
    keys = ("verdict", "harm", "gap", "drift", "skill", "detectable", "loss")
    return {key: found[key] for key in keys} | {"flags": list(found["flags"])}


def planted(seed: int) -> tuple[str, pl.DataFrame]:
    """A leak by its number, and a table that has it."""
    rng = np.random.default_rng([4, seed])
    y = np.cumsum(rng.normal(size=ROWS)) if seed % 2 else autoregression(seed)["y"].to_numpy()
    centred = np.convolve(y, np.ones(5) / 5, mode="same")
    leaks: dict[str, Callable[[], np.ndarray]] = {
        "future feature": lambda: np.append(y[1:], y[-1]),
        "centred window": lambda: centred,
        "target copy of the next row, with noise": lambda: (
            np.append(y[1:], y[-1]) + 0.05 * y.std() * rng.normal(size=ROWS)
        ),
        "difference to the next row": lambda: np.append(np.diff(y), 0.0),
    }
    name = list(leaks)[seed % len(leaks)]
    return name, pl.DataFrame({"y": y, "x": leaks[name]()})


def clean(seed: int) -> pl.DataFrame:
    rng = np.random.default_rng([5, seed])
    kinds = [
        lambda: rng.normal(size=ROWS),
        lambda: np.cumsum(rng.normal(size=ROWS)),
        lambda: np.exp(0.01 * np.cumsum(rng.normal(size=ROWS))),
        lambda: autoregression(seed)["y"].to_numpy(),
        lambda: rng.poisson(4, size=ROWS).astype(float),
        lambda: np.sin(np.arange(ROWS) / 6) + 0.2 * rng.normal(size=ROWS),
    ]
    y = kinds[seed % len(kinds)]()
    return pl.DataFrame(
        {"y": y, "x": np.roll(y, 1) + 0.3 * y.std() * rng.normal(size=ROWS), "z": rng.normal(size=ROWS)}
    )


def audited(seed: int) -> Found:
    config = SMALL.with_values({"transform": "auto"})
    name, table = planted(seed)
    return {
        "leak": name,
        "found": [finding.check for finding in audit(table, config).leaks],
        "false": [finding.check for finding in audit(clean(seed), config).leaks],
    }


STUDIES: dict[str, Callable[[int, Path, int], Found]] = {
    "noise": lambda seed, folder, workers: judged(noise(seed), SMALL, folder, workers),
    "linear": lambda seed, folder, workers: judged(autoregression(seed), SMALL, folder, workers),
    "habit": lambda seed, folder, workers: judged(autoregression(seed), HABIT, folder, workers),
    "drift": lambda seed, folder, workers: judged(steps(seed), SMALL, folder, workers),
    "leaks": lambda seed, *_: audited(seed),
}


def share(name: str, hits: int, n: int, aim: str) -> str:
    return f"{name}: {hits}/{n} ({hits / n:.0%}; aim {aim})"


def summary(study: str, runs: list[Found]) -> str:
    n = len(runs)
    verdicts = {
        word: sum(run.get("verdict") == word for run in runs)
        for word in ("OVERFIT", "NO HARMFUL OVERFIT", "INCONCLUSIVE", "LEAK-SUSPECT")
    }
    told = ", ".join(f"{word} {count}" for word, count in verdicts.items() if count)
    if study == "leaks":
        found, false = sum(bool(run["found"]) for run in runs), sum(bool(run["false"]) for run in runs)
        return f"{share('planted leaks found', found, n, 'all')}; {share('false alarms', false, n, '<= 1 %')}"
    if study == "noise":
        return f"{share('NO-SKILL', sum('NO-SKILL' in run['flags'] for run in runs), n, '>= 95 %')}; {told}"
    if study == "habit":
        return share("OVERFIT", verdicts["OVERFIT"], n, ">= 90 %") + f"; {told}"
    if study == "drift":
        good = sum("DRIFT" in run["flags"] and run["verdict"] != "OVERFIT" for run in runs)
        return share("DRIFT and not OVERFIT", good, n, ">= 95 %") + f"; {told}"
    harms = [run["harm"] for run in runs if run["harm"] and run["harm"]["low"] is not None]
    truth = float(np.mean([harm["mean"] for harm in harms]))
    holds = sum(harm["low"] <= truth <= harm["high"] for harm in harms)
    return f"harm {truth:+.4f} on average; {share('the 90 % interval holds it', holds, len(harms), '90 %')}; {told}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", nargs="*", metavar="STUDY", default=list(STUDIES), help=", ".join(STUDIES))
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/error_rates"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for study in asked.studies:
        runs: list[Found] = []
        for seed in range(asked.runs):
            folder = asked.out / f"{study}-{seed:03}"
            path = folder.with_suffix(".json")
            if not path.exists():
                asked.out.mkdir(parents=True, exist_ok=True)
                began = time.perf_counter()
                found = STUDIES[study](seed, folder, asked.workers)
                write_atomically(path, json.dumps(found | {"seconds": time.perf_counter() - began}).encode())
            runs.append(json.loads(path.read_text()))
            if (seed + 1) % 10 == 0 or seed + 1 == asked.runs:
                print(f"{study}, {seed + 1} runs: {summary(study, runs)}", flush=True)


if __name__ == "__main__":
    main()
