"""Many small LSTMs at once: one batched computation against one fit after the other, and against one process each.

    python benchmarks/many_models.py [--steps 60] [--repeats 7]

M = 8 candidates of one fold that differ in seed and learning rate: one layer of 8, 16 or 32 units, 60 time steps, 1, 4 or
12 inputs, batches of 64, Adam, gradients clipped to norm 1 model by model. A step is forward, backward and update of all 8.

- batched: weights are (M, ...); one batched product per time step (`torch.baddbmm`, laid out as KERNELS would have it:
  models, then batch, then units), the backward pass written by hand, Adam with a vector of learning rates.
- one by one: `heldout.LSTM`, its native kernel, and torch's fused Adam, one thread.
- two processes: either of them on two workers of one thread, four models each.

The batched side is spared what a fit would need besides: masks, a stop of its own for each model, batches that are
gathered. First both sides take 20 steps, each from the same weights, and must agree within 1e-5 after every one.
"""

import argparse
import os
import time
from collections.abc import Callable
from itertools import product
from statistics import median

import torch
from joblib import Parallel, delayed
from torch import Tensor, nn

from heldout import LSTM

M, T, B = 8, 60, 64
LR = torch.logspace(-3.5, -2, M)
BETAS, EPS, MOST = (0.9, 0.999), 1e-8, 1.0


class ManyLSTM(torch.autograd.Function):
    """Last states of M LSTMs: inputs (M, T, B, F), weights (M, 4H, F) and (M, 4H, H), biases (M, 4H)."""

    @staticmethod
    def forward(ctx, x: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor) -> Tensor:
        units = w_hh.shape[2]
        read = torch.baddbmm(bias[:, None], x.flatten(1, 2), w_ih.mT).unflatten(1, (T, B))  # (M, T, B, 4H)
        h = c = x.new_zeros(len(x), B, units)
        turned, kept = w_hh.mT.contiguous(), []
        for t in range(T):
            gates = torch.baddbmm(read[:, t], h, turned)
            gates[..., : 2 * units].sigmoid_()
            gates[..., 2 * units : 3 * units].tanh_()
            gates[..., 3 * units :].sigmoid_()
            i, f, g, o = gates.split(units, dim=2)
            before, c = (h, c), torch.addcmul(f * c, i, g)
            squashed = c.tanh()
            h = o * squashed
            kept.append((gates, *before, squashed))
        ctx.kept = kept
        ctx.save_for_backward(x, w_hh)
        return h

    @staticmethod
    def backward(ctx, dh: Tensor) -> tuple[None, Tensor, Tensor, Tensor]:
        x, w_hh = ctx.saved_tensors
        units, dc = w_hh.shape[2], torch.zeros_like(dh)
        steps = torch.empty(len(x), T, B, 4 * units)
        for t in reversed(range(T)):
            gates, _, c, squashed = ctx.kept[t]
            i, f, g, o = gates.split(units, dim=2)
            dc = torch.addcmul(dc, dh * o, 1 - squashed * squashed)
            slopes = torch.cat([dc * g, dc * c, dc * i, dh * squashed], dim=2)
            slopes[..., : 2 * units] *= gates[..., : 2 * units] * (1 - gates[..., : 2 * units])
            slopes[..., 2 * units : 3 * units] *= 1 - g * g
            slopes[..., 3 * units :] *= o * (1 - o)
            steps[:, t] = slopes
            dh, dc = slopes @ w_hh, dc * f
        flat = steps.flatten(1, 2)
        states = torch.stack([h for _, h, _, _ in ctx.kept], dim=1).flatten(1, 2)
        return None, flat.mT @ x.flatten(1, 2), flat.mT @ states, flat.sum(1)


