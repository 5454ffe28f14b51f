"""`Shared`: what many fits of a study need alike is computed once, and kept in files that every process maps."""

import hashlib
import json
import shutil
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from heldout.training.checkpoint import ModelFileError, load_tensors, save_tensors

Parts = tuple[dict[str, NDArray[Any]], dict[str, Any]]
"""Named arrays, and metadata of what JSON can hold."""


class Shared:
    """Remembers results by the SHA-256 of what they were computed from.

    A file is written whole or not at all, and checked when it is read: one that is damaged is made anew. Two processes
    that want the same at the same moment may both compute it, to the same bits; neither waits for the other.

    Parameters
    ----------
    folder : path, optional
        Where the files are; made when the first is written. Without one nothing is remembered.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     shared = Shared(Path(folder, "shared"))
    ...     first = shared.get("key", lambda: ({"x": np.arange(3)}, {"n": 3}))
    ...     shared.get("key", lambda: ({}, {}))
    ({'x': array([0, 1, 2])}, {'n': 3})
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    def get(self, key: str, make: Callable[[], Parts]) -> Parts:
        """Give what has this key, and make it first if nobody has.

        Parameters
        ----------
        key : str
            Of everything that the result depends on, see `key_of`.
        make : callable
            Gives named arrays and metadata.

        Returns
        -------
        arrays : dict of str to array
            Mapped from the file where they were there: who changes one changes his own copy.
        metadata : dict

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        if self.folder is None:
            return make()
        path = self.folder / f"{key}.safetensors"
        try:
            _, metadata = load_tensors(path)  # checks every byte
            return {name: tensor.numpy() for name, tensor in load_file(path).items()}, metadata
        except (ModelFileError, OSError):  # not there, damaged, or removed meanwhile
            arrays, metadata = make()
        self.folder.mkdir(parents=True, exist_ok=True)
        save_tensors(path, {name: torch.tensor(array) for name, array in arrays.items()}, metadata)
        return arrays, metadata

    def clear(self) -> None:
        """Remove the files; what is mapped stays readable."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


@cache
def versions(*packages: str) -> dict[str, str]:
    """Give the installed version of each package; looked up once, for every key holds it."""
    return {name: version(name) for name in packages}


def key_of(*parts: object) -> str:
    """Give the SHA-256 of some values and of the versions that compute with them.

    Parameters
    ----------
    *parts : array, Tensor, or what JSON can hold
        In a fixed order; the first says what is computed.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> key_of("sum", np.arange(3)) == key_of("sum", np.arange(3.0))
    False
    """
    digest = hashlib.sha256()
    about = versions("heldout", "torch", "numpy", "scikit-learn") | {
        "cpu": torch.backends.cpu.get_cpu_capability()
    }
    for part in (about, *parts):
        array = part.detach().numpy() if isinstance(part, Tensor) else part
        if isinstance(array, np.ndarray):
            content, kind = np.ascontiguousarray(array).tobytes(), f"{array.dtype} {array.shape}"
        else:
            content, kind = json.dumps(array, sort_keys=True).encode(), "json"
        digest.update(f"{kind} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()
