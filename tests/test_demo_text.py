"""The texts of the demo: no label in a text, no module on two sides, nothing executed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.demo_text import LEAST_WORDS, PACKAGES, docstring_texts, first_sentence

BOOM = 'raise RuntimeError("executed")\n'


@pytest.fixture(scope="module")
def table():
    return docstring_texts(n_per_package=60, n_per_module=10)


def write_package(folder, name, files):
    for path, text in {"__init__.py": BOOM, **files}.items():
        file = folder / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def function(name, docstring):
    return f"def {name}():\n    '''{docstring}'''\n"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Two packages that cannot be imported."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(red, blue=None):
        write_package(tmp_path, "redpack", red)
        write_package(tmp_path, "bluepack", blue or {"a.py": function("f", "Paint the whole sky blue.")})
        return docstring_texts(("redpack", "bluepack"))

    return make


def test_no_text_holds_the_name_of_a_package(table):
    for text in table["text"]:
        assert not any(name in text.lower() for name in PACKAGES)
        assert not {"np", "pd", "pl", "sp"} & set(re.findall(r"\w+", text.lower()))


def test_every_text_is_a_sentence_that_occurs_once(table):
    assert table["text"].str.to_lowercase().n_unique() == len(table)
    assert all(len(text.split()) >= LEAST_WORDS for text in table["text"])
    assert all(text == " ".join(text.split()) for text in table["text"])


def test_no_package_and_no_module_has_more_texts_than_asked_for(table):
    assert set(table["package"]) == set(PACKAGES) & set(table["package"])
    assert table["package"].value_counts()["count"].max() <= 60
    assert table["module"].value_counts()["count"].max() <= 10
    assert all(row["module"].split(".")[0] == row["package"] for row in table.to_dicts())


def test_the_choice_is_always_the_same(table):
    assert docstring_texts(n_per_package=60, n_per_module=10).equals(table)


def test_modules_are_parsed_and_not_executed(made):
    found = made({"a.py": BOOM + function("f", "Paint the whole wall red.")})
    assert found.to_dicts() == [
        {"text": "Paint the whole wall red", "package": "redpack", "module": "redpack.a"},
        {"text": "Paint the whole sky blue", "package": "bluepack", "module": "bluepack.a"},
    ]


def test_private_names_and_folders_of_tests_and_of_others_code_are_passed_over(made):
    hidden = function("f", "This is not to be shown.")
    files = {
        "tests/a.py": hidden,
        "_vendor/a.py": hidden,
        "externals/a.py": hidden,
        "conftest.py": hidden,
        "broken.py": "def f(:\n",
        "a.py": function("_f", "This is not to be shown.")
        + "class A:\n    def f(self):\n        '''Shown it is, of course.'''\n",
    }
    assert made(files)["text"].to_list() == ["Shown it is, of course", "Paint the whole sky blue"]


def test_docstrings_that_are_added_to_names_in_c_are_read(made):
    files = {
        "a.py": "add_newdoc('m', 'f', 'Paint it all in red.')\nt.add_docstr(g, r'''g(x)\n\nPaint {it} in pink.'''.format(it=1))\n"
        "add_newdoc('m', 'C', ('h', 'Paint the rest in rose.'))\n"
    }
    texts = made(files).filter(package="redpack")["text"].to_list()
    assert texts == ["Paint it all in red", "Paint {it} in pink", "Paint the rest in rose"]


def test_what_two_packages_say_or_what_names_one_of_them_is_left_out(made):
    same = function("f", "Open the file and read it.")
    named = function("g", "Make a bluepack object from this.") + function("h", "Give it as an np array.")
    assert made({"a.py": same + named}, {"a.py": same}).is_empty()


def test_one_package_alone_is_refused():
    with pytest.raises(InputError, match=r"of two packages at least, .* installed: numpy$"):
        docstring_texts(("numpy", "no_such_package"))


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Give ``a`` and *b*, **both**.", "Give a and b, both"),
        ("\n    See `the page <https://a.b>`_\n    for :class:`~m.n.Cat`. More.\n", "See the page for Cat"),
        (":func:`m.f` of :ref:`that <there>` [1]_ is it", "m.f of that is it"),
        ("Of e.g. A. Smith, i.e. 3.5 vs. 4. Then", "Of e.g. A. Smith, i.e. 3.5 vs. 4"),
        ("f(a, b=1) -> C\n\nGive it back!", "Give it back"),
        (".. deprecated:: 1.0\n\nGive it.", ""),
        ("Heading\n-------\nText.", ""),
        ("Args: a: what it is", ""),
        (":param a: what it is", ""),
        ("", ""),
    ],
)
def test_the_first_sentence_is_plain_text(docstring, sentence):
    assert first_sentence(docstring) == sentence


@given(st.text(alphabet="ab *`:~<>[]_.\n(", max_size=60))
def test_any_docstring_gives_one_line(docstring):
    found = first_sentence(docstring)
    assert found == " ".join(found.split(" ")).strip()
    assert "\n" not in found