class Batched:
    """All models in one array of weights (M, P)."""

    def __init__(self, models: list[nn.ModuleList], lr: Tensor = LR) -> None:
        self.lr = lr[:, None]
        self.shapes = [p.shape for p in parameters(models[0])]
        self.weights = torch.stack([flatten(model) for model in models])
        self.mean, self.square, self.count = (
            torch.zeros_like(self.weights),
            torch.zeros_like(self.weights),
            0,
        )

    def step(self, x: Tensor, y: Tensor) -> None:
        weights = self.weights.requires_grad_()
        parts = weights.split([shape.numel() for shape in self.shapes], dim=1)
        w_ih, w_hh, b_ih, b_hh, head, bias = (
            part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True)
        )
        said = ManyLSTM.apply(x, w_ih, w_hh, b_ih + b_hh) @ head.mT + bias[:, None]
        loss = (said[..., 0] - y).square().mean(1).sum()  # a sum over models, so that none feels the others
        (slope,) = torch.autograd.grad(loss, weights)
        slope *= (MOST / (slope.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1)
        self.count += 1
        self.mean.lerp_(slope, 1 - BETAS[0])
        self.square.mul_(BETAS[1]).addcmul_(slope, slope, value=1 - BETAS[1])
        root = (self.square / (1 - BETAS[1] ** self.count)).sqrt_().add_(EPS)
        self.weights = weights.detach() - self.lr / (1 - BETAS[0] ** self.count) * self.mean / root


class One:
    """One model, as a fit has it."""

    def __init__(self, model: nn.ModuleList, lr: float) -> None:
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr, betas=BETAS, eps=EPS, fused=True)

    def step(self, x: Tensor, y: Tensor) -> None:
        lstm, head = self.model
        self.optimizer.zero_grad()
        (head(lstm(x)[1][0][0])[:, 0] - y).square().mean().backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), MOST)
        self.optimizer.step()


def make(units: int, n_inputs: int) -> list[nn.ModuleList]:
    torch.manual_seed(0)
    return [nn.ModuleList([LSTM(n_inputs, units), nn.Linear(units, 1)]) for _ in range(M)]


def draw(n_inputs: int) -> tuple[Tensor, Tensor]:
    """A batch for each model: inputs (M, T, B, F) and targets (M, B)."""
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(M, T, B, n_inputs, generator=generator),
        torch.randn(M, B, generator=generator),
    )


def parameters(model: nn.ModuleList) -> list[Tensor]:
    return list(model.parameters())


def flatten(model: nn.ModuleList) -> Tensor:
    return torch.cat([p.detach().flatten() for p in parameters(model)])


def largest_difference(units: int, n_inputs: int) -> float:
    """Largest difference of a weight after a step of both from the same weights and moments, over 20 steps."""
    models = make(units, n_inputs)
    batched, ones = Batched(models), [One(m, lr) for m, lr in zip(models, LR.tolist(), strict=True)]
    x, y = draw(n_inputs)
    worst = 0.0
    for _ in range(20):
        batched.step(x, y)
        for place, one in enumerate(ones):
            one.step(x[place], y[place])
            worst = max(worst, float((batched.weights[place] - flatten(one.model)).abs().max()))
        with torch.no_grad():
            batched.weights = torch.stack([flatten(one.model) for one in ones])
    return worst


def train_one_by_one(units: int, n_inputs: int, places: range, steps: int) -> None:
    torch.set_num_threads(1)
    models, (x, y) = make(units, n_inputs), draw(n_inputs)
    for place in places:
        one = One(models[place], float(LR[place]))
        for _ in range(steps):
            one.step(x[place], y[place])


def train_batched(units: int, n_inputs: int, places: range, steps: int) -> None:
    torch.set_num_threads(1)
    here = slice(places.start, places.stop)
    batched, (x, y) = Batched(make(units, n_inputs)[here], LR[here]), draw(n_inputs)
    for _ in range(steps):
        batched.step(x[here], y[here])


def seconds(run: Callable[..., None], *arguments: object) -> float:
    began = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    print(f"ms for a step of all {M} models, batches of {B}, {T} time steps; medians of {asked.repeats}")
    print("             |         one thread         |       two processes")
    print("units inputs | batched  one by one  ratio | batched  one by one  ratio | difference")
    with Parallel(n_jobs=2) as two:

        def alone(train: Callable[..., None], units: int, n_inputs: int) -> None:
            train(units, n_inputs, range(M), asked.steps)

        def shared(train: Callable[..., None], units: int, n_inputs: int) -> None:
            halves = range(M // 2), range(M // 2, M)
            two(delayed(train)(units, n_inputs, half, asked.steps) for half in halves)

        sides = [(run, train) for run in (alone, shared) for train in (train_batched, train_one_by_one)]
        for units, n_inputs in product((8, 16, 32), (1, 4, 12)):
            found = [
                [1e3 / asked.steps * seconds(run, train, units, n_inputs) for run, train in sides]
                for _ in range(asked.repeats + 1)
            ]
            a, b, c, d = (median(column) for column in zip(*found[1:], strict=True))  # the first warms up
            worst = largest_difference(units, n_inputs)
            line = f"{units:5} {n_inputs:6} | {a:7.2f} {b:11.2f} {a / b:6.2f} | {c:7.2f} {d:11.2f} {c / d:6.2f} | {worst:.0e}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
