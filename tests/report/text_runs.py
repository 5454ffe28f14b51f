"""A text run as `heldout.fit` leaves it, made by hand from a small simulation; names and texts are hostile."""

import json

import numpy as np
import polars as pl

from heldout.config import TextConfig
from heldout.studies.ledger import Finished, Ledger

SCRIPT = "</script><script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(2)>"
TURNED = "\u202eegassem a drawkcab\x1b]0;\x07"
TWO = ["ham", f"spam {IMAGE}"]
TWENTY = [
    "alt.atheism", "comp.graphics", "comp.os.ms-windows.misc", "comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware",
    "comp.windows.x", "misc.forsale", "rec.autos", "rec.motorcycles", "rec.sport.baseball", "rec.sport.hockey", "sci.crypt",
    "sci.electronics", "sci.med", "sci.space", "soc.religion.christian", "talk.politics.guns", "talk.politics.mideast",
    "a class whose name goes on " + "and_on_" * 300, f"{SCRIPT}{TURNED}",
]  # fmt: skip
TEXT = "WINNER!! You've won a free prize: call 09061701461 to claim your £900. Don't wait, it's valid 12 hours only"
WORDS = [
    ["winner", 0.41], ["!!", 0.12], ["you", 0.02], ["'ve", 0.0], ["won", 0.22], ["a", -0.01], ["free", 0.33], ["prize", 0.3],
    [":", 0.0], ["call", 0.25], ["09061701461", 0.18], ["to", 0.01], ["claim", 0.37], ["your", 0.05], ["£", 0.1], ["900", 0.11],
    [".", 0.0], ["do", -0.05], ["n't", -0.14], ["wait", -0.2], [",", 0.0], ["it", 0.0], ["'s", 0.0], ["valid", 0.07],
    ["12", -0.03], ["hours", -0.08], ["only", 0.0],
]  # fmt: skip
COMMON = [
    "the",
    "quick",
    "news",
    "of",
    "today",
    "says",
    "that",
    "many",
    "people",
    "would",
    "rather",
    "read",
    "a",
    "short",
    "story",
    "than",
    "a",
    "long",
    "one",
]


def write_text_run(path, classes, *, n=1115, weights=None, augmented=True, hard=True):
    """Write a finished run of ``n`` sealed texts in a directory that must not be there."""
    rng = np.random.default_rng(len(classes))
    path.mkdir(parents=True)
    truth = rng.choice(len(classes), n, p=weights)
    apart = 2.6 + 0.05 * len(classes)  # of two normal distributions of width 1: these logits are calibrated
    prior = np.log(np.full(len(classes), 1 / len(classes)) if weights is None else weights)
    logits = apart * (rng.normal(size=(n, len(classes))) + apart * np.eye(len(classes))[truth]) + prior
    before, after = _softmax(1.6 * logits), _softmax(logits)
    folds = [f"fold {k}" for k in range(1, 4)]
    scores = _scores(rng, classes, truth, after) | {
        "confusion": _confusion(truth, after.argmax(1), len(classes)),
        "calibration": _calibration(truth, before, after),
        "hardest": _hardest(classes, truth, after) if hard else [],
        "words": {name: _words(rng) for name in classes},
        "augmentation": _augmentation() if augmented else None,
        "data": _data(classes, truth),
        "splits": [{"name": name, "train": 2971, "valid": 743, "test": 743} for name in folds]
        + [{"name": "final", "train": 3566, "valid": 891, "test": n}],
    }
    (path / "scores.json").write_text(json.dumps(scores, indent=1))
    probability = {f"p_{name}": after[:, place] for place, name in enumerate(classes)}
    said = after.argmax(1)
    pl.DataFrame(
        {
            "row": np.arange(n),
            "text_sha256": [f"{k:016x}" for k in range(n)],
            "label": [classes[k] for k in truth],
            "said": [classes[k] for k in said],
        }
        | probability
    ).write_parquet(path / "predictions.parquet")
    about = {"version": 1, "identity": "ab" * 32, "data": "cd" * 32, "environment": _environment()}
    (path / "run.json").write_text(json.dumps(about))
    config = TextConfig().with_values({"text": "message", "target": "label", "hidden_size": 64, "n_seeds": 2})
    (path / "config.toml").write_text(config.to_toml())
    (path / "config-resolved.toml").write_text(config.with_values({"n_folds": 3, "lr": 0.004}).to_toml())
    _write_ledger(rng, path / "ledger.sqlite", [*folds, "final"])
    return path


