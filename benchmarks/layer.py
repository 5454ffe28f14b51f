"""Speed and memory of `heldout.LSTM` with recurrent dropout against `torch.nn.LSTM` without any, and against Keras.

    python benchmarks/layer.py [--quick] [--hidden 64 128] [--batch 32] [--steps 60] [--threads 1] [--json FILE]
    python benchmarks/layer.py --parts --peers PYTHON  # of an environment made from requirements-peers.txt

What is measured is a training step: forward, backward from a fixed gradient of the outputs, gradients set to None; no
optimizer. 8 input features, one layer, float32, recurrent_dropout=0.3, a new mask every step. Both sides have the same
weights and are warmed up; blocks of steps alternate between them, each after some that are not timed, and the times and
the ratio are medians over blocks, the ratio with its middle half.

- full: all sequences have T steps; the input is data and needs no gradient. The share of the peak is the 2 x T x B x 4H x
  (3H + 16) operations that this takes in our time, over the fastest large float32 product that torch can do here.
- ragged: lengths uniform in 1 to T, in any order; nn.LSTM reads a PackedSequence. Packing is counted,
  unpacking is not: the gradient starts at the packed outputs.
- memory: by how much the peak of resident memory exceeds what a fresh process held before, over 3 steps, one thread,
  after a step of tiny size (code is loaded, not counted); medians over processes, with their range. B=128, T=200. Linux
  only.
- peers: Keras 3 on JAX and on TensorFlow with recurrent_dropout=0.3 in another interpreter, H=64, B=32, T=60, in the form
  that is kindest to them (`layer_peers.py` says which); on TensorFlow also with XLA, which Keras leaves off on a CPU and
  for which no aim was set.
"""

import argparse
import ctypes
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear
from torch.nn.utils.rnn import pack_padded_sequence

import heldout
from heldout.nn.kernels import describe

FEATURES, BLOCK_S, SETTLE_S, MIN_BLOCKS, MEMORY_STEPS = 8, 0.02, 0.01, 5, 3
HIDDEN, BATCH, STEPS = (16, 32, 50, 64, 128, 256), (32, 128), (30, 60, 200)
RAGGED_HIDDEN, RAGGED_STEPS = (32, 64, 128, 256), (60, 200)
MEMORY_HIDDEN, MEMORY_BATCH, MEMORY_T = (50, 64, 256), 128, 200
PEERS = (  # backend, form, aim
    ("jax", "default", 0.5),
    ("tensorflow", "default", 0.2),
    ("tensorflow", "xla", None),
)
PARTS = ("full", "ragged", "memory")

Step = Callable[[], None]
Block = Callable[[int], float]  # runs so many steps, gives the seconds


class Row(NamedTuple):
    """One comparison: ms of a step, or MB; the ratio is ours / theirs."""

    part: str
    rival: str
    threads: int
    hidden: int
    batch: int
    steps: int
    ours: float
    theirs: float
    ratio: float
    quartiles: tuple[float, float]
    aim: float | None
    share: float | None = None
    share_aim: float | None = None


def pair(hidden: int) -> tuple[heldout.LSTM, nn.LSTM]:
    ours = heldout.LSTM(FEATURES, hidden, recurrent_dropout=0.3)
    theirs = nn.LSTM(FEATURES, hidden)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def training_step(layer: nn.LSTM, x: Tensor, read: Callable[[], Tensor]) -> Step:
    upstream = torch.randn_like(read())

    def step() -> None:
        layer.zero_grad()
        x.grad = None
        read().backward(upstream)

    return step


def full_step(layer: nn.LSTM, x: Tensor) -> Step:
    return training_step(layer, x, lambda: layer(x)[0])


def blocks(step: Step) -> Block:
    def block(n: int) -> float:
        # OpenMP's threads, which the other side may have used, wait in a busy loop for some milliseconds after their work
        settled = time.perf_counter() + SETTLE_S
        while time.perf_counter() < settled:
            step()
        began = time.perf_counter()
        for _ in range(n):
            step()
        return time.perf_counter() - began

    return block


def race(ours: Block, theirs: Block, seconds: float) -> dict[str, Any]:
    """Alternate blocks of both for so many seconds: ms of a step of each, and the ratio."""
    sides = []
    for block in (ours, theirs):
        if block(1) < BLOCK_S:  # a short step is warmed up some more
            block(5)
        sides.append((block, max(1, round(BLOCK_S / block(1)))))
    times: list[list[float]] = []
    began = time.perf_counter()
    while len(times) < MIN_BLOCKS or time.perf_counter() < began + seconds:
        times.append([1e3 * block(n) / n for block, n in sides])
        if len(times) > 1 and time.perf_counter() > began + 4 * seconds:
            break
    ratios = [our / their for our, their in times]
    low, _, high = quantiles(ratios, n=4, method="inclusive")
    our, their = map(median, zip(*times, strict=True))
    return {"ours": our, "theirs": their, "ratio": median(ratios), "quartiles": (low, high)}


