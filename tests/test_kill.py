"""Kill anything at any time and give the same command again: the same bits, and no finished fit twice."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from heldout.runs import Run
from heldout.studies.ledger import Ledger
from tests.test_experiment import make_table

OPTIONS = {
    "lookback": 14, "hidden_size": 16, "segment": 1, "max_epochs": 30, "patience": "none", "n_folds": 2, "n_seeds": 2,
}  # fmt: skip


def command(table, out):
    options = [part for name, value in OPTIONS.items() for part in ("--set", f"{name}={value}")]
    return [
        sys.executable,
        "-m",
        "heldout",
        "fit",
        str(table),
        "--target",
        "y",
        "--out",
        str(out),
        "--workers",
        "2",
        *options,
    ]


def newest_checkpoint(out):
    """When a fit of this run last wrote its state; 0 if none did."""
    times = [0.0]
    for path in out.glob("checkpoints/*.safetensors"):
        with suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times)


def contents(path: Path):
    """Everything a run found, but for times of day and durations."""
    run = Run(path)
    with Ledger(run.ledger_path) as ledger:
        fits = {key: ledger.get(key) for key in ledger.keys()}  # noqa: SIM118 - a ledger is no dict
        finished = [event.key for event in ledger.events() if event.what == "finished"]
        looks = len(ledger.looks())
    assert sorted(finished) == sorted(fits)
    assert looks == 1
    scores = run.scores() | {"run": None, "command": None}  # these name the folder
    parts = {
        key: (fit.scores, fit.history, fit.model, {n: a.tobytes() for n, a in fit.arrays.items()})
        for key, fit in fits.items()
    }
    return json.dumps(scores, sort_keys=True), parts, (path / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    make_table(1500).write_csv(path)
    return path


@pytest.mark.slow
def test_signal_9_at_five_random_moments_changes_no_bit(table, tmp_path):
    whole, killed = tmp_path / "a" / "run", tmp_path / "b" / "run"  # apart, so that each counts its own looks
    subprocess.run(command(table, whole), check=True, capture_output=True)
    rng = np.random.default_rng(int(time.time()))
    kills = 0
    for number in range(5):
        began = time.time()
        with subprocess.Popen(
            command(table, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            # One of the moments may fall anywhere, the others while fits are running.
            while number % 5 and newest_checkpoint(killed) < began and process.poll() is None:
                time.sleep(0.02)
            time.sleep(rng.uniform(0, 1.5 if number % 5 else 4))
            kills += process.poll() is None
            process.kill()
    subprocess.run(command(table, killed), check=True, capture_output=True)
    assert kills >= 3
    assert contents(killed) == contents(whole)


@pytest.mark.slow
def test_ctrl_c_exits_with_130_leaves_no_process_and_can_be_resumed(table, tmp_path):
    with subprocess.Popen(
        command(table, tmp_path / "run"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        while not list((tmp_path / "run").glob("checkpoints/*.safetensors")):
            time.sleep(0.02)
            assert process.poll() is None
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert b"the same command goes on" in said
    assert b"Traceback" not in said
    assert not psutil.wait_procs(children, timeout=5)[1]
    assert subprocess.run(command(table, tmp_path / "run"), capture_output=True, check=False).returncode == 0
