"""Event files of TensorBoard: what their writers put in is what comes out, and damage is one sentence."""

import struct
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.data.event_files import read_event_files

FLOATS = st.floats(width=32, allow_nan=False)


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, content):
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def simple(tag, value):
    return field(1, tag.encode()) + varint(2 << 3 | 5) + struct.pack("<f", value)


def tensor(tag, value, *, content=True, double=False):
    packed = struct.pack("<d" if double else "<f", value)
    inner = field(1, 2 if double else 1) + field(2, b"")
    inner += field(4 if content else 6 if double else 5, packed)
    return field(1, tag.encode()) + field(9, b"scalars") + field(8, inner)


def record(message):
    return struct.pack("<Q", len(message)) + b"crc1" + message + b"crc2"


def event(step, *values):
    time = varint(1 << 3 | 1) + struct.pack("<d", 1.7e9)
    return record(time + (field(2, step) if step else b"") + field(5, b"".join(field(1, v) for v in values)))


VERSION = record(varint(1 << 3 | 1) + struct.pack("<d", 1.7e9) + field(3, b"brain.Event:2"))


def write(folder, *events, name="events.out.tfevents.1.host"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(VERSION + b"".join(events))


@given(
    values=st.lists(
        st.tuples(st.integers(0, 2**40), FLOATS), min_size=1, max_size=8, unique_by=lambda x: x[0]
    )
)
def test_every_scalar_comes_back_in_order_of_step(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("tb")
    write(
        folder, *(event(step, simple("a", value), tensor("b", value, double=True)) for step, value in values)
    )
    assert read_event_files(folder) == {"a": sorted(values), "b": sorted(values)}


@pytest.mark.parametrize("options", [{}, {"content": False}, {"content": False, "double": True}])
def test_tensors_of_both_forms_and_folders_become_names(tmp_path, options):
    write(tmp_path / "train", event(0, tensor("epoch_loss", 0.5, **options)))
    write(tmp_path / "validation", event(3, tensor("epoch_loss", 0.75, **options)))
    assert read_event_files(tmp_path) == {
        "train/epoch_loss": [(0, 0.5)],
        "validation/epoch_loss": [(3, 0.75)],
    }


def test_what_is_no_scalar_is_passed_over(tmp_path):
    image = field(1, b"picture") + field(4, b"png")
    many = field(1, b"many") + field(8, field(1, 1) + field(4, struct.pack("<ff", 1, 2)))
    word = field(1, b"word") + field(8, field(1, 7) + field(8, b"text"))
    zero = field(1, b"zero") + field(8, field(1, 1) + field(2, b""))
    write(tmp_path, event(1, image, many, word, zero, simple("loss", 2.0)))
    assert read_event_files(tmp_path) == {"zero": [(1, 0.0)], "loss": [(1, 2.0)]}


def test_a_file_that_is_still_being_written_is_read_as_far_as_it_goes(tmp_path):
    write(tmp_path, event(1, simple("loss", 2.0)), event(2, simple("loss", 1.0))[:-9])
    assert read_event_files(tmp_path) == {"loss": [(1, 2.0)]}


@pytest.mark.parametrize(
    "damage", [b"\0" * 3, b"x" * 40, record(b"\xff\xff"), record(b"\x0b"), record(field(5, b"\x0a\x7f"))]
)
def test_damage_is_one_sentence(tmp_path, damage):
    (tmp_path / "a.tfevents").write_bytes(damage)
    with pytest.raises(InputError, match=r"no whole event file of TensorBoard|hold no scalar"):
        read_event_files(tmp_path)


def test_a_folder_without_scalars_says_so(tmp_path):
    write(tmp_path)
    with pytest.raises(InputError, match="hold no scalar"):
        read_event_files(tmp_path)


def test_the_writer_of_pytorch_is_read(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    with import_module("torch.utils.tensorboard").SummaryWriter(tmp_path) as writer:
        for step in range(3):
            writer.add_scalar("loss/train", 1 / (step + 1), step)
    assert [step for step, _ in read_event_files(tmp_path)["loss/train"]] == [0, 1, 2]
