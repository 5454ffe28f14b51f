"""Kill anything at any time and give the same command again: the same bits, and no finished fit twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from heldout.runs import Run
from heldout.studies.ledger import Ledger
from tests.test_experiment import make_table

OPTIONS = ["--target", "y", "--set", "lookback=14", "--set", "hidden_size=8", "--set", "max_epochs=12", "--set", "patience=none",
           "--set", "n_folds=3", "--set", "n_seeds=2", "--workers", "2"]  # fmt: skip


def command(table, out):
    return [sys.executable, "-m", "heldout", "fit", str(table), "--out", str(out), *OPTIONS]


def contents(path: Path):
    """Everything a run found, but for times of day and durations."""
    run = Run(path)
    with Ledger(run.ledger_path) as ledger:
        fits = {key: ledger.get(key) for key in ledger.keys()}  # noqa: SIM118 - a ledger is no dict
        finished = [event.key for event in ledger.events() if event.what == "finished"]
        looks = len(ledger.looks())
    assert sorted(finished) == sorted(fits)
    assert looks == 1
    scores = run.scores() | {"run": None}
    parts = {
        key: (fit.scores, fit.history, fit.model, {n: a.tobytes() for n, a in fit.arrays.items()})
        for key, fit in fits.items()
    }
    return json.dumps(scores, sort_keys=True), parts, (path / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    make_table(400).write_csv(path)
    return path


@pytest.mark.slow
def test_signal_9_at_ten_random_moments_changes_no_bit(table, tmp_path):
    began = time.monotonic()
    subprocess.run(command(table, tmp_path / "whole"), check=True, capture_output=True)
    span = time.monotonic() - began
    rng = random.Random(int.from_bytes(np.random.default_rng(7).bytes(4), "big"))
    kills = 0
    for _ in range(10):
        with subprocess.Popen(
            command(table, tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                process.wait(rng.uniform(0.3, 0.9) * span)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += 1
    subprocess.run(command(table, tmp_path / "killed"), check=True, capture_output=True)
    assert kills > 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


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
