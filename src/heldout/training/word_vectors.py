"""The words that a network knows, and the vectors that they start from."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from heldout.data.text import Vocabulary
from heldout.data.vectors import leading_words, read_vectors
from heldout.text_recipe import TextRecipe


class WordVectors(NamedTuple):
    """Where word vectors came from.

    Attributes
    ----------
    source : str
        The file and what it holds.
    size : int
        Numbers in a vector, after PCA.
    kept_variance : float
        Share of the variance that PCA kept.
    share_words, share_tokens : float
        Of the words of the training texts, those that have a vector; each counted once, and as often as it occurs.
    """

    source: str
    size: int
    kept_variance: float
    share_words: float
    share_tokens: float


class Start(NamedTuple):
    """A vector for every word of a vocabulary, which of them are from a file, and what is said of it."""

    matrix: NDArray[np.float32]
    found: NDArray[np.bool_]
    about: WordVectors


def read_word_vectors(
    recipe: TextRecipe, texts: Sequence[str], corpus: Sequence[str], *, seed: int
) -> tuple[Vocabulary, Start | None]:
    """Learn the vocabulary from training texts, and read the vectors of its words where the recipe names a file.

    The most frequent words of the file are known too: the network can read words that it was not trained on.

    Parameters
    ----------
    recipe : TextRecipe
        Resolved.
    texts : sequence of str
        Training texts.
    corpus : sequence of str
        Unlabelled texts that the network reads first; may be empty.
    seed : int
        Draws the vectors of words that the file does not hold.

    Returns
    -------
    vocabulary : Vocabulary
    start : Start or None
        None without a file.
    """
    vocabulary = Vocabulary.learn(
        [*texts, *corpus], lower=recipe.lower, min_count=recipe.min_count, max_size=recipe.max_vocabulary
    )
    return start_vectors(recipe, vocabulary, seed=seed)


def start_vectors(
    recipe: TextRecipe, vocabulary: Vocabulary, *, seed: int
) -> tuple[Vocabulary, Start | None]:
    """Read the vectors of the words of a vocabulary, see `read_word_vectors`.

    Parameters
    ----------
    recipe : TextRecipe
        Resolved.
    vocabulary : Vocabulary
        Learned from training texts.
    seed : int
        Draws the vectors of words that the file does not hold.
    """
    if recipe.vectors is None:
        return vocabulary, None
    words = leading_words(recipe.vectors, recipe.vectors_words)
    n_own = len(vocabulary)
    vocabulary = vocabulary.extended(word for word in words if not recipe.lower or word == word.lower())
    found = read_vectors(recipe.vectors, vocabulary.words, counts=vocabulary.counts)
    if found.vectors.shape[1] > recipe.embedding_size or recipe.whiten:
        size = min(recipe.embedding_size, found.vectors.shape[1])
        found = found.reduced(size, whiten=recipe.whiten)
    matrix, has, _ = found.matrix(vocabulary.words, np.random.default_rng(seed))
    matrix[0] = 0.0
    share_words, share_tokens = found.coverage(vocabulary.words[:n_own], vocabulary.counts[:n_own])
    about = WordVectors(found.source, matrix.shape[1], found.variance_kept, share_words, share_tokens or 0.0)
    return vocabulary, Start(matrix, has, about)
