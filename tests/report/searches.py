"""Run directories of searches, as ``heldout reduce`` and ``heldout tune`` leave them, made by hand."""

import json

import numpy as np
import pytest

OPTIONS = (
    '[data]\ntarget = ["{target}"]\nhorizon = 24\n\n[study]\nn_seeds = 2\n\n[recipe]\nhidden_size = {size}\n'
)


def size(layers, units, words=None):
    values = {"num_layers": layers, "hidden_size": units}
    return values if words is None else values | {"embedding_size": words}


def sized(values, loss, *, best=1.0, stopped=False, **more):
    """A row of a stage."""
    n = round(
        values["num_layers"] * (8 * values["hidden_size"] ** 2) + 40 * values["hidden_size"]
    ) + 30_000 * (values.get("embedding_size", 0) // 100)
    words = f", words of {values['embedding_size']}" if "embedding_size" in values else ""
    apart = loss - best
    return {
        "values": values,
        "label": f"{values['num_layers']} x {values['hidden_size']}{words}",
        "n_parameters": n,
        "per_sample": n / 6000,
        "lr": 0.003,
        "train_loss": 0.9 - 0.09 * np.log10(n),
        "valid_loss": 0.62 + 0.05 * (np.log10(n) - 3.5) ** 2,
        "loss": loss,
        "difference": apart,
        "se": 0.008 + 0.2 * apart if apart else 0.0,
        "low": apart - 0.02,
        "high": apart + 0.02,
        "folds": 3 if stopped else 5,
        "seeds": 1 if stopped else 2,
        "stopped": stopped,
        "best": apart == 0,
        "chosen": False,
    } | more


def capacity_scores(*, modality="series", saved=(0.02, 0.005, 0.035), plan="walk", keep=False):
    """``scores.json`` of a walk; ``saved`` of the start's loss outside, and its interval; ``keep`` the start."""
    words = 300 if modality == "text" else None
    stages = [
        {
            "name": "num_layers",
            "rows": [sized(size(2, 128, words), 1.03), sized(size(1, 128, words), 1.0, chosen=True)],
        },
        {
            "name": "hidden_size",
            "rows": [
                sized(size(1, 128, words), 1.0),
                sized(size(1, 64, words), 1.004),
                sized(size(1, 32, words), 1.002),
                sized(size(1, 16, words), 1.006, chosen=True),
                sized(size(1, 8, words), 1.05),
                sized(size(1, 4, words), 1.2, stopped=True),
            ],
        },
    ]
    chosen = size(1, 16, words)
    if words:
        rows = [sized(size(1, 16, n), 1.006 + 0.01 * k, best=1.006) for k, n in enumerate((300, 200, 100))]
        rows[0]["chosen"] = True
        stages.append({"name": "embedding_size", "rows": rows})
    if plan == "depth":
        rows = [
            sized(size(n, units), 1 + 0.02 * (n - 1), n_parameters=32_000 + n)
            for n, units in ((1, 110), (2, 64), (3, 49))
        ]
        rows[0]["chosen"], chosen = True, rows[0]["values"]
        stages = [{"name": "depth", "rows": rows}]
    every = {row["label"]: row for stage in stages for row in stage["rows"]}
    own = next(row for row in every.values() if row["values"] == chosen)
    start = stages[0]["rows"][1 if plan == "depth" else 0]
    lines = [outer_line("choice", own, 1.1)]
    if not keep:
        found = {
            "mean": 1.1 * saved[0],
            "low": saved[1] and 1.1 * saved[1],
            "high": saved[2] and 1.1 * saved[2],
            "se": 0.01,
        }
        lines.append(outer_line("start", start, 1.1, difference=found))
        if plan != "depth":
            found = {"mean": -0.004, "low": -0.02, "high": 0.012, "se": 0.008}
            lines.append(outer_line("best", stages[0]["rows"][1], 1.096, difference=found))
    return {
        "kind": "capacity",
        "modality": modality,
        "metric": "log loss" if modality == "text" else "mse",
        "rule": "1-SE",
        "plan": plan,
        "stages": stages,
        "start": chosen if keep else start["values"],
        "choice": chosen,
        "best": stages[0]["rows"][1]["values"],
        "outer": {"rows": lines, "n_folds": 3, "n_seeds": 2, "n_moments": 640},
        "optimism": {
            "inside": 0.031,
            "outside": saved[0],
            "value": 0.031 - saved[0],
            "low": -0.004,
            "high": 0.026,
        },
        "baselines": [{"name": "naive", "loss": 2.9}, {"name": "ridge", "loss": 1.19}],
        "fits": 184,
        "seconds": 412.0,
        "left_out": ["every other size of hidden_size"],
        "notes": ["horizon: 24, a day of hours", "5 folds to choose by, 3 folds to judge by"],
        "sentence": "Of 7 sizes 1 x 16 is the smallest within one standard error of the best: 2,688 parameters, 0.448 for each training sample.",
        "run": "runs/load-reduce-1",
        "command": "heldout reduce load.csv --target load",
        "environment": {"python": "3.12", "packages": {"torch": "2"}},
    }


def outer_line(name, row, loss, difference=None):
    own = {key: row[key] for key in ("values", "label", "n_parameters", "lr")}
    return own | {
        "name": name,
        "loss": loss,
        "low": loss - 0.09,
        "high": loss + 0.09,
        "difference": difference,
    }


SPACE = {
    "lr": {"low": 1e-4, "high": 0.1, "log": True, "step": None},
    "hidden_dropout": {"low": 0.0, "high": 0.7, "log": False, "step": None},
    "weight_decay": {"low": 1e-6, "high": 0.1, "log": True, "step": None},
    "lookback": {"low": 24, "high": 168, "log": False, "step": 24},
    "batch_size": [32, 64, 128],
}


def trials(n=40):
    rng, found = np.random.default_rng(0), []
    for k in range(n):
        values = {
            "lr": float(10 ** rng.uniform(-4, -1)),
            "hidden_dropout": float(rng.uniform(0, 0.7)),
            "weight_decay": float(10 ** rng.uniform(-6, -1)),
            "lookback": int(24 * rng.integers(1, 8)),
            "batch_size": int(rng.choice([32, 64, 128])),
        }
        loss = 0.8 + 0.1 * (np.log10(values["lr"]) + 2.5) ** 2 + 0.2 * abs(values["hidden_dropout"] - 0.3)
        rung, state = (2, "complete") if k % 3 == 0 else (k % 2, "stopped")
        state = {7: "raced out", 8: "failed"}.get(k, state)
        found.append(
            {
                "number": k,
                "values": values,
                "rung": rung,
                "epochs": (8, 24, 60)[rung],
                "folds": 5,
                "loss": None if state == "failed" else float(loss + 0.03 * rng.normal()),
                "se": 0.02 if state == "complete" else None,
                "state": state,
                "why": {"stopped": "among the worse half at epoch 8", "failed": "the loss is not finite"}.get(
                    state, ""
                ),
            }
        )
    return found


def tune_scores(*, gain=(0.021, 0.004, 0.038), n=40, pbo=True):
    """``scores.json`` of a search; ``gain`` outside."""
    tried = trials(n)
    done = [trial for trial in tried if trial["state"] == "complete"]
    choice = min(done, key=lambda trial: trial["loss"])["values"] if done else {}
    start = {"lr": 0.003, "hidden_dropout": 0.25, "weight_decay": 0.001, "lookback": 96, "batch_size": 64}
    own = {"values": choice, "label": "trial", "n_parameters": 20_000, "lr": 0.003}
    lines = [outer_line("choice", own, 0.95)]
    found = dict(zip(("mean", "low", "high"), (x and 0.97 * x for x in gain), strict=True)) | {"se": 0.01}
    lines.append(outer_line("start", own | {"values": start, "label": "start"}, 0.97, difference=found))
    return {
        "kind": "tune",
        "modality": "series",
        "metric": "mse",
        "space": SPACE,
        "trials": tried,
        "start": start,
        "choice": choice or start,
        "chosen": min(done, key=lambda trial: trial["loss"])["number"] if done else 0,
        "n_trials": n,
        "n_fits": 311,
        "rungs": [8, 24, 60],
        "inside": {"gain": 0.062, "low": 0.03, "high": 0.094, "se": 0.012},
        "outside": dict(zip(("gain", "low", "high"), gain, strict=True)),
        "optimism": {"value": 0.062 - gain[0], "low": 0.005, "high": 0.077},
        "lucky": {"gain": 0.026, "deflated": 0.036, "p_value": 0.012, "effective_trials": 11.3},
        "pbo": {"value": 0.21, "low": 0.08, "high": 0.39, "n_configs": 13, "n_blocks": 16} if pbo else None,
        "outer": {"rows": lines, "n_folds": 3, "n_seeds": 2, "n_moments": 640},
        "baselines": [{"name": "naive", "loss": 2.1}, {"name": "ridge", "loss": 0.99}],
        "budget": {"fits": None, "seconds": 600.0},
        "left_out": ["12 of 52 trials: the budget of 10 min was spent"],
        "fits": 311,
        "seconds": 590.0,
        "notes": ["horizon: 24, a day of hours"],
        "sentence": "The choice of 40 trials saves 2.1 % [+0.4, +3.8] of the start's loss on 3 folds that chose nothing; inside it was 6.2 %.",
        "run": "runs/load-tune-1",
        "command": "heldout tune load.csv --target load --budget 10min",
        "environment": {"python": "3.12", "packages": {"torch": "2"}},
    }


def write_search(path, scores, *, target="load"):
    """A finished run directory of a search."""
    path.mkdir(parents=True)
    (path / "run.json").write_text(
        json.dumps({"version": 1, "identity": "i", "data": "d", "environment": {}})
    )
    (path / "scores.json").write_text(json.dumps(scores))
    (path / "config.toml").write_text(OPTIONS.format(target=target, size=128))
    (path / "chosen.toml").write_text(OPTIONS.format(target=target, size=16))
    return path


def export_study(path, tried, *, space=None):
    """An Optuna study of the trials, as an SQLite file."""
    optuna = pytest.importorskip("optuna")
    kinds, state_of = optuna.distributions, optuna.trial.TrialState

    def distribution(found):
        if isinstance(found, list):
            return kinds.CategoricalDistribution(found)
        if isinstance(found["low"], int):
            return kinds.IntDistribution(
                found["low"], found["high"], log=found["log"], step=found["step"] or 1
            )
        return kinds.FloatDistribution(found["low"], found["high"], log=found["log"], step=found["step"])

    space = {name: distribution(found) for name, found in (space or SPACE).items()}
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        study = optuna.create_study(storage=storage, study_name="heldout", direction="minimize")
    finally:
        optuna.logging.set_verbosity(level)
    states = {"complete": state_of.COMPLETE, "failed": state_of.FAIL}
    for trial in tried:
        state = states.get(trial["state"], state_of.PRUNED)
        study.add_trial(
            optuna.trial.create_trial(
                params=trial["values"],
                distributions=space,
                value=trial["loss"] if state != state_of.FAIL else None,
                state=state,
            )
        )
    storage.remove_session()
    storage.engine.dispose()
    return path
