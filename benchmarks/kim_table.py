"""Kim's protocol (2014): TREC and SST-2 on their official splits, CR and Subj by 10-fold cross-validation, no word vectors.

    python benchmarks/kim_table.py [--sets TREC SST-2 CR Subj] [--seeds 3] [--workers 2]

heldout at its defaults. Official splits: mean of the seeds; SST-2 stops on its dev file, TREC on a tenth of its training rows.
Cross-validation: a tenth of the other folds says when to stop, one seed each. SST-2 trains on sentences only (Kim: phrases too).
"""

import argparse
import time
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from text_files import TEXTS, joined, read_labelled
from torch import set_num_threads  # by name: the module itself does not go to a worker

from heldout.data.text_splits import deal
from heldout.data.text_table import TextData
from heldout.text_recipe import TextRecipe
from heldout.training.text import fit_text
from heldout.training.text_baselines import TfidfLogistic

FOLDER = TEXTS / "sent_conv"
FILES = {
    "TREC": ("TREC.train.all.gz", "TREC.test.all.gz"),
    "SST-2": ("stsa.binary.train.gz", "stsa.binary.dev.gz", "stsa.binary.test.gz"),
    "CR": ("custrev.all.gz",),
    "Subj": ("subj.all.gz",),
}
RAND = {"TREC": 91.2, "SST-2": 82.7, "CR": 79.8, "Subj": 89.6}  # CNN-rand, EMNLP D14-1181, Table 2
STATIC = {"TREC": 92.8, "SST-2": 86.8, "CR": 84.7, "Subj": 93.0}  # CNN-static, word2vec
Fold = tuple[np.ndarray, np.ndarray, np.ndarray]


def folds(data: TextData, parts: list[np.ndarray], seeds: int) -> list[Fold]:
    """Rows that train, stop and test."""
    rng = np.random.default_rng(0)
    if len(parts) == 3:
        return [(parts[0], parts[1], parts[2])] * seeds
    if len(parts) == 2:
        return [(*tenth(data, parts[0], seed), parts[1]) for seed in range(seeds)]
    number = deal(data.labels, parts[0], (0.1,) * 10, rng)
    return [(*tenth(data, parts[0][number != k], k), parts[0][number == k]) for k in range(10)]


def tenth(data: TextData, rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    part = deal(data.labels[rows], rows, (0.9, 0.1), np.random.default_rng(seed))
    return rows[part == 0], rows[part == 1]


def one(name: str, number: int, seeds: int) -> tuple[float, float]:
    """Accuracy of heldout and of TF-IDF with logistic regression on one fold."""
    set_num_threads(1)
    data, parts = joined([read_labelled(Path(FOLDER, file), " ", "latin-1") for file in FILES[name]])
    train, valid, test = folds(data, parts, seeds)[number]
    texts, labels = [data.texts[row] for row in test], data.labels[test]
    model, _ = fit_text(data, train, valid, TextRecipe(), seed=number)
    known = np.concatenate([train, valid])
    linear = TfidfLogistic().fit(
        [data.texts[row] for row in known], data.labels[known], len(data.classes), seed=0
    )
    own, other = ((said.log_proba(texts).argmax(axis=1) == labels).mean() for said in (model, linear))
    return 100 * float(own), 100 * float(other)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", default=list(FILES), choices=list(FILES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    print(f"{'':8} {'heldout':>8} {'+-':>5} {'TF-IDF':>8} {'CNN-rand':>9} {'CNN-static':>11}")
    for name in asked.sets:
        began = time.perf_counter()
        runs = range(10 if len(FILES[name]) == 1 else asked.seeds)
        found = np.array(Parallel(n_jobs=asked.workers)(delayed(one)(name, k, asked.seeds) for k in runs))
        own, linear = found.mean(axis=0)
        print(
            f"{name:8} {own:8.1f} {found[:, 0].std(ddof=1) if len(found) > 1 else np.nan:5.1f} {linear:8.1f} {RAND[name]:9.1f} {STATIC[name]:11.1f}"
            f"   {'reached' if own >= RAND[name] - 1 else 'missed'}: rand less one point; {time.perf_counter() - began:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
