import errno
import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from heldout.check import InputError
from heldout.training import checkpoint as module
from heldout.training.checkpoint import (
    Checkpoint,
    ModelFileError,
    dump_tensors,
    load_tensors,
    parse_tensors,
    save_tensors,
)

TENSORS = {
    "w": torch.arange(12.0).reshape(3, 4),
    "step": torch.tensor(7),
    "mask": torch.tensor([True, False]),
}
METADATA = {"epoch": 3, "best": float("inf"), "lags": [1, 2], "name": "größe \x00 \ud800", "zeros": "0" * 64}
DATA = dump_tensors(TENSORS, METADATA)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
arrays = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.int8, np.uint8, np.bool_, np.complex64]),
    hnp.array_shapes(min_dims=0, min_side=0, max_side=4),
)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        a[n].dtype == b[n].dtype
        and a[n].shape == b[n].shape
        and a[n].numpy().tobytes() == b[n].numpy().tobytes()
        for n in a
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def signed(header: bytes, body: bytes = b"") -> bytes:
    """A file with any header after ours, and a checksum that is right: what an attacker would send."""
    head = module.BEFORE_DIGEST + b"0" * 64 + header
    blank = len(head).to_bytes(8, "little") + head + body
    digest = hashlib.sha256(blank).hexdigest().encode()
    return blank[: module.DIGEST.start] + digest + blank[module.DIGEST.stop :]


REST = rb"\", \"metadata\": {}}"


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(max_size=8), arrays, max_size=4),
    st.dictionaries(st.text(), json_values, max_size=4),
)
def test_everything_comes_back_bit_for_bit(values: dict[str, Any], metadata: dict[str, Any]) -> None:
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in values.items()}
    data = dump_tensors(tensors, metadata)
    back, notes = parse_tensors(data)
    assert same(back, tensors)
    assert notes == metadata
    assert dump_tensors(back, notes) == data


def test_float_formats_and_non_finite_values_come_back() -> None:
    tensors = {
        str(t): torch.tensor([1.5, float("nan"), -float("inf")]).to(t)
        for t in (torch.bfloat16, torch.float16)
    }
    back, notes = parse_tensors(dump_tensors(tensors, {"loss": [float("nan"), float("inf")]}))
    assert all(torch.equal(back[n].view(torch.int16), tensors[n].view(torch.int16)) for n in tensors)
    assert np.isnan(notes["loss"][0])
    assert notes["loss"][1] == float("inf")


def test_views_and_tied_weights_are_stored_as_they_look() -> None:
    w = torch.arange(6.0).reshape(2, 3)
    tensors = {"w": w, "tied": w, "turned": w.T, "part": w[:, 1], "grad": w.clone().requires_grad_()}
    back, _ = parse_tensors(dump_tensors(tensors, {}))
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    back["w"].zero_()
    assert back["tied"].any()


def test_names_and_metadata_that_look_like_the_checksum_do_no_harm() -> None:
    digest = DATA[module.DIGEST].decode()
    for text in ("0" * 64, digest, f'{{"sha256": "{"0" * 64}"}}', '__metadata__":{"heldout":"'):
        back, notes = parse_tensors(dump_tensors({text: torch.ones(1)}, {"sha256": text, text: [text]}))
        assert back.keys() == {text}
        assert notes == {"sha256": text, text: [text]}


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed_wherever_it_is(place: int, flip: int) -> None:
    damaged = bytearray(DATA)
    damaged[place] ^= flip
    with pytest.raises(ModelFileError):
        parse_tensors(bytes(damaged))


def test_every_single_flipped_bit_is_noticed() -> None:
    for bit in range(8 * len(DATA)):
        damaged = bytearray(DATA)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ModelFileError):
            parse_tensors(bytes(damaged))


def test_every_truncation_and_any_addition_is_noticed() -> None:
    for length in range(len(DATA)):
        with pytest.raises(ModelFileError):
            parse_tensors(DATA[:length])
    with pytest.raises(ModelFileError):
        parse_tensors(DATA + b"\0")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_model_file_error(data: bytes) -> None:
    with pytest.raises(ModelFileError):
        parse_tensors(data)


hostile_value = st.one_of(
    st.sampled_from(
        [None, True, -1, 0, 2**31, 2**63, 2**64, 1e308, "F32", "X", [], {}, [0, 4], [4, 0], [0, 2**63]]
    ),
    st.lists(st.sampled_from([0, 1, 2, -1, 2**62, 1.5, "1", None]), max_size=4),
)
hostile_tensor = st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "more"]), hostile_value)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.text(max_size=3), hostile_tensor, max_size=3), st.binary(max_size=16))
def test_a_hostile_header_with_a_right_checksum_is_refused_or_read(
    tensors: dict[str, Any], body: bytes
) -> None:
    rest = json.dumps(tensors).encode()[1:]
    header = REST + b'"}' + (b", " if tensors else b"") + rest
    try:
        back, notes = parse_tensors(signed(header, body))
    except ModelFileError:
        return
    assert notes == {}
    assert sum(tensor.nbytes for tensor in back.values()) == len(body)


