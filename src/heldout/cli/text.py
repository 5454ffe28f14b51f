"""Commands about texts, beside the fit: word vectors made small, augmentation looked at before it is trusted."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.check import InputError, visible
from heldout.cli.command import say
from heldout.cli.options import LEAST_WIDTH, Source, assigned
from heldout.files import check_apart

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from heldout.augment.text import Lexicon
    from heldout.text_recipe import TextRecipe

AEDA = 1 / 3  # shown where no way is named: the one that needs no dictionary and no vectors


def vectors(
    file: Annotated[
        Path,
        typer.Argument(help="Word vectors: GloVe, word2vec or fastText, gzip too.", show_default=False),
    ],
    vocabulary: Annotated[
        str,
        typer.Option(
            "--vocabulary", help="The texts to be read: a table with --text, else one text per line."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .npz file to write.")],
    text: Annotated[str | None, typer.Option("--text", help="Column of texts of the table.")] = None,
    size: Annotated[
        int | None, typer.Option("--size", help="Numbers per word to keep, by PCA (default: all).")
    ] = None,
    min_count: Annotated[
        int, typer.Option("--min-count", min=1, help="Leave out words that the texts hold less often.")
    ] = 2,
) -> None:
    """Keep of a large file of word vectors those of the words in use, made smaller, for a fit: --set vectors=FILE."""
    from heldout.data.corpus import make_vectors

    check_apart(output, file, vocabulary)
    made = make_vectors(file, vocabulary, size, output, text=text, min_count=min_count)
    shares = {
        name: f"{100 * float(made[name]):.1f} %" for name in ("share_words", "share_tokens", "kept_variance")
    }
    say(f"· {made['source']}")
    say(
        f"· {made['found']:,} of {made['words']:,} words of {made['texts']:,} texts have a vector: "
        f"{shares['share_words']} of the words, {shares['share_tokens']} of all that is read"
    )
    if size is not None:
        say(f"· {made['size']} numbers per word keep {shares['kept_variance']} of the variance")
    typer.echo(f"{made['path']}, {int(made['bytes']) / 1e6:.1f} MB")


def augment(
    source: Source,
    text: Annotated[str, typer.Option("--text", help="Column of texts.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of a fit of texts, e.g. --set alpha_sr=.05 (default: AEDA)."),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Texts to draw.")] = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed draws the same.")] = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the pairs as .csv or .parquet instead.")
    ] = None,
) -> None:
    """Show texts of a table beside what augmentation makes of them, before anyone trusts it."""
    import numpy as np

    from heldout.plots.values import plural
    from heldout.text_recipe import WAYS, TextRecipe

    recipe = TextRecipe().with_values(assigned(set_))
    if recipe.mixup:
        hidden = "mixup mixes word vectors of two texts inside the network and cannot be shown as text"
        if not recipe.augments:
            raise InputError(f"{hidden}; set one that can: {', '.join((*WAYS, 'back_translation'))}")
        say(f"· {hidden}; the other ways are")
    if not recipe.augments:
        recipe = recipe.with_values({"alpha_aeda": AEDA})
        say("· no way is named: AEDA, marks put between the words; --set alpha_sr=.05 replaces by synonyms")
    if output is not None:
        check_apart(output, source)
    pairs = _pairs(_texts(source, text), recipe, n, np.random.default_rng(seed))
    unchanged = pairs["variant"].null_count()
    if unchanged:
        say(f"· {unchanged} of {plural(len(pairs), 'text')} came out unchanged")
    if output is None:
        _print_pairs(pairs)
        return
    from heldout.forecast import write_table

    write_table(pairs, output)
    typer.echo(f"{plural(len(pairs), 'pair')} in {output}", err=True)


def _texts(source: str, column: str) -> list[str]:
    from heldout.data.text_table import read_texts

    data = read_texts(source, text=column)
    for note in data.notes:
        say(f"· {note}")
    return list(data.texts)


def _pairs(texts: list[str], recipe: "TextRecipe", n: int, rng: "np.random.Generator") -> "pl.DataFrame":
    """Texts drawn at random with a variant of each, in the words that the network reads; None where it came out unchanged."""
    from dataclasses import fields

    import polars as pl

    from heldout.augment import TextAugmentation
    from heldout.data.text import SPECIAL, Vocabulary

    names = [item.name for item in fields(TextAugmentation) if hasattr(recipe, item.name)]
    translated = recipe.back_translation is not None
    options = TextAugmentation(**{name: getattr(recipe, name) for name in names}, translated=translated)
    synonyms, neighbours = _lexicons(texts, recipe)
    split = Vocabulary(SPECIAL, (0,) * len(SPECIAL), recipe.lower).split
    rows = sorted(rng.permutation(len(texts))[:n].tolist())
    chosen = [texts[row] for row in rows]
    variants = [
        options.variants(
            split(text), rng, n=1, synonyms=synonyms, neighbours=neighbours, translation=split(other)
        )
        for text, other in zip(chosen, _translations(chosen, recipe), strict=True)
    ]
    said = [" ".join(found[0]) if found else None for found in variants]
    schema = {"row": pl.Int64, "original": pl.String, "variant": pl.String}
    return pl.DataFrame({"row": rows, "original": chosen, "variant": said}, schema=schema)


def _translations(texts: list[str], recipe: "TextRecipe") -> list[str]:
    """Each text, translated there and back; empty where the recipe does not ask for it."""
    if recipe.back_translation is None:
        return [""] * len(texts)
    from heldout.augment.translate import read_translation

    return read_translation(recipe.back_translation).variants(texts)


def _lexicons(texts: list[str], recipe: "TextRecipe") -> "tuple[Lexicon | None, Lexicon | None]":
    """Synonyms and neighbours, where an option asks for them."""
    from heldout.augment.synonyms import nearest_words, read_synonyms

    synonyms = read_synonyms(recipe.synonyms) if recipe.alpha_sr or recipe.alpha_ri else None
    if not recipe.alpha_nn:
        return synonyms, None
    if recipe.vectors is None:
        raise InputError("alpha_nn needs a file of word vectors: name it with --set vectors=FILE")
    from heldout.data.text import SPECIAL, Vocabulary
    from heldout.data.vectors import read_vectors

    words = Vocabulary.learn(texts, lower=recipe.lower, min_count=recipe.min_count).words[len(SPECIAL) :]
    found = read_vectors(recipe.vectors, words)
    return synonyms, nearest_words(found.words, found.vectors)


def _print_pairs(pairs: "pl.DataFrame") -> None:
    """Side by side on a terminal, else one below the other."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    rows = [
        (str(row), visible(original), "(unchanged)" if variant is None else visible(variant))
        for row, original, variant in pairs.iter_rows()
    ]
    if not console.is_terminal:
        for row, original, variant in rows:
            typer.echo(f"{row}\t{original}\n\t{variant}")
        return
    grid = Table("row", "original", "variant", box=None, padding=(0, 2, 1, 0))
    for cells in rows:
        grid.add_row(*map(escape, cells))
    console.width = min(console.width, 2 * LEAST_WIDTH)
    console.print(grid)
