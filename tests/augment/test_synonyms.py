"""Substitutes are those of the dictionary files and of the vectors, and the cache changes nothing."""

import gzip
from itertools import islice

import numpy as np
import pytest

from heldout.augment import synonyms as module
from heldout.augment.synonyms import WORDNET, nearest_words, read_synonyms
from heldout.check import InputError

LICENCE = "  1 This is the licence of no dictionary\n  2 at all.\n"
SYNSETS = {  # part of speech: (words, gloss), in the order of the file
    "noun": [("film movie motion_picture", "seen | with a bar"), ("film", "a thin coat"), ("child kid", "young"), ("offspring child", "of parents"), ("Paris City_of_Light", "a city")],
    "verb": [("film shoot", "take pictures"), ("stop halt", "end")],
    "adj": [("good well-made ready_to_hand(p)", "fine"), ("Film", "of films")],
    "adv": [("well good", "in a good way")],
}  # fmt: skip
EXCEPTIONS = {"noun": "children child\noffspring offspring\n"}


def write_dictionary(folder, synsets=SYNSETS):
    """A dictionary in the format of wndb(5WN); the senses of a word are in the order of the file."""
    folder.mkdir(exist_ok=True)
    for part, entries in synsets.items():
        data, index = LICENCE, {}
        for words, gloss in entries:
            offset = f"{len(data):08d}"
            names = words.split()
            fields = " ".join(f"{name} 0" for name in names)
            data += f"{offset} 03 {part[0]} {len(names):02x} {fields} 001 @ 00001740 n 0000 | {gloss}  \n"
            for name in names:
                index.setdefault(name.partition("(")[0].lower(), []).append(offset)
        lines = [f"{w} {part[0]} {len(o)} 1 @ {len(o)} 0 {' '.join(o)}  \n" for w, o in sorted(index.items())]
        (folder / f"data.{part}").write_text(data)
        (folder / f"index.{part}").write_text(LICENCE + "".join(lines))
    for part, text in EXCEPTIONS.items():
        (folder / f"{part}.exc").write_text(text)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "heldout"


@pytest.fixture
def folder(tmp_path):
    return write_dictionary(tmp_path / "dict")


def test_synonyms_are_the_other_words_of_the_synsets_nearest_sense_first(folder):
    table = read_synonyms(folder)
    assert table["film"] == ("movie", "motion picture", "shoot")
    assert table["good"] == ("well made", "ready to hand", "well")
    assert table["Well"] == ("good",)
    assert table["paris"] == ("city of light",)
    assert table["child"] == ("kid", "offspring")
    assert "sky" not in table
    assert table.get("sky", ()) == ()


def test_single_words_with_synonyms_are_listed_and_no_others(folder):
    table = read_synonyms(folder)
    assert len(table) == len(list(table))
    assert set(table) == {"film", "movie", "child", "kid", "offspring", "children", "paris", "shoot", "stop", "halt", "good", "well-made", "well"}  # fmt: skip
    assert all(table[word] for word in table)


def test_inflected_forms_are_found_as_their_part_of_speech(folder):
    table = read_synonyms(folder)
    assert table["movies"] == ("film", "motion picture")
    assert table["filming"] == table["filmed"] == ("shoot",)
    assert table["children"] == table["child"]
    assert table["offspring"] == ("child",)  # its own base form
    assert "goods" not in table  # no noun


def test_fewer_senses_leave_later_ones_out(folder):
    assert read_synonyms(folder, max_senses=1)["child"] == ("kid",)
    assert read_synonyms(folder, max_senses=2)["child"] == ("kid", "offspring")
    with pytest.raises(InputError, match="max_senses must be in"):
        read_synonyms(folder, max_senses=0)


def test_the_table_is_built_once_and_again_when_the_dictionary_changes(folder, cache, monkeypatch):
    first = dict(read_synonyms(folder))
    assert [path.suffix for path in cache.iterdir()] == [".npz"]
    build = module._read_entries
    monkeypatch.setattr(module, "_read_entries", lambda *_: pytest.fail("built again"))
    assert dict(read_synonyms(folder)) == first
    monkeypatch.setattr(module, "_read_entries", build)
    write_dictionary(folder, {**SYNSETS, "verb": [("film record", "take pictures")]})
    assert read_synonyms(folder)["film"] == ("movie", "motion picture", "record")


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut", "half"])
def test_a_damaged_cache_is_built_again(folder, cache, damage):
    first = dict(read_synonyms(folder))
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] if damage == "half" else damage)
    assert dict(read_synonyms(folder)) == first
    size = file.stat().st_size
    assert size > 100
    assert [path.name for path in cache.iterdir()] == [file.name]