@pytest.mark.parametrize(
    "header",
    [
        REST + b'"}, "w": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4000000000000]}}',
        REST + b'"}, "w": ' + b"[" * 200_000,
        REST + b'"}, "__metadata__": {}}',
        rb"\", \"metadata\": " + b"[" * 100_000 + b"]" * 100_000 + b'}"}}',
        rb"\", \"metadata\": {\"a\": " + b"[" * 100 + b"]" * 100 + b'}}"}}',
        rb"\", \"metadata\": [1]}" + b'"}}',
        rb"\"}" + b'"}}',
        rb"\", \"metadata\": {\"a\": 1, \"a\": 2}}" + b'"}}',
        rb"\", \"metadata\": {\"a\": " + b"9" * 5000 + b'}}"}}',
        b"",
    ],
)
def test_bombs_and_ambiguous_headers_are_refused_with_a_right_checksum(header: bytes) -> None:
    with pytest.raises(ModelFileError):
        parse_tensors(signed(header))


def test_a_hand_made_header_is_otherwise_read() -> None:
    header = REST + b'"}, "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    tensors, notes = parse_tensors(signed(header, np.float32(2).tobytes()))
    assert tensors["w"].tolist() == [2.0]
    assert notes == {}


def test_a_file_that_claims_a_huge_header_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.write((2**40).to_bytes(8, "little"))
        file.truncate(2**41)  # sparse: two tebibytes that would not fit
    with pytest.raises(ModelFileError, match="huge"):
        load_tensors(path)


