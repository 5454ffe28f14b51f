"""Classes of real sequences: `LSTMClassifier` on the official test split of four UCR and UEA data sets.

    python benchmarks/ucr.py [--seeds 5] [--quick]

Prints mean accuracy over seeds with a 95 % t-interval over them (the test split is one and the same, so the interval
says how much the seed matters, not how much the sample does), beside two simple baselines and published results.
Everything is left at its default; the defaults were chosen by cross-validation on training rows (docs/decisions.md).
"""

import argparse
import gzip
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import heldout as ho
from heldout.data.samples import pad

FOLDER = Path(__file__).parents[1] / ".." / "shared" / "data" / "ts_classification"
# Karim et al. 2018, result tables of the LSTM-FCN repository, accuracy on the official test split. LSTM-FCN and
# ALSTM-FCN there choose the model by training loss.
PUBLISHED = {
    "ItalyPowerDemand": {
        "LSTM-FCN": 0.962, "ALSTM-FCN": 0.959, "1-NN DTW": 0.950, "BOSS": 0.909, "COTE": 0.961, "ResNet": 0.960, "MLP": 0.966,
    },
    "GunPoint": {
        "LSTM-FCN": 1.0, "ALSTM-FCN": 1.0, "1-NN DTW": 0.907, "BOSS": 1.0, "COTE": 1.0, "ResNet": 0.993, "MLP": 0.933,
    },
}  # fmt: skip
NAMES = ("JapaneseVowels", "ItalyPowerDemand", "GunPoint", "BasicMotions")

Sequences = list[NDArray[np.float64]]


def read_ts(path: Path) -> tuple[Sequences, NDArray[np.str_]]:
    """Give sequences (T_i, F) and labels of a file in the archive's ``.ts`` format: columns between colons, label last."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = file.read().partition("@data")[2].split("\n")[1:]
    rows = [line.strip().split(":") for line in lines if line.strip()]
    X = [np.array([[float(value) for value in column.split(",")] for column in row[:-1]]).T for row in rows]
    return X, np.array([row[-1] for row in rows])


def interval(values: list[float]) -> str:
    """Give mean and 95 % t-interval, which ends at 1."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.3f}"
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{mean:.3f} [{mean - half:.3f}, {min(mean + half, 1):.3f}]"


def run(name: str, seeds: int) -> None:
    (X, y), (X_test, y_test) = (read_ts(FOLDER / f"{name}_{part}.ts.gz") for part in ("TRAIN", "TEST"))
    lengths = {len(x) for x in (*X, *X_test)}
    print(
        f"\n{name}: {len(X)} training and {len(X_test)} test sequences, {X[0].shape[1]} channels, "
        f"{min(lengths)} to {max(lengths)} steps, {len(set(y))} classes"
    )
    began = time.perf_counter()
    given, tested = (X, X_test) if len(lengths) > 1 else (np.stack(X), np.stack(X_test))
    scores = [
        ho.LSTMClassifier(random_state=seed).fit(given, y).score(tested, y_test) for seed in range(seeds)
    ]
    seconds = (time.perf_counter() - began) / seeds
    print(f"  {'heldout LSTMClassifier':<28}{interval(scores)}   {seeds} seeds, {seconds:.1f} s each")
    flat = pad([*X, *X_test]).x.reshape(len(X) + len(X_test), -1)
    for label, model in (
        ("1-NN, padded", KNeighborsClassifier(1)),
        ("logistic regression, padded", make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))),
    ):
        print(f"  {label:<28}{model.fit(flat[: len(X)], y).score(flat[len(X) :], y_test):.3f}")
    rows = PUBLISHED.get(name)
    if rows is None:
        print("  no published row at hand")
        return
    for label, value in rows.items():
        print(f"  {label + ' (published)':<28}{value:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one seed")
    options = parser.parse_args()
    torch.set_num_threads(1)  # sequences this small are slower on two
    for name in NAMES:
        run(name, 1 if options.quick else options.seeds)


if __name__ == "__main__":
    main()
