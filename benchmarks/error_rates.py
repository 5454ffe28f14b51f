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
from scipy import stats

from heldout.auditing import audit
from heldout.config import Config, TextConfig
from heldout.data.layout import read_series
from heldout.data.series import SeriesData
from heldout.files import write_atomically
from heldout.judged import CONTROL
from heldout.judging import judge
from heldout.listener import Silent
from heldout.ranking import rank_remedies
from heldout.search import Search
from heldout.studies.arms import arm_name, fit_arms, measure_arm, on_folds
from heldout.studies.engine import InlineEngine, LocalEngine
from heldout.studies.family import less_fitted
from heldout.studies.ledger import Ledger
from heldout.studies.plan import plan
from heldout.studies.remedy_arms import RemedyArms
from heldout.studies.remedy_rows import remedy_rows
from heldout.studies.sizes import Grid
from heldout.studies.verdict import Folds, choices, share_saved
from heldout.training.fit import SeriesModel, fit_series

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
        "max_epochs": 40, "lr": 0.02, "batch_size": 32, "window_norm": "none", "clip_norm": 0.0,
    }
)  # fmt: skip
ROWS = 500


def started(config: Config, seed: int) -> Config:
    """The recipe with starting weights of its own in each run."""
    return config.with_values({"first_seed": 10 * seed})


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
    keys = ("verdict", "harm", "gap", "drift", "skill", "detectable", "loss", "by_fold", "members")
    return {key: found[key] for key in keys} | {"flags": list(found["flags"])}


def true_harm(seed: int, config: Config, found: Found) -> Found:
    """The harm of the very fits that were judged, on 20 000 new rows of the same process, beside the intervals that should hold it.

    The Bayes risk is 1, the variance of the shocks.
    """
    names = [one["name"] for one in found["members"] if one["admissible"]]
    if not names:
        return {"truth": None}
    search, forward = Search.make(autoregression(seed), config), Folds(forward=True)
    data, n = search.context.data, config.recipe.lookback
    fresh = read_series(autoregression(seed + 1_000_000, 20_000), target="y")
    rows, folds = fresh.origins(n), search.inner + search.outer
    chosen = choices(np.array([found["by_fold"][name]["valid"] for name in names]), forward)
    takers = {CONTROL: [CONTROL] * len(folds), "chosen": [names[choice] for choice in chosen]}
    changes, losses, risks = {CONTROL: {}, **less_fitted(config.recipe)}, {}, {}
    for role, taken in takers.items():
        losses[role] = np.array([found["by_fold"][name]["test"][k] for k, name in enumerate(taken)])
        risks[role] = np.empty(len(folds))
        for k, name in enumerate(taken):
            (job,) = plan({name: search.variant(changes[name])}, folds[k : k + 1], search.seeds())
            parts = job.fold.train_rows(data, n), job.fold.valid.rows(data, n)
            model, _ = fit_series(data, *parts, job.model, seed=job.random_seed)
            assert np.isclose(_mse(model, data, job.fold.test.rows(data, n)), losses[role][k], rtol=1e-6), (
                job.name
            )
            risks[role][k] = _mse(model, fresh, rows)
    truth = 1 - risks["chosen"].sum() / risks[CONTROL].sum()
    saved = [share_saved(losses["chosen"], losses[CONTROL], forward, level=level) for level in (0.9, 0.95)]
    held = [bool(one.low <= truth <= one.high) for one in saved]
    return {"truth": float(truth), "risk": float(risks[CONTROL].mean()), "held": held}


def _mse(model: SeriesModel, data: SeriesData, rows: np.ndarray) -> float:
    return float(np.mean((model.predict(data, rows)[:, 0, 0, 0] - data.values[rows + 1, 0]) ** 2))


def held_to_truth(seed: int, config: Config, folder: Path, workers: int) -> Found:
    found = judged(autoregression(seed), config, folder, workers)
    return found | true_harm(seed, config, found)


def against_itself(seed: int, folder: Path) -> Found:
    """The control of a ranking held against ten copies of itself under other seeds: the gain of each is nothing."""
    config = SMALL.with_values({"max_epochs": 4})
    search = Search.make(autoregression(seed), config).within(folder)
    folder.mkdir(parents=True, exist_ok=True)
    first = search.n_train(search.inner[0])
    arms = RemedyArms(config.recipe, "bare", ["l2"], settle=search.variant, n_train=first, n_seeds=1)
    with Ledger(folder / "ledger.sqlite") as ledger:
        grid = Grid(
            variant=arms.variant,
            folds=search.inner,
            seeds=(0,),
            rates=(arms.control.lr,),
            run=lambda jobs: search.run(jobs, ledger, engine=InlineEngine(), listener=Silent()),
            metric=search.metric,
            name=arm_name,
        )
        copies = [on_folds(grid, search.inner, (11 * seed + copy,)) for copy in range(11)]
        for one in copies:
            fit_arms(one, ["control"])
        measured = [measure_arm(one, "control", search.moment_losses) for one in copies]
    rows = remedy_rows(measured[0], measured[1:], delta=0.01, overlap=0.0)
    return {"rows": [{key: row[key] for key in ("gain", "low", "high", "verdict", "tier")} for row in rows]}