def test_a_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "executed",))

    path = tmp_path / "model"
    for data in (
        pickle.dumps(Bomb()),
        len(pickle.dumps(Bomb())).to_bytes(8, "little") + pickle.dumps(Bomb()),
    ):
        path.write_bytes(data)
        with pytest.raises(ModelFileError):
            load_tensors(path)
    torch.save({"bomb": Bomb()}, path)
    with pytest.raises(ModelFileError):
        load_tensors(path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({1: torch.ones(1)}, {}),
        ({"__metadata__": torch.ones(1)}, {}),
        ({"w": [1.0]}, {}),
        ({"w": torch.ones(2).to_sparse()}, {}),
        ({}, {"a": {1, 2}}),
        ({}, {"a": "x" * module.MAX_HEADER_BYTES}),
    ],
)
def test_what_cannot_be_stored_is_refused(tensors: dict[str, Any], metadata: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        dump_tensors(tensors, metadata)


def test_metadata_that_would_not_load_are_refused_when_written() -> None:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    loop: list[Any] = []
    loop.append(loop)
    for metadata in ({"a": deep}, {"a": loop}):
        with pytest.raises(InputError, match="metadata"):
            dump_tensors({}, metadata)


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_comes_back_and_leaves_nothing_beside_it(tmp_path: Path, durable: bool) -> None:
    for epoch in range(2):
        save_tensors(tmp_path / "model", TENSORS, {"epoch": epoch}, durable=durable)
    tensors, metadata = load_tensors(tmp_path / "model")
    assert same(tensors, TENSORS)
    assert metadata == {"epoch": 1}
    assert names(tmp_path) == ["model"]


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="nothing"):
        load_tensors(tmp_path / "nothing")
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_tensors(tmp_path)
    with pytest.raises(InputError, match="absent"):
        save_tensors(tmp_path / "absent" / "model", TENSORS, {})


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullDisk:
    """A file that takes half of what is written and then fails, as a full disk does."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> "FullDisk":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> int:
        self.file.write(data[: len(data) // 2])
        return full()


def break_write(patch: pytest.MonkeyPatch) -> None:
    really = Path.open
    patch.setattr(
        Path,
        "open",
        lambda self, mode="r": FullDisk(really(self, mode)) if "w" in mode else really(self, mode),
    )


FAULTS = {
    "write": break_write,
    "fsync": lambda patch: patch.setattr(os, "fsync", full),
    "replace": lambda patch: patch.setattr(os, "replace", full),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_full_disk_keeps_the_old_file_and_names_path_and_bytes(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "model"
    save_tensors(path, TENSORS, METADATA)
    size = len(dump_tensors({"w": torch.zeros(999)}, {}))
    with pytest.MonkeyPatch.context() as patch:
        FAULTS[fault](patch)
        with pytest.raises(InputError, match=rf"model: cannot .* {size} bytes .*No space left"):
            save_tensors(path, {"w": torch.zeros(999)}, {}, durable=True)
    assert path.read_bytes() == DATA
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("fault", ["write", "replace"])
@pytest.mark.parametrize("calls", [0, 1])
def test_a_full_disk_costs_a_checkpoint_nothing(tmp_path: Path, fault: str, calls: int) -> None:
    checkpoint = Checkpoint(tmp_path / "fit")
    checkpoint.save(TENSORS, {"epoch": 0})
    checkpoint.save(TENSORS, {"epoch": 1})
    really, left = os.replace, [calls]

    def later(*args: Any) -> None:
        left[0] -= 1
        return really(*args) if left[0] >= 0 else full()

    with pytest.MonkeyPatch.context() as patch:
        if fault == "write":
            break_write(patch)
        else:
            patch.setattr(os, "replace", later)
        with pytest.raises(InputError):
            checkpoint.save(TENSORS, {"epoch": 2})
    state = checkpoint.load()
    assert state is not None
    assert state[1] == {"epoch": 1}
    assert not [name for name in names(tmp_path) if name.endswith(".tmp")]


def test_a_checkpoint_gives_the_latest_state_and_clears_both(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "fit")
    assert checkpoint.load() is None
    for epoch in range(3):
        checkpoint.save({"w": torch.full((2,), float(epoch))}, {"epoch": epoch})
        state = Checkpoint(tmp_path / "fit").load()
        assert state is not None
        assert state[1] == {"epoch": epoch}
        assert state[0]["w"].tolist() == [epoch, epoch]
    (tmp_path / ".fit.123.tmp").write_bytes(b"half")
    (tmp_path / ".fitter.123.tmp").write_bytes(b"of another")
    checkpoint.clear()
    assert checkpoint.load() is None
    assert names(tmp_path) == [".fitter.123.tmp"]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(["flip", "cut", "zero", "missing"]))
def test_a_damaged_checkpoint_is_kept_aside_and_the_one_before_is_used(
    tmp_path_factory: pytest.TempPathFactory, place: int, kind: str
) -> None:
    checkpoint = Checkpoint(tmp_path_factory.mktemp("run") / "fit")
    checkpoint.save(TENSORS, {"epoch": 0})
    checkpoint.save(TENSORS, {"epoch": 1})
    data = bytearray(checkpoint.path.read_bytes())
    place %= len(data)
    data[place] ^= 1
    damaged = {"flip": bytes(data), "cut": bytes(data[:place]), "zero": bytes(len(data)), "missing": b""}[
        kind
    ]
    checkpoint.path.write_bytes(damaged)
    if kind == "missing":
        checkpoint.path.unlink()
    state = checkpoint.load()
    assert state is not None
    assert state[1] == {"epoch": 0}
    kept = [path.read_bytes() for path in checkpoint.path.parent.glob("bad-*")]
    assert kept == ([] if kind == "missing" else [damaged])
    checkpoint.save(TENSORS, {"epoch": 1})
    assert checkpoint.load()[1] == {"epoch": 1}  # type: ignore[index]


def test_all_damaged_files_are_kept_under_names_of_their_own(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "fit")
    for damage in (b"one", b"two"):
        checkpoint.save(TENSORS, {})
        checkpoint.save(TENSORS, {})
        checkpoint.path.write_bytes(damage)
        checkpoint.previous.write_bytes(damage + b" before")
        assert checkpoint.load() is None
    checkpoint.clear()
    kept = sorted(path.read_bytes() for path in tmp_path.iterdir())
    assert kept == [b"one", b"one before", b"two", b"two before"]


WRITER = """
import sys, torch
from heldout.training.checkpoint import Checkpoint
checkpoint = Checkpoint(sys.argv[1])
state = checkpoint.load()
epoch = state[1]["epoch"] if state else 0
while True:
    epoch += 1
    checkpoint.save({"w": torch.full((50_000,), float(epoch))}, {"epoch": epoch})
    print(epoch, flush=True)
"""


def test_a_kill_at_any_moment_leaves_the_state_last_saved_or_a_later_one(tmp_path: Path) -> None:
    path, rng = tmp_path / "fit", np.random.default_rng(0)
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            saved = int(writer.stdout.readline())
            time.sleep(rng.uniform(0, 0.1))
            writer.send_signal(signal.SIGKILL)
            saved = max([saved, *map(int, writer.stdout.read().split("\n")[:-1])])
        state = Checkpoint(path).load()
        assert state is not None
        assert state[1]["epoch"] >= saved
        assert (state[0]["w"] == state[1]["epoch"]).all()
    assert not list(tmp_path.glob("bad-*"))
