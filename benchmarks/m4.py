"""M4 Hourly: one model over 414 series, its sMAPE, MASE and OWA beside the published rows.

The command is the one that anybody would type, with no option; every choice is made on walk-forward folds before the test
file. Published rows: Makridakis, Spiliotis & Assimakopoulos (2020), The M4 competition, International Journal of
Forecasting 36(1), from the organisers' "Evaluation and Ranks.xlsx".

Usage: python benchmarks/m4.py [--data FOLDER] [--out RUN] [--set option=value ...]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DATA = Path(__file__).parents[2] / "shared" / "data" / "timeseries"
PUBLISHED = {
    "Naive": (43.003, 11.608, 3.593),
    "sNaive": (13.912, 1.193, 0.627),
    "Naive2": (18.383, 2.395, 1.000),
    "SES": (18.094, 2.385, 0.990),
    "Theta": (18.138, 2.455, 1.006),
    "Comb": (22.053, 4.582, 1.556),
    "MLP benchmark": (13.842, 2.607, 0.921),
    "RNN benchmark": (14.698, 3.048, 1.036),
    "#216 LSTM on ETS/TBATS residuals": (18.598, 2.758, 1.082),
    "#245 FFORMA": (11.506, 0.819, 0.484),
    "#118 ES-RNN (winner)": (9.328, 0.893, 0.440),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=DATA, help="folder of m4_hourly_train.csv.gz and m4_hourly_test.csv.gz"
    )
    parser.add_argument("--out", type=Path, help="run directory to keep")
    parser.add_argument("--set", action="append", default=[], help="an option of heldout fit")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = asked.out or Path(folder) / "m4"
        command = ["fit", str(asked.data / "m4_hourly_train.csv.gz"), "--out", str(out), "--json"]
        began = time.perf_counter()
        subprocess.run(
            [
                sys.executable,
                "-m",
                "heldout",
                *command,
                *(part for text in asked.set for part in ("--set", text)),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        seconds = time.perf_counter() - began
        scores = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    show(scores, seconds)


def show(scores: dict, seconds: float) -> None:
    ours = {row["name"]: (row["smape"], row["mase"], row["owa"]) for row in scores["accuracy"]["rows"]}
    rows = [("ours", name, *values) for name, values in ours.items()]
    rows += [("M4", name, *values) for name, values in PUBLISHED.items()]
    print(f"{'':5} {'method':34} {'sMAPE':>8} {'MASE':>8} {'OWA':>8}")
    for who, name, *values in sorted(rows, key=lambda row: row[-1]):
        print(f"{who:5} {name:34} " + " ".join(f"{value:8.3f}" for value in values))
    print(f"\n{scores['accuracy']['definition']}\n{scores['sentence']}\n{seconds:.0f} s")


if __name__ == "__main__":
    main()
