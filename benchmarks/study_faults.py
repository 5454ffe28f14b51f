"""Signal 9 at a study: the driver, again and again, and its workers. The result must be that of an undisturbed serial run.

    python benchmarks/study_faults.py [--kills 20] [--commands reduce tune] [--seed N]

For each of `heldout reduce` and `heldout tune`, with networks small enough to be killed often:

- driver: killed at random moments once fits are running, its workers left to themselves; the same command is given again, at
  once, until it is done. If a study ends before all kills are spent, another one is begun.
- worker: one of the two worker processes killed at a random moment, again and again while the study runs. The engine gives a
  fit up that it lost three times; the command is then given again.

Every finished study is held against one that ran in this process, one fit after the other: equal in every number but
times of day and durations. No fit that had finished may have begun again, and no worker may outlive its driver.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil

from heldout.check import InputError
from heldout.config import Config
from heldout.reduce import reduce_capacity
from heldout.studies.engine import InlineEngine
from heldout.studies.ledger import Ledger
from heldout.tuning import tune

OPTIONS = {
    "horizon": 1, "lookback": 12, "segment": 1, "num_layers": 1, "hidden_size": 8, "max_epochs": 9, "patience": 9, "season": 12,
    "n_folds": 3, "n_seeds": 2, "batch_size": 32, "lr": 0.01,
}  # fmt: skip
TRIALS = 6
PROGRAM = [sys.executable, "-m", "heldout"]
# Names of what tells times, places and the machine.
_NO_RESULT = {"seconds", "run", "command", "environment", "options"}


def write_table(path: Path, n_rows: int = 400) -> None:
    """A season, what follows from another column, and noise."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=n_rows), np.arange(n_rows)
    y = np.sin(2 * np.pi * t / 12) + 0.6 * np.roll(x, 1) + 0.2 * rng.normal(size=n_rows)
    stamps = np.datetime64("2020-01-01T00", "us") + t * np.timedelta64(1, "h")
    pl.DataFrame({"time": stamps, "y": y, "x": x}).write_csv(path)


def serial(kind: str, table: Path, out: Path, options: dict[str, Any]) -> dict[str, Any]:
    """The result of a study in this process, fit after fit; one that was begun goes on."""
    config = Config().with_values({"target": "y", **options})
    if kind == "reduce":
        reduce_capacity(str(table), config, out=out, engine=InlineEngine())
    else:
        tune(str(table), config, out=out, engine=InlineEngine(), n_trials=TRIALS)
    return result_of(out)


def result_of(out: Path) -> dict[str, Any]:
    """What a study found, without what must differ from run to run."""
    return _without(json.loads((out / "scores.json").read_text()))


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without(item) for name, item in value.items() if name not in _NO_RESULT}
    return [_without(item) for item in value] if isinstance(value, list) else value


def begun_again(out: Path) -> list[str]:
    """Names of fits of which one of these is true: it finished twice, or it began once it had finished."""
    finished, found = set(), []
    with Ledger(out / "ledger.sqlite", readonly=True) as ledger:
        for event in ledger.events():
            if event.what in ("started", "finished") and event.key in finished:
                found.append(event.detail)
            if event.what == "finished":
                finished.add(event.key)
    return found


def n_finished(out: Path) -> int:
    """Fits in the ledger so far."""
    try:
        with Ledger(out / "ledger.sqlite", readonly=True) as ledger:
            return len(ledger.keys())
    except InputError:  # not there yet
        return 0


@contextmanager
def driver(kind: str, table: Path, out: Path, options: dict[str, Any]) -> Iterator[psutil.Popen]:
    """A study as a command of its own, with two workers; what it says goes to ``<out>.log``."""
    settings = [part for name, value in options.items() for part in ("--set", f"{name}={value}")]
    command = [*PROGRAM, kind, str(table), "--target", "y", "--out", str(out), "--workers", "2", *settings]
    if kind == "tune":
        command += ["--trials", str(TRIALS)]
    with Path(f"{out}.log").open("a") as log:
        process = psutil.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            yield process
        finally:
            if process.is_running():
                process.kill()
            process.wait()