def _softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def _scores(rng, classes, truth, p):
    shares = np.bincount(truth, minlength=len(classes)) / len(truth)
    base = float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())
    own = float(-np.log(p[np.arange(len(truth)), truth]).mean())
    right = float((p.argmax(1) == truth).mean())
    rows = [
        _row("heldout", own, base, own, right, ece=0.008, before=0.024),
        _row("tfidf", 1.12 * own, base, own, right - 0.012, ece=0.031),
        _row("nbsvm", 1.34 * own, base, own, right - 0.02, ece=0.05),
        _row("majority", base, base, own, float(shares.max()), ece=0.002),
    ]
    losses = {
        row["name"]: [
            (row["folds"] * (1 + rng.normal(0, 0.05, 2 if row["name"] == "heldout" else 1))).tolist()
            for _ in range(3)
        ]
        for row in rows
    }
    return {
        "kind": "text", "metric": "log loss", "test_rows": len(truth), "classes": classes, "n_folds": 3, "n_seeds": 2,
        "looks_at_test": 1, "best_baseline": "tfidf", "added_nothing": False, "rows": rows, "losses": losses,
        "sentence": f"On {len(truth):,} sealed texts heldout's log loss is {own:.4g}, a skill of {100 * (1 - own / base):+.1f} % against the majority guess: it holds up.",
        "notes": [f"text is message, target is label, of {len(classes)} classes", "2 of 5,572 texts have no words and are read as one unknown word"],
        "fold_skill_vs_naive": {"mean": 1 - own / base, "low": 0.7, "high": 0.9},
        "overfit": {"train_loss": 0.4 * own, "test_loss": own, "optimism": {"mean": 0.6 * own, "low": 0.4 * own, "high": 0.8 * own}},
        "vocabulary": {
            "size": 4021, "n_train_words": 8113, "share_unknown_train": 0.049, "share_unknown_test": 0.083, "share_texts_cut": 0.004,
            "share_words_cut": 0.011, "max_length": 128,
            "vectors": {"source": "glove.6B.300d.txt", "size": 100, "kept_variance": 0.71, "share_words": 0.86, "share_tokens": 0.97},
        },
        "command": "heldout fit sms.csv --text message --target label", "environment": _environment(),
    }  # fmt: skip


def _row(name, value, base, own, accuracy, *, ece, before=None):
    skill, beside = 1 - value / base, 1 - own / value
    mine = name in ("heldout", "majority")
    return {
        "name": name, "value": value, "low": 0.85 * value, "high": 1.15 * value, "accuracy": accuracy, "accuracy_low": accuracy - 0.009,
        "accuracy_high": min(accuracy + 0.009, 1.0), "macro_f1": accuracy - 0.03, "balanced_accuracy": accuracy - 0.025, "ece": ece,
        "ece_before": before, "skill_vs_naive": skill, "skill_low": skill - 0.04 if name != "majority" else None,
        "skill_high": skill + 0.03 if name != "majority" else None, "folds": 1.05 * value,
        "heldout_skill": {"mean": beside, "low": None if mine else beside - 0.05, "high": None if mine else beside + 0.05},
    }  # fmt: skip


def _confusion(truth, said, n):
    return np.bincount(n * truth + said, minlength=n * n).reshape(n, n).tolist()


