"""Which words moved a decision: integrated gradients through the networks, exact shares of the linear part.

Axes: n texts, B of them at once, P points of a path, T words, E numbers of a word vector, Q classes, p terms of one text.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor

from heldout.check import InputError, check_number
from heldout.data.series import FloatArray, IntArray
from heldout.data.text import SPECIAL, UNK, Tokens, check_texts
from heldout.nn.text import TextNetwork
from heldout.training.text import TextModel
from heldout.training.text_linear import TextLinear, cut_words, linear_terms

_WORDS_AT_ONCE = 8192  # padding among them: bounds the memory of the states that are kept for a gradient
_LEAST = 1e-12  # a size, so that there is one where all slopes are 0


def attribute(
    model: TextModel, texts: Sequence[str], targets: IntArray, *, steps: int = 32
) -> list[list[tuple[str, float]]]:
    """Give the words of each text with how much each speaks for a class.

    The weights of a text sum to how much more the model's output says than it does where all word vectors are zero and the
    linear part is its intercept. That output is the logit of the target less the mean of the other classes' logits, after
    temperature scaling, averaged over the networks.

    Parameters
    ----------
    model : TextModel
        Its networks in evaluation mode; not changed.
    texts : sequence of n str
        Any.
    targets : array of shape (n,), int64
        For each text the number of the class that is asked about.
    steps : int, default 32
        Points on the way from the zero vectors to the text where slopes are taken, at least 1; more follow the integral closer.

    Returns
    -------
    list of lists of (str, float)
        Words as the vocabulary cuts and writes them, unknown ones too, in the order of the text, and their weights in nats of log odds.
        Words beyond ``max_length`` are given only where the model has a linear part, which reads them. A text
        without words is one unknown word.

    Raises
    ------
    InputError
        If a text is no str, or there is not one class per text.

    References
    ----------
    Sundararajan, Taly & Yan 2017, arXiv:1703.01365, equation 1; here summed over the numbers of each word
    vector, with steps that are short where the output moves, and with the rest of each step's known move shared
    among the words, so that sums hold at any number of steps. A pair of words in the linear part is shared equally between the two.

    Examples
    --------
    >>> from heldout.data.text_table import TextData
    >>> from heldout.text_recipe import TextRecipe
    >>> from heldout.training.text import fit_text
    >>> texts = ("good film", "bad film", "good play", "bad play") * 10
    >>> data = TextData(texts, np.array([1, 0, 1, 0] * 10), ("bad", "good"), None, None, 40)
    >>> model, _ = fit_text(data, np.arange(28), np.arange(28, 40), TextRecipe(hidden_size=4, max_epochs=1))
    >>> words = attribute(model, ["A good film"], np.array([1]))[0]
    >>> [word for word, _ in words], max(words, key=lambda pair: pair[1])[0]
    (['a', 'good', 'film'], 'good')
    """
    check_number("steps", steps, 1, 10_000)
    texts, targets = check_texts(texts), np.asarray(targets)
    n_classes = len(model.classes)
    if targets.shape != (len(texts),) or not np.isin(targets, np.arange(n_classes)).all():
        raise InputError(
            f"targets must be one number of a class for each of {len(texts)} texts, from 0 to {n_classes - 1}, got {targets}"
        )
    directions = np.where(targets[:, None] == np.arange(n_classes), 1.0, -1 / (n_classes - 1))  # (n, Q)
    tokens = model.encode(texts)
    moved = np.zeros(len(tokens.ids))
    for network, temperature in zip(model.networks, model.temperatures, strict=True):
        moved += _integrated(network, tokens, directions, steps) / temperature
    moved /= len(model.networks)
    words = [_named(model, text, n) for text, n in zip(texts, tokens.lengths, strict=True)]
    weights = [
        np.pad(own, (0, len(names) - len(own)))
        for own, names in zip(np.split(moved, tokens.offsets[1:-1]), words, strict=False)
    ]
    if model.linear is not None:
        scale = _gain(model)
        term_numbers = {term: number for number, term in enumerate(model.linear.terms)}
        for own, text, names, direction in zip(weights, texts, words, directions, strict=False):
            read, shares = _linear_shares(model.linear, text, direction, term_numbers, steps)
            np.add.at(own, _places(read, names), scale * shares)
    return [list(zip(names, own.tolist(), strict=True)) for names, own in zip(words, weights, strict=False)]


def _named(model: TextModel, text: str, n_read: int) -> list[str]:
    """The words of a text; at least as many as a network reads of it, for it cuts huge texts in pieces."""
    words = model.vocabulary.split(text)
    words += [SPECIAL[UNK]] * (n_read - len(words))
    return words if model.linear is not None else words[:n_read]


def _integrated(network: TextNetwork, tokens: Tokens, directions: FloatArray, steps: int) -> FloatArray:
    """Integrated gradients of one network's logits in the directions, one number per word of all texts."""
    moved = np.zeros(len(tokens.ids))
    for rows in _alike(tokens.lengths):
        path = _Path(network, tokens, rows, directions[rows])
        found = path.integral(*path.mesh(steps))
        inside = np.arange(found.shape[1]) < tokens.lengths[rows][:, None]
        place = tokens.offsets[rows][:, None] + np.arange(found.shape[1])
        moved[place[inside]] = found[inside]
    return moved


