"""What a run on texts records of its data, its words and its model, for whoever reads the report without the table."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import numpy as np

from heldout.augment import TextAugmentation
from heldout.data.series import FloatArray, IntArray
from heldout.data.text import SPECIAL, Vocabulary
from heldout.data.text_splits import TextFold, TextSplit
from heldout.data.text_table import TextData
from heldout.data.token_batches import TokenSource
from heldout.training.attribution import attribute
from heldout.training.text import TextModel
from heldout.training.text_epochs import AugmentedTexts, augmented

_SHOWN = 600  # characters of a text
_MANY = 10  # sampled texts of a class from which on a word must be in two of them
_PAIRS = 20


def describe_texts(data: TextData, split: TextSplit) -> dict[str, Any]:
    """Describe texts and classes.

    Parameters
    ----------
    data : TextData
        All rows, with labels.
    split : TextSplit
        Their parts; shares are those in the final one.

    Returns
    -------
    dict
        JSON-able: ``n_rows``; ``n_train``, rows the final model trains on; ``classes``, dicts of ``name``, ``n``, ``share_train`` (of
        rows that train or stop) and ``share_test``; ``words_median``, ``words_p95``; ``has_group``, ``has_time``; ``n_duplicates``, rows
        that are nearly equal to another, None where groups hide it.
    """
    assert data.labels is not None
    final, n_classes = split.folds[-1], len(data.classes)
    counts = np.bincount(data.labels, minlength=n_classes)
    before, sealed = (
        np.bincount(data.labels[rows], minlength=n_classes) / len(rows)
        for rows in (np.concatenate([final.train, final.valid]), final.test)
    )
    n_words = Vocabulary(SPECIAL, (0, 0)).encode(data.texts, max_length=None).lengths
    _, unit, sizes = np.unique(split.units, return_inverse=True, return_counts=True)
    return {
        "n_rows": len(data),
        "n_train": len(final.train),
        "classes": [
            {"name": name, "n": int(n), "share_train": float(train), "share_test": float(test)}
            for name, n, train, test in zip(data.classes, counts, before, sealed, strict=True)
        ],
        "words_median": float(np.median(n_words)),
        "words_p95": float(np.quantile(n_words, 0.95)),
        "has_group": data.group is not None,
        "has_time": data.time is not None,
        "n_duplicates": int((sizes[unit] > 1).sum()) if data.group is None else None,
    }


def split_table(split: TextSplit) -> list[dict[str, Any]]:
    """Give the number of texts in each part of each fold.

    Parameters
    ----------
    split : TextSplit
        The final fold is the last.

    Returns
    -------
    list of dict
        ``name``, ``train``, ``valid``, ``test``.

    Examples
    --------
    >>> fold = TextFold("final", np.arange(5), np.arange(2), np.arange(3))
    >>> split_table(TextSplit((fold,), np.arange(10), ()))
    [{'name': 'final', 'train': 5, 'valid': 2, 'test': 3}]
    """
    parts = ("train", "valid", "test")
    return [{"name": fold.name} | {part: len(getattr(fold, part)) for part in parts} for fold in split.folds]


def describe_vocabulary(
    model: TextModel, train_texts: Sequence[str], test_texts: Sequence[str]
) -> dict[str, Any]:
    """Tell which words the networks know and what they do not see of the texts.

    Parameters
    ----------
    model : TextModel
        Fitted on the training texts.
    train_texts, test_texts : sequences of str
        The training texts and the sealed ones.

    Returns
    -------
    dict
        JSON-able: ``size``, words known; ``n_train_words``, different words in the training texts; ``share_unknown_train`` and
        ``share_unknown_test`` of the running words that are read; ``share_texts_cut`` and ``share_words_cut`` over both;
        ``max_length``; ``vectors``, None where no file was read.
    """
    own = model.vocabulary
    every = Vocabulary.learn(train_texts, lower=own.lower, min_count=1, max_size=2**31)
    read = [model.encode(texts) for texts in (train_texts, test_texts)]
    n_read = sum(len(tokens.ids) - tokens.n_empty for tokens in read)
    n_before = sum(tokens.n_before for tokens in read)
    return {
        "size": len(own) - len(SPECIAL),
        "n_train_words": len(every) - len(SPECIAL),
        "share_unknown_train": read[0].share_unknown,
        "share_unknown_test": read[1].share_unknown,
        "share_texts_cut": sum(tokens.n_texts_cut for tokens in read) / max(1, sum(map(len, read))),
        "share_words_cut": 1 - n_read / n_before if n_before else 0.0,
        "max_length": model.recipe.max_length,
        "vectors": None if model.vectors is None else _plain(model.vectors._asdict()),
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers of NumPy as those of Python."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}


def hardest(
    model: TextModel, data: TextData, rows: IntArray, log_proba: FloatArray, n: int = 20
) -> list[dict[str, Any]]:
    """Give the sealed texts of the largest log loss, and the words that spoke for what was said of them.

    Parameters
    ----------
    model : TextModel
        What said it.
    data : TextData
        With labels.
    rows : array of shape (n_test,), int64
        Sealed.
    log_proba : array of shape (n_test, Q)
        What was said of them.
    n : int, default 20
        Texts at most.

    Returns
    -------
    list of dict
        JSON-able, the worst first: ``row``, ``text`` (600 characters at most), ``label``, ``said``, ``probability`` of the said class, and
        ``words``, pairs of a word of that text and what it added to the log odds of the said class.
    """
    assert data.labels is not None
    loss = -log_proba[np.arange(len(rows)), data.labels[rows]]
    order = np.lexsort((rows, -loss))[:n]
    chosen, said = rows[order], log_proba[order].argmax(axis=1)
    texts = [data.texts[row] for row in chosen]
    found = attribute(model, texts, said)
    return [
        {
            "row": int(row),
            "text": text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…",
            "label": data.classes[data.labels[row]],
            "said": data.classes[number],
            "probability": float(np.exp(log_proba[place, number])),
            "words": _shown_words(model, text, words),
        }
        for row, text, place, number, words in zip(chosen, texts, order, said, found, strict=True)
    ]


def _shown_words(model: TextModel, text: str, words: list[tuple[str, float]]) -> list[list[Any]]:
    """The words of the part of a text that is shown, without one that is cut in two."""
    if len(text) > _SHOWN:
        shown = model.vocabulary.split(text[: _SHOWN - 1])
        pairs = zip(words, shown, strict=False)
        words = [pair for pair, _ in takewhile(lambda both: both[0][0] == both[1], pairs)]
    return [list(pair) for pair in words]


def telling_words(
    model: TextModel,
    data: TextData,
    rows: IntArray,
    said: IntArray,
    *,
    n_texts: int = 200,
    n_words: int = 20,
    seed: int = 0,
) -> dict[str, list[dict[str, Any]]]:
    """Give the words that spoke most for each class, over a sample of the texts that were said to be of it.

    Parameters
    ----------
    model : TextModel
        What said it.
    data : TextData
        Texts.
    rows, said : arrays of shape (n_test,), int64
        Sealed texts, and the class that each was said to be of.
    n_texts : int, default 200
        Texts in the sample at most, as many of each class as there are.
    n_words : int, default 20
        Words of a class at most.
    seed : int, default 0
        Draws the sample.

    Returns
    -------
    dict
        JSON-able, by class: dicts of ``word``, ``weight`` (what it added to the log odds of the class, all its places in a text together,
        on average over the texts that hold it; above 0) and ``n``, those texts: two or more where ten were sampled. The strongest first.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.argsort(rows, kind="stable"))
    quota = max(1, n_texts // max(1, len(np.unique(said))))
    chosen = np.concatenate([order[said[order] == number][:quota] for number in range(len(data.classes))])[
        :n_texts
    ]
    texts = [data.texts[row] for row in rows[chosen]]
    found = attribute(model, texts, said[chosen], steps=16)  # errors of single texts average out
    return {
        name: _strongest(
            [words for words, own in zip(found, said[chosen], strict=True) if own == number], n_words
        )
        for number, name in enumerate(data.classes)
    }


def _strongest(texts: list[list[tuple[str, float]]], n_words: int) -> list[dict[str, Any]]:
    total: defaultdict[str, float] = defaultdict(float)
    for word, weight in (pair for words in texts for pair in words):
        total[word] += weight
    held = Counter(word for words in texts for word in {word for word, _ in words})
    least = 2 if len(texts) >= _MANY else 1
    mean = {word: total[word] / n for word, n in held.items() if n >= least and total[word] > 0}
    best = sorted(mean, key=lambda word: (-mean[word], word))[:n_words]
    return [{"word": word, "weight": mean[word], "n": held[word]} for word in best]


def preview_augmentation(
    model: TextModel, data: TextData, fold: TextFold, seed: int
) -> dict[str, Any] | None:
    """Draw an epoch's variants of the training texts as the fit does, for the reader to look at.

    Parameters
    ----------
    model : TextModel
        Fitted on the fold. Where words are replaced by neighbours, these are those of its fitted vectors.
    data : TextData
        With labels.
    fold : TextFold
        Training and validation rows.
    seed : int
        Draws.

    Returns
    -------
    dict or None
        JSON-able: ``options`` that are switched on, ``counts`` of variants, ``pairs`` of ``original`` and ``variant``; None where the
        recipe makes no variants.
    """
    recipe = model.recipe
    if not recipe.augments:
        return None
    assert data.labels is not None
    train, valid = ([data.texts[row] for row in rows] for rows in (fold.train, fold.valid))
    base = TokenSource(model.encode(train), data.labels[fold.train])
    known = recipe.vectors is not None or recipe.pretrain_epochs > 0
    vectors = model.networks[0].embedding.weight.detach().numpy() if known else None
    source = augmented(base, (train, valid), model.vocabulary, recipe, vectors)
    assert isinstance(source, AugmentedTexts)
    return {"options": _options(model)} | source.variants.preview(_PAIRS, np.random.default_rng(seed))


def _options(model: TextModel) -> dict[str, Any]:
    names = [*TextAugmentation.__dataclass_fields__, "back_translation", "synonyms", "mixup"]
    values = {name: getattr(model.recipe, name, None) for name in names}
    return {name: value for name, value in values.items() if value}
