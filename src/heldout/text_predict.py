"""Labels of texts, from the model of a run."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from heldout.check import InputError
from heldout.data.text import UNK, Tokens
from heldout.data.text_table import read_texts
from heldout.training.text import TextModel


def predict_texts(
    model: TextModel, settings: Mapping[str, Any], source: object
) -> tuple[pl.DataFrame, list[str]]:
    """Give the label of each text in a table, and how probable each class is.

    Parameters
    ----------
    model : TextModel
        Fitted.
    settings : mapping
        ``text``, the column of texts, and ``encoding`` of the file, as in `heldout.config.TextOptions`; others are not read.
    source : path or data frame
        A table with that column; a column of labels is not read, and may be absent.

    Returns
    -------
    table : polars.DataFrame
        In the order of the table: ``row``, counted from 0; ``label``, the most probable class; ``p_<class>`` of each class.
    notes : list of str
        What was inferred from the table, cut, empty, or unknown to the model.

    Raises
    ------
    InputError
        If the column is missing or holds something else than text.

    Examples
    --------
    >>> from heldout.text_recipe import TextRecipe
    >>> from heldout.training.text import fit_text
    >>> table = pl.DataFrame({"say": ["good film", "bad film"] * 20, "label": ["up", "down"] * 20})
    >>> recipe = TextRecipe(hidden_size=4, embedding_size=4, max_epochs=1)
    >>> data = read_texts(table, text="say", target="label")
    >>> model, _ = fit_text(data, np.arange(30), np.arange(30, 40), recipe)
    >>> found, notes = predict_texts(model, {"text": "say", "encoding": "utf-8"}, table[:2, ["say"]])
    >>> found.columns, found["label"].to_list(), notes
    (['row', 'label', 'p_down', 'p_up'], ['up', 'down'], [])
    """
    column = settings["text"]
    try:
        data = read_texts(source, text=column, encoding=settings["encoding"])
    except InputError as error:
        raise InputError(f"{error} (the run reads the column {column!r})") from error
    tokens = model.encode(data.texts)
    chances = model.predict_proba(data.texts)
    label = [model.classes[place] for place in chances.argmax(axis=1)]
    columns = {f"p_{name}": chances[:, place] for place, name in enumerate(model.classes)}
    table = pl.DataFrame({"row": np.arange(len(data)), "label": label, **columns})
    return table, [*data.notes, *tokens.notes, *_unknown(model, tokens)]


def _unknown(model: TextModel, tokens: Tokens) -> list[str]:
    """Say how much of what is read the model does not know, if there is any, beside the same in its training texts."""
    if not tokens.share_unknown:
        return []
    counts = model.vocabulary.counts
    return [
        f"{tokens.share_unknown:.1%} of the words read are unknown to the model, {counts[UNK] / sum(counts):.1%} in its training texts"
    ]
