# The compiled module (csrc/module.cpp). Addresses are whole numbers, 0 for what is not there; lengths of strides are in floats.

from torch import Tensor

Strided = tuple[int, int, int]  # address, from one step to the next, from one sequence to the next
Pair = tuple[int, int]

class Call:
    def __init__(
        self,
        sizes: tuple[int, int, int, int],
        threads: int,
        backwards: bool,
        lengths: int,
        x: Strided,
        state: Pair,
        weights: tuple[int, int, int, int],
        mask: int,
        zoneout: bool,
        keep: Pair,
        rate: tuple[float, float],
        out: Strided,
        /,
    ) -> None: ...

class Kernel:
    @property
    def isa(self) -> str: ...
    def forward(self, call: Call, h_n: int, c_n: int, for_backward: bool, /) -> Tensor: ...
    def backward(
        self,
        call: Call,
        saved: int,
        d_out: Strided,
        d_state: Pair,
        d_x: Strided,
        d_start: Pair,
        d_weights: tuple[int, int, int, int],
        /,
    ) -> None: ...

def kernels() -> list[Kernel]: ...
