"""Faults while a study runs on the engine `ray`. Its table must be that of an undisturbed run in one process.

    python -m benchmarks.engine_faults worker|node|driver|disk [--times 20] [--seed N]

Each time one study (``reduce`` with small networks) meets one fault at a random moment once its fits run:

- worker: the process of a running fit gets signal 9.
- node: a node with a running fit is removed from a cluster of three (`ray.cluster_utils.Cluster`: a head without CPUs and two
  nodes), its processes killed; another one is added before the next study.
- driver: the command gets signal 9; the same command is given again. Nothing of Ray may be left at the end.
- disk: the disk of the run directory (a tmpfs, which root alone can mount) is filled up to the last byte. The command must say so
  in one line, with the way out; the room is given back, and the same command given again.

No fit that had finished may have begun again. Meanwhile the sockets of all processes that belong to it are looked at: none may
listen beyond the loopback interface, and what asks a running cluster without its token must be refused.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil
from benchmarks.study_faults import (
    OPTIONS,
    begun_again,
    driver,
    finish,
    kill_driver,
    n_finished,
    progress,
    result_of,
    serial,
    wait_for,
    write_table,
)

from heldout.config import Config
from heldout.reduce import reduce_capacity
from heldout.studies.engine import Engine
from heldout.studies.ray_engine import RayEngine

KIND = "reduce"
QUICK = OPTIONS | {"n_folds": 2}
SMALLEST = QUICK | {"hidden_size": 4, "n_seeds": 1}
LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")
# A node that is gone refuses at once; one that is slow, because two cores do all of this, has time.
FAST_CHECKS = {
    "health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_timeout_ms": 10_000,
    "health_check_failure_threshold": 3,
}  # fmt: skip


@dataclass
class Found:
    """What came of some faults."""

    times: int = 0
    met: int = 0
    equal: int = 0
    again: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, out: Path, expected: dict[str, Any], *, met: bool) -> None:
        """Count a study that is done."""
        self.times += 1
        self.met += met
        same = result_of(out) == expected
        self.equal += same
        self.again += len(begun_again(out))
        print("." if same else "F", end="", file=sys.stderr, flush=True)


class Watch:
    """Looks twice a second at all processes that descend from this one: on what they listen, and which are left."""

    def __init__(self) -> None:
        self.seen: dict[int, psutil.Process] = {}
        self.listened: set[str] = set()
        self.beyond: set[str] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def left(self) -> list[psutil.Process]:
        """Those that still run, ten seconds after this was asked."""
        return psutil.wait_procs([one for one in self.seen.values() if _runs(one)], timeout=10)[1]

    def _go(self) -> None:
        me = psutil.Process()
        while not self._end.wait(0.5):
            self.seen |= {one.pid: one for one in me.children(recursive=True)}
            sockets = _listening()
            for number, one in list(self.seen.items()):
                if one.is_running():
                    for inode in _sockets(number) & sockets.keys():
                        self.listened.add(sockets[inode])
        self.beyond = {place for place in self.listened if place not in LOOPBACK}


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _listening() -> dict[str, str]:
    """Inode and address of every listening socket, the address as the kernel writes it."""
    found = {}
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                found[f"socket:[{fields[9]}]"] = fields[1].rsplit(":", 1)[0]
    return found


def _sockets(number: int) -> set[str]:
    found = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{number}/fd").iterdir():
            with suppress(OSError):
                found.add(str(entry.readlink()))
    return found


def refused(address: str) -> bool:
    """Whether a running cluster sends those away that come without its token, for that reason."""
    ask = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1]).internal_kv_keys(b'', namespace=None, timeout=9)"
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    asked = subprocess.run(
        [sys.executable, "-c", ask, address],
        env=bare | {"RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.returncode != 0 and "unauthenticated" in asked.stderr.lower()


def fits_of(process: psutil.Process) -> list[psutil.Process]:
    """Its descendants that run a fit: Ray writes there what it does."""
    found = []
    for one in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess, IndexError):
            if one.cmdline()[0] == "ray::_run_job":
                found.append(one)
    return found


def study(table: Path, out: Path, options: dict[str, Any], engine: Engine) -> None:
    """One study in this process."""
    reduce_capacity(str(table), Config().with_values({"target": "y", **options}), out=out, engine=engine)


def disturbed(
    table: Path, out: Path, options: dict[str, Any], engine: Engine, strike: Callable[[], bool], delay: float
) -> bool:
    """Run a study in this process and strike once, after some seconds from its first epoch; whether something was hit."""
    hit = []

    def later() -> None:
        while not progress(out):
            time.sleep(0.02)
        time.sleep(delay)
        while not hit and not (out / "scores.json").exists():
            hit.extend([True] if strike() else [])

    thread = threading.Thread(target=later, daemon=True)
    thread.start()
    study(table, out, options, engine)
    thread.join()
    return bool(hit)


def attack_workers(
    folder: Path,
    times: int,
    expected: dict[str, Any],
    options: dict[str, Any],
    rng: np.random.Generator,
    found: Found,
) -> None:
    """Kill the process of a fit in each of some studies."""

    def strike() -> bool:
        running = fits_of(psutil.Process())
        if running:
            running[int(rng.integers(len(running)))].kill()
        return bool(running)

    with RayEngine(2).kept() as engine:
        ask_without_token(found)
        for number in range(times):
            out = folder / f"worker-{number}"
            met = disturbed(folder / "table.csv", out, options, engine, strike, rng.uniform(0, 1))
            found.add(out, expected, met=met)


def ask_without_token(found: Found) -> None:
    if not refused(sys.modules["ray"].get_runtime_context().gcs_address):
        found.problems.append("a client without the token was not refused")


@contextmanager
def cluster_of_three(folder: Path) -> Iterator[Any]:
    """A cluster on the loopback interface that asks for a token, started in a folder of its own; and its token's place."""
    token = folder / "token"
    token.write_text(os.urandom(32).hex())
    token.chmod(0o600)
    asks = {
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }  # fmt: skip
    with patch.dict(os.environ, asks):
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": FAST_CHECKS}
        head["temp_dir"] = str(folder / "ray")
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            cluster.add_node(num_cpus=1)
            cluster.add_node(num_cpus=1)
            yield cluster
        finally:
            cluster.shutdown()


