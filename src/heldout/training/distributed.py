"""`Ranks`: the processes that train one model together, each on its part of every batch.

Every rank draws the same batches and masks, reads its own samples of them, and adds its gradients to those of the others: so
the steps are those of one process, but for the order in which numbers are added up.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self

import torch
import torch.distributed as dist
from torch import Tensor, nn

from heldout.check import InputError

_WAIT = timedelta(minutes=30)
_LONG = timedelta(
    days=7
)  # the others wait while the first reads the data; that one of them is gone is noticed at once


@dataclass(frozen=True)
class Ranks:
    """One of the processes that train a model; alone by default.

    Parameters
    ----------
    rank : int, default 0
        Which one this is.
    world : int, default 1
        How many there are. From 2 on the default group of ``torch.distributed`` connects them (`joined`, or what
        ``torchrun`` has started).

    Examples
    --------
    >>> [Ranks(rank, 3).part(8) for rank in range(3)]
    [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
    """

    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise InputError(f"rank must be from 0 to world - 1, got rank {self.rank} and world {self.world}")

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def part(self, n: int) -> slice:
        """Give which of n samples are this rank's: all parts are as long, to within one."""
        return slice(self.rank * n // self.world, (self.rank + 1) * n // self.world)

    def total(self, values: Tensor) -> Tensor:
        """Give the sum over the ranks, the same bits on all."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def of_first(self, data: bytes) -> bytes:
        """Give what the first rank gave."""
        if self.world == 1:
            return data
        size = self.total(torch.tensor([len(data) if self.first else 0]))
        found = torch.zeros(int(size), dtype=torch.uint8)
        if self.first and data:
            found.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        dist.broadcast(found, 0)
        return found.numpy().tobytes()

    def sum_gradients(
        self, dense: Sequence[nn.Parameter], loss: Tensor, sparse: Sequence[nn.Parameter] = ()
    ) -> Tensor:
        """Add up the gradients of the ranks in place, and give the sum of their losses.

        Parameters
        ----------
        dense : sequence of nn.Parameter
            The same on all ranks. One that has no gradient on any rank is left without.
        loss : Tensor of shape ()
            This rank's part of the loss.
        sparse : sequence of nn.Parameter
            Those whose gradients hold some rows each.
        """
        if self.world == 1:
            return loss
        flat = [p.new_zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in dense]
        has = loss.new_tensor([float(p.grad is not None) for p in dense])
        bucket = self.total(torch.cat([loss.detach().reshape(1), has, *flat]))
        values = bucket[1 + len(dense) :].split([p.numel() for p in dense])
        given = bucket[1 : 1 + len(dense)].tolist()
        for parameter, ranks, value in zip(dense, given, values, strict=True):
            parameter.grad = value.view_as(parameter).clone() if ranks else None
        for parameter in sparse:
            parameter.grad = self._sum_rows(parameter)
        return bucket[0]

    def _sum_rows(self, parameter: nn.Parameter) -> Tensor:
        """The sum of gradients that hold some rows each: of the rows that any rank has; one without samples has none."""
        own = parameter.new_zeros(parameter.shape).to_sparse(1) if parameter.grad is None else parameter.grad
        own = own.coalesce()
        seen = torch.zeros(len(parameter))
        seen[own.indices()[0]] = 1
        rows = self.total(seen).nonzero()[:, 0]
        values = parameter.new_zeros(len(rows), *parameter.shape[1:])
        values[torch.searchsorted(rows, own.indices()[0])] = own.values()
        return torch.sparse_coo_tensor(
            rows[None], self.total(values), parameter.shape, is_coalesced=True, check_invariants=False
        )

    @classmethod
    @contextmanager
    def joined(cls, rank: int, world: int, meeting: Path) -> Iterator[Self]:
        """Connect to the others through a file, until the block ends.

        Nothing listens but the connections of gloo themselves: on the loopback interface where ``GLOO_SOCKET_IFNAME`` names it
        (`only_here`).

        Parameters
        ----------
        rank, world : int
            Which of how many.
        meeting : Path
            A file that is not there yet, on a disk that all ranks share.

        Yields
        ------
        Ranks
        """
        dist.init_process_group(
            _backend(),
            init_method=f"file://{meeting.absolute()}",
            rank=rank,
            world_size=world,
            timeout=_WAIT,
        )
        try:
            yield cls(rank, world)
        finally:
            dist.destroy_process_group()

    @classmethod
    @contextmanager
    def of_torchrun(cls) -> Iterator[Self]:
        """Connect to the others that ``torchrun`` has started, until the block ends.

        Yields
        ------
        Ranks
        """
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        if os.environ["LOCAL_WORLD_SIZE"] == os.environ["WORLD_SIZE"]:
            os.environ.update(only_here())
        where = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        # The store outlives the workers: those that are started again must not find the addresses of the ones before.
        own = f"heldout/{os.environ['TORCHELASTIC_RESTART_COUNT']}"
        store = dist.PrefixStore(own, dist.TCPStore(*where, is_master=False))  # type: ignore[attr-defined] # public, but not exported to mypy
        dist.init_process_group(_backend(), store=store, rank=rank, world_size=world, timeout=_LONG)
        try:
            yield cls(rank, world)
        finally:
            dist.destroy_process_group()


ALONE = Ranks()


def _backend() -> str:
    """Gloo adds up what lies in memory, NCCL what lies on a GPU."""
    return "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"


def only_here() -> dict[str, str]:
    """Give the environment in which gloo listens on the loopback interface alone."""
    return {"GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo"}


def in_torchrun() -> bool:
    """Whether ``torchrun`` has started this process beside others."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1
