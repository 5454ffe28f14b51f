"""`train`: the training loop, for any source of batches.

Orders and masks are a function of (seed, epoch, step), no global state is read or left changed, and a run that was
killed goes on from its last epoch to the same bits.
"""

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from heldout.augment.mixup import Augmented
from heldout.augment.series import SeriesAugmentation
from heldout.base_recipe import BaseRecipe
from heldout.check import FitError, InputError, check_number
from heldout.data.runs import Runs, draw_epoch
from heldout.data.windows import Batch, Source
from heldout.nn.masks import PartGenerator
from heldout.nn.penalties import (
    activation_penalty,
    l2_penalty,
    max_norm_,
    proximal_l1_,
    temporal_penalty,
    weight_groups,
)
from heldout.nn.text import TextNetwork
from heldout.training.checkpoint import Checkpoint, dump_tensors, parse_tensors
from heldout.training.distributed import ALONE, Ranks
from heldout.training.evaluation import AnyNetwork, evaluate, scaled, spread
from heldout.training.history import History as History
from heldout.training.losses import sample_losses
from heldout.training.optimizers import (
    clip_gradients,
    make_optimizers,
    optimizer_tensors,
    restore_optimizer,
    sparse_parameters,
)
from heldout.training.settle import augmentation_of
from heldout.training.stopping import EarlyStopping

Report = Callable[[dict[str, Any]], None]
OnStep = Callable[[int, int, float], None]


class NonFiniteError(FitError):
    """A loss or a gradient was not finite; the weights are still those of the step before."""


def train(  # noqa: PLR0913 - each is a part of the fit that the caller alone knows
    network: AnyNetwork,
    source: Source,
    train_rows: Tensor | Runs,
    valid_rows: Tensor | Runs,
    recipe: BaseRecipe,
    *,
    seed: int = 0,
    until: int | None = None,
    checkpoint: Checkpoint | None = None,
    report: Report | None = None,
    on_step: OnStep | None = None,
    ranks: Ranks = ALONE,
) -> History:
    """Train a network in place, and leave it with the weights of its best epoch.

    Parameters
    ----------
    network : Network
        With its starting weights.
    source : Source
        Gives batches by row number.
    train_rows, valid_rows : Tensor of int64, or Runs
        Samples that train, and samples that decide when to stop. The training loss is evaluated on as many training
        samples, evenly spread, as validation has.
    recipe : Recipe
        How.
    seed : int, default 0
        Decides orders and masks.
    until : int, optional
        Train to this epoch at most, for now: learning rates are those of a fit of ``max_epochs``. A later call with the
        same checkpoint goes on from there, and ends with the bits of a fit that was not interrupted.
    checkpoint : Checkpoint, optional
        Written after every epoch, read at the start; one that is past ``until`` already is not used.
    report : callable, optional
        Called after every epoch with a small dict.
    on_step : callable, optional
        Called after every step with the epoch, the step, and the loss of its batch, penalties included.
    ranks : Ranks, optional
        The processes that train together, all of them in this call with the same arguments; each reads its part of every
        batch. The first writes the checkpoint and reports.

    Returns
    -------
    History

    Raises
    ------
    NonFiniteError
        If a loss or gradient is not finite, before the step that would spoil the weights.
    InputError
        If the checkpoint belongs to another recipe or seed, or ``until`` is below 0; for mixup on several ranks where it
        mixes other things than windows.
    """
    recipe = recipe.resolved()
    check_number("until", until or 0, 0, math.inf)
    run = _Run(network, recipe, seed, ranks, on_step)
    last = recipe.max_epochs if until is None else min(until, recipe.max_epochs)
    epoch = run.restore(checkpoint, last) if checkpoint else 0
    watched = (
        spread(valid_rows, recipe.valid_samples),
        spread(train_rows, min(len(valid_rows), recipe.valid_samples)),
    )
    while not run.stopping.stop and epoch <= last:
        lr = learning_rate(recipe, epoch)
        if epoch > 0:
            run.train_epoch(source, train_rows, epoch, lr)
        valid, fitted = (run.mean_loss(source, rows) for rows in watched)
        run.note(epoch, {"epoch": epoch, "train_loss": fitted, "valid_loss": valid, "lr": lr})
        if checkpoint:
            run.save(checkpoint, epoch)
        if report and ranks.first:
            report(
                {
                    **run.history.epochs[-1],
                    "best_epoch": run.history.best_epoch,
                    "max_epochs": recipe.max_epochs,
                }
            )
        epoch += 1
    run.finish()
    run.history.stopped = run.stopping.stop or epoch > recipe.max_epochs
    return run.history


