"""A fault of each kind while a study runs on Ray: the result is that of a run that nobody disturbed. The long form is a benchmark."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from heldout.studies.ray_engine import RayEngine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'heldout[ray]'"),
    pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc to see who listens"),
]
ROOT = Path(__file__).parents[2]


def in_a_process(*command):
    """What a process says that may start Ray."""
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize(
    "kind",
    [
        "worker",
        "node",
        "driver",
        pytest.param(
            "disk", marks=pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
        ),
    ],
)
def test_a_fault_changes_no_number_repeats_no_fit_and_lets_nobody_in(kind):
    shown = in_a_process("-m", "benchmarks.engine_faults", kind, "--times", "1", "--seed", "0", "--smallest")
    assert shown.returncode == 0, shown.stdout + shown.stderr[-2000:]
    assert "1/1 finished or resumed to the very table" in shown.stdout
    assert "; 0 finished fits ran twice; 0 of " in shown.stdout


@dataclass
class Context:
    """Of a study whose run directory is on a disk that the worker does not have."""

    checkpoints: Path
    shared: Path | None = None


def writes(context, job, report):
    (context.checkpoints / "state").write_text("epoch 1")
    return str(context.checkpoints), str(Path.cwd())


def run_elsewhere(folder):
    """Start Ray here, go to a folder, and run a job with a run directory that is not there; print what came of it."""
    with RayEngine(1).kept() as engine:
        os.chdir(folder)
        ((_, (place, seen)),) = engine.run(writes, ["job"], Context(Path("gone") / "checkpoints"))
        written = Path(place, "state").read_text()
    print(json.dumps({"seen": seen, "written": written, "left": [place, "gone"]}))


def test_without_the_run_directory_a_fit_leaves_its_state_with_ray_and_relative_paths_are_the_drivers(
    tmp_path,
):
    shown = in_a_process(
        "-c", f"from tests.studies.test_ray_faults import run_elsewhere; run_elsewhere({str(tmp_path)!r})"
    )
    assert shown.returncode == 0, shown.stderr[-2000:]
    found = json.loads(shown.stdout.splitlines()[-1])
    assert (found["seen"], found["written"]) == (str(tmp_path), "epoch 1")
    assert not any((tmp_path / place).exists() for place in found["left"])
