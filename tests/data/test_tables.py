import gzip
import io
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.data.tables import open_table, parse_numbers, read_table

FILES = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(folder, text, name="table.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def columns(frame):
    return {name: frame[name].to_list() for name in frame.columns}


@pytest.mark.parametrize(
    ("name", "text", "noted"),
    [
        ("a.csv", "day,x\n1999-01,1.5\n1999-02,2.0\n", ""),
        ("a.tsv", "day\tx\n1999-01\t1.5\n1999-02\t2.0\n", "tabs"),
        ("a.txt", "day|x\n1999-01|1.5\n1999-02|2.0\n", "vertical bars"),
        ("a.csv", "day;x\n1999-01;1,5\n1999-02;2,0\n", "a comma is the decimal sign"),
        ("a.csv", "day,x\r\n1999-01,1.5\r\n1999-02,2.0", ""),
        ("a.csv", "day,x\r1999-01,1.5\r1999-02,2.0", ""),
        ("a.csv", "\ufeffday,x\n1999-01,1.5\n1999-02,2.0\n\n\n", ""),
        ("a.csv", '"day","x"\n"1999-01","1.5"\n"1999-02","2.0"\n', ""),
        ("a.csv", " day , x\n1999-01, 1.5\n1999-02, 2.0\n", "spaces around the name of column 'day'"),
    ],
)
def test_the_same_table_is_read_whatever_the_separator_line_end_or_decimal_sign(tmp_path, name, text, noted):
    frame, notes = read_table(written(tmp_path, text, name))
    assert columns(frame) == {"day": ["1999-01", "1999-02"], "x": [1.5, 2.0]}
    assert noted in " ".join(notes)
    assert bool(notes) == bool(noted)


def test_gzip_and_parquet_give_what_the_plain_file_gives(tmp_path):
    frame = pl.DataFrame({"day": ["1999-01", "1999-02"], "x": [1.5, 2.0]})
    packed = io.BytesIO()
    frame.write_parquet(packed)
    text = frame.write_csv().encode()
    files = {"a.csv": text, "a.csv.gz": gzip.compress(text), "a.parquet": packed.getvalue()}
    files["a.parquet.gz"] = gzip.compress(packed.getvalue())
    for name, data in files.items():
        assert columns(read_table(written(tmp_path, data, name))[0]) == frame.to_dict(as_series=False)


def test_any_data_frame_is_accepted():
    content = {"day": ["1999-01", "1999-02"], "x": [1.5, 2.0]}
    for source in (pd.DataFrame(content), pl.DataFrame(content), pl.LazyFrame(content), pa.table(content)):
        frame, notes = read_table(source)
        assert columns(frame) == content
        assert notes == []


def test_a_pandas_index_of_times_becomes_a_column():
    days = pd.date_range("1999-01-04", periods=3)
    frame, notes = read_table(pd.DataFrame({"x": [1.0, 2, 3]}, index=days))
    assert frame.columns == ["time", "x"]
    assert "'time'" in notes[0]
    assert read_table(pd.DataFrame({"x": [1.0]}, index=pd.Index(["a"], name="shop")))[0].columns == [
        "shop",
        "x",
    ]
    assert read_table(pd.DataFrame({"x": [1.0, 2.0]})[::-1])[0].columns == ["x"]
    months = read_table(
        pd.DataFrame({"x": [1.0, 2.0]}, index=pd.period_range("1999-01", periods=2, freq="M"))
    )[0]
    assert [str(month)[:10] for month in months["time"].to_list()] == ["1999-01-01", "1999-02-01"]
    nested = pd.MultiIndex.from_arrays([["a"], days[:1]])
    assert read_table(pd.DataFrame({"x": [1.0]}, index=nested))[0].columns == ["index_0", "index_1", "x"]
    with pytest.raises(InputError, match="'x'"):
        read_table(pd.DataFrame({"x": [1.0]}, index=pd.Index([1], name="x")))


def test_a_first_row_of_numbers_is_data(tmp_path):
    frame, notes = read_table(written(tmp_path, "1,2\n3,4\n"))
    assert columns(frame) == {"column_1": [1, 3], "column_2": [2, 4]}
    assert "column_1 to column_2" in notes[0]
    dated, _ = read_table(written(tmp_path, "1999-01-04,2\n1999-01-05,4\n"))
    assert columns(dated)["column_2"] == [2, 4]
    assert open_table(written(tmp_path, "1,2\n3,4\n")).place(1) == "line 2"
    assert open_table(written(tmp_path, "\n\na,b\n3,4\n")).place(0) == "line 4"


def test_missing_markers_become_missing_only_in_columns_of_numbers(tmp_path):
    frame, notes = read_table(written(tmp_path, "x,y,z\n1,NA,-\n-,b,\n3.5,c,1\n"))
    assert columns(frame) == {"x": [1.0, None, 3.5], "y": ["NA", "b", "c"], "z": [None, None, 1.0]}
    assert notes == ["in column 'x', '-' was read as missing", "in column 'z', '-' was read as missing"]


def test_missing_markers_and_decimal_commas_go_together(tmp_path):
    frame, _ = read_table(written(tmp_path, "x;y\n1,5;NA\nNA;2,5\n"))
    assert columns(frame) == {"x": [1.5, None], "y": [None, 2.5]}


def test_types_are_inferred_from_the_last_row_too(tmp_path):
    rows = "1\n" * 20_000
    assert read_table(written(tmp_path, "x\n" + rows + "0.5\n"))[0]["x"][20_000] == 0.5
    assert read_table(written(tmp_path, "x\n" + rows + "abc\n"))[0]["x"].to_list()[-2:] == ["1", "abc"]


def test_fields_in_quotation_marks_may_hold_separators_and_line_ends(tmp_path):
    table = open_table(written(tmp_path, 'x,y\n1,"a, ""b""\nc"\n2,d\n'))
    assert columns(table.frame) == {"x": [1, 2], "y": ['a, "b"\nc', "d"]}
    assert table.place(1) == "row 1"


def test_json_lines_give_what_their_table_as_csv_gives(tmp_path):
    rows = ['{"day": "1999-01", "x": 1.5}', '{"x": 2, "day": "a \\"b\\"\\n\\u00e9"}', '{"day": null}']
    expected = {"day": ["1999-01", 'a "b"\né', None], "x": [1.5, 2.0, None]}
    for end, data in (("\n", "\n".join(rows)), ("\r\n", "\r\n".join(rows) + "\r\n")):
        table = open_table(written(tmp_path, data, "a.jsonl"))
        assert columns(table.frame) == expected, end
        assert (table.place(1), table.notes) == ("line 2", ("each line is read as a JSON object",))
    assert open_table(written(tmp_path, gzip.compress("\n".join(rows).encode()))).frame.columns == [
        "day",
        "x",
    ]
    assert open_table(written(tmp_path, rows[0] + "\n\n" + rows[1])).place(1) == "row 1"


@pytest.mark.parametrize("row", [0, 7, 30_000])
@pytest.mark.parametrize(("bad", "found"), [("1", 1), ("1,2,3", 3), ("", 1)])
def test_a_ragged_line_is_named_wherever_it_stands(tmp_path, row, bad, found):
    lines = ["1,2"] * 30_002
    lines[row] = bad
    with pytest.raises(InputError, match=f"line {row + 2} of .* has {found} and the first has 2; correct"):
        read_table(written(tmp_path, "a,b\n" + "\n".join(lines) + "\n"))


def test_a_ragged_line_is_named_by_its_line_after_a_field_of_two_lines(tmp_path):
    with pytest.raises(InputError, match="line 4 of"):
        read_table(written(tmp_path, 'a,b\n1,"x\ny"\n2\n'))


BAD_FILES = {
    "empty": (b"", "is empty"),
    "blank": (b"\n \n", "is empty"),
    "byte order mark only": (b"\xef\xbb\xbf", "is empty"),
    "header only": (b"a,b\n", "header only"),
    "latin-1": (
        "a,b\ncafé,1\n".encode("latin-1"),
        r"byte 7 is 0xe9; give the encoding, perhaps encoding='latin-1'",
    ),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), "encoding='utf-16'"),
    "zero bytes": (b"a,b\n1,\0\n", "byte 6 is zero"),
    "repeated names": (b"a,b,a\n1,2,3\n", "2 columns named 'a'; rename"),
    "open quote": (b'a,b\n1,"2\n3,4\n', "quotation mark"),
    "damaged gzip": (gzip.compress(b"a,b\n1,2\n" * 99)[:-9], "whole gzip file.*get it again"),
    "damaged parquet": (b"PAR1 nothing PAR1", "whole Parquet file.*get it again"),
    "json of several lines": (b'{\n"a": 1\n}\n', "one JSON object, but line 1 is none"),
    "json with a list": (b'{"a": 1}\n[1]\n', "line 2 is list; write one row per line"),
    "json cut off": (b'{"a": 1}\n\n{"a"', "line 3 is none"),
    "json of two kinds": (b'{"a": 1}\n{"a": {"b": 2}}\n', "values of one kind .*key 'a'"),
    "json of half a character": (rb'{"a": "\ud800"}', "do not fit.*surrogates"),
    "json without keys": (b"{}\n", "rows and columns"),
    "excel": (b"PK\x03\x04 sheets", "save it as CSV"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_refused_with_the_way_out(tmp_path, kind):
    data, message = BAD_FILES[kind]
    with pytest.raises(InputError, match=f"(?s){message}"):
        read_table(written(tmp_path, data))


def test_a_missing_file_names_its_neighbours(tmp_path):
    written(tmp_path, "a\n1\n", "prices.csv")
    with pytest.raises(InputError, match=r"did you mean 'prices.csv'\?"):
        read_table(tmp_path / "price.csv")
    with pytest.raises(InputError, match="nor a folder"):
        read_table(tmp_path / "nowhere" / "price.csv")
    with pytest.raises(InputError, match="is a folder; give one file"):
        read_table(tmp_path)


def test_an_encoding_given_is_used(tmp_path):
    path = written(tmp_path, "a,b\ncafé,1\n".encode("latin-1"))
    assert read_table(path, encoding="latin-1")[0]["a"][0] == "café"
    assert read_table(written(tmp_path, "a,b\n1,2\n".encode("utf-16")), encoding="utf-16")[0]["b"][0] == 2
    with pytest.raises(InputError, match="'latin-1', got 'klingon'"):
        read_table(path, encoding="klingon")


def test_what_is_no_table_is_refused():
    for source in ([1, 2], {"a": [1]}, None, pl.Series([1])):
        with pytest.raises(InputError, match="path or a pandas, polars or pyarrow data frame"):
            read_table(source)
    with pytest.raises(InputError, match="unique"):
        read_table(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(InputError, match="text, got 0"):
        read_table(pd.DataFrame([[1, 2]]))
    with pytest.raises(InputError, match="0 rows"):
        read_table(pl.DataFrame({"a": []}))


@FILES
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_a_number_written_in_full_is_read_back_exactly(tmp_path, values):
    text = "x,k\n" + "".join(f"{value!r},0\n" for value in values)
    assert [float(value) for value in read_table(written(tmp_path, text))[0]["x"].to_list()] == values


@FILES
@given(
    data=st.one_of(
        st.binary(max_size=60), st.text(alphabet='ab,;\t|1.-"\n\r é{}:', max_size=60).map(str.encode)
    ),
    asked=st.sampled_from([(), ("column_1", "column_2")]),
)
def test_any_bytes_give_a_table_or_one_clear_error(tmp_path, data, asked):
    try:
        frame = open_table(written(tmp_path, data), columns=asked).frame
    except InputError:
        return
    assert min(frame.shape) > 0


def test_numbers_are_told_from_missing_and_from_text():
    numbers, wrong = parse_numbers(pl.Series([" 1e3", "NA", None, "NaN", "12a"]))
    assert numbers.to_list() == [1000.0, None, None, None, None]
    assert wrong.to_list() == [False, False, False, False, True]


def test_paths_may_be_text(tmp_path):
    assert read_table(str(written(tmp_path, "a\n1\n")))[0].shape == (1, 1)
    assert isinstance(tmp_path, Path)


def test_spaces_around_a_name_are_left_out_and_said(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("day, y ,x\n2020-01-01,1,2\n2020-01-02,3,4\n")
    frame, notes = read_table(path)
    assert frame.columns == ["day", "y", "x"]
    assert "spaces around the name of column 'y' are left out" in notes
