# One command each: install, demo, test, check. All of them make their own .venv.
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.PHONY: install demo test check benchmarks clean

install: $(VENV)/.installed

# torch comes first and pinned: any other build pulls several GB of CUDA packages.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/heldout demo

test: install
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: install
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell src tests docs benchmarks README.md CHANGELOG.md

benchmarks: install
	$(BIN)/python benchmarks/fit_overhead.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/ucr.py
	$(BIN)/python benchmarks/m4.py
	$(BIN)/python benchmarks/ett.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