def _alike(lengths: IntArray) -> Iterator[IntArray]:
    """Texts of about one length, the longest first; a bounded number of words, or one text."""
    order = np.argsort(-lengths, kind="stable")
    while len(order):
        size = max(1, _WORDS_AT_ONCE // int(lengths[order[0]]))
        yield order[:size]
        order = order[size:]


class _Path:
    """The straight way from zero vectors to the word vectors of some texts; P points of it from 0 to 1."""

    def __init__(self, network: TextNetwork, tokens: Tokens, rows: IntArray, directions: FloatArray) -> None:
        self.network = network
        ids, self.lengths = tokens.padded(rows)
        self.vectors = network.embed(ids).detach()
        self.directions = torch.from_numpy(directions).float()

    def mesh(self, steps: int) -> tuple[FloatArray, FloatArray]:
        """Give ends of ``steps`` intervals for each text, (B, P), narrow where the output moves, and the outputs there.

        An LSTM may hold one state near the zero vectors and leap to another: even steps would miss the leap.
        """
        points = np.tile(np.linspace(0, 1, (steps + 1) // 2 + 1), (len(self.vectors), 1))
        said = self.outputs(points)
        while (left := steps + 1 - points.shape[1]) > 0:
            widest = np.argsort(-np.abs(np.diff(said)), axis=1, kind="stable")
            chosen = widest[:, : min(max(1, steps // 32), left)]
            new = np.take_along_axis(_middles(points), chosen, axis=1)
            points, said = np.hstack([points, new]), np.hstack([said, self.outputs(new)])
            order = np.argsort(points, axis=1)
            points, said = (np.take_along_axis(found, order, axis=1) for found in (points, said))
        return points, said

    @torch.no_grad()
    def outputs(self, points: FloatArray) -> FloatArray:
        """Give the logits in the direction of each text at points (B, P)."""
        found = [self._asked(self._at(part), part.shape[1]) for part in self._parts(points)]
        return np.hstack([part.view(len(points), -1).double().numpy() for part in found])

    def integral(self, points: FloatArray, said: FloatArray) -> FloatArray:
        """Give the integral of the slopes between points (B, P), times the word vectors: (B, T).

        What an interval's slopes lack to the known move of the output is shared among the words in proportion to the size of theirs.
        """
        found = np.zeros(self.vectors.shape[:2])
        inside = np.arange(found.shape[1]) < self.lengths.numpy()[:, None, None]
        for middles, widths, moves in zip(
            *map(self._parts, (_middles(points), np.diff(points), np.diff(said))), strict=True
        ):
            with torch.enable_grad():
                vectors = self._at(middles).requires_grad_()
                (slopes,) = torch.autograd.grad(self._asked(vectors, middles.shape[1]).sum(), vectors)
            each = slopes.view(*middles.shape, *self.vectors.shape[1:]) * self.vectors[:, None]
            shares = each.sum(-1).double().numpy() * widths[:, :, None]  # (B, P - 1, T)
            sizes = np.abs(shares) + _LEAST * inside
            lacking = moves - shares.sum(-1)
            found += (shares + (lacking / sizes.sum(-1))[:, :, None] * sizes).sum(1)
        return found

    def _parts(self, points: FloatArray) -> list[FloatArray]:
        """Some of the points of all texts at once."""
        size = max(1, _WORDS_AT_ONCE // self.vectors[:, :, 0].numel())
        return [points[:, start : start + size] for start in range(0, points.shape[1], size)]

    def _at(self, points: FloatArray) -> Tensor:
        """The word vectors on the way, (B P, T, E)."""
        return (torch.from_numpy(points).float()[:, :, None, None] * self.vectors[:, None]).flatten(0, 1)

    def _asked(self, vectors: Tensor, n_points: int) -> Tensor:
        """The logits in the direction of each text, (B P,)."""
        lengths = self.lengths.repeat_interleave(n_points)
        logits = self.network.read(vectors, lengths=lengths).forecast[:, 0, 0]
        return (logits * self.directions.repeat_interleave(n_points, dim=0)).sum(1)


def _middles(points: FloatArray) -> FloatArray:
    return (points[:, 1:] + points[:, :-1]) / 2


def _gain(model: TextModel) -> float:
    """What the logits of the linear part are multiplied by, on average over the networks."""
    each = [
        network.gain.item() / temperature
        for network, temperature in zip(model.networks, model.temperatures, strict=True)
        if network.gain is not None
    ]
    return sum(each) / len(model.networks)


def _linear_shares(
    linear: TextLinear, text: str, direction: FloatArray, numbers: dict[str, int], steps: int
) -> tuple[list[str], FloatArray]:
    """The words that the linear part reads in a text, and what each adds to its logits in a direction."""
    words = cut_words(text)
    shares = np.zeros(len(words))
    counts = Counter(term for term in linear_terms(text) if term in numbers)
    if not counts:
        return words, shares
    columns = np.array([numbers[term] for term in counts])
    values = (1 + np.log(list(counts.values()))) * linear.idf[columns]
    scores = (values / np.linalg.norm(values))[:, None] * linear.coefficients[columns]  # (p, Q)
    moved = scores @ _normalised(linear, scores.sum(0), direction, steps)
    weight_of = dict(zip(counts, moved / list(counts.values()), strict=True))
    for term, places in _places_of_terms(words, weight_of):
        shares[places] += weight_of[term] / len(places)
    return words, shares


def _normalised(linear: TextLinear, scores: FloatArray, direction: FloatArray, steps: int) -> FloatArray:
    """A direction among log probabilities as one among scores, on average over the path from the intercept.

    The two are the same unless training texts lacked a class: what normalises the others does then not cancel out.
    """
    total = direction[linear.classes].sum()
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    path = linear.intercept + (nodes[:, None] + 1) / 2 * scores
    found = direction.copy()
    found[linear.classes] -= total * (weights / 2) @ softmax(path[:, linear.classes], axis=1)
    return found


def _places_of_terms(words: list[str], known: dict[str, float]) -> Iterator[tuple[str, list[int]]]:
    """Every known term of the linear part with the words that it is made of, as often as it occurs."""
    longest = max(map(len, known))
    for place, word in enumerate(words):
        beginnings = range(1, min(len(word), longest) + 1) if word[0].isalnum() else ()
        for term in (word, *(word[:k] + "*" for k in beginnings)):
            if term in known:
                yield term, [place]
    for place, pair in enumerate(pairwise(words)):
        if " ".join(pair) in known:
            yield " ".join(pair), [place, place + 1]


def _places(read: list[str], words: list[str]) -> IntArray:
    """For each word that the linear part reads, the word of the vocabulary that holds its first letter.

    They differ where the vocabulary keeps capitals: it cuts DON'T elsewhere than don't.
    """
    ends = np.cumsum([len(word.lower()) for word in words])
    starts = np.cumsum([0, *map(len, read[:-1])])
    return np.minimum(np.searchsorted(ends, starts, side="right"), len(words) - 1)
