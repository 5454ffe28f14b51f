"""`load`: an estimator from the file that its ``save`` wrote, whatever its kind."""

import os
from typing import Any

from heldout.estimators.arrays import LSTMClassifier, LSTMRegressor
from heldout.estimators.forecaster import LSTMForecaster
from heldout.training.checkpoint import ModelFileError, load_tensors

_KINDS: dict[str, Any] = {
    "heldout LSTMRegressor": LSTMRegressor,
    "heldout LSTMClassifier": LSTMClassifier,
    "heldout LSTMForecaster": LSTMForecaster,
}


def load(path: str | os.PathLike[str]) -> Any:
    """Give back a fitted estimator from a file; nothing in the file is executed.

    Parameters
    ----------
    path : path
        What ``save`` of an estimator wrote.

    Returns
    -------
    LSTMRegressor, LSTMClassifier or LSTMForecaster
        It predicts what the one that was saved predicts, to the bit.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, of a later version, or holds something else.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
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
    if kind not in _KINDS:
        raise ModelFileError(f"{path}: holds no estimator that this version reads, but {kind!r}")
    if isinstance(version, int) and version > 1:
        raise ModelFileError(f"{path}: was written by a later heldout (version {version}): install that one")
    try:
        return _KINDS[kind].from_file_parts(tensors, metadata)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