def attack_nodes(
    folder: Path,
    times: int,
    expected: dict[str, Any],
    options: dict[str, Any],
    rng: np.random.Generator,
    found: Found,
) -> None:
    """Remove a node on which a fit runs in each of some studies."""
    with cluster_of_three(folder) as cluster, RayEngine(2, address=cluster.address).kept() as engine:
        ask_without_token(found)

        def strike() -> bool:
            raylets = {
                node: psutil.Process(node.all_processes["raylet"][0].process.pid)
                for node in cluster.worker_nodes
            }
            busy = [node for node, raylet in raylets.items() if fits_of(raylet)]
            if busy:
                cluster.remove_node(busy[int(rng.integers(len(busy)))], allow_graceful=False)
            return bool(busy)

        for number in range(times):
            while len(cluster.worker_nodes) < 2:
                cluster.add_node(num_cpus=1)
            out = folder / f"node-{number}"
            met = disturbed(folder / "table.csv", out, options, engine, strike, rng.uniform(0, 1))
            found.add(out, expected, met=met)


def attack_drivers(
    folder: Path,
    times: int,
    expected: dict[str, Any],
    options: dict[str, Any],
    rng: np.random.Generator,
    found: Found,
) -> None:
    """Kill the command in each of some studies, and give it again."""
    with patch.dict(os.environ, {"HELDOUT_ENGINE": "ray"}):
        for number in range(times):
            out = folder / f"driver-{number}"
            met = kill_driver(KIND, folder / "table.csv", out, options, delay=rng.uniform(0, 2))
            finish(KIND, folder / "table.csv", out, options)
            found.add(out, expected, met=met)


