"""A fit of texts: (texts, rows to train on, rows to validate on, recipe, seed) to a fitted model and its history."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from scipy.special import log_softmax
from torch import Tensor

from heldout.check import InputError, check_number
from heldout.data.series import FloatArray, IntArray
from heldout.data.text import Tokens, Vocabulary
from heldout.data.text_table import TextData
from heldout.data.token_batches import TokenSource
from heldout.nn.text import TextNetwork
from heldout.text_recipe import TextRecipe
from heldout.training.checkpoint import Checkpoint, ModelFileError, check_kind
from heldout.training.evaluation import forecast
from heldout.training.loop import History, Report, train
from heldout.training.pretrain import read_corpus, share_pretrained
from heldout.training.shared import Shared
from heldout.training.text_epochs import augmented
from heldout.training.text_linear import TextLinear
from heldout.training.text_start import calibrate, fit_linear_part, sample_weights, start_text_network
from heldout.training.word_vectors import WordVectors, read_word_vectors

KIND = "heldout text model"


@dataclass(frozen=True, eq=False)
class TextModel:
    """A fitted classifier of texts: vocabulary, linear part, and one network per seed whose probabilities are averaged.

    Attributes
    ----------
    recipe : TextRecipe
        Resolved.
    classes : tuple of str
        Names, in the order of the probabilities.
    vocabulary : Vocabulary
        Learned on the training texts.
    networks : tuple of TextNetwork
        In evaluation mode.
    temperatures : tuple of float
        What the logits of each network are divided by, fitted on the validation texts.
    linear : TextLinear or None
        With ``shortcut="tfidf"``.
    vectors : WordVectors or None
        Where the word vectors came from, and how many words had one.
    """

    recipe: TextRecipe
    classes: tuple[str, ...]
    vocabulary: Vocabulary
    networks: tuple[TextNetwork, ...]
    temperatures: tuple[float, ...]
    linear: TextLinear | None = None
    vectors: WordVectors | None = None

    @property
    def n_parameters(self) -> int:
        """Numbers in one network."""
        return sum(p.numel() for p in self.networks[0].parameters())

    def encode(self, texts: Sequence[str]) -> Tokens:
        """Give the texts as the networks read them."""
        return self.vocabulary.encode(texts, max_length=self.recipe.max_length)

    def source(self, texts: Sequence[str]) -> TokenSource:
        """Give texts as batches of what the networks take, the linear model's logits among it."""
        linear = None if self.linear is None else self.linear.logits(texts)
        return TokenSource(self.encode(texts), np.zeros(len(texts), np.int64), linear)

    def logits(self, texts: Sequence[str], *, calibrated: bool = True) -> FloatArray:
        """Give the logits of each network, shape (n_networks, n, Q), divided by its temperature unless told otherwise."""
        if not len(texts):
            return np.zeros((len(self.networks), 0, len(self.classes)))
        source = self.source(texts)
        rows = torch.arange(len(source))
        found = [forecast(network, source, rows)[:, 0, 0].numpy() for network in self.networks]
        scale = self.temperatures if calibrated else (1.0,) * len(found)
        return np.stack([logits / t for logits, t in zip(found, scale, strict=True)])

    def log_proba(self, texts: Sequence[str], *, calibrated: bool = True) -> FloatArray:
        """Give the logarithm of the probability of each class, the mean of the networks' probabilities.

        Parameters
        ----------
        texts : sequence of str
            Any texts; one without words is read as one unknown word.
        calibrated : bool, default True
            Divide logits by the temperatures first.

        Returns
        -------
        array of shape (n, Q), float64
        """
        each = log_softmax(self.logits(texts, calibrated=calibrated), axis=-1)
        return np.asarray(np.logaddexp.reduce(each, axis=0) - np.log(len(each)))

    def predict_proba(self, texts: Sequence[str]) -> FloatArray:
        """Give the probability of each class, shape (n, Q)."""
        return np.exp(self.log_proba(texts))

    def joined(self, others: Sequence[Self]) -> Self:
        """Give one model with the networks of several, fitted to the same rows from other seeds.

        Raises
        ------
        InputError
            If they were fitted to others.
        """
        own = self.to_file_parts()[1]["vocabulary"]
        if any(
            other.to_file_parts()[1]["vocabulary"] != own or other.classes != self.classes for other in others
        ):
            raise InputError("models can be joined only if they were fitted to the same texts and classes")
        every = [self, *others]
        return replace(
            self,
            networks=tuple(network for model in every for network in model.networks),
            temperatures=tuple(t for model in every for t in model.temperatures),
        )

    def to_file_parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Give what a model file holds: named tensors and JSON metadata."""
        tensors = {
            f"{n}.{name}": value
            for n, network in enumerate(self.networks)
            for name, value in network.state_dict().items()
        }
        linear = None
        if self.linear is not None:
            parts, linear = self.linear.to_file_parts()
            tensors |= {f"linear.{name}": value for name, value in parts.items()}
        metadata = {
            "kind": KIND,
            "version": 1,
            "recipe": self.recipe.to_dict(),
            "classes": list(self.classes),
            "vocabulary": self.vocabulary.to_json(),
            "temperatures": list(self.temperatures),
            "linear": linear,
            "vectors": None if self.vectors is None else self.vectors._asdict(),
        }
        return tensors, metadata

    @classmethod
    def from_file_parts(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Self:
        """Build the model that `to_file_parts` described.

        Raises
        ------
        ModelFileError
            If the parts do not fit.
        """
        check_kind(metadata, KIND, 1)
        try:
            recipe = TextRecipe.from_dict(metadata["recipe"])
            classes, vocabulary = metadata["classes"], Vocabulary.from_json(metadata["vocabulary"])
            temperatures = [float(t) for t in metadata["temperatures"]]
            check_number("networks", len(temperatures), 1, 1000)
            networks = tuple(
                _read_network(len(vocabulary), len(classes), recipe, tensors, n)
                for n in range(len(temperatures))
            )
            linear, vectors = metadata["linear"], metadata["vectors"]
            return cls(
                recipe,
                tuple(str(name) for name in classes),
                vocabulary,
                networks,
                tuple(temperatures),
                None if linear is None else TextLinear.from_file_parts(_within(tensors, "linear."), linear),
                None if vectors is None else WordVectors(**vectors),
            )
        except (KeyError, TypeError, RuntimeError, ValueError, OverflowError, AttributeError) as error:
            raise ModelFileError(f"the model file does not describe a model of texts: {error}") from error


def _within(tensors: dict[str, Tensor], start: str) -> dict[str, Tensor]:
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def _read_network(
    n_words: int, n_classes: int, recipe: TextRecipe, tensors: dict[str, Tensor], number: int
) -> TextNetwork:
    with torch.device("meta"):  # sizes that a file claims are not believed until tensors of them are there
        network = TextNetwork(n_words, n_classes, recipe)
    try:
        network.load_state_dict(_within(tensors, f"{number}."), assign=True)
    except RuntimeError as error:  # its text has a line per tensor
        raise ModelFileError(f"the tensors of network {number} are not those of its recipe") from error
    return network.requires_grad_(False).eval()


def fit_text(  # noqa: PLR0913 - each is a part of the fit that the caller alone knows
    data: TextData,
    train_rows: IntArray,
    valid_rows: IntArray,
    recipe: TextRecipe,
    *,
    seed: int = 0,
    until: int | None = None,
    units: IntArray | None = None,
    weight: FloatArray | None = None,
    checkpoint: Checkpoint | None = None,
    report: Report | None = None,
    shared: Shared | None = None,
) -> tuple[TextModel, History]:
    """Fit: learn vocabulary and linear part on the training rows, train a network on top, keep its best weights.

    Parameters
    ----------
    data : TextData
        Texts with labels; no other rows are read.
    train_rows, valid_rows : arrays of int64
        Texts that train, and texts that say when to stop and how sure to be; without the latter the last epoch is kept
        and the temperature is 1.
    recipe : TextRecipe
        How.
    seed : int, default 0
        Decides starting weights, orders, masks and variants.
    until : int, optional
        Train to this epoch at most, for now; a later call with the same checkpoint goes on to the same bits.
    units : array of shape (n,), int64, optional
        Texts with the same number stay together where the linear part is cross-fitted; by default those of the same words.
    weight : array of shape (n,), optional
        How much each text counts, above 0; ``class_weight`` multiplies it. Vocabulary and TF-IDF count every text once.
    checkpoint : Checkpoint, optional
        Written after every epoch, read at the start.
    report : callable, optional
        Called after every epoch with a small dict.
    shared : Shared, optional
        Holds what other fits to the same rows have computed, and gets what this one does; changes no bit.

    Returns
    -------
    model : TextModel
    history : History

    Raises
    ------
    InputError
        If a file that the recipe names cannot be read.

    Examples
    --------
    >>> texts = ("good film", "bad film", "good play", "bad play") * 10
    >>> data = TextData(texts, np.array([1, 0, 1, 0] * 10), ("bad", "good"), None, None, 40)
    >>> recipe = TextRecipe(hidden_size=4, embedding_size=4, max_epochs=1)
    >>> model, history = fit_text(data, np.arange(28), np.arange(28, 40), recipe)
    >>> model.predict_proba(["good film"]).argmax()
    np.int64(1)
    """
    recipe, shared = recipe.resolved(), shared or Shared()
    judged = len(valid_rows) > 0
    if not judged:
        recipe, valid_rows = replace(recipe, patience=None, restore_best=False), train_rows
    assert data.labels is not None
    classes = data.classes
    own = [data.texts[row] for row in train_rows], [data.texts[row] for row in valid_rows]
    labels_of = data.labels[train_rows], data.labels[valid_rows]
    corpus = read_corpus(recipe)
    vocabulary, vectors = read_word_vectors(recipe, own[0], corpus, seed=seed)
    if vectors is not None:  # those of the file may be shorter than asked for
        recipe = replace(recipe, embedding_size=vectors.matrix.shape[1])
    weights = [sample_weights(data.labels[rows], recipe, weight, rows) for rows in (train_rows, valid_rows)]
    linear, logits = None, None
    if recipe.shortcut != "none":
        rows = np.concatenate([train_rows, valid_rows]) if judged else train_rows
        linear, logits = fit_linear_part(data, rows, weights if judged else weights[:1], units, shared)
        logits = logits if judged else np.concatenate([logits, logits])
    source = TokenSource(
        tokens=vocabulary.encode([*own[0], *own[1]], max_length=recipe.max_length),
        labels=np.concatenate(labels_of),
        linear=logits if recipe.shortcut == "residual" else None,
        weight=None if recipe.class_weight == "none" and weight is None else np.concatenate(weights),
        counts=vocabulary.counts,
        rare=recipe.rare,
    )
    first, second = torch.arange(len(source)).split([len(train_rows), len(valid_rows)])
    network = start_text_network(
        recipe, len(vocabulary), vectors, np.bincount(labels_of[0], weights[0], len(classes)), seed
    )
    if recipe.pretrain_epochs:
        share_pretrained(shared, network, vocabulary, corpus or own[0], recipe, seed=seed, report=report)
    known = vectors is not None or recipe.pretrain_epochs > 0
    meant = network.embedding.weight.detach().numpy() if known else None
    drawn = augmented(source, own, vocabulary, recipe, meant, shared=shared)
    history = train(
        network, drawn, first, second, recipe, seed=seed, until=until, checkpoint=checkpoint, report=report
    )
    network.requires_grad_(False).eval()
    beside = logits[len(train_rows) :] if logits is not None and recipe.shortcut == "tfidf" else None
    said = forecast(network, source, second)[:, 0, 0].numpy()
    temperature = calibrate(network, said, beside, labels_of[1], weights[1] if judged else 0 * weights[1])
    about = None if vectors is None else vectors.about
    return TextModel(recipe, classes, vocabulary, (network,), (temperature,), linear, about), history
