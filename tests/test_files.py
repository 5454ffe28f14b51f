"""A file is written whole or not at all."""

import pytest

from heldout.check import InputError
from heldout.files import write_atomically

CONTENTS = {"bytes": b"new", "writer": lambda file: [file.write(b"n"), file.write(b"ew")]}


@pytest.mark.parametrize("kind", CONTENTS)
def test_a_file_holds_all_that_was_written_and_replaces_the_older_one(tmp_path, kind):
    path = tmp_path / "a.bin"
    for older in (None, b"something longer that stood there"):
        if older is not None:
            path.write_bytes(older)
        write_atomically(str(path), CONTENTS[kind])
        assert path.read_bytes() == b"new"
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("x")]
)
@pytest.mark.parametrize("fails", ["os.fsync", "pathlib.Path.replace", "the writer"])
def test_what_fails_at_any_step_leaves_the_older_file_and_no_other(tmp_path, monkeypatch, error, fails):
    path = tmp_path / "a.bin"
    path.write_bytes(b"older")

    def fail(*_):
        raise error

    def write(file):
        file.write(b"half")
        raise error

    if fails != "the writer":
        monkeypatch.setattr(fails, fail)
    expected = InputError if isinstance(error, OSError) else type(error)
    with pytest.raises(
        expected, match="cannot write .*No space left.*unchanged" if expected is InputError else None
    ):
        write_atomically(path, write if fails == "the writer" else b"new")
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_missing_is_said(tmp_path):
    with pytest.raises(InputError, match=r"cannot write .*\(3 bytes\): No such file"):
        write_atomically(tmp_path / "none" / "a.bin", b"new")
