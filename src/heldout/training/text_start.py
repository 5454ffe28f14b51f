"""What a fit of texts has beside the training of its network: weights, a linear part, a network's start, and how sure to be."""

import numpy as np
import torch
from sklearn.utils.class_weight import compute_sample_weight

from heldout.data.series import FloatArray, IntArray
from heldout.data.text_table import TextData
from heldout.nn.text import TextNetwork
from heldout.text_recipe import TextRecipe
from heldout.training.shared import Shared
from heldout.training.temperature import fit_mixture, fit_temperature
from heldout.training.text_linear import TextLinear, share_text_linear
from heldout.training.word_vectors import Start


def sample_weights(
    labels: IntArray, recipe: TextRecipe, weight: FloatArray | None, rows: IntArray
) -> FloatArray:
    """Give how much each text counts; 1 on average.

    Parameters
    ----------
    labels : array of shape (n,), int64
        Of the texts.
    recipe : TextRecipe
        Says whether classes are balanced.
    weight : array, or None
        Of all rows of the table.
    rows : array of shape (n,), int64
        Which of these the texts are.
    """
    own = np.ones(len(rows)) if weight is None else weight[rows]
    if recipe.class_weight == "balanced":
        own = own * compute_sample_weight("balanced", labels)
    return np.asarray(own / own.mean(), np.float64)


def fit_linear_part(
    data: TextData, rows: IntArray, weights: list[FloatArray], units: IntArray | None, shared: Shared
) -> tuple[TextLinear, FloatArray]:
    """Fit the linear model of training and validation texts, and give what it says of each when fitted without it.

    Out of fold for the validation texts too: the network neither trains nor stops on what saw their labels. Whatever the
    seed of the fit, it is the same, so that networks of several seeds have one linear model.

    Parameters
    ----------
    data : TextData
        The table.
    rows : array of shape (n,), int64
        Training texts, and after them validation texts.
    weights : list of arrays
        How much each counts, in parts.
    units : array, or None
        Of all rows of the table; texts with the same number stay together.
    shared : Shared
        May hold it.
    """
    assert data.labels is not None
    return share_text_linear(
        shared,
        [data.texts[row] for row in rows],
        data.labels[rows],
        np.concatenate(weights),
        len(data.classes),
        units=None if units is None else units[rows],
    )


def start_text_network(
    recipe: TextRecipe, n_words: int, vectors: Start | None, counts: IntArray | FloatArray, seed: int
) -> TextNetwork:
    """Give a network with its starting weights; without a linear part it begins at the shares of the classes.

    Parameters
    ----------
    recipe : TextRecipe
        Resolved.
    n_words : int
        Of the vocabulary.
    vectors : Start or None
        Word vectors to start from.
    counts : array of shape (Q,)
        How much the training texts of each class count.
    seed : int
        Draws the rest.
    """
    matrix = None if vectors is None else torch.from_numpy(vectors.matrix)
    with torch.random.fork_rng(devices=[]):  # building a module draws from torch's own generator first
        network = TextNetwork(
            n_words, len(counts), recipe, vectors=matrix, generator=torch.Generator().manual_seed(seed)
        )
    if recipe.shortcut != "residual":
        shares = (counts + 1) / (counts.sum() + len(counts))
        with torch.no_grad():
            network.head.bias.copy_(torch.from_numpy(np.log(shares)))
    return network


def calibrate(
    network: TextNetwork, logits: FloatArray, linear: FloatArray | None, labels: IntArray, weight: FloatArray
) -> float:
    """Put the linear model beside the network, each with its weight, and give the temperature of what they say.

    Parameters
    ----------
    network : TextNetwork
        Trained.
    logits, linear : arrays of shape (n, Q)
        What it says of the validation texts, and what the linear model says; None where it stands not beside.
    labels, weight : arrays of shape (n,)
        Of these.
    """
    if linear is None:
        return fit_temperature(logits, labels, weight) if weight.any() else 1.0
    share, temperature = fit_mixture(logits, linear, labels, weight)
    assert network.gain is not None
    network.share.fill_(share)
    network.gain.fill_(1 - share)
    return temperature
