# Every target sets up .venv itself; a fresh clone needs only Python >= 3.11 (with venv), git and make.

# The first that really runs: version managers leave stubs on the PATH for versions that are not chosen.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
PYTEST_ARGS ?= -n auto

.PHONY: demo test test-all check bench

demo: .venv/installed
	$(BIN)/python -m examples.demo

test: .venv/installed
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

test-all: .venv/installed
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed
	$(BIN)/python -m bench

.venv/installed: pyproject.toml
	$(if $(PYTHON),,$(error No Python >= 3.11 with venv found: install one, or name it with PYTHON=...))
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
