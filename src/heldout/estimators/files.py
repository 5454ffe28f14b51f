"""`load`: an estimator from the file that its ``save`` wrote, whatever its kind."""

import os
from importlib import import_module
from typing import Any

from heldout.training.checkpoint import ModelFileError, load_tensors

_NAMES = ("LSTMRegressor", "LSTMClassifier", "LSTMForecaster", "TextLSTMClassifier")


def load(path: str | os.PathLike[str]) -> Any:
    """Give back a fitted estimator from a file; nothing in the file is executed.

    Parameters
    ----------
    path : path
        What ``save`` of an estimator wrote.

    Returns
    -------
    LSTMRegressor, LSTMClassifier, LSTMForecaster or TextLSTMClassifier
        It predicts what the one that was saved predicts, to the bit.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, of a later version, or holds something else.
    InputError
        If it reads texts and the packages for them are missing.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from heldout import LSTMRegressor
    >>> X = np.random.default_rng(0).normal(size=(40, 6))
    >>> model = LSTMRegressor(hidden_size=4, max_epochs=1, random_state=0).fit(X, X[:, 2])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(Path(folder, "model"))
    ...     again = load(Path(folder, "model"))
    >>> np.array_equal(again.predict(X), model.predict(X))
    True
    """
    tensors, metadata = load_tensors(path)
    kind, version = metadata.get("kind"), metadata.get("version")
    if kind == "heldout series model":
        raise ModelFileError(f"{path}: holds the model of a run: give its folder to heldout.predict")
    name = str(kind).removeprefix("heldout ")
    if name not in _NAMES or name == kind:
        raise ModelFileError(f"{path}: holds no estimator that this version reads, but {kind!r}")
    if isinstance(version, int) and version > 1:
        raise ModelFileError(f"{path}: was written by a later heldout (version {version}): install that one")
    try:
        # By way of the contents page, which loads what is asked for and says what a kind needs.
        return getattr(import_module("heldout"), name).from_file_parts(tensors, metadata)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
