"""One thread per test process: networks this small only wait for a second one, and processes share the cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
