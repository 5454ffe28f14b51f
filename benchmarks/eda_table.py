"""EDA's protocol (Wei & Zou 2019) on its five sets at 500 and 2000 rows: heldout with and without each augmentation.

    python benchmarks/eda_table.py [--sizes 500 2000] [--seeds 5] [--ways none EDA ...] [--workers 2]

Each fit sees the published training file of that size; 15 % of 500 rows and 10 % of 2000, drawn by class, say when to stop.
The test files are scored once per fit and chose nothing: recipes were chosen on other texts (docs/decisions.md), but for the
rule of NB-SVM's intercept. Word vectors are the 2275 words of GloVe 6B 300-d that are at hand, cut to 100 by PCA; the
paper had GloVe 840B. Prints mean accuracy over sets and seeds; the interval is of the difference to the fits without augmentation,
paired by seed and test text (`heldout.studies.compare.two_way`), and covers both.
"""

import argparse
import time
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from scipy import stats
from text_files import TEXTS, VECTORS, joined, read_labelled
from torch import set_num_threads  # by name: the module itself does not go to a worker

from heldout.augment import TextAugmentation
from heldout.data.text_splits import deal
from heldout.studies.compare import two_way
from heldout.text_recipe import TextRecipe
from heldout.training.text import fit_text
from heldout.training.text_baselines import standard_text_baselines

SETS = ("cr", "sst2", "subj", "trec", "pc")
PUBLISHED = {500: (75.3, 79.1), 2000: (83.7, 84.4)}  # RNN, RNN + EDA, arXiv 1901.11196, Table 2
SIMPLE = {
    500: 76.2,
    2000: 82.9,
}  # TF-IDF of words and pairs + logistic regression, scikit-learn's defaults with C=10
BASE = TextRecipe(vectors=str(VECTORS), embedding_lr=5e-4)
WAYS = (
    "none",
    "EDA",
    "EDA, all 16",
    "AEDA",
    "neighbours",
    "tokens",
    "mixup",
    "translation",
    "pretraining",
    "EDA + pretraining",
)


def recipe(way: str, size: int) -> TextRecipe:
    eda = TextAugmentation.eda(size)
    named = {name: getattr(eda, name) for name in ("alpha_sr", "alpha_ri", "alpha_rs", "p_rd", "n_aug")}
    changes: dict[str, dict[str, Any]] = {
        "none": {},
        "EDA": named,
        "EDA, all 16": named | {"min_original": 0.0},
        "AEDA": {"alpha_aeda": 1 / 3},
        "neighbours": {"alpha_nn": 0.1},
        "tokens": {"p_unk": 0.1},
        "mixup": {"mixup": 0.2},
        "translation": {"back_translation": "apertium:eng-spa"},
        "pretraining": {"pretrain_epochs": 10},
        "EDA + pretraining": named | {"pretrain_epochs": 10},
    }
    return replace(BASE, **changes[way])


def one(name: str, size: int, way: str, seed: int) -> np.ndarray:
    """Whether each test text is given its class."""
    set_num_threads(1)
    folder = TEXTS / "eda" / name
    data, (known, test) = joined(
        [read_labelled(folder / f"{part}.txt.gz", "\t") for part in (f"train_{size}", "test")]
    )
    texts, labels = [data.texts[row] for row in test], data.labels[test]
    for baseline in standard_text_baselines():
        if baseline.name == way:
            reader = baseline.fit(data.texts[: len(known)], data.labels[known], len(data.classes), seed=seed)
            return reader.log_proba(texts).argmax(axis=1) == labels
    share = 0.15 if size < 1000 else 0.1
    part = deal(data.labels[known], known, (1 - share, share), np.random.default_rng(seed))
    model, _ = fit_text(data, known[part == 0], known[part == 1], recipe(way, size), seed=seed)
    return model.log_proba(texts).argmax(axis=1) == labels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 2000], choices=[500, 2000])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    for size in asked.sizes:
        print(
            f"\n{size} rows: mean accuracy %, {len(SETS)} sets x {asked.seeds} seeds; {'  '.join(SETS)}",
            flush=True,
        )
        paper, with_eda = PUBLISHED[size]
        print(
            f"  {'published: RNN, GloVe 840B':28} {paper:5.1f}\n  {'published: RNN + EDA':28} {with_eda:5.1f}"
        )
        print(f"  {'simple TF-IDF + LR':28} {SIMPLE[size]:5.1f}")
        found: dict[str, list[np.ndarray]] = {}
        for way in ("tfidf", "nbsvm", *asked.ways):
            began, seeds = time.perf_counter(), range(1 if way in ("tfidf", "nbsvm") else asked.seeds)
            jobs = [delayed(one)(name, size, way, seed) for name, seed in product(SETS, seeds)]
            right = Parallel(n_jobs=asked.workers)(jobs)
            by_set = [np.array(right[k * len(seeds) : (k + 1) * len(seeds)], float) for k in range(len(SETS))]
            found[way] = by_set
            each = [100 * part.mean() for part in by_set]
            print(f"  {way:28} {np.mean(each):5.2f}  {against(by_set, found.get('none'), way):34}", end="")
            print(" ".join(f"{x:5.1f}" for x in each), f" {time.perf_counter() - began:5.0f} s", flush=True)


def against(own: list[np.ndarray], plain: list[np.ndarray] | None, way: str) -> str:
    if plain is None or way == "none":
        return ""
    found = [two_way(100 * (a - b), blocks=np.inf) for a, b in zip(own, plain, strict=True)]
    mean, se = np.mean([f.mean for f in found]), np.sqrt(sum(f.se**2 for f in found)) / len(found)
    half = stats.t.ppf(0.975, min(f.df for f in found)) * se
    return f"{mean:+.2f} [{mean - half:+.2f}, {mean + half:+.2f}] against none"


if __name__ == "__main__":
    main()