def test_without_a_place_for_the_cache_synonyms_are_read_all_the_same(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert read_synonyms(folder)["halt"] == ("stop",)


@pytest.mark.parametrize("home", ["", "not/absolute"])
def test_a_cache_home_that_is_not_absolute_counts_as_not_given(folder, tmp_path, monkeypatch, home):
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    read_synonyms(folder)
    assert len(list((tmp_path / "me" / ".cache" / "heldout").iterdir())) == 1


def test_no_dictionary_says_how_to_get_one_and_what_does_without(tmp_path):
    with pytest.raises(InputError, match=r"apt install wordnet-base.*AEDA.*neighbours") as error:
        read_synonyms(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(error.value)


def test_some_parts_of_speech_are_enough(tmp_path):
    folder = write_dictionary(tmp_path / "verbs", {"verb": SYNSETS["verb"]})
    assert read_synonyms(folder)["film"] == ("shoot",)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("data.noun", "00000047 03 n 09 film 0\n", r"data.noun: a line must be of the form .* but line 3 is not"),
        ("data.noun", "00000047 03 n zz film 0\n", r"but line 3 is not"),
        ("index.verb", "stop v 2 1 @ 1 0 00000047\n", r"index.verb: a line must be of the form .* but line 3 is not"),
        ("index.verb", "stop\n", r"but line 3 is not"),
        ("index.verb", "stop v 1 1 @ 1 0 99999999\n", r"'stop' names '99999999', which is not there; take both files"),
    ],
)  # fmt: skip
def test_a_damaged_dictionary_is_named_with_its_line(folder, file, text, message):
    (folder / file).write_text(LICENCE + text)
    with pytest.raises(InputError, match=message):
        read_synonyms(folder)


def test_a_missing_half_of_the_dictionary_is_named(folder):
    (folder / "data.adv").unlink()
    with pytest.raises(InputError, match=r"data.adv: a WordNet dictionary must have this file"):
        read_synonyms(folder)


@pytest.mark.skipif(not (WORDNET / "data.noun").is_file(), reason="Debian's wordnet-base is not installed")
def test_the_real_dictionary_agrees_with_its_synsets_read_by_their_byte_offset():
    table = read_synonyms()
    assert len(table) > 60_000
    rng = np.random.default_rng(0)
    for number, part in enumerate(module._PARTS):
        lines = [line for line in (WORDNET / f"index.{part}").read_text().splitlines() if line[0] != " "]
        data = (WORDNET / f"data.{part}").read_bytes()
        for line in rng.choice(lines, 100).tolist():
            fields = line.split()
            if "_" in fields[0]:
                continue
            expected = set()
            for offset in fields[-int(fields[2]) :]:
                synset = data[int(offset) : data.index(b"\n", int(offset))].decode().split()
                assert synset[0] == offset
                names = synset[4 : 4 + 2 * int(synset[3], 16) : 2]
                expected |= {n.split("(")[0].replace("_", " ").replace("-", " ").lower() for n in names}
            found = set(table._entries(fields[0], number))
            assert expected - {fields[0], fields[0].replace("-", " ")} == found - {
                fields[0].replace("-", " ")
            }


def test_neighbours_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(600)] + ["W0"]  # more than one block
    vectors = rng.normal(size=(601, 3))
    vectors[5], vectors[600] = 0, 2 * vectors[0]
    near = nearest_words(words, vectors, max_candidates=7, min_cosine=0.9)
    for i in [0, 5, 100, 511, 512, 599, 600]:
        cosine = {}
        for j, word in enumerate(words):
            length = np.linalg.norm(vectors[i]) * np.linalg.norm(vectors[j])
            if length and word.lower() != words[i].lower() and vectors[i] @ vectors[j] / length >= 0.9:
                cosine[word] = vectors[i] @ vectors[j] / length
        best = sorted(cosine, key=lambda word: -cosine[word])[:7]
        assert set(near.get(words[i], ())) == set(best)
        np.testing.assert_allclose(
            [cosine[word] for word in near.get(words[i], ())], [cosine[w] for w in best], rtol=1e-6
        )


def test_vectors_that_do_not_fit_are_named():
    with pytest.raises(InputError, match=r"one row per word, got shape \(2, 3\) for 1 words"):
        nearest_words(["a"], np.ones((2, 3)))
    with pytest.raises(InputError, match=r"that of 'b' \(row 1\) is not"):
        nearest_words(["a", "b"], np.array([[1.0], [np.nan]]))
    with pytest.raises(InputError, match="min_cosine must be in"):
        nearest_words(["a"], np.ones((1, 1)), min_cosine=0.0)
    assert nearest_words([], np.ones((0, 3))) == {}


def test_words_near_in_real_vectors_are_near_in_meaning(shared):
    with gzip.open(shared / "embeddings" / "glove.6B.300d.subset.txt.gz", "rt", encoding="utf-8") as file:
        lines = [line.split(" ") for line in islice(file, 1500)]
    near = nearest_words(
        [line[0] for line in lines], np.array([line[1:] for line in lines], float), min_cosine=0.7
    )
    for word, other in [("two", "three"), ("he", "him"), ("after", "before"), ("said", "told")]:
        assert other in near[word], word
