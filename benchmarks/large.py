"""Data larger than memory: `heldout fit --together` on Parquet of a given size, its memory watched, a worker killed.

    python benchmarks/large.py [texts] --gigabytes 0.6 6 --out runs/large

Makes each panel, or table of texts, once, in files of its own; prints the peak resident memory of the workers and of the command, what listens
beyond the loopback interface meanwhile, and whether the run finished although one worker was killed. The last line is the ratio
of the workers' peaks.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from pyarrow.parquet import ParquetWriter

_ROWS, _INPUTS = 20_000, 16
_BYTES = 4 * (_INPUTS + 1) + 8  # of a row, in the file
_TEXTS, _TEXT_BYTES, _LEXICON = 10_000, 700, 200_000
_COLUMNS = {
    "panel": "--target y --id series --time time --horizon 4",
    "texts": "--text review --target stars",
}


def make(path: Path, gigabytes: float) -> int:
    """Write series of an hour's step: each follows its own past and that of one covariate."""
    n_series = round(gigabytes * 1e9 / (_ROWS * _BYTES))
    if path.exists():
        return n_series
    rng = np.random.default_rng(0)
    times = pa.array(np.arange(_ROWS) * 3_600_000_000, pa.timestamp("us"))
    names = [f"input_{number}" for number in range(_INPUTS)]
    fields = [("series", pa.string()), ("time", pa.timestamp("us")), ("y", pa.float32())]
    schema = pa.schema([*fields, *((name, pa.float32()) for name in names)])
    part = path.with_suffix(".part")
    with ParquetWriter(part, schema, compression="snappy", use_dictionary=["series"]) as writer:
        for number in range(n_series):
            inputs = rng.standard_normal((_INPUTS, _ROWS), dtype=np.float32)
            noise = rng.standard_normal(_ROWS, dtype=np.float32)
            y = np.convolve(noise + 0.5 * np.roll(inputs[0], 1), 0.8 ** np.arange(30), "same")
            columns = [pa.array([f"s{number:07d}"] * _ROWS), times, pa.array(y.astype(np.float32))]
            writer.write_table(pa.table([*columns, *map(pa.array, inputs)], schema=schema))
    part.replace(path)
    return n_series


def make_texts(path: Path, gigabytes: float) -> int:
    """Write texts of about 100 words, of which a few tell the class; the words are as uneven as those of a language (Zipf)."""
    n_blocks = round(gigabytes * 1e9 / (_TEXTS * _TEXT_BYTES))
    if path.exists():
        return n_blocks * _TEXTS
    rng = np.random.default_rng(0)
    letters = rng.integers(97, 123, (_LEXICON, 9)).astype(np.uint8)
    words = np.array([bytes(row[: 3 + n % 7]).decode() for n, row in enumerate(letters)], dtype=object)
    chances = 1 / np.arange(10, _LEXICON + 10)
    schema = pa.schema([("review", pa.string()), ("stars", pa.int8())])
    part = path.with_suffix(".part")
    with ParquetWriter(part, schema, compression="none", use_dictionary=["stars"]) as writer:
        for _ in range(n_blocks):
            lengths = rng.integers(50, 151, _TEXTS)
            drawn = rng.choice(_LEXICON, lengths.sum(), p=chances / chances.sum())
            told = np.add.reduceat(np.isin(drawn, np.arange(200, 300)), np.cumsum(lengths) - lengths)
            labels = (told + rng.normal(size=_TEXTS) > np.median(told)).astype(np.int8)
            cuts = np.split(words[drawn], np.cumsum(lengths)[:-1])
            writer.write_table(pa.table([[" ".join(cut) for cut in cuts], labels], schema=schema))
    part.replace(path)
    return n_blocks * _TEXTS


