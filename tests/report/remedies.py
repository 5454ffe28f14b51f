"""``scores.json`` of a ranking of remedies, made by hand."""

from heldout.remedies_result import sentence_of

_ROWS = [
    ("linear shortcut", 0.12, 0.08, 0.16, "HELPS MATERIALLY", 1),
    ("EMA", 0.03, 0.002, 0.058, "HELPS", 1),
    ("more data", 0.02, -0.05, 0.09, "UNDECIDED", None),
    ("l2", 0.001, -0.006, 0.008, "NO MATERIAL EFFECT", 2),
    ("mixup", -0.08, -0.11, -0.05, "HARMS", 3),
    ("jitter", -0.01, None, None, "UNDECIDED", 2),
]


def remedies_scores(*, confirmed=(0.09, 0.02, 0.16), modality="series"):
    """A ranking; ``confirmed`` of the control's loss outside, and its interval; None where the control stays."""
    rows = [
        {
            "name": name, "gain": gain, "low": low, "high": high, "se": 0.01, "p_value": 0.01, "probability": 0.9,
            "won": 4, "verdict": verdict, "tier": tier, "cost": 1.2, "lr": 0.001, "loss": 1 - gain, "train_loss": 0.4,
            "valid_loss": 0.9, "by_fold": [gain] * 5,
        }
        for name, gain, low, high, verdict, tier in _ROWS
    ]  # fmt: skip
    own = {"lr": 0.001, "loss": 1.0, "low": 0.9, "high": 1.1}
    name = "control" if confirmed is None else "linear shortcut + EMA"
    saved = None if confirmed is None else dict(zip(("mean", "low", "high"), confirmed, strict=True))
    lines = [{"role": "control", "name": "control", "saved": None, **own}]
    if saved is not None:
        lines.append({"role": "single", "name": "linear shortcut", "saved": saved, **own})
        lines.append({"role": "stack", "name": name, "saved": saved, **own})
    factors = [
        {"name": "linear shortcut", "effect": 0.11, "low": 0.08, "high": 0.14, "se": 0.01, "kept": True},
        {"name": "EMA", "effect": 0.02, "low": -0.01, "high": 0.05, "se": 0.01, "kept": True},
        {"name": "l2", "effect": 0.001, "low": -0.01, "high": 0.012, "se": 0.01, "kept": False},
    ]
    found = {
        "kind": "remedies", "modality": modality, "metric": "log loss" if modality == "text" else "mse",
        "control": {"name": "control", "kind": "bare", "tier": 2, "lr": 0.001, "loss": 1.0, "train_loss": 0.1, "valid_loss": 1.0},
        "delta": 0.01, "rows": rows, "others": [{"name": "fewer layers", "why": "the control has one layer"}],
        "stack": {"n_runs": 4, "factors": factors, "name": "linear shortcut + EMA"},
        "choice": {"name": name, "options": {"hidden_size": 4}},
        "selected": {"mean": 0.14 if confirmed else 0.0, "low": 0.1, "high": 0.18, "se": 0.01}, "confirmed": saved,
        "outer": {"rows": lines, "n_folds": 3, "n_seeds": 3, "n_moments": 640},
        "baselines": [{"name": "ridge", "loss": 0.95}],
        "power": {"spreads": 3.1, "smallest": 0.05, "said": "5 folds and 6 remedies at once: a gain is shown in 4 of 5 cases"},
        "n_folds": 5, "n_seeds": 3, "rates": [0.001, 0.003], "fits": 90, "seconds": 412.0, "left_out": [],
        "notes": ["the step is one hour"], "run": "runs/load-remedies-1", "command": "heldout remedies load.csv --target load",
        "environment": {"python": "3.12", "packages": {"torch": "2"}},
    }  # fmt: skip
    return found | {"sentence": sentence_of(found)}
