"""Shared results: computed once, whole or absent, and nobody's changes reach another."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from heldout.training.shared import Shared, key_of


def make(n=5):
    return {"x": np.arange(n, dtype=np.float64), "none": np.empty((0, 2))}, {"names": ["a", "b"]}


def never():
    raise AssertionError("it was there")


def test_what_is_there_is_not_made_again(tmp_path):
    shared = Shared(tmp_path / "shared")
    arrays, metadata = shared.get("key", make)
    again, same = Shared(tmp_path / "shared").get("key", never)
    assert metadata == same
    assert arrays.keys() == again.keys()
    assert all(arrays[name].dtype == again[name].dtype for name in arrays)
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)


def test_without_a_folder_nothing_is_remembered():
    shared, calls = Shared(), []
    for _ in range(2):
        shared.get("key", lambda: (calls.append(1), make())[1])
    assert len(calls) == 2


@pytest.mark.parametrize("fault", ["flipped", "cut", "empty", "foreign"])
def test_a_damaged_file_is_made_anew(tmp_path, fault):
    shared = Shared(tmp_path)
    shared.get("key", make)
    (path,) = tmp_path.glob("*.safetensors")
    content = bytearray(path.read_bytes())
    if fault == "flipped":
        content[-3] ^= 1
    path.write_bytes({"flipped": content, "cut": content[:-3], "empty": b"", "foreign": b"{}" * 90}[fault])
    found, _ = shared.get("key", make)
    assert np.array_equal(found["x"], make()[0]["x"])
    assert np.array_equal(shared.get("key", never)[0]["x"], make()[0]["x"])


def test_a_change_reaches_neither_the_file_nor_another_reader(tmp_path):
    shared = Shared(tmp_path)
    shared.get("key", make)
    one, other = (shared.get("key", never)[0]["x"] for _ in range(2))
    one[:] = 9
    assert np.array_equal(other, make()[0]["x"])
    assert np.array_equal(shared.get("key", never)[0]["x"], make()[0]["x"])


def test_what_was_given_stays_readable_when_the_files_go(tmp_path):
    shared = Shared(tmp_path / "shared")
    shared.get("key", lambda: make(100_000))
    mapped = shared.get("key", never)[0]["x"]
    shared.clear()
    assert not (tmp_path / "shared").exists()
    assert np.array_equal(mapped, np.arange(100_000))


def test_many_at_once_get_the_same(tmp_path):
    shared = Shared(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: shared.get("key", make)[0]["x"], range(16)))
    assert all(np.array_equal(x, make()[0]["x"]) for x in found)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_key_changes_with_each_value_type_and_shape():
    x = np.arange(6.0)
    parts = [
        x,
        x[::-1],
        x.reshape(2, 3),
        x.astype(np.float32),
        torch.arange(6.0),
        6,
        "6",
        [6],
        None,
        {"a": 6},
    ]
    keys = [key_of("a", part) for part in parts]
    keys += [key_of("b", x), key_of("a", x, x), key_of("ab", 6), key_of("a", "b6")]
    assert len(set(keys)) == len(keys) - 1  # a tensor is the array of its numbers
    assert key_of("a", x.astype(np.float32)) == key_of("a", torch.arange(6.0))
    assert key_of("a", x[::2]) == key_of("a", x[::2].copy())
