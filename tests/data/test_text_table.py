"""Tables of texts: bad input has a defined outcome."""

import gzip

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
        assert "1 of 3 texts are empty, the first in row 1" in data.notes
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
        with pytest.raises(InputError, match=r"every row must have a label, .* 1 rows, the first row [01]; "):
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
        (frame(text=["", None], y=["p", "q"]), {}, "'text' is empty in all 2 rows"),
        (frame(text=["a", "b"], y=["p", "q"]), {"target": "text"}, "texts and labels must be two columns"),
        (frame(text=["a", "b"], y=["p", "q"]), {"target": "x"}, "no column 'x' in the table"),
        (frame(txt=["a", "b"], y=["p", "q"]), {}, r"no column 'text' in the table \(did you mean 'txt'\?\)"),
        (frame(text=["a", "b"], y=["pos", "new"]), {"classes": ["neg", "pos"]},
         r"one of the training texts \(neg, pos\), but 1 are not, the first 'new' in row 1 \(did you mean 'neg'\?\)"),
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
    note = "2 texts occur more than once (5 rows); 1 of them have different labels (3 rows)"
    assert note in data.notes


def test_real_messages_are_read(shared):
    lines = (
        gzip.decompress((shared / "text/sms_spam/SMSSpamCollection.gz").read_bytes()).decode().splitlines()
    )
    labels, texts = zip(*(line.split("\t", 1) for line in lines), strict=True)
    data = read_texts(frame(text=texts, label=labels), text="text", target="label")
    assert (len(data), data.classes, np.bincount(data.labels).tolist()) == (
        5574,
        ("ham", "spam"),
        [4827, 747],
    )
