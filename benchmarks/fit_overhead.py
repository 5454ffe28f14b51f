"""What a fit adds to a training step: gathering windows, masks, checks, clipping, against a bare loop of nn.LSTM + Adam.

    python benchmarks/fit_overhead.py

Prints the ratio of a step of `heldout.training.loop.train` over the same step (same sizes, same batches of tensors
already on hand) of ``nn.LSTM`` and ``torch.optim.Adam``; medians of alternating repeats in one process.
"""

import time
from statistics import median

import numpy as np
import torch
from torch import nn

from heldout.data.calendar import Frequency
from heldout.data.prepare import Prepare
from heldout.data.series import SeriesData
from heldout.nn.networks import Network, Shape
from heldout.recipe import Recipe
from heldout.training.loop import train

T, F, B, H, STEPS, REPEATS = 60, 8, 32, 64, 150, 7


def make_data() -> SeriesData:
    n = STEPS * B + T + 64
    values = np.random.default_rng(0).normal(size=(n, F)).cumsum(axis=0)
    names = tuple(f"c{number}" for number in range(F))
    place = np.arange(n, dtype=np.int64)
    return SeriesData(
        values=values, columns=names, targets=names[:1], past=names[1:], time=place, position=place,
        offsets=np.array([0, n]), ids=("series",), frequency=Frequency(),
    )  # fmt: skip


def bare_loop(batches: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    lstm, head = nn.LSTM(F, H, batch_first=True), nn.Linear(H, 1)
    optimizer = torch.optim.Adam([*lstm.parameters(), *head.parameters()], lr=1e-3)
    began = time.perf_counter()
    for x, y in batches:
        loss = (head(lstm(x)[0][:, -1]) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - began) / len(batches)


def our_loop(data: SeriesData, rows: torch.Tensor, recipe: Recipe) -> float:
    windows = Prepare.fit(data, rows.numpy(), T, recipe).apply(data, T)
    network = Network(Shape(lookback=T, n_inputs=F), recipe)
    seconds = {}
    for epochs in (0, 1):  # what an epoch costs beyond its steps is in both, and cancels
        began = time.perf_counter()
        train(network, windows, rows, rows[:1], Recipe.from_dict({**recipe.to_dict(), "max_epochs": epochs}))
        seconds[epochs] = time.perf_counter() - began
    return (seconds[1] - seconds[0]) / STEPS


def main() -> None:
    data = make_data()
    rows = torch.arange(T - 1, T - 1 + STEPS * B)
    recipe = Recipe(
        hidden_size=H, batch_size=B, shortcut="none", segment=1, regularization=0.0, optimizer="adam", window_norm="none",
        transform="none",
    ).resolved()  # fmt: skip
    windows = Prepare.fit(data, rows.numpy(), T, recipe).apply(data, T)
    batches = [(batch.x, batch.y[:, 0]) for batch in (windows.gather(part) for part in rows.split(B))]
    for threads in (1, 2):
        torch.set_num_threads(threads)
        bare_loop(batches), our_loop(data, rows, recipe)
        pairs = [(bare_loop(batches), our_loop(data, rows, recipe)) for _ in range(REPEATS)]
        bare, ours = (median(column) for column in zip(*pairs, strict=True))
        ratio = median(b / a for a, b in pairs)
        print(
            f"T={T} F={F} B={B} H={H}, {threads} thread{'s' if threads > 1 else ''}: bare loop {1e3 * bare:.2f} ms, "
            f"fit {1e3 * ours:.2f} ms a step, ratio {ratio:.2f} (aim <= 1.25)"
        )


if __name__ == "__main__":
    main()
