"""The native kernel of the layer, the choice between it and torch's, and `describe`, which tells that choice."""

from heldout.nn.kernels.dispatch import describe as describe