def watch(command: list[str], where: Path, out: Path, *, kill: bool) -> dict[str, float]:
    """Run a command and look at it and its workers ten times a second."""
    found = {"worker": 0.0, "worker anonymous": 0.0, "command": 0.0, "outside": 0.0, "killed": 0.0}
    began = time.perf_counter()
    with out.open("w") as log:
        run = psutil.Popen(command, stderr=log, stdout=log)
        while run.poll() is None:
            for process in _processes(run):
                name = "command" if process.pid == run.pid else "worker"
                anonymous, resident = _resident(process)
                found[name] = max(found[name], resident)
                if name == "worker":
                    found["worker anonymous"] = max(found["worker anonymous"], anonymous)
                found["outside"] = max(found["outside"], _listens_outside(process))
            if kill and not found["killed"] and list(where.glob("checkpoints/*.safetensors.previous")):
                busy = max(_processes(run)[1:], key=lambda process: sum(process.cpu_times()[:2]))
                os.kill(busy.pid, signal.SIGKILL)
                found["killed"] = 1
            time.sleep(0.1)
    return found | {"exit": float(run.returncode), "seconds": time.perf_counter() - began}


def _processes(run: psutil.Process) -> list[psutil.Process]:
    try:
        return [run, *run.children(recursive=True)]
    except psutil.Error:
        return [run]


def _resident(process: psutil.Process) -> tuple[float, float]:
    """Anonymous and whole resident memory, in bytes."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    sizes = {line.split(":")[0]: line.split() for line in lines if line.startswith(("RssAnon", "VmRSS"))}
    return tuple(float(sizes[name][1]) * 1024 if name in sizes else 0.0 for name in ("RssAnon", "VmRSS"))  # type: ignore[return-value] # two names


def _listens_outside(process: psutil.Process) -> int:
    try:
        sockets = process.net_connections(kind="inet")
    except psutil.Error:
        return 0
    return sum(s.status == psutil.CONN_LISTEN and s.laddr.ip not in ("127.0.0.1", "::1") for s in sockets)


def tables(kind: str, sizes: list[float], folder: Path) -> Iterator[tuple[float, Path]]:
    """The tables, made where they are missing."""
    for size in sizes:
        path = folder / f"{kind}-{size:g}.parquet"
        if kind == "texts":
            holds = f"{make_texts(path, size):,} texts"
        else:
            n_series = make(path, size)
            holds = f"{n_series * _ROWS:,} rows of {n_series:,} series"
        print(f"{path.name}: {path.stat().st_size / 1e9:.2f} GB, {holds}")
        yield size, path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", nargs="?", choices=_COLUMNS, default="panel")
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[0.6, 6])
    parser.add_argument("--out", type=Path, default=Path("runs/large"))
    parser.add_argument("--epochs", type=int, default=12)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    peaks = []
    for size, path in tables(given.kind, given.gigabytes, given.out):
        command = [sys.executable, "-m", "heldout", "fit", str(path), *_COLUMNS[given.kind].split()]
        command += ["--together", "--workers", "2"]
        command += ["--set", "n_seeds=1", "--set", f"max_epochs={given.epochs}", "--set", "patience=none"]
        run = given.out / f"run-{given.kind}-{size:g}"
        found = watch(
            [*command, "--out", str(run)], run, given.out / f"log-{given.kind}-{size:g}.txt", kill=True
        )
        peaks.append(found["worker"])
        print(
            f"{size:g} GB: exit {found['exit']:.0f} after {found['seconds']:.0f} s, a worker killed {found['killed']:.0f} time, "
            f"peak of a worker {found['worker'] / 1e9:.2f} GB ({found['worker anonymous'] / 1e9:.2f} GB of it its own), of the command "
            f"{found['command'] / 1e9:.2f} GB; {found['outside']:.0f} sockets listen beyond loopback"
        )
        print(
            subprocess.run(
                ["tail", "-3", str(given.out / f"log-{given.kind}-{size:g}.txt")],
                capture_output=True,
                text=True,
                check=False,
            ).stdout
        )
    if len(peaks) > 1:
        print(f"workers' peak, the largest panel against the smallest: {peaks[-1] / peaks[0]:.2f} x")


if __name__ == "__main__":
    main()