def workers_of(process: psutil.Popen) -> list[psutil.Process]:
    """Its worker processes."""
    with suppress(psutil.NoSuchProcess):
        return [p for p in process.children() if "popen_loky" in " ".join(_command_line(p))]
    return []


def _command_line(process: psutil.Process) -> list[str]:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return list(process.cmdline())
    return []


def wait_for(fact: Callable[[], bool], process: psutil.Popen) -> bool:
    """Wait until it is so, or the process has ended; False in the second case."""
    while not fact():
        if process.poll() is not None:
            return False
        time.sleep(0.02)
    return process.poll() is None


def progress(out: Path) -> float:
    """When a fit of the study last wrote its state."""
    times = [0.0]
    for path in out.glob("checkpoints/*.safetensors"):
        with suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times)


def kill_driver(kind: str, table: Path, out: Path, options: dict[str, Any], *, delay: float) -> bool:
    """Run the study, kill its driver ``delay`` seconds after its fits began; whether there was still something to kill."""
    with driver(kind, table, out, options) as process:
        began = time.time()
        if not wait_for(lambda: progress(out) > began, process):
            return False
        workers = workers_of(process)
        with suppress(psutil.TimeoutExpired):
            process.wait(delay)
            return False
        process.kill()
    _, left = psutil.wait_procs(workers, timeout=10)
    assert not left, f"{len(left)} workers outlived their driver by 10 s"
    return True


def kill_workers(
    kind: str, table: Path, out: Path, options: dict[str, Any], *, kills: int, rng: np.random.Generator
) -> int:
    """Run the study once, kill workers while it runs; give how many."""
    done = 0
    with driver(kind, table, out, options) as process:
        while done < kills:
            before = n_finished(
                out
            )  # a fit must end between two kills, or the same one is lost again and again
            if not wait_for(lambda: n_finished(out) > before, process):  # noqa: B023 - used at once
                return done
            time.sleep(rng.uniform(0, 0.3))
            workers = workers_of(process)
            if workers:
                with suppress(psutil.NoSuchProcess):
                    workers[int(rng.integers(len(workers)))].kill()
                    done += 1
        process.wait()
    return done


def finish(kind: str, table: Path, out: Path, options: dict[str, Any]) -> None:
    """Give the command until it is done."""
    for _ in range(5):
        with driver(kind, table, out, options) as process:
            if process.wait() == 0:
                return
    raise SystemExit(f"{kind} does not end: see {out}.log")


def attack(
    kind: str, target: str, kills: int, folder: Path, expected: dict[str, Any], rng: np.random.Generator
) -> tuple[int, int, int]:
    """Spend all kills on studies; give how many studies there were, how many had the result, how many fits ran twice."""
    table, studies, equal, again, spent = folder / "table.csv", 0, 0, 0, 0
    while spent < kills:
        out = folder / f"{kind}-{target}-{studies}"
        began = spent
        while spent < kills:
            if target == "driver":
                hit = kill_driver(kind, table, out, OPTIONS, delay=rng.uniform(0, 1))
            else:
                hit = kill_workers(kind, table, out, OPTIONS, kills=kills - spent, rng=rng)
            spent += hit
            print(".", end="", file=sys.stderr, flush=True)
            if (out / "scores.json").exists():
                break
        if spent == began:
            raise SystemExit(f"{kind} ends before it can be killed: see {out}.log")
        finish(kind, table, out, OPTIONS)
        studies += 1
        equal += result_of(out) == expected
        again += len(begun_again(out))
    return studies, equal, again


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--commands", nargs="+", choices=("reduce", "tune"), default=["reduce", "tune"])
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="of the moments; by default the time"
    )
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    print(f"{asked.kills} kills each, seed of the moments {asked.seed}")
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(folder / "table.csv")
        for kind in asked.commands:
            expected = serial(kind, folder / "table.csv", folder / f"{kind}-undisturbed", OPTIONS)
            for target in ("driver", "worker"):
                studies, equal, again = attack(kind, target, asked.kills, folder, expected, rng)
                failed |= equal < studies or again > 0
                print(
                    f"heldout {kind}, {target} killed {asked.kills} times: {equal}/{studies} studies with the result of the "
                    f"undisturbed serial run, {again} finished fits ran twice",
                    flush=True,
                )
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
