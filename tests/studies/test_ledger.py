import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from heldout.check import InputError
from heldout.studies.ledger import Finished, Ledger

FIT = Finished(
    name="fold 3, seed 0",
    spec={"units": 8, "dropout": 0.3, "columns": ["a", "ü"]},
    scores={"mae": 0.5},
    history=[{"epoch": 1, "loss": 0.7}, {"epoch": 2, "loss": 0.6}],
    arrays={"loss": np.arange(6.0).reshape(2, 3), "rows": np.array([1, 2], np.int32)},
    model=b"\x00model\xff",
    seconds=1.5,
)

arrays = hnp.arrays(
    st.sampled_from(
        [np.float16, np.float32, np.float64, np.int64, np.uint8, np.bool_, np.dtype(">f8"), np.complex64]
    ),
    hnp.array_shapes(min_dims=0, min_side=0, max_side=4),
)
numbers = st.dictionaries(st.text(), st.none() | st.floats() | st.integers() | st.text(), max_size=3)


def assert_same(a: Finished | None, b: Finished) -> None:
    assert a is not None
    assert (a.name, a.spec, a.scores, a.history, a.model, a.seconds) == (
        b.name,
        b.spec,
        b.scores,
        b.history,
        b.model,
        b.seconds,
    )
    assert a.arrays.keys() == b.arrays.keys()
    for name, array in a.arrays.items():
        assert array.shape == b.arrays[name].shape
        assert array.dtype == b.arrays[name].dtype.newbyteorder("=")
        np.testing.assert_array_equal(array, b.arrays[name])


def test_a_finished_fit_comes_back_after_closing(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        assert "k" not in ledger
        assert ledger.get("k") is None
        ledger.add("k", FIT)
        ledger.add("a", Finished(name="bare", spec={}, scores={}))
    with Ledger(tmp_path / "ledger") as ledger:
        assert "k" in ledger
        assert ledger.keys() == ["k", "a"]
        assert_same(ledger.get("k"), FIT)
        assert_same(ledger.get("a"), Finished(name="bare", spec={}, scores={}))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=5), arrays, max_size=3), numbers)
def test_arrays_keep_dtype_and_shape_and_numbers_that_json_lacks_become_none(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any], scores: dict[str, Any]
) -> None:
    values = {name: np.asarray(value) for name, value in values.items() if name != "__metadata__"}
    path = tmp_path_factory.getbasetemp() / "arrays.sqlite"
    with Ledger(path) as ledger:
        key = str(len(ledger.keys()))
        ledger.add(key, Finished(name="f", spec={}, scores=scores, history=[scores], arrays=values))
        clean = {n: None if isinstance(v, float) and not math.isfinite(v) else v for n, v in scores.items()}
        assert_same(
            ledger.get(key), Finished(name="f", spec={}, scores=clean, history=[clean], arrays=values)
        )


def test_arrays_with_gaps_are_stored_as_they_look(tmp_path: Path) -> None:
    table = np.arange(12.0).reshape(3, 4)
    shown = {
        "column": table[:, 1],
        "turned": table.T,
        "back": table[::-1],
        "wide": np.broadcast_to(table[0], (5, 4)),
    }
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.add("k", Finished(name="f", spec={}, scores={}, arrays=shown))
        assert_same(ledger.get("k"), Finished(name="f", spec={}, scores={}, arrays=shown))


def test_numbers_of_numpy_are_stored_as_numbers(tmp_path: Path) -> None:
    scores = {"a": np.float32(0.5), "b": np.int64(3), "c": (np.float64("nan"), np.bool_(True))}
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.add("k", Finished(name="f", spec={}, scores=scores))
        assert ledger.get("k").scores == {"a": 0.5, "b": 3, "c": [None, True]}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("spec", {"a": {1}}),
        ("scores", {1: 0.5}),
        ("history", [{"a": object()}]),
        ("arrays", {"a": np.array(["text"])}),
        ("arrays", {"a": np.array([None])}),
        ("arrays", {"a": [1.0]}),
        ("arrays", {"a": np.ones(1, np.longdouble)}),
        ("arrays", {"__metadata__": np.ones(1)}),
    ],
)
def test_what_cannot_be_stored_is_refused_and_leaves_no_trace(tmp_path: Path, part: str, value: Any) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        with pytest.raises(InputError, match=part):
            ledger.add("k", Finished(**{"name": "f", "spec": {}, "scores": {}, part: value}))
        assert "k" not in ledger
        assert ledger.events() == []


