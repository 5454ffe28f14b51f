"""Back translation keeps texts apart and in order, makes each once, and trusts no damaged cache."""

import multiprocessing
import os
import random
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heldout.augment.translate import Apertium, BackTranslation, check_translation, read_translation
from heldout.check import FitError, InputError

FAKE = """#!/bin/sh
case "$1" in
-V) echo "Apertium 0" ;;
-l) echo "eng-spa spa-eng" ;;
*) echo run >> "$LOG"; %s ;;
esac
"""


class Upper:
    """Upper case, and a list of what was asked for."""

    def __init__(self, name="upper", log=None):
        self.name, self.asked, self.log = name, [], log

    def translate(self, texts):
        self.asked += texts
        if self.log:
            with Path(self.log).open("a") as file:
                file.writelines(f"{text}\n" for text in texts)
            time.sleep(0.02)
        return [text.upper() for text in texts]


class Same:
    name = "same"

    def translate(self, texts):
        return list(texts)


def test_variants_come_in_order_and_each_text_is_translated_once(tmp_path):
    texts = [f"text {number % 150}" for number in range(400)]
    upper, seen = Upper(), []
    made = BackTranslation(upper, Same(), cache=tmp_path).variants(
        texts, progress=lambda *at: seen.append(at)
    )
    assert made == [text.upper() for text in texts]
    assert sorted(upper.asked) == sorted(set(texts))
    assert seen == [(64, 150), (128, 150), (150, 150)]
    again = Upper()
    assert BackTranslation(again, Same(), cache=tmp_path).variants([*texts, "new"])[-1] == "NEW"
    assert again.asked == ["new"]


def test_another_translator_has_a_cache_of_its_own(tmp_path):
    BackTranslation(Upper("one"), Same(), cache=tmp_path).variants(["a"])
    other = Upper("two")
    BackTranslation(other, Same(), cache=tmp_path).variants(["a"])
    assert other.asked == ["a"]


def test_what_was_made_before_a_stop_is_kept(tmp_path):
    def stop(done, _):
        if done >= 128:
            raise KeyboardInterrupt

    texts = [f"{number:03}" for number in range(200)]
    with pytest.raises(KeyboardInterrupt):
        BackTranslation(Upper(), Same(), cache=tmp_path).variants(texts, progress=stop)
    rest = Upper()
    assert BackTranslation(rest, Same(), cache=tmp_path).variants(texts) == texts
    assert rest.asked == texts[128:]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_cache_is_made_anew_and_never_believed(tmp_path, data):
    folder = tmp_path / str(time.monotonic_ns())
    texts = ["a film", "été", "two\nlines", ""]
    BackTranslation(Upper(), Same(), cache=folder).variants(texts)
    (path,) = folder.glob("*.txt")
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(
        st.sampled_from(
            [whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], os.urandom(at), whole[at:]]
        )
    )
    path.write_bytes(damaged)
    assert BackTranslation(Upper(), Same(), cache=folder).variants(texts) == [text.upper() for text in texts]
    whole_again = Upper()
    BackTranslation(whole_again, Same(), cache=folder).variants(texts)
    assert whole_again.asked == []


def _translate(folder, log, texts):
    made = BackTranslation(Upper(log=log), Same(), cache=folder).variants(texts)
    assert made == [text.upper() for text in texts]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the children use no threads
def test_processes_that_ask_at_once_share_the_work(tmp_path):
    texts = [f"text {number}" for number in range(200)]
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=_translate, args=(tmp_path, tmp_path / "log", texts[start:] + texts[:start]))
        for start in (0, 70, 140)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert sorted((tmp_path / "log").read_text().splitlines()) == sorted(texts)


