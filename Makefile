# Every target sets up .venv itself; a fresh clone needs only Python >= 3.11 (with venv), git and make.

# The first that really runs: version managers leave stubs on the PATH for versions that are not chosen.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
# The tests wait more than they compute.
PYTEST_ARGS ?= -n $(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)')

# All supported versions that this machine has, beside that one.
OTHERS = $(shell for version in 3.11 3.12 3.13 3.14; do \
	for python in python$$version ~/.pyenv/versions/$$version.*/bin/python; do \
	test "$$($$python -c 'import ensurepip, sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = $$version \
	&& test $$version != "$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')" \
	&& echo $$python && break; done; done)

.PHONY: demo test test-all test-versions test-django check bench soak

demo: .venv/installed
	$(BIN)/python -m examples.demo

test: .venv/installed
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

test-all: .venv/installed
	$(BIN)/python -m pytest $(PYTEST_ARGS)
	$(MAKE) test-versions
	$(MAKE) test-django

# The tests of `make test` on the other versions of Python that are there.
test-versions:
	for python in $(OTHERS); do \
		venv=.venv-$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])') && \
		$$python -m venv $$venv && $$venv/bin/python -m pip install --quiet --editable '.[dev]' && \
		$$venv/bin/python -m pytest -m "not slow" $(PYTEST_ARGS) || exit 1; \
	done

# The tests of Django's integration on the versions of Django that it supports, each on a Python that it runs on.
test-django:
	for pair in 3.11=4.2 3.11=5.2 3.12=6; do \
		version=$${pair%=*}; django=$${pair#*=}; venv=.venv-django-$$django; found=; \
		for python in python$$version ~/.pyenv/versions/$$version.*/bin/python; do \
			test "$$($$python -c 'import ensurepip, sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = $$version \
			&& found=$$python && break; done; \
		test -n "$$found" || { echo "no Python $$version: Django $$django is not tested"; continue; }; \
		$$found -m venv $$venv && \
		$$venv/bin/python -m pip install --quiet --editable '.[dev]' pytest-django "Django==$$django.*" && \
		$$venv/bin/python -m pytest -p no:django -m "not slow" $(PYTEST_ARGS) tests/contrib/django && \
		$$venv/bin/python -m pytest -p no:django -m slow $(PYTEST_ARGS) \
			tests/contrib/django/test_testing.py tests/contrib/django/test_own_celery.py || exit 1; \
	done

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed
	$(BIN)/python -m bench

soak: .venv/installed
	$(BIN)/python -m bench.soak

.venv/installed: pyproject.toml
	$(if $(PYTHON),,$(error No Python >= 3.11 with venv found: install one, or name it with PYTHON=...))
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
