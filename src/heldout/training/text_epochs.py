"""What an epoch of a text fit trains on: the training texts, and variants of them that are drawn afresh."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor

from heldout.augment import TextAugmentation, TextEpoch
from heldout.augment.synonyms import nearest_words, read_synonyms
from heldout.augment.text import Guard, Lexicon
from heldout.augment.translate import read_translation
from heldout.data.series import FloatArray, IntArray
from heldout.data.text import PAD, UNK, Tokens, Vocabulary
from heldout.data.token_batches import TokenSource
from heldout.data.windows import Batch, Source
from heldout.text_recipe import TextRecipe
from heldout.training.shared import Shared
from heldout.training.text_linear import TextLinear, share_text_linear


class Variants:
    """Draws variants of training texts, and drops those whose label is in doubt or that are held-out texts.

    Parameters
    ----------
    texts : sequence of str
        Training texts.
    labels : array of shape (n,), int64
        Their classes.
    held : sequence of str
        Validation texts.
    vocabulary : Vocabulary
        Cuts texts into words.
    recipe : TextRecipe
        Which variants, and how many.
    linear : TextLinear
        Fitted to the training texts; says whether a variant keeps its label.
    neighbours : callable, optional
        Gives the words near each word, where the recipe asks for them.

    Raises
    ------
    InputError
        If synonyms, neighbours or a translator are asked for and not to be had.
    """

    def __init__(
        self,
        texts: Sequence[str],
        labels: IntArray,
        held: Sequence[str],
        vocabulary: Vocabulary,
        recipe: TextRecipe,
        linear: TextLinear,
        *,
        neighbours: Callable[[], Lexicon] | None = None,
    ) -> None:
        names = [item.name for item in fields(TextAugmentation) if hasattr(recipe, item.name)]
        translated = recipe.back_translation is not None
        self.options = TextAugmentation(
            **{name: getattr(recipe, name) for name in names}, translated=translated
        )
        self.words = [vocabulary.split(text)[: recipe.max_length] for text in texts]
        self.guard = Guard(
            self.words,
            labels,
            probabilities=lambda found: softmax(linear.logits([" ".join(words) for words in found]), axis=1),
            held=[vocabulary.split(text) for text in held],
        )
        self.synonyms = read_synonyms(recipe.synonyms) if recipe.alpha_sr or recipe.alpha_ri else None
        self.neighbours = neighbours() if recipe.alpha_nn and neighbours is not None else None
        self.translations: list[list[str]] | None = None
        if recipe.back_translation is not None:
            found = read_translation(recipe.back_translation).variants(texts)
            self.translations = [vocabulary.split(text) for text in found]

    def draw(self, rows: IntArray, rng: np.random.Generator) -> TextEpoch:
        """Give some of the texts and their variants; ``source`` holds places in ``rows``."""
        return self.options.epoch(
            [self.words[row] for row in rows],
            rng,
            guard=self.guard.part(rows),
            synonyms=self.synonyms,
            neighbours=self.neighbours,
            translations=None if self.translations is None else [self.translations[row] for row in rows],
        )

    def preview(self, n: int, rng: np.random.Generator) -> dict[str, Any]:
        """Give the counts of an epoch's variants, and ``n`` of them beside their originals."""
        drawn = self.draw(rng.permutation(len(self.words)), rng)
        originals = np.flatnonzero(drawn.original)
        of = dict(zip(drawn.source[originals].tolist(), originals.tolist(), strict=True))
        shown = rng.permutation(np.flatnonzero(~drawn.original))[:n]
        pairs = [
            {"original": " ".join(drawn.texts[of[drawn.source[k]]]), "variant": " ".join(drawn.texts[k])}
            for k in shown
        ]
        return {"counts": drawn.counts, "pairs": pairs}


class AugmentedTexts(Source):
    """Training texts whose epochs hold variants of them, too; a source of batches.

    Parameters
    ----------
    base : TokenSource
        Training texts, in the order of ``variants``, and others after them.
    variants : Variants
        Draws.
    vocabulary : Vocabulary
        Numbers the words of variants.
    """

    def __init__(self, base: TokenSource, variants: Variants, vocabulary: Vocabulary) -> None:
        self.base, self.variants, self.vocabulary = base, variants, vocabulary

    def gather(self, rows: Tensor, *, labelled: bool = True) -> Batch:
        """Give texts as they are."""
        return self.base.gather(rows, labelled=labelled)

    def batches(self, rows: Tensor, size: int, rng: np.random.Generator | None = None) -> list[Tensor]:
        """Put texts of about the same length together."""
        return self.base.batches(rows, size, rng)

    def epoch(self, rows: Tensor, rng: np.random.Generator) -> tuple[Source, Tensor]:
        """Give training texts with variants drawn afresh; a variant has the label, the weight and the linear part of its text."""
        base, chosen = self.base, rows.numpy()
        drawn = self.variants.draw(chosen, rng)
        of = chosen[drawn.source]
        source = TokenSource(
            tokens=_numbered(drawn.texts, self.vocabulary),
            labels=base.labels[of],
            linear=_part(base.linear, of),
            weight=_part(base.weight, of),
            counts=base.counts,
            rare=base.rare,
        )
        return source.epoch(torch.arange(len(source)), rng)


def augmented(
    base: TokenSource,
    texts: tuple[Sequence[str], Sequence[str]],
    vocabulary: Vocabulary,
    recipe: TextRecipe,
    word_vectors: FloatArray | None,
    *,
    shared: Shared | None = None,
) -> Source:
    """Give the source that a recipe's augmentation asks for; the texts as they are where it asks for none.

    Parameters
    ----------
    base : TokenSource
        Training texts, then validation texts.
    texts : tuple of two sequences of str
        The same.
    vocabulary, recipe
        Of the fit.
    word_vectors : array of shape (n_words, E), or None
        Vectors that mean something, from a file or from pretraining, for ``alpha_nn``.
    shared : Shared, optional
        Holds what other fits to the same texts have computed.
    """
    if not recipe.augments:
        return base
    labels = base.labels[: len(texts[0])]
    # Not the shortcut, which knows the labels of the validation texts.
    n_classes = int(base.labels.max()) + 1
    linear, _ = share_text_linear(shared or Shared(), texts[0], labels, np.ones(len(labels)), n_classes)
    return AugmentedTexts(
        base,
        Variants(
            texts[0],
            labels,
            texts[1],
            vocabulary,
            recipe,
            linear,
            neighbours=lambda: _near(vocabulary, word_vectors),
        ),
        vocabulary,
    )


def _near(vocabulary: Vocabulary, word_vectors: FloatArray | None) -> Lexicon:
    assert word_vectors is not None  # the recipe says so
    return nearest_words(vocabulary.words[2:], word_vectors[2:])


def _part(values: FloatArray | None, rows: IntArray) -> FloatArray | None:
    return None if values is None else values[rows]


def _numbered(texts: Sequence[Sequence[str]], vocabulary: Vocabulary) -> Tokens:
    numbers = vocabulary.numbers
    found = [[numbers.get(word, UNK) for word in words] or [UNK] for words in texts]
    offsets = np.cumsum([0, *map(len, found)], dtype=np.int64)
    ids = np.fromiter((number for own in found for number in own), np.int64, int(offsets[-1]))
    ids[ids == PAD] = UNK  # written out in a text
    return Tokens(ids, offsets, len(ids), 0, 0)