@contextmanager
def small_disk(folder: Path, megabytes: int = 4) -> Iterator[Path]:
    """A file system of some megabytes."""
    folder.mkdir()
    size = f"size={megabytes}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "heldout-small-disk", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all room that a disk has."""
    taken = folder / "taken"
    with taken.open("wb", buffering=0) as file:
        for size in (1 << 16, 1):
            with suppress(OSError):
                while file.write(b"0" * size):
                    pass
    return taken


def attack_disks(
    folder: Path,
    times: int,
    expected: dict[str, Any],
    options: dict[str, Any],
    rng: np.random.Generator,
    found: Found,
) -> None:
    """Fill the disk of the run directory in each of some studies."""
    with patch.dict(os.environ, {"HELDOUT_ENGINE": "ray"}):
        for number in range(times):
            with small_disk(folder / f"disk-{number}") as disk:
                out = disk / "run"
                log = Path(f"{out}.log")
                met = fill_while_it_runs(folder / "table.csv", out, options, rng.uniform(0, 1), found)
                log.unlink(missing_ok=True)
                finish(KIND, folder / "table.csv", out, options)
                found.add(out, expected, met=met)


def fill_while_it_runs(table: Path, out: Path, options: dict[str, Any], delay: float, found: Found) -> bool:
    """Run the command, fill its disk, wait until it ended, and give the room back; whether it met the full disk."""
    said = table.parent / "said"
    said.unlink(missing_ok=True)
    Path(f"{out}.log").symlink_to(said)  # what it says goes to a disk with room
    with driver(KIND, table, out, options) as process:
        if not wait_for(lambda: progress(out) > 0, process):
            return False
        time.sleep(delay)
        before, taken = n_finished(out), fill(out.parent)
        code = process.wait()
    taken.unlink()
    if code == 0:
        return False
    line = said.read_text().strip().splitlines()[-1]
    of_disk = "full" in line or "No space left" in line
    if code != 2 or not of_disk or "make room" not in line or "same command" not in line:
        found.problems.append(f"exit code {code}: {line}")
    if n_finished(out) < before:
        found.problems.append("finished fits were lost")
    return True


ATTACKS = {"worker": attack_workers, "node": attack_nodes, "driver": attack_drivers, "disk": attack_disks}


def attacked(kind: str, times: int, options: dict[str, Any], seed: int) -> tuple[Found, Watch]:
    """Let faults of a kind happen; give what came of them, and who listened."""
    found, rng = Found(), np.random.default_rng(seed)
    with tempfile.TemporaryDirectory(prefix="faults-") as name, Watch() as watch:
        folder = Path(name)
        write_table(folder / "table.csv")
        expected = serial(KIND, folder / "table.csv", folder / "undisturbed", options)
        ATTACKS[kind](folder, times, expected, options, rng, found)
    return found, watch


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=ATTACKS)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--smallest", action="store_true", help="the smallest of studies, as in the tests")
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="of the moments; by default the time"
    )
    asked = parser.parse_args()
    found, watch = attacked(asked.kind, asked.times, SMALLEST if asked.smallest else QUICK, asked.seed)
    left = watch.left()
    print(
        f"{asked.kind}, seed {asked.seed}: {found.equal}/{found.times} finished or resumed to the very table of an undisturbed run "
        f"({found.met} met the fault); {found.again} finished fits ran twice; {len(watch.beyond)} of {len(watch.listened)} addresses "
        f"listened on lie beyond loopback; {len(left)} processes left at the end"
    )
    for problem in [*dict.fromkeys(found.problems), *(f"left: {one}" for one in left)]:
        print(f"  {problem}")
    raise SystemExit(
        found.equal < found.times or found.again > 0 or bool(found.problems or watch.beyond or left)
    )


if __name__ == "__main__":
    main()
