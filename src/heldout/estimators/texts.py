"""`TextLSTMClassifier`: scikit-learn's contract over `TextData` and `fit_text`; a sample is a text."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from os import PathLike, fspath
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from heldout.check import InputError
from heldout.data.near_texts import near_duplicates
from heldout.data.samples import read_weight
from heldout.data.series import FloatArray, IntArray
from heldout.data.text import check_texts
from heldout.data.text_splits import deal
from heldout.data.text_table import TextData
from heldout.estimators.base import RANDOM_STATE, plain_number
from heldout.estimators.classes import CLASS_WEIGHT, NetworkClassifier
from heldout.estimators.names import refuse
from heldout.options import Description, Options, keyword_constructor, option
from heldout.text_recipe import TextRecipe
from heldout.training.history import History
from heldout.training.text import TextModel, fit_text


@dataclass(frozen=True, kw_only=True)
class TextFitOptions(Options):
    """What a fit of texts decides beside its recipe: who says when to stop, and how many networks there are."""

    validation_fraction: float = option(
        0.15,
        "Share of the texts that says when to stop, drawn by class, nearly equal texts staying together; 0 trains on all of them to max_epochs.",
        low=0,
        high=1,
        open_high=True,
    )
    n_seeds: int = option(
        1, "Networks, from as many seeds, whose probabilities are averaged.", low=1, high=1000
    )


# The loss has one choice, and class_weight is scikit-learn's own.
_SET_HERE = ("loss", "class_weight")


def _arguments() -> Iterator[Description]:
    described = (*TextRecipe.describe(), *TextFitOptions.describe())
    yield from (item for item in described if item.name not in _SET_HERE)
    yield RANDOM_STATE
    yield CLASS_WEIGHT


@keyword_constructor(list(_arguments()), refuse)
class TextLSTMClassifier(NetworkClassifier):
    """An LSTM that reads a text and says its class, as a scikit-learn classifier.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        Labels, sorted.
    vocabulary_ : Vocabulary
        The words that the network knows, learned on the training texts; ``vocabulary_.numbers`` has the number of each.
    temperature_ : float
        The network's outputs are divided by it before they become probabilities (Guo et al. 2017, arXiv 1706.04599).
        It is fitted on the validation texts, and 1 without them; ``temperatures_`` has one per seed.
    history_ : History
        Loss on training and validation texts, epoch by epoch; ``histories_`` has one per seed.
    best_epoch_ : int
        The epoch whose weights are kept.
    n_iter_ : int
        Epochs that were run.
    n_parameters_ : int
        Numbers in one network; ``model_`` holds the networks and the linear part.
    notes_ : tuple of str
        How many texts of the fit were cut at ``max_length`` or have no words.

    Notes
    -----
    Vocabulary, linear part and network learn from the training texts alone. Texts that share most of their runs of
    three words are on one side, so that a copy of a training text never says when to stop.

    Examples
    --------
    >>> texts = ["good film", "a good play", "bad film", "a bad play"] * 10
    >>> y = ["up", "up", "down", "down"] * 10
    >>> model = TextLSTMClassifier(hidden_size=4, embedding_size=4, max_epochs=1, random_state=0).fit(texts, y)
    >>> model.predict(["good", "bad"]), model.predict_proba(texts).shape
    (array(['up', 'down'], dtype='<U4'), (40, 2))
    >>> TextLSTMClassifier(dropout=0.5)
    Traceback (most recent call last):
        ...
    heldout.check.InputError: unknown hyper-parameter 'dropout': here it is input_dropout, recurrent_dropout, output_dropout or weight_dropout
    """

    _model_type: ClassVar[Any] = TextModel

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to texts and labels.

        Parameters
        ----------
        X : list, array or column of n str
            Texts.
        y : array of shape (n,)
            Labels: numbers, strings or booleans, of two classes at least.
        sample_weight : array of shape (n,), optional
            Weight of each text in the loss, on training and validation texts; 0 leaves it out. Words are counted
            without it.

        Returns
        -------
        TextLSTMClassifier

        Raises
        ------
        InputError
            If a hyper-parameter or the data break a rule, or a file that is named cannot be read.
        """
        recipe, options = self._options()
        texts = _read_column(X)
        if not texts:
            raise InputError("X must hold texts to learn from, got none")
        labels = self._read_labels(y)
        if len(texts) != len(labels):
            raise InputError(f"X and y must have one length, got {len(texts)} texts and {len(labels)} labels")
        weight = read_weight(sample_weight, len(texts))
        used = np.flatnonzero(weight)
        codes, weight = self._learn_classes(labels[used], weight[used])
        names = tuple(str(label) for label in self.classes_)
        data = TextData(tuple(texts[row] for row in used), codes, names, None, None, len(used))
        rng = np.random.default_rng(self._seed())
        train_rows, valid_rows, units = _split(data.texts, codes, options.validation_fraction, rng)
        equal = None if (weight == weight[0]).all() else weight
        fits = [
            fit_text(data, train_rows, valid_rows, recipe, seed=int(seed), units=units, weight=equal)
            for seed in rng.integers(2**31, size=options.n_seeds)
        ]
        models, histories = zip(*fits, strict=True)
        self._keep(models[0].joined(models[1:]), histories)
        self.notes_: tuple[str, ...] = self.model_.encode(data.texts).notes
        return self

    def _options(self) -> tuple[TextRecipe, TextFitOptions]:
        """Check the hyper-parameters."""
        params = {name: plain_number(value) for name, value in self.get_params(deep=False).items()}
        params = {n: fspath(value) if isinstance(value, PathLike) else value for n, value in params.items()}
        own = {item.name: params.pop(item.name) for item in fields(TextFitOptions)}
        del params["random_state"], params["class_weight"]
        return TextRecipe.from_dict(params), TextFitOptions.from_dict(own)

    def _keep(self, model: TextModel, histories: tuple[History, ...]) -> None:
        super()._keep(model, histories)
        self.vocabulary_ = model.vocabulary
        self.temperatures_, self.temperature_ = model.temperatures, model.temperatures[0]

    def _logits(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        return self.model_.log_proba(_read_column(X))

    def _n_outputs(self) -> int:
        return len(self.model_.classes)

    def to_file_parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give what a file holds, the notes among it."""
        tensors, metadata = super().to_file_parts()
        return tensors, {**metadata, "notes": list(self.notes_)}

    def _restore(self, metadata: dict[str, Any]) -> None:
        self.notes_ = tuple(str(note) for note in metadata["notes"])


def _read_column(X: Any) -> list[str]:
    """Give texts as a list, or say what they are instead."""
    shape = getattr(X, "shape", (0,))
    if len(shape) != 1:
        raise InputError(
            f"X must be one column of texts, got shape {tuple(shape)}: give one column of it, such as X[:, 0] or table['text']"
        )
    return check_texts(X)


def _split(
    texts: tuple[str, ...], codes: IntArray, fraction: float, rng: np.random.Generator
) -> tuple[IntArray, IntArray, IntArray]:
    """Give the rows that train, the rows that say when to stop, and the number of the set of nearly equal texts of each."""
    units = near_duplicates(texts)
    part = deal(codes, units, (1 - fraction, fraction), rng) if fraction else np.zeros(len(codes), np.int64)
    # A class of which all texts are nearly equal trains.
    untrained = np.setdiff1d(codes, codes[part == 0])
    part[np.isin(units, units[np.isin(codes, untrained)])] = 0
    return np.flatnonzero(part == 0), np.flatnonzero(part == 1), units
