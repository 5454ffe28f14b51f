"""One thread per test process: networks this small only wait for a second one, and processes share the cores."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

_LONG = ("test_kill.py", "test_docs.py", "test_real_data.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files whose tests take longest first, so that no process ends on one while the others have nothing left."""
    items.sort(key=lambda item: Path(item.fspath).name not in _LONG)