class _Run:
    """All that changes while a network trains, and its checkpoint."""

    def __init__(
        self,
        network: AnyNetwork,
        recipe: BaseRecipe,
        seed: int,
        ranks: Ranks = ALONE,
        on_step: OnStep | None = None,
    ) -> None:
        self.network, self.recipe, self.seed = network, recipe, seed
        self.ranks, self.on_step = ranks, on_step
        self.identity = {"recipe": recipe.to_dict(), "seed": seed}
        self.optimizers = make_optimizers(network, recipe)
        self.average = (
            AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema)) if recipe.ema else None
        )
        # The average where there is one: the weights that are evaluated and kept.
        self.judged = cast(AnyNetwork, self.average.module) if self.average is not None else network
        self.augmentation = augmentation_of(recipe)
        self.stopping = EarlyStopping.from_recipe(recipe)
        self.history = History()
        self.best: dict[str, Tensor] = {}
        self.generator = torch.Generator() if ranks.world == 1 else PartGenerator()
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.sparse = sparse_parameters(network)
        self.dense = [p for p in self.parameters if not any(p is one for one in self.sparse)]
        self.lstm_weights = list(weight_groups(network.lstm).penalised.values())
        self.dense_weights = [layer.weight for layer in (*network.dense, network.head)]
        # What is drawn for a batch (noise, partners, padding) is drawn for the whole of it.
        self.reads_all = self.augmentation != SeriesAugmentation() or isinstance(network, TextNetwork)
        if ranks.world > 1 and self.augmentation.mixup and isinstance(network, TextNetwork):
            raise InputError("mixup of texts needs one worker: set mixup=0, or train it alone")

    def mean_loss(self, source: Source, rows: Tensor) -> float:
        """The loss in evaluation mode, each rank having looked at its part."""
        losses, own = torch.zeros(len(rows)), self.ranks.part(len(rows))
        if own.stop > own.start:
            losses[own] = evaluate(self.judged, source, rows[own], self.recipe)
        return self.ranks.total(losses).mean().item()

    def train_epoch(self, source: Source, rows: Tensor | Runs, epoch: int, lr: float) -> None:
        """Go once over the samples, or over ``epoch_samples`` of them, in an order of this epoch's own."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * group.get("lr_factor", 1.0)
        rng = np.random.default_rng([self.seed, epoch])
        order = draw_epoch(len(rows), self.recipe.epoch_samples, rng)
        self.network.train()
        source, chosen = source.epoch(rows[torch.from_numpy(order)], rng)
        for step, places in enumerate(source.batches(chosen, self.recipe.batch_size, rng)):
            self.generator.manual_seed(_mix(self.seed, epoch, step))
            loss = self.train_step(source, chosen[places], f"epoch {epoch}, step {step}")
            if self.on_step is not None:
                self.on_step(epoch, step, loss)

    def train_step(self, source: Source, rows: Tensor, where: str) -> float:
        """One step of the optimiser, and the loss before it; nothing is changed if a number is not finite."""
        recipe, loss = self.recipe, self.gradients(source, rows)
        norm = clip_gradients(self.parameters, recipe.clip_norm or math.inf)
        if not math.isfinite(loss.item()) or not math.isfinite(norm.item()):
            raise NonFiniteError(self._name_fault(loss, where))
        for optimizer in self.optimizers:
            optimizer.step()
        if recipe.l1:
            proximal_l1_(self.optimizers[0], [*self.lstm_weights, *self.dense_weights], recipe.l1)
        if recipe.max_norm:
            max_norm_([*self.lstm_weights, *self.dense_weights], recipe.max_norm)
        if self.average is not None:
            self.average.update_parameters(self.network)
        return loss.item()

    def gradients(self, source: Source, rows: Tensor) -> Tensor:
        """Set the gradients of a batch, and give its loss: with several ranks the sum of what each finds of its part."""
        for parameter in self.parameters:
            parameter.grad = None
        n, own = len(rows), self.ranks.part(len(rows))
        loss = torch.zeros(())
        if isinstance(self.generator, PartGenerator):
            self.generator.part = own.start, own.stop, n
        if own.stop > own.start:
            batch = source.gather(rows if self.reads_all else rows[own])
            loss = self.loss(batch, own if self.reads_all else slice(None))
            if self.ranks.world > 1:
                loss = loss * ((own.stop - own.start) / n)
            loss.backward()
        return self.ranks.sum_gradients(self.dense, loss, self.sparse)

    def loss(self, batch: Batch, own: slice) -> Tensor:
        """What is minimised: the mean loss of this rank's samples of a batch, and the penalties."""
        recipe = self.recipe
        batch, drawn = self.augmented(batch)
        if self.ranks.world > 1:
            batch, drawn = batch.part(own), drawn.part(own)
        mixed = {"mix": drawn.mix} if isinstance(self.network, TextNetwork) else {}
        output = self.network(
            batch.x,
            future=batch.future,
            static=batch.static,
            lengths=batch.lengths,
            generator=self.generator,
            **mixed,
        )
        said = scaled(output.forecast, batch)
        loss = drawn.losses(
            lambda y: sample_losses(said, y, recipe, smoothing=recipe.label_smoothing), batch.weight
        ).mean()
        if recipe.l2:
            loss = loss + l2_penalty(self.lstm_weights, recipe.l2)
        if recipe.dense_l2:
            loss = loss + l2_penalty(self.dense_weights, recipe.dense_l2)
        mask = (
            None if batch.lengths is None else torch.arange(output.states.shape[1]) < batch.lengths[:, None]
        )
        if recipe.activation_penalty:
            loss = loss + activation_penalty(output.states, recipe.activation_penalty, mask)
        if recipe.temporal_penalty:
            loss = loss + temporal_penalty(output.states, recipe.temporal_penalty, mask, batch_first=True)
        return loss

    def augmented(self, batch: Batch) -> tuple[Batch, Augmented]:
        """Give what the network reads instead of a batch, and how its losses are made of what it says."""
        if isinstance(self.network, TextNetwork):
            # Words are mixed once they are vectors, by the network: only who is mixed with whom is drawn here.
            nothing = torch.empty(len(batch.x), 0, 0)
            return batch, self.augmentation.apply(nothing, batch.y, generator=self.generator)
        drawn = self.augmentation.apply(
            batch.x,
            batch.y,
            generator=self.generator,
            lengths=batch.lengths,
            scale=batch.scale,
            n_targets=0 if batch.offset is None else batch.y.shape[2],
        )
        batch = batch._replace(x=drawn.x)
        if drawn.mix is not None:
            known = {"future": batch.future, "static": batch.static}
            batch = batch._replace(
                **{name: drawn.mix.blend(part) for name, part in known.items() if part is not None}
            )
        return batch, drawn

    def _name_fault(self, loss: Tensor, where: str) -> str:
        if not math.isfinite(loss.item()):
            what = f"the training loss is {loss.item()}"
        else:
            named = self.network.named_parameters()
            name = next(
                (n for n, p in named if p.grad is not None and not p.grad.isfinite().all()), "of all weights"
            )
            what = f"the gradient of {name} is not finite"
        return f"{what} in {where}: lower lr (now {self.recipe.lr:g}), set clip_norm, or look for outliers in the data"

    def note(self, epoch: int, row: dict[str, float]) -> None:
        """Add an epoch to the history and remember its weights if they are the best."""
        self.history.epochs.append(row)
        if not math.isfinite(row["valid_loss"]):
            raise NonFiniteError(
                f"the validation loss is {row['valid_loss']} in epoch {epoch}: lower lr (now {self.recipe.lr:g})"
            )
        if self.stopping.improved(epoch, row["valid_loss"]) or not self.best or not self.recipe.restore_best:
            self.best = {name: value.detach().clone() for name, value in self.judged.state_dict().items()}
            self.history.best_epoch = epoch

    def finish(self) -> None:
        """Put the kept weights into the network."""
        if self.best:
            self.network.load_state_dict(self.best)
        self.network.eval()

    def save(self, checkpoint: Checkpoint, epoch: int) -> None:
        """Write all of it."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        if self.average is not None:
            tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for place, optimizer in enumerate(self.optimizers):
            tensors |= optimizer_tensors(optimizer, f"optimizer.{place}.")
        watch = self.stopping
        metadata = {
            "fit": self.identity,
            "epoch": epoch,
            "epochs": self.history.epochs,
            "best_epoch": self.history.best_epoch,
            "stopping": [watch.best if math.isfinite(watch.best) else None, watch.best_epoch, watch.stop],
        }
        if self.ranks.first:
            checkpoint.save(tensors, metadata)

    def restore(self, checkpoint: Checkpoint, last: int) -> int:
        """Go back to the last epoch written and give the number of the next; 0 if there is none, or it is later than wanted."""
        loaded = checkpoint.load() if self.ranks.first else None
        if self.ranks.world > 1:  # the others may not see its disk
            data = self.ranks.of_first(b"" if loaded is None else dump_tensors(*loaded))
            loaded = parse_tensors(data) if data else None
        if loaded is None:
            return 0
        tensors, metadata = loaded
        if metadata["fit"] != self.identity:
            raise InputError(
                f"the checkpoint {checkpoint.path} belongs to another recipe or seed: remove it or name another file"
            )
        if metadata["epoch"] > last:
            return 0
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "best": {}, "average": {}, "optimizer": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = value
        self.network.load_state_dict(parts["network"])
        self.best = parts["best"]
        if self.average is not None:
            self.average.load_state_dict(parts["average"])
        for place, optimizer in enumerate(self.optimizers):
            restore_optimizer(optimizer, parts["optimizer"], f"{place}.")
        self.history = History(metadata["epochs"], metadata["best_epoch"])
        best, self.stopping.best_epoch, self.stopping.stop = metadata["stopping"]
        self.stopping.best = math.inf if best is None else best
        return int(metadata["epoch"]) + 1


def learning_rate(recipe: BaseRecipe, epoch: int) -> float:
    """Learning rate of an epoch (1 is the first that trains).

    Parameters
    ----------
    recipe : Recipe
        ``lr``, ``schedule``, ``lr_decay``, ``max_epochs``.
    epoch : int
        Its number.

    Examples
    --------
    >>> [learning_rate(BaseRecipe(lr=1.0, schedule="exponential", lr_decay=0.5), epoch) for epoch in (1, 2, 3)]
    [1.0, 0.5, 0.25]
    """
    done = max(epoch - 1, 0)
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * done / max(recipe.max_epochs, 1)))
    if recipe.schedule == "exponential":
        return recipe.lr * recipe.lr_decay**done
    return recipe.lr


def _mix(*numbers: int) -> int:
    """One 63-bit seed from several numbers, so that neighbours get unlike streams."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
