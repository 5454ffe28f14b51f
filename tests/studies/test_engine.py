import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import psutil
import pytest
import torch

from heldout.check import InputError
from heldout.data.calendar import Frequency
from heldout.data.series import SeriesData
from heldout.studies import engine as module
from heldout.studies.engine import InlineEngine, LocalEngine
from heldout.studies.failures import JobFailed

# Workers cannot import a test by its name.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def workers_of(pid: int) -> list[psutil.Process]:
    """Living processes below `pid`, without loky's watcher of semaphores, which ends with its parent."""
    found = psutil.Process(pid).children(recursive=True)
    return [p for p in found if p.is_running() and "resource_tracker" not in " ".join(p.cmdline())]


def eventually(fact: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not fact() and time.monotonic() < end:
        time.sleep(0.05)
    return fact()


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    before = threading.active_count()
    yield
    assert list(shared.glob("heldout-*")) == []
    assert workers_of(os.getpid()) == []
    assert eventually(lambda: threading.active_count() <= before)


def train(context: dict[str, Any], job: int, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    values = context["values"]
    writable = values.flags.writeable
    torch.manual_seed(job)
    model = torch.nn.LSTM(3, 16, batch_first=True)
    x = torch.tensor(values[job * 64 : job * 64 + 1024]).reshape(32, 32, 3)
    for epoch in range(3):
        loss = model(x)[0].square().mean()
        with torch.no_grad():
            for weight, slope in zip(
                model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
            ):
                weight.sub_(0.1 * slope)
        report({"epoch": epoch, "loss": loss.item()})
    return {
        "bits": b"".join(p.detach().numpy().tobytes() for p in model.parameters()),
        "threads": torch.get_num_threads(),
        "pid": os.getpid(),
        "mapped": isinstance(values, np.memmap) and not writable,
        "empty": context["series"].static.shape,
    }


def test_workers_give_the_bits_of_the_inline_engine_and_report_and_share_the_context() -> None:
    rng = np.random.default_rng(0)
    series = SeriesData(
        values=rng.normal(size=(9, 1)),
        columns=("a",),
        targets=("a",),
        time=np.arange(9),
        position=np.arange(9),
        offsets=np.array([0, 9]),
        ids=("s",),
        frequency=Frequency("step"),
    )
    context = {"values": rng.normal(size=(2048, 3)).astype(np.float32), "series": series}
    jobs, told = list(range(4)), ([], [])  # type: ignore[var-annotated]
    local = dict(LocalEngine(2).run(train, jobs, context, lambda *args: told[0].append(args)))
    threads = torch.get_num_threads()
    inline = dict(InlineEngine().run(train, jobs, context, lambda *args: told[1].append(args)))
    assert torch.get_num_threads() == threads
    assert sorted(local) == sorted(inline) == jobs
    for job in jobs:
        assert local[job]["bits"] == inline[job]["bits"]
        assert local[job]["threads"] == inline[job]["threads"] == 1
        assert local[job]["mapped"]
        assert local[job]["empty"] == (0, 0)
        # A report may be overtaken by the next, but the last one arrives, and none comes that was not made.
        seen = [state for index, state in told[0] if index == job]
        made = [state for index, state in told[1] if index == job]
        assert len(made) == 3
        assert seen[-1] == made[-1]
        assert [state for state in made if state in seen] == seen
    assert os.getpid() not in {result["pid"] for result in local.values()}


def fragile(folder: str, job: str, report: Callable[[dict[str, Any]], None]) -> str:
    runs = Path(folder, job)
    with runs.open("a") as file:
        file.write("x")
    if job == "always" or (job == "once" and runs.read_text() == "x"):
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "neighbour":  # is running when the others are killed
        while not Path(folder, "last").exists():
            time.sleep(0.05)
    return job


def test_a_killed_worker_costs_only_its_own_job_which_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    folder = tmp_path / "runs"
    folder.mkdir()
    results = {}

    def run() -> None:
        for index, result in LocalEngine(2).run(
            fragile, ["neighbour", "first", "once", "always", "last"], str(folder)
        ):
            results[index] = result

    with pytest.raises(JobFailed, match=r"lost 2 times.*: job 3;"):
        run()
    assert results == {0: "neighbour", 1: "first", 2: "once", 4: "last"}
    runs = {path.name: len(path.read_text()) for path in folder.iterdir()}
    assert runs == {"neighbour": 1, "first": 1, "once": 2, "always": 2, "last": 1}


def wrong(context: dict[str, Any], job: str, report: Callable[[dict[str, Any]], None]) -> str:
    if job == "sleep":
        Path(context["marker"]).touch()
        time.sleep(600)
    if job == "fail":
        while not Path(context["marker"]).exists():
            time.sleep(0.05)
        raise InputError("column 'x' is empty")
    return job


def test_an_error_of_a_task_arrives_as_it_is_and_ends_the_other_jobs(tmp_path: Path) -> None:
    results = []

    def run() -> None:
        jobs = ["sleep", "good", "fail", "never"]
        results.extend(LocalEngine(2).run(wrong, jobs, {"marker": tmp_path / "marker"}))

    with pytest.raises(InputError, match=r"^column 'x' is empty$") as caught:
        run()
    assert type(caught.value) is InputError
    assert "in wrong" in str(caught.value.__cause__)
    assert results == [(1, "good")]


class AwkwardError(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


class Named:
    name = "fold 3, seed 0"


def awkward(context: None, job: Named, report: Callable[[dict[str, Any]], None]) -> None:
    raise AwkwardError(1, 2)


def test_an_error_that_cannot_be_sent_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_shared", lambda folder: None)
    with pytest.raises(JobFailed, match=r"job 7 \(fold 3, seed 0\) raised AwkwardError: 1 and 2"):
        module._run_job(awkward, Named(), 7, tmp_path)
    with pytest.raises(AwkwardError):
        list(InlineEngine().run(awkward, [Named()], None))


def slow(context: None, job: int, report: Callable[[dict[str, Any]], None]) -> int:
    report({"pid": os.getpid()})
    if job > 0:
        time.sleep(600)
    return job


def test_leaving_the_loop_ends_the_worker_and_removes_the_folder() -> None:
    pids = set()
    for index, _ in LocalEngine(1).run(slow, [0, 1], None, lambda index, state: pids.add(state["pid"])):
        assert index == 0
        break
    assert len(pids) == 1
    assert not any(psutil.pid_exists(pid) for pid in pids)


def who(context: object, job: int, report: Callable[[dict[str, Any]], None]) -> tuple[int, object]:
    report({"job": job})
    if job == 98:
        raise ValueError("98")
    return os.getpid(), context


def test_kept_workers_do_one_plan_after_another_and_end_with_the_block() -> None:
    engine, context = LocalEngine(1), {"number": 1}
    told: list[dict[str, Any]] = []
    with engine.kept(), engine.kept():
        rounds = [
            list(engine.run(who, [0, 1], context, lambda _, state: told.append(state))) for _ in range(2)
        ]
        (pid,) = {pid for found in rounds for _, (pid, _) in found}
        with pytest.raises(ValueError, match="98"):
            list(engine.run(who, [98], context))
        ((_, (other, _)),) = engine.run(who, [0], context)
        assert other == pid, "an error of a job costs no worker"
        ((_, (_, seen)),) = engine.run(who, [0], {"number": 2})
        assert seen == {"number": 2}
        assert len(workers_of(os.getpid())) == 1
    assert {state["job"] for state in told} <= {0, 1}
    assert workers_of(os.getpid()) == []


def test_a_worker_whose_job_was_left_is_ended_though_others_are_kept() -> None:
    engine = LocalEngine(1)
    with engine.kept():
        for index, _ in engine.run(slow, [0, 1], None):
            assert index == 0
            break
        assert workers_of(os.getpid()) == []
        assert list(engine.run(slow, [0], None)) == [(0, 0)]


DRIVER = """
import os, psutil, tempfile, time
from heldout.studies.engine import LocalEngine

def task(context, job, report):
    report({"pid": os.getpid()})
    time.sleep(600)

try:
    for _ in LocalEngine(1).run(task, [0], None, lambda index, state: print(state["pid"], flush=True)):
        pass
except KeyboardInterrupt:
    # The driver may go on after it.
    left = [p.cmdline() for p in psutil.Process().children(recursive=True)]
    print([line for line in left if "resource_tracker" not in " ".join(line)], os.listdir(tempfile.gettempdir()))
    raise
"""


@pytest.mark.parametrize("by", ["SIGINT", "SIGKILL"])
def test_no_process_and_no_folder_outlives_the_driver(tmp_path: Path, by: str) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", DRIVER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"TMPDIR": str(tmp_path / "shared")},
    )
    assert driver.stdout is not None
    worker = psutil.Process(int(driver.stdout.readline()))
    if by == "SIGINT":
        os.killpg(driver.pid, signal.SIGINT)  # as a terminal does: workers get it too
    else:
        os.kill(driver.pid, signal.SIGKILL)
    assert eventually(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    assert eventually(lambda: not any((tmp_path / "shared").iterdir()))
    output, errors = driver.communicate(timeout=30)
    assert driver.returncode == -getattr(signal, by)
    if by == "SIGINT":
        assert output == "[] []\n"
        assert errors.count("Traceback") == 1
        assert errors.endswith("KeyboardInterrupt\n")


def test_nothing_is_started_for_no_jobs_or_no_workers() -> None:
    assert list(LocalEngine().run(slow, [], None)) == []
    with pytest.raises(InputError, match="workers must be at least 1, got 0"):
        LocalEngine(0)


def test_a_full_disk_is_named_before_anything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.joblib, "dump", full)
    with pytest.raises(InputError, match=r"heldout-.*No space left on device.*TMPDIR"):
        next(LocalEngine(1).run(slow, [0], None))


def test_threads_are_put_back_while_the_caller_has_the_result() -> None:
    torch.set_num_threads(2)
    try:
        for _, threads in InlineEngine().run(lambda *_: torch.get_num_threads(), [0, 1], None):
            assert threads == 1
            assert torch.get_num_threads() == 2
        with pytest.raises(InputError):
            list(InlineEngine().run(lambda *_: (_ for _ in ()).throw(InputError("no")), [0], None))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
