import gzip
import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from heldout.check import InputError
from heldout.data import text as of_text
from heldout.data import vectors as of_vectors
from heldout.data.vectors import Vectors, read_vectors

FORMATS = ("glove", "word2vec text", "fasttext", "binary", "binary without line ends")
SPECIAL = ("[PAD]", "[UNK]")
# No ASCII blanks, which part the fields, but the characters that split lines elsewhere.
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=" ") | st.just("\x85"), min_size=1
).filter(lambda name: name not in SPECIAL)


def numbers(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def as_bytes(words, vectors, form="glove"):
    """An independent writer of each format."""
    n, d = vectors.shape
    out = b"" if form == "glove" else f"{n} {d}\n".encode()
    for word, vector in zip(words, vectors, strict=True):
        if form.startswith("binary"):
            out += word.encode() + b" " + vector.astype("<f4").tobytes() + b"\n" * (form == "binary")
        else:
            end = " \n" if form == "fasttext" else "\n"
            out += (word + " " + " ".join(repr(float(v)) for v in vector) + end).encode()
    return out


def written(folder, data, name="vectors"):
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def made(vectors, **options):
    words = tuple(f"w{k}" for k in range(len(vectors)))
    return Vectors(
        words=words,
        vectors=vectors,
        **{"found_words": 1.0, "found_tokens": None, "source": "made", **options},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("vectors")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("packed", [False, True])
@settings(deadline=None, max_examples=15)
@given(names=st.lists(NAMES, unique=True, min_size=2, max_size=12), d=st.integers(2, 9), data=st.data())
def test_every_format_gives_exactly_the_vectors_of_the_words_in_use(folder, form, packed, names, d, data):
    vectors = numbers(len(names), d)
    used = data.draw(st.lists(st.sampled_from(names), unique=True, min_size=1))
    content = as_bytes(names, vectors, form)
    read = read_vectors(written(folder, gzip.compress(content) if packed else content), used)
    expected = {word: row for row, word in enumerate(names) if word in used}
    assert read.words == tuple(expected)
    np.testing.assert_array_equal(read.vectors, vectors[list(expected.values())])
    assert read.found_words == 1.0
    assert read.found_tokens is None
    assert ("binary" in read.source) == form.startswith("binary")


@pytest.mark.parametrize("form", FORMATS)
def test_the_cut_between_blocks_changes_nothing(tmp_path, monkeypatch, form):
    words = [f"word{k}" for k in range(40)]
    path = written(tmp_path, as_bytes(words, numbers(40, 7), form))
    whole = read_vectors(path, words)
    monkeypatch.setattr("heldout.data.vector_files._HEAD_BYTES", 100)
    for size in (1, 3, 64, 1000):
        monkeypatch.setattr("heldout.data.vector_files._BLOCK_BYTES", size)
        in_pieces = read_vectors(path, words)
        assert in_pieces.words == whole.words
        np.testing.assert_array_equal(in_pieces.vectors, whole.vectors)


def test_words_with_spaces_are_split_from_the_right(tmp_path):
    text = ". . . 0.1 0.2\nthe 0.3 0.4\nat name@domain.com 0.5 0.6\ncat 0.7 0.8\n"
    read = read_vectors(written(tmp_path, text), ["cat", "at name@domain.com", ". . .", "."])
    assert read.words == (". . .", "at name@domain.com", "cat")
    np.testing.assert_allclose(read.vectors, [[0.1, 0.2], [0.5, 0.6], [0.7, 0.8]])


@pytest.mark.parametrize(
    "text",
    [
        "the 1.0 2.0\r\ncat 3.0 4.0\r\n",
        "\ufeffthe 1.0 2.0\ncat 3.0 4.0",
        "the\t1.0\t2.0\ncat\t3.0\t4.0\n",
        "the  1.0  2.0\n\ncat 3.0 4.0\n\n",
        "2 2\nthe 1e0 2\ncat 3. +4\n",
    ],
)
def test_line_ends_marks_and_blanks_of_other_writers_change_nothing(tmp_path, text):
    read = read_vectors(written(tmp_path, text), ["the", "cat"])
    assert read.words == ("the", "cat")
    assert read.vectors.tolist() == [[1, 2], [3, 4]]


def test_of_a_word_that_repeats_the_first_counts_and_repeats_are_counted(tmp_path):
    text = "cat 1.0 2.0\ndog 3.0 4.0\ncat 5.0 6.0\ncat 7.0 8.0\nemu 1.0 1.0\nemu 2.0 2.0\n"
    read = read_vectors(written(tmp_path, text), ["cat", "dog"])
    assert read.vectors.tolist() == [[1, 2], [3, 4]]
    assert read.source == "vectors: text, 6 vectors of size 2, 2 repeated words left out"


def test_a_text_file_cut_short_by_lines_is_read_and_says_so(tmp_path):
    read = read_vectors(written(tmp_path, "2000 2\ncat 1.0 2.0\ndog 3.0 4.0\n"), ["cat"])
    assert read.source.endswith("2 vectors of size 2 where its first line says 2000")


def test_lower_case_stands_in_only_where_the_word_itself_is_missing(tmp_path):
    path = written(tmp_path, "apple 1.0 2.0\nApple 3.0 4.0\nparis 5.0 6.0\nThe 7.0 8.0\n")
    read = read_vectors(path, ["Apple", "Paris", "the", "axolotl"], counts=[5, 3, 1, 1])
    assert read.words == ("Apple", "paris")
    assert read.vectors.tolist() == [[3, 4], [5, 6]]
    assert (read.found_words, read.found_tokens) == (0.5, 0.8)
    weights, found, note = read.matrix(["Paris", "Apple", "axolotl"], np.random.default_rng(0))
    assert weights[:2].tolist() == [[5, 6], [3, 4]]
    assert found.tolist() == [True, True, False]
    assert "1 have their own vector, 1 that of the word in lower case, and 1 one drawn" in note


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        (b"PK\x03\x04" + bytes(40), "unpack it"),
        (b"BZh91AY", "unpack it"),
        ("cat\ndog\n", "1 to 10000 numbers"),
        ("cat,1.0,2.0\n", "1 to 10000 numbers"),
        ("2 0\ncat\ndog\n", "1 to 10000 numbers"),
        ("2 99999\ncat 1.0\n", "1 to 10000 numbers"),
        (
            "the 1.0 2.0\ncat 3.0\ndog 5.0 6.0\nemu 5.0 6.0\n",
            r"line 2 of .*must be a word and 2 numbers, has 2 fields",
        ),
        ("the 1.0 2.0\ndog 5.0 6.0\ncat 3.0 4.0 5.0\nemu 5.0 6.0\n", r"line 3 of .*has 4 fields"),
        ("2 2\ncat 3.0\ndog 1.0 2.0\n", r"line 2 of .*must be a word and 2 numbers, has 2 fields"),
        ("the 1.0 2.0\ncat 3.0 x\n", r"line 2 of .*'x'"),
        ("the 1.0 2.0\ncat 3.0 0,5\n", r"line 2 of .*'0,5'"),
        ("the 1.0 2.0\ncat nan 4.0\n", r"line 2 of .*nan"),
        ("the 1.0 2.0\ncat 3.0 -inf\n", r"line 2 of .*-inf"),
        ("the 1.0 2.0\ncat 3.0 1e39\n", r"line 2 of .*1e\+39"),
        ("the 1.0 2.0\ncat 3.0 " + "9" * (1 << 21), r"line 2 of .*too long"),
        ("the 1.0 2.0\ndog 3.0 4.0\n", "none of 1 word such as 'cat'"),
        (as_bytes(["cat", "dog"], np.full((2, 3), np.nan), "binary"), r"vector 1 of .*nan"),
        (as_bytes(["cat", "dog"], numbers(2, 30), "binary")[:-20], "stops in vector 2"),
        (as_bytes(["cat", "dog"], numbers(2, 30), "binary") + b"emu", "end after 2 vectors"),
        (b"2 3\n" + bytes(1 << 21), "stops in vector 1"),
    ],
    ids=range(22),
)
def test_a_wrong_file_gives_one_sentence_that_says_where(tmp_path, text, said):
    with pytest.raises(InputError, match=said) as caught:
        read_vectors(written(tmp_path, text), ["cat"])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("form", FORMATS)
