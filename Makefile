# One command each: install, demo, test, check. All of them make their own .venv.
# After a change of the C++ alone, `make native` compiles what changed.
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.PHONY: install native demo test test-faults check sanitize benchmarks clean

# Where there is a compiler, the native kernel must build; elsewhere heldout is installed without it.
export HELDOUT_NATIVE_REQUIRED := $(if $(shell command -v $(CXX)),1)

install: native

# torch comes first and pinned: any other build pulls several GB of CUDA packages.
# The tools of the build live in the environment, so that they are pinned too and later builds reuse the compiled objects.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch scikit-build-core nanobind cmake ninja
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	touch $@

native: $(VENV)/.installed
	$(if $(HELDOUT_NATIVE_REQUIRED),$(BIN)/cmake --build build/native,@echo 'no C++ compiler: heldout runs without its native kernel')

demo: install
	$(BIN)/heldout demo

test: install
	$(BIN)/python -m pytest -n 2 --dist worksteal

# Processes killed, nodes removed, disks filled, 20 times each; their short forms are among the tests. Linux; the disk needs root.
test-faults: install
	$(BIN)/python benchmarks/study_faults.py
	$(BIN)/python -m benchmarks.engine_faults worker
	$(BIN)/python -m benchmarks.engine_faults node
	$(BIN)/python -m benchmarks.engine_faults driver
	$(BIN)/python -m benchmarks.engine_faults disk

check: install
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell src tests docs benchmarks README.md CHANGELOG.md

# The kernel's tests on a build of it that stops at the first access out of bounds and at undefined behaviour. The sanitizer must be
# in the interpreter before all else, and the C++ library with it; SKBUILD_EDITABLE_SKIP lets PYTHONPATH come before the checkout.
SANITIZED = SKBUILD_EDITABLE_SKIP=$(realpath .)/build/native PYTHONPATH=build/sanitize/package ASAN_OPTIONS=detect_leaks=0 \
	LD_PRELOAD="$(foreach lib,libasan.so libstdc++.so,$(shell $(CXX) -print-file-name=$(lib)))" $(BIN)/python

sanitize: install
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --upgrade --target build/sanitize/package \
		--config-settings=build-dir=build/sanitize/objects --config-settings=cmake.build-type=Debug \
		--config-settings=cmake.define.HELDOUT_SANITIZE=ON .
	$(SANITIZED) -c 'from heldout.nn.kernels import _native as n; assert "/sanitize/" in n.__file__'
	$(SANITIZED) -m pytest -q -n 2 --dist worksteal --capture=sys tests/nn/test_kernels.py

benchmarks: install
	$(BIN)/python benchmarks/fit_overhead.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/ucr.py
	$(BIN)/python benchmarks/m4.py
	$(BIN)/python benchmarks/ett.py

clean:
	rm -rf $(VENV) build src/heldout/nn/kernels/_native*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
