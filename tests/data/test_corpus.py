"""Small files of vectors, cut out for a corpus."""

import gzip

import numpy as np
import polars as pl
import pytest

from heldout.check import InputError
from heldout.data.corpus import make_vectors, read_corpus
from heldout.data.text import Vocabulary
from heldout.data.vectors import Vectors, read_vectors

TEXTS = ["A good film.", "not a good, bad film", "axolotl axolotl"]


@pytest.fixture
def glove(tmp_path):
    path = tmp_path / "glove.txt"
    rng = np.random.default_rng(0)
    words = ["a", "good", "film", "bad", "not", ",", "cat", "dog"]
    path.write_text("".join(f"{word} {' '.join(map(str, rng.normal(size=6)))}\n" for word in words))
    return path


def test_a_corpus_is_the_same_from_lines_and_from_any_table(tmp_path):
    table = pl.DataFrame({"id": [1, 2, 3], "text": TEXTS})
    table.write_csv(tmp_path / "a.csv")
    table.write_parquet(tmp_path / "a.parquet")
    table.write_ndjson(tmp_path / "a.jsonl")
    (tmp_path / "a.tsv").write_text("".join(f"ham\t{text}\n" for text in TEXTS))
    (tmp_path / "a.txt").write_text("\r\n\n".join(TEXTS) + "\n \n")
    (tmp_path / "b.txt").write_bytes(gzip.compress("\r".join(TEXTS).encode("utf-16")))
    for name in ("a.csv", "a.parquet", "a.jsonl"):
        assert read_corpus(tmp_path / name, text="text") == TEXTS
        with pytest.raises(InputError, match="must have its column of texts named with text="):
            read_corpus(tmp_path / name)
    assert read_corpus(tmp_path / "a.tsv", text="column_2") == TEXTS
    assert read_corpus(str(tmp_path / "a.txt")) == TEXTS
    assert read_corpus(tmp_path / "b.txt", encoding="utf-16") == TEXTS


def test_a_corpus_without_texts_or_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    for content, said in (
        (b" \n\n", "must hold texts, one per line"),
        (b"\xe9t\xe9", "byte 0 is 0xe9; .*latin-1"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=said):
            read_corpus(path)
    with pytest.raises(InputError, match="there is no file"):
        read_corpus(tmp_path / "none.txt")


def test_small_vectors_are_those_of_the_words_of_the_corpus_reduced(tmp_path, glove):
    corpus, out = tmp_path / "corpus.txt", tmp_path / "small.npz"
    corpus.write_text("\n".join(TEXTS))
    made = make_vectors(glove, corpus, 2, out, min_count=1)
    vocabulary = Vocabulary.learn(TEXTS, min_count=1)
    slow = read_vectors(glove, vocabulary.words[2:]).reduced(2)
    saved = Vectors.load(out)
    assert saved.words == slow.words
    np.testing.assert_array_equal(saved.vectors, slow.vectors)
    # axolotl and the full stop have no vector; 9 of 12 words of the texts have one
    assert (made["texts"], made["words"], made["found"], made["size"]) == (3, 8, 6, 2)
    assert (made["share_words"], made["share_tokens"]) == (6 / 8, 9 / 12)
    assert made["kept_variance"] == slow.variance_kept < 1
    assert made["bytes"] == out.stat().st_size
    again = read_vectors(out, vocabulary.words, counts=vocabulary.counts)
    assert (again.words, again.found_words, again.found_tokens) == (saved.words, 6 / 8, 9 / 12)


def test_words_left_out_for_being_rare_count_as_words_of_the_text_without_a_vector(tmp_path, glove):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(TEXTS))
    made = make_vectors(glove, corpus, None, tmp_path / "small.npz")
    assert (made["words"], made["found"], made["size"], made["kept_variance"]) == (4, 3, 6, 1.0)
    assert made["share_tokens"] == 6 / 12


def test_small_vectors_that_cannot_be_made_leave_no_file(tmp_path, glove):
    corpus, out = tmp_path / "corpus.txt", tmp_path / "small.npz"
    corpus.write_text("\n".join(TEXTS))
    for size, path, said in (
        (6, out, r"in \[1, 2\], for PCA of the 3 words found"),
        (2, "small.txt", "ends with .npz"),
    ):
        with pytest.raises(InputError, match=said):
            make_vectors(glove, corpus, size, path)
    assert not out.exists()