def peak() -> float:
    """Operations a second of the fastest large product, over the ways that torch offers and two sizes."""
    best = 0.0
    for n in (1024, 2048):
        a, b = torch.randn(n, n), torch.randn(n, n)
        image, kernel = b.view(1, n, n // 32, 32), a.view(n, n, 1, 1)
        ways = (
            partial(torch.mm, a, b),
            partial(linear, a.to_mkldnn(), b.to_mkldnn()),
            partial(conv2d, image, kernel),
        )
        for way in ways:
            seconds = []
            for _ in range(4):
                began = time.perf_counter()
                way()
                seconds.append(time.perf_counter() - began)
            best = max(best, 2 * n**3 / min(seconds))
    return best


def full_rows(grid: Iterable[tuple[int, int, int, int]], seconds: float) -> list[Row]:
    rows, peaks = [], {}
    for threads, hidden, batch, steps in grid:
        torch.set_num_threads(threads)
        if not rows or (threads, hidden) != (rows[-1].threads, rows[-1].hidden):
            peaks[threads] = max(peaks.get(threads, 0.0), peak())  # anew with each H: other work disturbs it
        x = torch.randn(steps, batch, FEATURES)
        timing = race(*(blocks(full_step(layer, x)) for layer in pair(hidden)), seconds)
        aim = 0.75 if threads == 1 and hidden <= 64 else 1.0
        rows.append(Row("full", "nn.LSTM", threads, hidden, batch, steps, **timing, aim=aim))
    for threads, most in peaks.items():
        print(f"peak with {threads} thread{'s' if threads > 1 else ''}: {most / 1e9:.0f} GFLOP/s")
    return [with_share(row, peaks[row.threads]) for row in rows]


def with_share(row: Row, most: float) -> Row:
    operations = 2 * row.steps * row.batch * 4 * row.hidden * (3 * row.hidden + 2 * FEATURES)
    share_aim = 0.55 if row.hidden >= 128 else None
    return row._replace(share=1e3 * operations / row.ours / most, share_aim=share_aim)


def ragged_rows(grid: Iterable[tuple[int, int, int, int]], seconds: float) -> Iterator[Row]:
    for threads, hidden, batch, steps in grid:
        torch.set_num_threads(threads)
        x, lengths = torch.randn(steps, batch, FEATURES), torch.randint(1, steps + 1, (batch,))
        ours, theirs = pair(hidden)

        def read_ours(layer=ours, x=x, lengths=lengths) -> Tensor:
            return layer(x, lengths=lengths)[0]

        def read_theirs(layer=theirs, x=x, lengths=lengths) -> Tensor:
            return layer(pack_padded_sequence(x, lengths, enforce_sorted=False))[0].data

        steps_of_both = training_step(ours, x, read_ours), training_step(theirs, x, read_theirs)
        timing = race(*map(blocks, steps_of_both), seconds)
        yield Row("ragged", "packed nn.LSTM", threads, hidden, batch, steps, **timing, aim=0.25)


def memory_rows(hidden_sizes: Iterable[int], repeats: int) -> Iterator[Row]:
    context = get_context("spawn")
    for hidden in hidden_sizes:
        both = []
        for _ in range(repeats):
            for which in (0, 1):
                with context.Pool(1) as fresh:
                    both.append(fresh.apply(memory_rise, (which, hidden)))
        pairs = list(zip(both[::2], both[1::2], strict=True))
        ratios = sorted(our / their for our, their in pairs)
        our, their = map(median, zip(*pairs, strict=True))
        yield Row(
            "memory", "nn.LSTM", 1, hidden, MEMORY_BATCH, MEMORY_T,
            our, their, median(ratios), (ratios[0], ratios[-1]), aim=1.1,
        )  # fmt: skip


def memory_rise(which: int, hidden: int) -> float:
    """MB of resident memory that training steps of one side need beyond the layer and its batch."""
    torch.set_num_threads(1)
    layer = pair(hidden)[which]
    full_step(layer, torch.randn(2, 2, FEATURES))()
    x = torch.randn(MEMORY_T, MEMORY_BATCH, FEATURES)
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = status_mb("VmRSS")
    step = full_step(layer, x)  # runs the layer once: what it keeps for later calls counts too
    for _ in range(MEMORY_STEPS):
        step()
    return status_mb("VmHWM") - before


def status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name)) / 1e3


