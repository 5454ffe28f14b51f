"""Tables of texts: bad input has a defined outcome."""

import gzip
import json

import numpy as np
import pandas as pd
import polars as pl
import pytest

from heldout.check import InputError
from heldout.data.text_table import read_texts


def frame(**columns):
    return pl.DataFrame(columns)


def test_a_table_gives_its_texts_classes_groups_and_times_in_its_rows():
    table = frame(
        review=["Good.", None, "Bad"], stars=[5, 1, 1], who=["b", "a", "b"], day=["2020-01-02", "2020-01-01", "2020-01-03"]
    )  # fmt: skip
    for source in (table, table.to_pandas(), table.to_arrow()):
        data = read_texts(source, text="review", target="stars", group="who", time="day")
        assert data.texts == ("Good.", "", "Bad")
        assert (data.classes, data.labels.tolist()) == (("1", "5"), [1, 0, 0])
        assert data.group.tolist() == [1, 0, 1]
        assert np.argsort(data.time).tolist() == [1, 0, 2]
        assert "1 of 3 texts is empty, the first in row 1" in data.notes
        assert "the numbers in 'stars' are read as names of classes, without their order" in data.notes
    unlabelled = read_texts(table, text="review")
    assert (unlabelled.labels, unlabelled.classes, len(unlabelled)) == (None, (), 3)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([10, 9, 2], ("2", "9", "10")),
        ([1.0, 0.0, 1.0], ("0", "1")),
        ([True, False, True], ("False", "True")),
        (["NA", "b", "a"], ("NA", "a", "b")),
        ([None, 1, 0], None),
        ([float("nan"), 1.0, 0.0], None),
        (["a", " ", "b"], None),
    ],
)
def test_numbers_booleans_and_words_are_classes_and_a_missing_label_is_refused(labels, classes):
    table = frame(text=["x", "y", "z"], label=labels)
    if classes is None:
        with pytest.raises(InputError, match=r"every row must have a label, .* 1 row, the first row [01]; "):
            read_texts(table, text="text", target="label")
    else:
        data = read_texts(table, text="text", target="label")
        assert data.classes == classes
        assert [data.classes[k] for k in data.labels] == [
            str(int(x) if type(x) is float else x) for x in labels
        ]


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (frame(text=["a", "b"], y=["p", "p"]), {}, "two classes at least, but column 'y' holds 'p' only"),
        (frame(text=["a", "b"], y=[0.5, 1.0]), {}, r"labels must be classes, .* number 0.5 in row 0"),
        (frame(text=[1, 2], y=["p", "q"]), {}, "text column must hold text, but 'text' holds Int64"),
        (frame(text=[b"a", b"b"], y=["p", "q"]), {}, "holds bytes: decode them"),
        (frame(text=["", None], y=["p", "q"]), {}, "'text' is empty in all rows"),
        (frame(text=["a", "b"], y=["p", "q"]), {"target": "text"}, "text and target must be two columns, but both are 'text'"),
        (frame(text=["a", "b"], y=["p", "q"]), {"group": "y"}, "puts whole classes on one side of a split; name another with group=, or leave it out"),
        (frame(text=["a", "b"], y=["p", "q"]), {"time": "y"}, "a time that is the label puts whole classes on one side"),
        (frame(text=["a", "b"], y=["p", "q"]), {"group": "text"}, "text and group must be two columns"),
        (frame(text=["a", "b"], y=["p", ""]), {}, "column 'y' is empty in 1 row, the first"),
        (frame(text=["a", "b"], y=["p", "q"]), {"target": "x"}, "no column 'x' in the table"),
        (frame(txt=["a", "b"], y=["p", "q"]), {}, r"no column 'text' in the table \(did you mean 'txt'\?\)"),
        (frame(text=["a", "b"], y=["pos", "new"]), {"classes": ["neg", "pos"]},
         r"one of the training texts \(neg, pos\), but 1 is not, the first 'new' in row 1 \(did you mean 'neg'\?\)"),
        (frame(text=["a", "b"], y=["p", "q"], g=["x", None]), {"group": "g"}, "'g' must have a value in every row"),
        (pd.DataFrame({"text": np.array(["a", 3], object), "y": ["p", "q"]}), {}, "'text' holds 3 in row 1"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_read_is_refused_with_the_place(table, options, message):
    with pytest.raises(InputError, match=message):
        read_texts(table, **{"text": "text", "target": "y", **options})


def test_labels_of_several_kinds_are_classes_by_their_names():
    labels = np.array([np.int64(10), True, "x", 1, np.int64(2)], object)
    data = read_texts(pd.DataFrame({"text": list("abcde"), "y": labels}), text="text", target="y")
    assert data.classes == ("1", "True", "2", "10", "x")
    assert [data.classes[k] for k in data.labels] == ["10", "True", "x", "1", "2"]


def test_a_file_that_is_not_utf8_is_refused_or_read_with_its_encoding(tmp_path):
    path = tmp_path / "reviews.csv.gz"
    path.write_bytes(gzip.compress('text,y\n"Très bon, oui",p\nnul,n\n'.encode("latin-1")))
    with pytest.raises(InputError, match=r"must be utf-8 text, but byte 10 is 0xe8; .*'latin-1'"):
        read_texts(path, text="text", target="y")
    data = read_texts(path, text="text", target="y", encoding="latin-1")
    assert data.texts == ("Très bon, oui", "nul")


def test_a_test_table_follows_and_its_classes_must_be_known():
    train = frame(text=["a", "b"], y=["p", "q"])
    data = read_texts(train, text="text", target="y", test=frame(text=["c"], y=["q"]))
    assert (data.n_train, data.labels.tolist()) == (2, [0, 1, 1])
    with pytest.raises(InputError, match="the first 'r' in row 0 of the test table"):
        read_texts(train, text="text", target="y", test=frame(text=["c"], y=["r"]))


def test_texts_that_occur_again_with_another_label_are_counted():
    texts = ["Ok  then", "ok then", "OK THEN", "no", "no", "other", "", ""]
    data = read_texts(frame(text=texts, y=list("ppqrrrpq")), text="text", target="y")
    note = "2 texts occur more than once (5 rows); 1 of them has different labels (3 rows)"
    assert note in data.notes


NUMBERED = {"text": "column_2", "target": "column_1"}


def test_real_messages_are_read_to_the_letter(shared):
    path = shared / "text/sms_spam/SMSSpamCollection.gz"
    lines = gzip.decompress(path.read_bytes()).decode().removesuffix("\n").split("\n")
    data = read_texts(path, **NUMBERED)
    labels, texts = zip(*(line.split("\t") for line in lines), strict=True)
    assert data.texts == texts
    assert tuple(data.classes[k] for k in data.labels) == labels
    assert np.bincount(data.labels).tolist() == [4827, 747]
    assert any(note.startswith("quotation marks are read as characters of the text") for note in data.notes)
    with pytest.raises(InputError, match="if the first row is data, name the columns column_1, column_2"):
        read_texts(path, text="text", target="label")


@pytest.mark.parametrize(
    ("name", "encoding", "n", "n_classes"),
    [
        ("sent_conv/rt-polarity.all.gz", "latin-1", 10662, 2),
        ("sent_conv/TREC.train.all.gz", "latin-1", 5452, 6),
        ("sent_conv/stsa.fine.train.gz", "utf-8", 8544, 5),
        ("eda/trec/train_500.txt.gz", "utf-8", 500, 6),
    ],
)
def test_real_texts_after_their_labels_are_read_as_a_slow_reader_reads_them(
    shared, name, encoding, n, n_classes
):
    path = shared / "text" / name
    lines = gzip.decompress(path.read_bytes()).decode(encoding).removesuffix("\n").split("\n")
    data = read_texts(path, **NUMBERED, encoding=encoding)
    slow = [(line[0], line[2:]) for line in lines]  # each label is one digit
    assert [(data.classes[k], text) for k, text in zip(data.labels, data.texts, strict=True)] == slow
    assert (len(data), len(data.classes)) == (n, n_classes)


def test_real_json_lines_are_read(shared):
    path = shared / "text/newsgroups4/20news_bydate_4cat_train.jsonl.gz"
    data = read_texts(path, text="text", target="label")
    slow = [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().strip().split("\n")]
    assert data.texts == tuple(row["text"] for row in slow)
    assert len(data.classes) == 4


def test_a_header_that_looks_like_data_is_said(tmp_path):
    path = tmp_path / "messages.tsv"
    path.write_text("ham\tHello you\nspam\tWin\nham\tYes\n")
    data = read_texts(path, text="Hello you", target="ham")
    assert (
        "the first row is read as a header, but the name 'ham' occurs again in its column (1 row); if the first row is data,"
        in " ".join(data.notes)
    )
    assert len(read_texts(path, **NUMBERED)) == 3
    for text in ("0\thow are you\n1\tfine\n", "x\t" + "word " * 10 + "\ny\tfine\n"):
        path.write_text(text)
        with pytest.raises(
            InputError, match=r"no column 'text' .*; it has '.*; if the first row is data, name"
        ):
            read_texts(path, text="text", target="label")
        assert len(read_texts(path, **NUMBERED)) == 2
    path.write_text("label\ttext\nham\tHello\nspam\tWin\n")
    assert "header" not in " ".join(read_texts(path, text="text", target="label").notes)
    with pytest.raises(InputError, match=r"no column 'review' in the table; it has 'label', 'text'$"):
        read_texts(path, text="review")


def test_a_test_file_has_its_own_header_and_quotation_marks(tmp_path):
    train, test = tmp_path / "train.txt", tmp_path / "test.txt"
    train.write_text("p\tgood\nq\tbad\n")
    test.write_text('q\tso "bad\n')
    data = read_texts(train, **NUMBERED, test="auto")
    assert (data.texts, data.n_train) == (("good", "bad", 'so "bad'), 2)
    assert any(note.startswith("in the test table, quotation marks") for note in data.notes)


@pytest.mark.parametrize("packed", [False, True])
def test_an_empty_file_and_one_with_a_header_only_are_refused(tmp_path, packed):
    path = tmp_path / "messages"
    for content, said in ((b"", "is empty"), (b"\n\n", "is empty"), (b"text,y\n", "holds a header only")):
        path.write_bytes(gzip.compress(content) if packed else content)
        with pytest.raises(InputError, match=f"a table must have rows, but .* {said}"):
            read_texts(path, text="text", target="y")


def test_a_huge_text_is_read_whole(tmp_path):
    path, huge = tmp_path / "messages.csv", "many words, " * 200_000
    path.write_text(f'text,y\n"{huge}",p\nshort,q\n')
    assert read_texts(path, text="text", target="y").texts == (huge, "short")
    path.write_text(f"p\t{huge}\nq\tshort\n")
    assert read_texts(path, **NUMBERED).texts == (huge, "short")
    path.write_text(f"p {huge}\nq short\n")
    assert read_texts(path, **NUMBERED).texts == (huge, "short")


def test_a_class_of_one_text_is_read_and_left_to_the_split_to_judge():
    data = read_texts(frame(text=["a", "b", "c"], y=["p", "p", "q"]), text="text", target="y")
    assert np.bincount(data.labels).tolist() == [2, 1]