def test_a_finished_fit_is_never_added_twice(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.add("k", FIT)
        with pytest.raises(InputError, match="fold 3, seed 0"):
            ledger.add("k", Finished(name="fold 3, seed 0", spec={}, scores={}))
        assert_same(ledger.get("k"), FIT)
        assert [event.what for event in ledger.events("k")] == ["finished"]


def test_events_are_kept_in_order_and_cannot_be_changed(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.record("k", "started")
        ledger.add("k", FIT)
        ledger.record("", "note", "from the driver")
        found = [(event.key, event.what, event.detail) for event in ledger.events()]
        assert found == [("k", "started", ""), ("k", "finished", FIT.name), ("", "note", "from the driver")]
        assert [event.what for event in ledger.events("k")] == ["started", "finished"]
        assert sorted(event.when for event in ledger.events()) == [event.when for event in ledger.events()]
    db = sqlite3.connect(tmp_path / "ledger")
    for statement in ("DELETE FROM events", "UPDATE events SET what = 'x'"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute(statement)
    db.close()


def test_looks_at_the_test_are_counted_across_runs(tmp_path: Path) -> None:
    for n in (1, 2, 3):
        with Ledger(tmp_path / "ledger") as ledger:
            assert ledger.look(f"purpose {n}") == n
            ledger.record("", "something else")
            assert [look.detail for look in ledger.looks()] == [f"purpose {i}" for i in range(1, n + 1)]


def test_a_reader_sees_what_a_writer_adds_and_cannot_write(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as writer, Ledger(tmp_path / "ledger", readonly=True) as reader:
        writer.add("k", FIT)
        assert_same(reader.get("k"), FIT)
        with pytest.raises(InputError, match="readonly"):
            reader.record("k", "started")
        with pytest.raises(InputError, match="readonly"):
            reader.add("l", FIT)


def test_a_reader_needs_no_right_to_write_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.add("k", FIT)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with Ledger(tmp_path / "ledger", readonly=True) as ledger:
        assert_same(ledger.get("k"), FIT)
        assert [path.name for path in tmp_path.iterdir()] == ["ledger"]


def test_names_that_mean_something_in_an_address_are_plain_names(tmp_path: Path) -> None:
    path = tmp_path / "run 100%20?mode=memory#ü"
    with Ledger(path) as ledger:
        ledger.record("", "here")
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("readonly", [False, True])
def test_files_that_are_no_ledger_are_named_and_left_alone(tmp_path: Path, readonly: bool) -> None:
    path = tmp_path / "other.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE mine (a)")
    db.commit()
    db.close()
    for content in (path.read_bytes(), b"no database at all" * 100):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"other\.sqlite: .*move it away"):
            Ledger(path, readonly=readonly)
        assert path.read_bytes() == content
    with pytest.raises(InputError, match="absent"):
        Ledger(tmp_path / "absent" / "ledger", readonly=readonly)
    with pytest.raises(InputError, match="nothing"):
        Ledger(tmp_path / "nothing", readonly=True)


def test_a_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger").close()
    db = sqlite3.connect(tmp_path / "ledger")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(InputError, match=r"version 99.*install a newer heldout"):
        Ledger(tmp_path / "ledger")


def test_a_damaged_byte_never_changes_a_result_in_silence(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fit = Finished(
        name="f", spec={}, scores={"mae": 0.5}, arrays={"loss": rng.normal(size=500)}, model=rng.bytes(9000)
    )
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.add("k", fit)
    data = (tmp_path / "ledger").read_bytes()
    noticed = 0
    for place in rng.integers(0, len(data), 300):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "damaged").write_bytes(damaged)
        try:
            with Ledger(tmp_path / "damaged", readonly=True) as ledger:
                found = ledger.get("k")
        except InputError:
            noticed += 1
        else:
            if found is not None:  # a changed key hides the fit, which is then run again
                assert_same(found, fit)
    assert noticed > 100


def test_several_connections_may_make_the_same_ledger_at_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def work(n: int) -> None:
        try:
            with Ledger(tmp_path / "ledger") as ledger:
                for i in range(5):
                    ledger.add(f"{n}-{i}", FIT)
        except InputError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Ledger(tmp_path / "ledger", readonly=True) as ledger:
        assert len(ledger.keys()) == len(ledger.events()) == 20


def test_an_error_while_adding_leaves_neither_row_nor_event(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        size = ledger._db.execute("PRAGMA page_count").fetchone()[0]
        ledger._db.execute(f"PRAGMA max_page_count = {size + 2}")  # what a full disk says
        with pytest.raises(InputError, match="full"):
            ledger.add("k", Finished(name="f", spec={}, scores={}, model=bytes(10**6)))
        assert ledger.keys() == []
        assert ledger.events() == []
        ledger.record("k", "still usable")


WRITER = """
import sys, numpy as np
from heldout.studies.ledger import Finished, Ledger
with Ledger(sys.argv[1]) as ledger:
    n = len(ledger.keys())
    while True:
        ledger.add(str(n), Finished(name=str(n), spec={}, scores={}, arrays={"a": np.full(5000, n)}))
        print(n, flush=True)
        n += 1
"""


def test_a_kill_at_any_moment_leaves_every_finished_fit_readable(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "ledger"
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(rng.uniform(0, 0.05))
            writer.send_signal(signal.SIGKILL)
            done = writer.stdout.read().split("\n")[:-1]
        with Ledger(path, readonly=True) as ledger:
            keys = ledger.keys()
            assert keys == [str(n) for n in range(len(keys))]
            assert set(done) <= set(keys)
            assert [event.key for event in ledger.events()] == keys
            for key in keys:
                assert (ledger.get(key).arrays["a"] == int(key)).all()  # type: ignore[union-attr]
    with Ledger(path) as ledger:
        assert ledger._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
