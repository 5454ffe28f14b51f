"""Texts of the data with the words marked that moved the decision, or that augmentation made."""

import re
from difflib import SequenceMatcher
from math import ceil
from typing import Any

from heldout.plots.values import shortened
from heldout.report.blocks import ShadedText, Span, percent

_SHADES = 5
_FAINT = 0.1  # of the strongest word of a text: what is weaker is not marked
_MOST_LETTERS, _MOST_WORDS = 600, 2000
_LETTERS = 300  # of an original and its variant
_NEAR = 80  # letters in which a word that does not follow at once is looked for
_TOLD = 5


def example(found: dict[str, Any]) -> ShadedText:
    """Give one of the hardest texts, its words shaded by what they did for the said class.

    Parameters
    ----------
    found : dict
        ``row``, ``text``, ``label``, ``said``, ``probability`` (of the said class) and ``words``: pairs of a word and its
        weight in the order of the text, above 0 where it speaks for the said class.

    Returns
    -------
    ShadedText
        At most 600 letters; words of less than a tenth of the strongest's weight are left plain.
    """
    label, said = shortened(found["label"]), shortened(found["said"])
    sure = percent(found["probability"], sign=False)
    what = f"{label}, said {said} ({sure})" if label != said else f"{label}, said so with only {sure}"
    words = [(str(word), float(weight)) for word, weight in found["words"][:_MOST_WORDS]]
    return ShadedText(
        heading=f"Row {found['row']:,}: {what}",
        spans=spans(str(found["text"]), words),
        note=_summary(words, said),
    )


def variant(place: int, pair: dict[str, str]) -> ShadedText:
    """Give a variant of a training text, what is new in it marked, and the original below.

    Parameters
    ----------
    place : int
        Its number.
    pair : dict
        ``original`` and ``variant``.

    Returns
    -------
    ShadedText
        At most 300 letters of each.

    Examples
    --------
    >>> found = variant(1, {"original": "a good film", "variant": "a fine film"})
    >>> [(span.text, span.shade) for span in found.spans]
    [('a ', ''), ('fine', 'made'), (' film', '')]
    """
    original, made = (shortened(pair[part], _LETTERS) for part in ("original", "variant"))
    before, after = original.split(), re.findall(r"\S+\s*", made)
    matcher = SequenceMatcher(a=before, b=[word.strip() for word in after], autojunk=False)
    cut = []
    for what, _, _, low, high in matcher.get_opcodes():
        stretch = "".join(after[low:high])
        bare = stretch.rstrip()
        cut.append(Span(text=bare, shade="" if what == "equal" else "made"))
        cut.append(Span(text=stretch[len(bare) :]))
    return ShadedText(heading=f"Variant {place}", spans=_joined(cut), note=f"Original: {original}")


def spans(text: str, words: list[tuple[str, float]]) -> list[Span]:
    """Cut a text at its marked words.

    Parameters
    ----------
    text : str
        Of which the first 600 letters are shown.
    words : list of (str, float)
        In the order of the text, in whatever capitals; one that is not found is left out.

    Returns
    -------
    list of Span
        Together the text.

    Examples
    --------
    >>> [(span.text, span.shade) for span in spans("Win now!", [("win", 1.0), ("now", -0.5), ("!", 0.0)])]
    [('Win', 'for-5'), (' ', ''), ('now', 'against-3'), ('!', '')]
    """
    shown = text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"
    strongest = max((abs(weight) for _, weight in words), default=0.0)
    found, place = [], 0
    for word, weight in words:
        match = _find(word, shown, place)
        if match is None:
            continue
        if shade := _shade(weight, strongest):
            found += [Span(text=shown[place : match.start()]), Span(text=match[0], shade=shade)]
            place = match.end()
        else:
            found.append(Span(text=shown[place : match.end()]))
            place = match.end()
    found.append(Span(text=shown[place:]))
    return _joined(found)


def _find(word: str, text: str, place: int) -> re.Match[str] | None:
    """The next place of a word: behind the space that follows, or else as a whole word a little later."""
    if not word.strip():
        return None
    literal = re.escape(word)
    follows = re.compile(rf"\s*({literal})", re.IGNORECASE).match(text, place)
    if follows:
        return re.compile(literal, re.IGNORECASE).match(text, follows.start(1))
    before, after = (r"\b" if re.match(r"\w", end) else "" for end in (word[0], word[-1]))
    return re.compile(f"{before}{literal}{after}", re.IGNORECASE).search(
        text, place, place + _NEAR + len(word)
    )


def _shade(weight: float, strongest: float) -> str:
    part = abs(weight) / strongest if strongest > 0 else 0.0
    if not part >= _FAINT:
        return ""
    return f"{'for' if weight > 0 else 'against'}-{ceil(_SHADES * part)}"


def _joined(found: list[Span]) -> list[Span]:
    """Plain stretches that touch made one; empty ones left out."""
    joined: list[Span] = []
    for span in found:
        if not span.text:
            continue
        if joined and not span.shade and not joined[-1].shade:
            joined[-1] = Span(text=joined[-1].text + span.text)
        else:
            joined.append(span)
    return joined


def _summary(words: list[tuple[str, float]], said: str) -> str:
    """The strongest words on either side, for who does not see the shades."""
    sides = []
    for sign, what in ((1, f"For {said}"), (-1, "Against it")):
        each = sorted((sign * weight, word) for word, weight in words if sign * weight > 0)[::-1]
        named = list(dict.fromkeys(shortened(word, 30) for _, word in each))[:_TOLD]
        if named:
            sides.append(f"{what}: {', '.join(named)}.")
    return " ".join(sides)
