"""Text in columns: quotation marks, files without a header, labels before a blank."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.data.tables import open_table

NUMBERED = ("column_1", "column_2")
TEXTS = st.text(st.sampled_from(list("ab,\" ;|é.'")), min_size=1, max_size=12).filter(
    lambda text: text.strip('" ')
)


def written(folder, text, name="messages"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def values(table):
    return [table.frame[name].to_list() for name in table.frame.columns]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("delimited")


@settings(deadline=None, max_examples=80)
@given(texts=st.lists(TEXTS, min_size=2, max_size=8), end=st.sampled_from(["\n", "\r\n"]))
def test_between_tabs_texts_are_kept_to_the_letter_once_a_quotation_mark_encloses_no_field(
    folder, texts, end
):
    texts = ['it is 5" long', *texts]
    lines = [f"{'ham' if k % 2 else 'spam'}\t{text}" for k, text in enumerate(texts)]
    table = open_table(written(folder, end.join(lines) + end), columns=NUMBERED)
    assert values(table)[1] == texts
    assert table.place(2) == "line 3"
    assert "quotation marks are read as characters of the text, since those in line 1" in " ".join(
        table.notes
    )


@settings(deadline=None, max_examples=80)
@given(
    texts=st.lists(TEXTS | st.just("two\nlines, and; a|mark"), min_size=2, max_size=8),
    separator=st.sampled_from("\t,;|"),
)
def test_what_a_csv_writer_wrote_is_read_by_the_rules_of_csv(folder, texts, separator):
    file = io.StringIO()
    csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
        [("label", "text"), *((f"k{k}", text) for k, text in enumerate(texts))]
    )
    table = open_table(written(folder, file.getvalue()))
    assert values(table) == [[f"k{k}" for k in range(len(texts))], texts]
    assert "quotation" not in " ".join(table.notes)


@pytest.mark.parametrize(
    "rows",
    [
        ['ham\t"Hello', 'spam\tWin', 'ham\tyou"'],
        ['ham\t"Hello', 'spam\tWin'],
        ['ham\t"a" and "b"', 'spam\t"Win"'],
        ['"ham\tHello', 'spam\tWin'],
        ['ham\tHello', 'spam\tWin"'],
    ],
)  # fmt: skip
def test_lines_are_never_joined_or_cut_by_stray_quotation_marks_between_tabs(tmp_path, rows):
    table = open_table(written(tmp_path, "\n".join(rows)), columns=NUMBERED)
    assert list(zip(*values(table), strict=True)) == [tuple(row.split("\t")) for row in rows]


def test_between_commas_a_stray_quotation_mark_is_an_error_that_names_the_way_out(tmp_path):
    with pytest.raises(InputError, match=r"one is left open; .* doubled, or the fields separated by tabs"):
        open_table(written(tmp_path, 'label,text\nham,"Hello\nspam,Win\n'))
    with pytest.raises(
        InputError, match=r"line 2 of .* has 3 and the first has 2; .* around a field that holds commas"
    ):
        open_table(written(tmp_path, "label,text\nham,Hello, you\nspam,Win\n"))


def test_columns_asked_for_by_number_say_that_there_is_no_header(tmp_path):
    path = written(tmp_path, "ham\tHello\nspam\tWin\nham\tYes\n")
    asked, plain = open_table(path, columns=["column_2"]), open_table(path)
    assert (asked.frame.columns, values(asked)[0], asked.first_line) == (
        [*NUMBERED],
        ["ham", "spam", "ham"],
        1,
    )
    assert "no column is called 'column_2', so the first row is read as data" in asked.notes[1]
    assert (plain.frame.columns, plain.first_line) == (["ham", "Hello"], 2)
    assert open_table(path, columns=["text"]).frame.columns == ["ham", "Hello"]
    assert open_table(path, columns=["column_3"]).frame.columns == ["ham", "Hello"]
    named = open_table(written(tmp_path, "column_2,x\na,b\n"), columns=["column_2"])
    assert named.frame.columns == ["column_2", "x"]
    repeated = written(tmp_path, "yes,yes\nno,yes\n")
    assert values(open_table(repeated, columns=NUMBERED)) == [["yes", "no"], ["yes", "yes"]]
    with pytest.raises(InputError, match="2 columns named 'yes'"):
        open_table(repeated)


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(st.text(st.sampled_from(list('ab," ;|é')), max_size=12), min_size=2, max_size=9))
def test_lines_of_a_label_one_blank_and_a_text_are_cut_at_the_first_blank(folder, texts):
    texts = ["one, two", "three ; ' no comma, or two, here", *texts]
    lines = [f"{k % 3} {text}" for k, text in enumerate(texts)]
    table = open_table(written(folder, "\n".join(lines) + "\n"), columns=NUMBERED)
    assert values(table) == [[k % 3 for k in range(len(texts))], texts]
    assert table.place(1) == "line 2"


def test_labels_before_a_blank_are_offered_where_nothing_else_cuts_the_file(tmp_path):
    path = written(tmp_path, "".join(f"{k % 2} good, bad{', ugly' * (k % 3)}\n" for k in range(12)))
    with pytest.raises(
        InputError,
        match="if each line is a label, a blank and a text, name the columns column_1 and column_2",
    ):
        open_table(path)
    path.write_text(path.read_text() + '0 he said "no\n')
    with pytest.raises(InputError, match=r"left open; .*if each line is a label, a blank and a text"):
        open_table(path)
    assert len(open_table(path, columns=NUMBERED).frame) == 13
    path.write_text(path.read_text() + "nothing\n")
    with pytest.raises(InputError, match=r"every line must be a label, .* line 14 is 'nothing'; correct it"):
        open_table(path, columns=NUMBERED)


def test_a_decimal_comma_changes_no_text(tmp_path):
    table = open_table(written(tmp_path, "x;text\n1,5;2,50\n2,5;as\n3,5;you\n4,5;like\n"))
    assert values(table) == [[1.5, 2.5, 3.5, 4.5], ["2,50", "as", "you", "like"]]