def test_a_gzip_file_cut_off_or_damaged_gives_the_line(tmp_path, form):
    words = [f"w{k}" for k in range(2000)]
    data = as_bytes(words, numbers(2000, 20), form)
    packed = gzip.compress(data)
    for damaged in (packed[: len(packed) // 2], packed[:-4], packed[:-8] + bytes(8), packed[:12]):
        with pytest.raises(InputError, match=r"damaged in line \d+, after byte \d+ .*; get it again"):
            read_vectors(written(tmp_path, damaged), words)
    with pytest.raises(InputError, match=f"after byte {len(data)} "):
        read_vectors(written(tmp_path, packed[:-4]), words)


def test_a_missing_file_is_named_with_the_nearest_one(tmp_path):
    written(tmp_path, "cat 1.0 2.0\n", "glove.txt")
    with pytest.raises(InputError, match=r"No such file.*did you mean 'glove.txt'"):
        read_vectors(tmp_path / "glvoe.txt", ["cat"])
    with pytest.raises(InputError, match="directory"):
        read_vectors(tmp_path, ["cat"])
    with pytest.raises(InputError, match="No such file"):
        read_vectors(tmp_path / "no" / "glove.txt", ["cat"])


@pytest.mark.parametrize("vocabulary", ["cat", [], [1, 2], [None]])
def test_a_vocabulary_must_be_a_list_of_words(tmp_path, vocabulary):
    with pytest.raises(InputError, match="list of at least one text"):
        read_vectors(written(tmp_path, "cat 1.0 2.0\n"), vocabulary)


@pytest.mark.parametrize("counts", [[1], [0, 0], [1, -1], [1, np.inf], [np.nan, 1]])
def test_counts_must_fit_the_words(counts):
    with pytest.raises(InputError, match="counts must be 2 from 0 up"):
        made(numbers(3, 2)).coverage(["w0", "x"], counts)


def test_memory_grows_with_the_vocabulary_and_not_with_the_file(tmp_path):
    n, d, used = 8000, 100, [f"w{k}" for k in range(0, 8000, 100)]
    line = " ".join(f"{v:.5f}" for v in numbers(1, d)[0])
    path = written(tmp_path, "".join(f"w{k} {line}\n" for k in range(n)))
    packed = written(tmp_path, gzip.compress(path.read_bytes(), 1), "packed")
    assert path.stat().st_size > 6e6
    for file in (path, packed):
        tracemalloc.start()
        read = read_vectors(file, used)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(read.words) == len(used)
        assert peak < 2.5e6, peak  # a few blocks of 0.25 MB, and 32 kB of vectors


@settings(deadline=None, max_examples=30)
@given(n=st.integers(3, 40), d=st.integers(1, 12), whiten=st.booleans(), data=st.data())
def test_reduced_is_the_pca_of_scikit_learn_with_a_sign_that_is_defined(n, d, whiten, data):
    size = data.draw(st.integers(1, min(d, n - 1)))
    vectors = numbers(n, d, seed=n) * np.arange(1, d + 1, dtype=np.float32) + 3
    reduced = made(vectors).reduced(size, whiten=whiten)
    slow = PCA(size, whiten=whiten, svd_solver="full").fit(vectors.astype(np.float64))
    expected = slow.transform(vectors.astype(np.float64)) * (np.sqrt(n / (n - 1)) if whiten else 1)
    signs = np.sign((expected * reduced.vectors).sum(0))
    np.testing.assert_allclose(reduced.vectors, expected * signs, atol=1e-3)
    assert reduced.variance_kept == pytest.approx(slow.explained_variance_ratio_.sum())
    assert reduced.whitened == whiten
    largest = np.abs(reduced.components).argmax(1)
    assert (reduced.components[np.arange(size), largest] > 0).all()
    if whiten:
        np.testing.assert_allclose(
            np.cov(reduced.vectors.T, bias=True).reshape(size, size), np.eye(size), atol=1e-4
        )


def test_the_order_of_words_does_not_change_the_directions():
    vectors = numbers(50, 8)
    forward, back = made(vectors).reduced(3), made(vectors[::-1].copy()).reduced(3)
    np.testing.assert_allclose(forward.vectors, back.vectors[::-1], atol=1e-5)


def test_without_removal_the_mean_stays():
    vectors = numbers(30, 6) + 5
    kept, removed = (made(vectors).reduced(4, remove_mean=remove) for remove in (False, True))
    np.testing.assert_allclose(removed.vectors.mean(0), 0, atol=1e-5)
    shift = removed.components @ vectors.mean(0, dtype=np.float64)
    np.testing.assert_allclose(kept.vectors - removed.vectors, np.tile(shift, (30, 1)), atol=1e-4)


def test_reduced_twice_is_reduced_once():
    vectors = numbers(60, 10) * np.arange(1, 11, dtype=np.float32)
    once, twice = made(vectors).reduced(3), made(vectors).reduced(6).reduced(3)
    np.testing.assert_allclose(np.abs(twice.vectors), np.abs(once.vectors), atol=1e-3)
    assert twice.variance_kept == pytest.approx(once.variance_kept)
    assert twice.components.shape == (3, 10)


@pytest.mark.parametrize("size", [0, 5, 1.5, -1, True])
def test_a_size_out_of_range_is_refused(size):
    with pytest.raises(InputError, match="size must be a whole"):
        made(numbers(30, 4)).reduced(size)


@pytest.mark.parametrize(
    ("n", "d", "size", "why", "way_out"),
    [
        (30, 4, 5, r"in \[1, 4\], for the vectors of the file hold 4 numbers each, got 5", "leave it out"),
        (
            3,
            9,
            8,
            r"in \[1, 2\], for PCA of the 3 words found keeps 2 numbers each at most, got 8",
            "more words",
        ),
        (1, 9, 8, "one word alone has a vector, for PCA needs two words, got 8", "more words"),
    ],
)
def test_why_a_size_is_too_large_and_what_to_do_is_said(n, d, size, why, way_out):
    with pytest.raises(InputError, match=why) as error:
        made(numbers(n, d)).reduced(size)
    assert way_out in str(error.value).rpartition(";")[2]


def test_what_has_no_directions_to_give_is_refused():
    with pytest.raises(InputError, match="vary in 2 directions"):
        made(np.outer(np.arange(1, 9), [1, 2, 3]).astype(np.float32)).reduced(2, whiten=True)
    with pytest.raises(InputError, match="vary in 1 directions"):
        made(np.ones((4, 3), np.float32)).reduced(1)
    with pytest.raises(InputError, match="whitened"):
        made(numbers(30, 4)).reduced(3, whiten=True).reduced(2)
    with pytest.raises(InputError, match="size must be left out"):
        made(numbers(1, 4)).reduced(1)


def test_missing_words_are_drawn_at_the_scale_of_the_others_and_no_other_vector_depends_on_the_draw():
    vectors = made(numbers(500, 3) * np.float32([0.1, 1, 4]) + np.float32([0, 5, 0]))
    vocabulary = [*vectors.words[:10], *(f"missing{k}" for k in range(4000))]
    a, b, c = (vectors.matrix(vocabulary, np.random.default_rng(seed))[0] for seed in (0, 1, 0))
    np.testing.assert_array_equal(a, c)
    np.testing.assert_array_equal(a[:10], vectors.vectors[:10])
    np.testing.assert_array_equal(b[:10], a[:10])
    assert (a[10:] != b[10:]).any(1).all()
    assert a.dtype == np.float32
    np.testing.assert_allclose(a[10:].std(0), vectors.vectors.std(0), rtol=0.1)
    np.testing.assert_allclose(a[10:].mean(0), vectors.vectors.mean(0), atol=0.5)


def test_one_word_found_gives_a_spread_too():
    weights = made(np.float32([[3, -4]])).matrix(
        [f"missing{k}" for k in range(4000)], np.random.default_rng(0)
    )[0]
    np.testing.assert_allclose(weights.std(0), np.sqrt(12.5), rtol=0.1)


def test_what_fills_batches_up_has_no_vector_and_is_no_word():
    vectors = Vectors(
        words=("film", "[PAD]"), vectors=numbers(2, 3), found_words=1.0, found_tokens=None, source="made"
    )
    vocabulary, rng = [*SPECIAL, "Film", "axolotl"], np.random.default_rng
    weights, found, note = vectors.matrix(vocabulary, rng(0))
    assert weights[0].tolist() == [0, 0, 0]
    assert found.tolist() == [False, False, True, False]
    assert note.startswith(
        "of 3 words, 0 have their own vector, 1 that of the word in lower case, and 2 one drawn"
    )
    np.testing.assert_array_equal(weights[1:], vectors.matrix(vocabulary[1:], rng(0))[0])
    assert vectors.coverage(vocabulary, [0, 3, 5, 2]) == (0.5, 0.5)
    assert SPECIAL == of_text.SPECIAL == of_vectors.SPECIAL


@pytest.mark.parametrize(
    ("words", "vectors", "said"),
    [
        (("a",), np.ones((1, 2)), "float32"),
        (("a",), np.ones(2, np.float32), "float32"),
        (("a",), np.ones((1, 0), np.float32), "float32"),
        (("a", "a"), np.ones((2, 2), np.float32), "words must be 2 different"),
        (("a", "b"), np.ones((1, 2), np.float32), "words must be 1 different"),
        (("a", "b"), np.float32([[1, 2], [np.nan, 1]]), "finite, but not that of 'b'"),
    ],
)
def test_vectors_that_are_not_whole_cannot_be_made(words, vectors, said):
    with pytest.raises(InputError, match=said):
        Vectors(words=words, vectors=vectors, found_words=1.0, found_tokens=None, source="")


@pytest.mark.parametrize("reduce", [False, True])
def test_saved_and_loaded_is_the_same_to_the_bit(tmp_path, reduce):
    words = ("cat", "Straße", "\u2028", "…", "x" * 1000, "nul\0")
    before = Vectors(words=words, vectors=numbers(6, 4), found_words=0.5, found_tokens=None, source="made")
    before = before.reduced(3, whiten=True) if reduce else before
    path = tmp_path / "small.npz"
    before.save(path)
    after = Vectors.load(path)
    for name in ("words", "found_words", "found_tokens", "source", "variance_kept", "whitened"):
        assert getattr(after, name) == getattr(before, name)
    np.testing.assert_array_equal(after.vectors, before.vectors)
    assert (after.components is None) is not reduce
    if reduce:
        np.testing.assert_array_equal(after.components, before.components)
    assert [file.name for file in tmp_path.iterdir()] == ["small.npz"]
    with pytest.raises(ValueError, match="read-only"):
        after.vectors[0, 0] = 1


def test_no_byte_of_a_saved_file_can_be_changed_unnoticed(tmp_path):
    path = tmp_path / "small.npz"
    vectors = made(numbers(20, 4))
    vectors.save(path)
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(0, len(data), 150):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        try:
            read = Vectors.load(path)
        except InputError:
            continue
        assert read.words == vectors.words
        np.testing.assert_array_equal(read.vectors, vectors.vectors)
    for length in (0, 10, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match="make it again"):
            Vectors.load(path)


def test_pickles_and_other_files_are_refused(tmp_path):
    objects, array, other = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(objects, about=np.array([{"a": 1}], dtype=object), vectors=numbers(2, 2))
    np.save(array, numbers(2, 2))
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("about.npy", b"x")
    for data in (objects.getvalue(), array.getvalue(), other.getvalue(), b"cat 1.0 2.0\n"):
        with pytest.raises(InputError, match="must be vectors saved by heldout"):
            Vectors.load(written(tmp_path, data))
    with pytest.raises(InputError, match="No such file"):
        Vectors.load(tmp_path / "none.npz")


def test_a_failed_save_leaves_the_older_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "small.npz"
    made(numbers(2, 2)).save(path)
    older = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"cannot write .*No space left"):
        made(numbers(9, 2)).save(path)
    assert path.read_bytes() == older
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(InputError, match="cannot write"):
        made(numbers(2, 2)).save(tmp_path / "none" / "small.npz")


@pytest.mark.parametrize("name", ["small.npz", "small.bin"])
def test_saved_vectors_are_read_as_the_file_they_were_made_of(tmp_path, name):
    file = written(tmp_path, "film 1.0 2.0\nFilm 3.0 9.0\nparis 5.0 6.0\nThe 7.0 1.0\n")
    path = tmp_path / name
    first = read_vectors(file, ["film", "Film", "paris", "The"])
    first.save(path)
    for used in (["Paris", "Film", "axolotl"], ["the", "film"], ["FILM"]):
        again, direct = read_vectors(path, used, counts=[*range(1, len(used) + 1)]), read_vectors(file, used)
        assert again.words == direct.words
        np.testing.assert_array_equal(again.vectors, direct.vectors)
        assert again.found_words == direct.found_words
        assert again.source == f"{name}, made of {first.source}"
    assert again.found_tokens == 1.0
    reduced = first.reduced(1)
    reduced.save(path)
    assert read_vectors(path, ["paris"]).variance_kept == reduced.variance_kept
    with pytest.raises(InputError, match="none of 2 words such as 'dog'"):
        read_vectors(path, ["cat", "dog"])
    damaged = written(tmp_path, path.read_bytes()[:-30], "cut.npz")
    with pytest.raises(InputError, match="make it again"):
        read_vectors(damaged, ["cat"])


@pytest.mark.parametrize(
    ("name", "n", "d"),
    [("6B.300d.subset", 2275, 300), ("6B.100d.sample", 100, 100), ("840B.300d.first600", 597, 300)],
)
def test_real_glove_files_are_read_as_a_slow_reader_reads_them(shared, name, n, d):
    path = shared / "embeddings" / f"glove.{name}.txt.gz"
    if not path.exists():
        pytest.skip("this file of vectors is not beside this checkout")
    slow = {}
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        for line in file:
            word, *rest = line.rstrip("\n").rsplit(" ", d)
            slow.setdefault(word, np.array([float(v) for v in rest], np.float32))
    assert len(slow) == n
    read = read_vectors(path, [*slow, "Axolotls"])
    assert read.words == tuple(slow)  # four lines of 840B have an empty word
    np.testing.assert_array_equal(read.vectors, np.stack(list(slow.values())))
    half = read.reduced(d // 2 if n > d // 2 else 10)
    assert 0.5 < half.variance_kept < 1