def test_where_no_cache_can_be_written_translation_goes_on(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert BackTranslation(Upper(), Same(), cache=tmp_path / "file").variants(["a"]) == ["A"]


def test_the_cache_lies_in_the_cache_folder_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    BackTranslation(Upper(), Same()).variants(["a"])
    assert list((tmp_path / "heldout").glob("translations-*.txt"))


def test_a_text_of_which_nothing_comes_back_stands_for_itself(tmp_path):
    class Empty(Same):
        def translate(self, texts):
            return [" "] * len(texts)

    assert BackTranslation(Empty(), Same(), cache=tmp_path).variants(["a"]) == ["a"]


@pytest.mark.parametrize(
    ("texts", "said"), [("a film", "got None at place 0"), (["a", 1.5], "got 1.5 at place 1")]
)
def test_what_is_no_list_of_texts_is_refused(tmp_path, texts, said):
    with pytest.raises(InputError, match=said):
        BackTranslation(Same(), Same(), cache=tmp_path).variants(texts)


# Apertium


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Puts a program in the place of apertium; gives a count of its runs."""

    def put(command):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "apertium").write_text(FAKE % command)
        (folder / "apertium").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
        monkeypatch.setenv("LOG", str(tmp_path / "log"))
        return lambda: len((tmp_path / "log").read_text().splitlines())

    return put


def test_many_texts_go_through_one_run_and_long_ones_in_pieces(fake):
    runs = fake("tr a-z A-Z")
    texts = ["a film", "two\n\nlines\r\nthree", "", " ?! 12 ", "a  b\tc\x00d", "x\ud800"]
    assert Apertium("eng-spa").translate(texts) == [
        "A FILM",
        "TWO\n\nLINES\nTHREE",
        "",
        "?! 12",
        "A B C D",
        "X?",
    ]
    assert runs() == 1
    long = " ".join(f"word{number}" for number in range(1200))
    assert Apertium("eng-spa").translate([long]) == [long.upper()]
    assert runs() > 3


def test_texts_that_melt_together_are_translated_alone(fake):
    fake("tr -s '\\n' | tr a-z A-Z")
    assert Apertium("eng-spa").translate(["one", "two", "three"]) == ["ONE", "TWO", "THREE"]


def test_a_program_that_hangs_fails_or_is_missing_is_said(fake, tmp_path, monkeypatch):
    fake("(sleep 0.5; echo late >> $LOG; sleep 30) | cat")
    start = time.monotonic()
    with pytest.raises(FitError, match=r"within timeout_s=0\.2 .* begins with 'a film"):
        Apertium("eng-spa", timeout_s=0.2).translate(["a film"])
    assert time.monotonic() - start < 5
    time.sleep(0.5)
    assert "late" not in (tmp_path / "log").read_text()
    fake("echo 'Error: Mode eng-spa does not exist' >&2; exit 3")
    with pytest.raises(FitError, match=r"status 3 \('Error: Mode eng-spa does not exist'\)"):
        Apertium("eng-spa").translate(["a film"])
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="apt install apertium apertium-eng-spa"):
        check_translation("apertium:eng-spa")


@pytest.mark.parametrize("spec", ["apertium:eng-xyz", "apertium:eng-spa,spa-xyz", "apertium:xyz-eng,spa-eng"])
def test_a_mode_that_is_not_installed_is_refused_either_way_before_anything_is_translated(
    fake, tmp_path, spec
):
    fake("tr a-z A-Z")
    for refused in (
        lambda: check_translation(spec),
        lambda: read_translation(spec, cache=tmp_path / "cache").variants(["a film"]),
    ):
        with pytest.raises(InputError, match=r"one that is installed \(eng-spa, spa-eng\), got '\w*-?xyz"):
            refused()
    assert not (tmp_path / "log").exists()
    assert not (tmp_path / "cache").exists()
    check_translation("apertium:eng-spa")


@pytest.mark.parametrize("mode", ["", "-l", "english", "eng-spa/../x", "eng spa"])
def test_a_mode_is_two_codes_of_languages(mode):
    with pytest.raises(InputError, match="such as 'eng-spa'"):
        Apertium(mode)


needs_apertium = pytest.mark.skipif(shutil.which("apertium") is None, reason="Apertium is not installed")


@needs_apertium
def test_apertium_translates_there_and_back(tmp_path):
    variants = read_translation("apertium:eng-spa", cache=tmp_path).variants(
        ["the dog sees a big house\n\nit is red"]
    )
    assert variants == ["The dog sees a big house\n\nIt is red"]


@needs_apertium
def test_no_text_disturbs_its_neighbours_in_apertium():
    rng = random.Random(0)
    special = "[]{}^$@\\/<>~*#+_|.&%\"'ñ日😀\u200b\u2028\u00ad\x85\x00\ufeff ab1"
    texts = ["".join(rng.choices(special, k=rng.randint(1, 30))) for _ in range(60)]
    texts += [*special, "^film<n><sg>$", "[[t:b:x]]", "\\", "{^x<n>$}", "<b>bold", "a\n\n\n", "]["]
    mixed = [text for special_text in texts for text in (special_text, "the dog sees a house")]
    made = Apertium("eng-spa", batch_characters=100_000).translate(mixed)
    assert {text.lower() for text in made[1::2]} == {"el perro ve una casa"}


@pytest.mark.parametrize(
    "spec", ["", "apertium", "apertium:", "apertium:a-b,c-d,e-f", "marian:one", "marian:a,", "google:en-es"]
)
def test_a_line_of_another_form_is_refused_with_what_is_allowed(spec):
    with pytest.raises(InputError, match=r"'apertium:eng-spa' .* 'marian:THERE,BACK'|such as 'eng-spa'"):
        read_translation(spec)


def test_a_line_names_both_ways():
    assert [
        way.mode
        for way in vars(read_translation("apertium: eng-spa,spa-eng_US")).values()
        if isinstance(way, Apertium)
    ] == ["eng-spa", "spa-eng_US"]
    assert read_translation("apertium:spa-eng").back.mode == "eng-spa"
    assert read_translation("marian:a/b,c/d", device="cuda").back.device == "cuda"
