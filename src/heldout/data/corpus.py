"""A corpus: texts without labels, and the word vectors that it needs of a large file."""

from pathlib import Path

from heldout.check import InputError
from heldout.data.tables import as_utf8, file_bytes
from heldout.data.text import Vocabulary
from heldout.data.text_table import read_texts
from heldout.data.vectors import SPECIAL, read_vectors

_TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json", ".xlsx")


def read_corpus(source: str | Path, *, text: str | None = None, encoding: str = "utf-8") -> list[str]:
    r"""Give the texts of a file: one per line, or those in a column of a table.

    Parameters
    ----------
    source : path
        A text file, also gzip; lines without text are left out. With ``text``, what `heldout.data.text_table.read_texts` reads.
    text : str, optional
        The column of texts.
    encoding : str, default "utf-8"
        How the file is encoded.

    Raises
    ------
    InputError
        If it cannot be read or holds no text; if it is a table and no column is named.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "corpus.txt")
    ...     _ = file.write_text("A good film.\n\nNot a good film.\n")
    ...     read_corpus(file)
    ['A good film.', 'Not a good film.']
    """
    if text is not None:
        return list(read_texts(source, text=text, encoding=encoding).texts)
    path = Path(source)
    data = file_bytes(path)
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if any(suffix in _TABLES for suffix in suffixes) or data[:4] == b"PAR1":
        raise InputError(
            f"a corpus that is a table must have its column of texts named with text=, but {path} has none"
        )
    lines = as_utf8(path, data, encoding).decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    found = [line for line in lines if line.strip()]
    if not found:
        raise InputError(f"a corpus must hold texts, one per line, but {path} is empty")
    return found


def make_vectors(
    file: str | Path,
    corpus: str | Path,
    size: int | None,
    out: str | Path,
    *,
    text: str | None = None,
    encoding: str = "utf-8",
    lower: bool = True,
    min_count: int = 2,
) -> dict[str, str | int | float]:
    r"""Write the vectors of a corpus's words, cut out of a large file and made shorter, and give what was kept.

    Parameters
    ----------
    file : path
        Word vectors, as `heldout.data.vectors.read_vectors` reads them.
    corpus : path
        See `read_corpus`; training texts only.
    size : int or None
        Numbers per vector (PCA); None keeps those of the file. Fewer leave less to overfit.
    out : path
        The ``.npz`` file to write, which `read_vectors` reads.
    text, encoding : str or None, str
        The column of texts, if the corpus is a table; how it is encoded.
    lower : bool, default True
        Read capitals as small letters.
    min_count : int, default 2
        Leave out words that the corpus holds less often.

    Returns
    -------
    dict
        "source"; "path"; "texts", "words": how many; "found": words with a vector; "share_words", "share_tokens": of all that
        have one; "size"; "kept_variance": its share; "bytes": of the file written.

    Raises
    ------
    InputError
        If a file cannot be read or written, or the words found do not vary in ``size`` directions.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     glove, corpus = Path(folder, "glove.txt"), Path(folder, "corpus.txt")
    ...     _ = glove.write_text("good 1 2 3\nfilm 2 1 0\nbad 0 0 7\ncat 5 5 5\n")
    ...     _ = corpus.write_text("good film\nbad film\ngood axolotl\n")
    ...     made = make_vectors(glove, corpus, 2, Path(folder, "small.npz"), min_count=1)
    >>> made["words"], made["found"], round(made["share_tokens"], 3), made["kept_variance"] > 0.99
    (4, 3, 0.833, True)
    """
    if Path(out).suffix != ".npz":
        raise InputError(f"vectors must be written to a file whose name ends with .npz, got {out}")
    texts = read_corpus(corpus, text=text, encoding=encoding)
    vocabulary = Vocabulary.learn(texts, lower=lower, min_count=min_count)
    vectors = read_vectors(file, vocabulary.words, counts=vocabulary.counts)
    vectors = vectors if size is None else vectors.reduced(size)
    vectors.save(out)
    return {
        "source": vectors.source,
        "path": str(out),
        "texts": len(texts),
        "words": len(vocabulary) - len(SPECIAL),
        "found": len(vectors.words),
        "share_words": vectors.found_words,
        "share_tokens": float(vectors.found_tokens or 0.0),
        "size": vectors.vectors.shape[1],
        "kept_variance": vectors.variance_kept,
        "bytes": Path(out).stat().st_size,
    }