def ranked(seed: int, folder: Path) -> Found:
    """Every remedy against the recipe, where nothing can be learned."""
    found = rank_remedies(
        noise(seed),
        started(SMALL, seed),
        control="recipe",
        out=folder,
        engine=InlineEngine(),
        budget="240 fits",
    ).found
    return {
        "rows": [
            {key: row[key] for key in ("name", "gain", "low", "high", "verdict")} for row in found["rows"]
        ],
        "confirmed": found["confirmed"],
        "baselines": found["baselines"],
    }


def walk(rng: np.random.Generator, n: int = ROWS) -> np.ndarray:
    return np.cumsum(rng.normal(size=n))


def reviews(rng: np.random.Generator, n: int = 300) -> pl.DataFrame:
    """Texts of which some words tell the label more often than not, by 20 authors."""
    labels = rng.integers(0, 2, n)
    said = [
        " ".join(f"w{word}" for word in rng.integers(0, 40, 12) + 25 * label * (rng.random(12) < 0.5))
        for label in labels
    ]
    authors = [f"author {one}" for one in np.arange(n) % 20]
    return pl.DataFrame({"text": said, "label": [f"kind {one}" for one in labels], "author": authors})


def halves(rng: np.random.Generator, rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    order = rng.permutation(rows)
    return [(order[: len(order) // 2], order[len(order) // 2 :])]


LEAKS = (
    "future feature", "centred window", "scaler on all rows", "back-fill", "duplicate texts", "target copy",
    "group on both sides", "shuffled windows",
)  # fmt: skip


def planted(name: str, seed: int) -> tuple[pl.DataFrame, Config | TextConfig, dict[str, Any]]:
    """A table with a leak of a kind, how it is read, and what else `judge` is given: the maker's own features or split."""
    rng = np.random.default_rng([4, LEAKS.index(name), seed])
    y, config = walk(rng), SMALL.with_values({"transform": "auto"})
    texts = TextConfig().with_values({"text": "text", "target": "label"})
    if name == "future feature":
        return pl.DataFrame({"y": y, "x": np.append(y[1:], y[-1]) + 0.05 * rng.normal(size=ROWS)}), config, {}
    if name == "centred window":
        return pl.DataFrame({"y": y, "x": np.convolve(y, np.ones(5) / 5, mode="same")}), config, {}
    if name == "scaler on all rows":
        scale = lambda frame: frame.with_columns(x=(pl.col("y") - pl.col("y").mean()) / pl.col("y").std())  # noqa: E731 - a user's
        return pl.DataFrame({"y": y}), config, {"features": scale}
    if name == "back-fill":
        weekly = pl.Series([y[min(t + 6, ROWS - 1)] if t % 7 == 0 else None for t in range(ROWS)])
        return pl.DataFrame({"y": y, "x": weekly.fill_null(strategy="forward")}), config, {}
    if name == "duplicate texts":
        frame = reviews(rng)
        frame = pl.concat([frame, frame[:60].with_columns(pl.col("text").str.to_uppercase())]).drop("author")
        return frame, texts.with_values({"near_duplicates": 1.0}), {"splits": halves(rng, np.arange(360))}
    if name == "target copy":
        return pl.DataFrame({"y": y, "x": 2 * y + 3}), config.with_values({"future": ("x",)}), {}
    if name == "group on both sides":
        config = texts.with_values({"group": "author"})
        return reviews(rng), config, {"splits": halves(rng, np.arange(300))}
    return pl.DataFrame({"y": y}), config, {"splits": halves(rng, np.arange(7, ROWS - 1))}


def clean(seed: int) -> tuple[pl.DataFrame, Config | TextConfig]:
    """A table of each of seven kinds in turn, without a leak."""
    rng, t = np.random.default_rng([5, seed]), np.arange(ROWS)
    kinds: list[Callable[[], np.ndarray]] = [
        lambda: rng.normal(size=ROWS),
        lambda: walk(rng),
        lambda: np.exp(0.01 * walk(rng)),
        lambda: autoregression(seed)["y"].to_numpy(),
        lambda: rng.poisson(4, size=ROWS).astype(float),
        lambda: np.sin(t / 6) + 0.2 * rng.normal(size=ROWS),
    ]
    kind = seed % (len(kinds) + 1)
    if kind == len(kinds):
        return reviews(rng), TextConfig().with_values({"text": "text", "target": "label", "group": "author"})
    y = kinds[kind]()
    x = np.roll(y, 1) + 0.3 * y.std() * rng.normal(size=ROWS)
    x[0] = y[0]
    return pl.DataFrame({"y": y, "x": x, "z": rng.normal(size=ROWS)}), SMALL.with_values(
        {"transform": "auto"}
    )


def suspected(seed: int, folder: Path) -> Found:
    """The verdict on each kind of leak, and what the audit, which decides on it, says of a clean table."""
    verdicts = {}
    for name in LEAKS:
        table, config, more = planted(name, seed)
        verdict = judge(table, config, out=folder / name, engine=InlineEngine(), budget="40 fits", **more)
        verdicts[name] = verdict.found["verdict"]
    return {"leaks": verdicts, "false": [finding.check for finding in audit(*clean(seed)).leaks]}


STUDIES: dict[str, Callable[[int, Path, int], Found]] = {
    "noise": lambda seed, folder, workers: judged(noise(seed), started(SMALL, seed), folder, workers),
    "linear": lambda seed, folder, workers: held_to_truth(seed, started(SMALL, seed), folder, workers),
    "habit": lambda seed, folder, workers: held_to_truth(seed, started(HABIT, seed), folder, workers),
    "drift": lambda seed, folder, workers: judged(steps(seed), started(SMALL, seed), folder, workers),
    "leaks": lambda seed, folder, _: suspected(seed, folder),
    "same": lambda seed, folder, _: against_itself(seed, folder),
    "noise remedies": lambda seed, folder, _: ranked(seed, folder),
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
        found = {name: sum(run["leaks"][name] == "LEAK-SUSPECT" for run in runs) for name in LEAKS}
        false = sum(bool(run["false"]) for run in runs)
        missed = ", ".join(f"{name} {n - count} missed" for name, count in found.items() if count < n)
        return (
            f"{share('LEAK-SUSPECT', sum(found.values()), n * len(LEAKS), 'all')}{missed and f' ({missed})'}; "
            f"{share('false alarms on clean tables', false, n, '<= 1 %')}"
        )
    if study in ("same", "noise remedies"):
        helps = sum(any("HELPS" in row["verdict"] for row in run["rows"]) for run in runs)
        rows = [row for run in runs for row in run["rows"]]
        of_all = sum("HELPS" in row["verdict"] for row in rows)
        told = f"{share('runs with a HELPS', helps, n, '<= 5 %')}, {of_all} of {len(rows)} remedies"
        if study == "same":
            holds = sum(all(row["low"] <= 0 <= row["high"] for row in run["rows"]) for run in runs)
            told += f"; {share('all intervals at once hold 0', holds, n, '93 to 97 %')}"
        return told
    if study == "noise":
        return f"{share('NO-SKILL', sum('NO-SKILL' in run['flags'] for run in runs), n, '>= 95 %')}; {told}"
    if study == "habit":
        return (
            f"{share('OVERFIT', verdicts['OVERFIT'], n, '>= 90 %')}; {_harm(runs)}; {_promise(runs)}; {told}"
        )
    if study == "drift":
        good = sum("DRIFT" in run["flags"] and run["verdict"] != "OVERFIT" for run in runs)
        return share("DRIFT and not OVERFIT", good, n, ">= 95 %") + f"; {told}"
    return f"{_harm(runs)}; {told}"


def _promise(runs: list[Found]) -> str:
    """OVERFIT among the runs whose own note of power promises it: the true harm is above what is seen in 9 of 10 cases."""
    t = stats.t(len(runs[0]["by_fold"][CONTROL]["test"]) - 1)
    more = (t.ppf(0.95) + t.ppf(0.90)) / (t.ppf(0.95) + t.ppf(0.80))  # the note says what is seen in 4 of 5
    promised = [run for run in runs if run["truth"] and run["truth"] > 0.01 + more * run["detectable"]]
    found = sum(run["verdict"] == "OVERFIT" for run in promised)
    return share("OVERFIT where the note promises it", found, len(promised), ">= 90 %") if promised else ""


def _harm(runs: list[Found]) -> str:
    """How often the intervals hold the harm of the fits, and the harm of the process."""
    known = [run for run in runs if run["truth"] is not None]
    n, truth = len(known), float(np.mean([run["truth"] for run in known]))
    holds = [sum(run["held"][place] for run in known) for place in (0, 1)]
    process = sum(run["harm"]["low"] <= truth <= run["harm"]["high"] for run in known)
    return (
        f"true harm {truth:+.4f} on average; {share('held by the 95 % interval', holds[1], n, '>= 93 %')}, "
        f"{share('by the 90 % interval', holds[0], n, '>= 88 %')}; the mean over all tables "
        f"{share('by the 90 % interval', process, n, 'none')}"
    )


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
