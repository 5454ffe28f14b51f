"""One thread per test process: networks this small only wait for a second one, and processes share the cores."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")  # one worker where a test asks for no number
os.environ.setdefault(
    "HELDOUT_WORKERS", "0"
)  # and of the command line none: a process takes seconds to start

_LONG = ("test_kill.py", "test_docs.py", "test_real_data.py", "test_study_faults.py", "test_error_rates.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin both halves of the list with the tests that take longest, so that no process ends on one while the other waits."""
    long = [item for item in items if Path(item.fspath).name in _LONG]
    short = [item for item in items if Path(item.fspath).name not in _LONG]
    cut = max(len(items) // 2 - len(long[::2]), 0)
    items[:] = [*long[::2], *short[:cut], *long[1::2], *short[cut:]]