def _calibration(truth, before, after):
    found = {"temperature": 1.6}
    for name, p in (("before", before), ("after", after)):
        sure, right = p.max(1), p.argmax(1) == truth
        place = np.minimum((15 * sure).astype(int), 14)
        bins = [
            {"confidence": float(sure[place == k].mean()), "accuracy": float(right[place == k].mean()), "n": int((place == k).sum())}
            for k in range(15)
            if (place == k).any()
        ]  # fmt: skip
        found[name] = bins
        found[f"ece_{name}"] = sum(one["n"] * abs(one["confidence"] - one["accuracy"]) for one in bins) / len(
            truth
        )
    return found


def _hardest(classes, truth, p):
    said = p.argmax(1)
    worst = np.argsort(p[np.arange(len(truth)), truth])[:20]
    texts = [
        (TEXT, WORDS),
        (f"Hello {SCRIPT} & {IMAGE} {TURNED} {{{{7*7}}}}", [["hello", -0.2], ["<", 0.1], ["/", 0.3], ["script", 0.5], ["alert", 0.2]]),
        ("a" * 100_000, [["a" * 100_000, 1.0]]),
        ("\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd, meet me at 5", [["\u05e9\u05dc\u05d5\u05dd", -0.4], ["meet", 0.3], ["5", 0.1]]),
    ]  # fmt: skip
    return [
        {
            "row": int(row) + 4457,
            "text": texts[place % 4][0],
            "label": classes[truth[row]],
            "said": classes[said[row]],
            "probability": float(p[row, said[row]]),
            "words": texts[place % 4][1],
        }
        for place, row in enumerate(worst)
    ]


def _words(rng):
    names = [*rng.permutation(COMMON)[:10].tolist(), "£", "0906" * 40, SCRIPT, TURNED]
    weights = np.sort(rng.exponential(0.1, len(names)))[::-1]
    return [
        {"word": w, "weight": float(x), "n": int(rng.integers(2, 90))}
        for w, x in zip(names, weights, strict=True)
    ]


def _augmentation():
    pair = {
        "original": f"Free entry in a weekly draw {IMAGE}",
        "variant": f"Free entry weekly in a drawing {IMAGE}",
    }
    return {
        "options": {"alpha_sr": 0.1, "alpha_ri": 0.1, "alpha_rs": 0.1, "p_rd": 0.1, "n_aug": 4, "min_original": 0.25},
        "counts": {"drawn": 14264, "unchanged": 801, "held out": 12, "label lost": 655},
        "pairs": [pair, {"original": TEXT, "variant": TEXT.replace("free", "complimentary")}, {"original": "b" * 5000, "variant": TURNED}],
    }  # fmt: skip


def _data(classes, truth):
    counts = np.bincount(truth, minlength=len(classes))
    return {
        "n_rows": 5 * len(truth), "n_train": 4 * len(truth), "words_median": 15, "words_p95": 38, "has_group": False, "has_time": False,
        "n_duplicates": 411,
        "classes": [
            {"name": name, "n": int(5 * c), "share_train": c / len(truth), "share_test": c / len(truth)}
            for name, c in zip(classes, counts, strict=True)
        ],
    }  # fmt: skip


def _environment():
    return {
        "python": "3.12.1",
        "machine": "Linux x86_64",
        "cpu": "AVX2",
        "packages": {"heldout": "0.4.0", "torch": "2.13.0"},
    }


def _write_ledger(rng, path, folds):
    with Ledger(path) as ledger:
        for fold in folds:
            for seed in range(2):
                best = int(rng.integers(4, 8))
                history = [
                    {
                        "epoch": e,
                        "train_loss": 0.03 + 0.36 * 0.6**e,
                        "valid_loss": 0.09 + 0.3 * 0.55**e + 0.004 * max(e - best, 0),
                    }
                    for e in range(best + 5)
                ]
                spec = {"candidate": "heldout", "fold": {"name": fold}, "seed": seed}
                name = f"heldout, {fold}, seed {seed}"
                ledger.add(
                    name,
                    Finished(
                        name=name,
                        spec=spec,
                        scores={"best_epoch": best, "n_parameters": 431_234},
                        history=history,
                    ),
                )
        ledger.look("final scores")