def peer_rows(python: str, threads_wanted: Iterable[int], seconds: float) -> Iterator[Row]:
    hidden, batch, steps = 64, 32, 60
    for threads, (backend, form, aim) in product(threads_wanted, PEERS):
        torch.set_num_threads(threads)
        ours = blocks(full_step(pair(hidden)[0], torch.randn(steps, batch, FEATURES)))
        arguments = [form, *map(str, (threads, hidden, batch, steps, FEATURES))]
        with peer(python, backend, threads, arguments) as theirs:
            timing = race(ours, theirs, seconds)
        rival = f"Keras on {backend}" + (" with XLA" if form == "xla" else "")
        yield Row("peers", rival, threads, hidden, batch, steps, **timing, aim=aim)


@contextmanager
def peer(python: str, backend: str, threads: int, arguments: list[str]) -> Iterator[Block]:
    environment = os.environ | {
        "KERAS_BACKEND": backend, "NPROC": str(threads),  # XLA's threads
        "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3",
    }  # fmt: skip
    command = [python, str(Path(__file__).with_name("layer_peers.py")), *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        if not process.stdout.readline().startswith("ready"):
            raise SystemExit(f"{python} could not run Keras on {backend}; see requirements-peers.txt")

        def block(n: int) -> float:
            print(n, file=process.stdin, flush=True)
            return float(process.stdout.readline())

        yield block


def verdict(value: float | None, sign: str, aim: float | None) -> str:
    if value is None or aim is None:
        return ""
    holds = value <= aim if sign == "<=" else value >= aim
    return f"{sign} {aim:g}: {'met' if holds else 'missed'}"


def show(title: str, unit: str, rows: Iterable[Row]) -> list[Row]:
    rows = list(rows)
    print(f"\n{title}\n")
    print(f"| threads | H | B | T | ours, {unit} | against | theirs, {unit} | ratio | aim | of peak | aim |")
    print("|--:|--:|--:|--:|--:|---|--:|---|---|--:|---|")
    for row in rows:
        low, high = row.quartiles
        share = "" if row.share is None else f"{row.share:.0%}"
        print(
            f"| {row.threads} | {row.hidden} | {row.batch} | {row.steps} | {row.ours:.2f} | {row.rival} | {row.theirs:.2f} "
            f"| {row.ratio:.2f} ({low:.2f}-{high:.2f}) | {verdict(row.ratio, '<=', row.aim)} "
            f"| {share} | {verdict(row.share, '>=', row.share_aim)} |",
            flush=True,
        )
    return rows


def count(rows: list[Row]) -> str:
    """How many aims hold, by part."""
    judged = [(row.part, verdict(row.ratio, "<=", row.aim)) for row in rows]
    judged += [("share of peak", verdict(row.share, ">=", row.share_aim)) for row in rows]
    of = Counter(part for part, text in judged if text)
    held = Counter(part for part, text in judged if text.endswith("met"))
    return "Aims that hold: " + ", ".join(f"{part} {held[part]} of {n}" for part, n in of.items())


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden", nargs="+", type=int, help="H, only these")
    parser.add_argument("--batch", nargs="+", type=int, help="B, only these")
    parser.add_argument("--steps", nargs="+", type=int, help="T, only these")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has Keras, JAX and TensorFlow")
    parser.add_argument("--seconds", type=float, default=1.2, help="for a row, where steps are short")
    parser.add_argument("--quick", action="store_true", help="a few rows, briefly")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    return parser.parse_args()


def main() -> None:
    asked = parse()
    few = asked.quick
    if few:
        asked.seconds = min(asked.seconds, 0.4)
    batch = asked.batch or (BATCH[:1] if few else BATCH)

    def grid(hidden: tuple[int, ...], steps: tuple[int, ...]) -> Iterable[tuple[int, int, int, int]]:
        few_or_all = ((32, 128), (60,)) if few else (hidden, steps)
        return product(asked.threads, asked.hidden or few_or_all[0], batch, asked.steps or few_or_all[1])

    torch.manual_seed(0)
    began = time.perf_counter()
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} CPUs")
    print(describe())
    rows: list[Row] = []
    if "full" in asked.parts:
        rows += show("Full length: a training step", "ms", full_rows(grid(HIDDEN, STEPS), asked.seconds))
    if "ragged" in asked.parts:
        title = "Lengths uniform in 1 to T: a training step"
        rows += show(title, "ms", ragged_rows(grid(RAGGED_HIDDEN, RAGGED_STEPS), asked.seconds))
    if "memory" in asked.parts:
        sizes = asked.hidden or (MEMORY_HIDDEN[1:2] if few else MEMORY_HIDDEN)
        rows += show("Memory of training steps", "MB", memory_rows(sizes, 1 if few else 3))
    if asked.peers:
        title = "Recurrent dropout in both: a training step"
        rows += show(title, "ms", peer_rows(asked.peers, asked.threads, 2 * asked.seconds))
    if asked.json:
        asked.json.write_text(json.dumps([row._asdict() for row in rows], indent=1), encoding="utf-8")
    print(f"\n{time.perf_counter() - began:.0f} s\n{count(rows)}")


if __name__ == "__main__":
    main()
