# Everything that the project needs is installed into .venv by its own files.
PYTHON ?= python3
BIN := .venv/bin

# Parallel tests share the cores: one thread each, and no spinning while they wait.
TEST_ENV := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

.PHONY: demo test test-all lint clean

demo: .venv/installed
	@$(BIN)/train model=gan data=digits

test: .venv/installed-dev
	$(TEST_ENV) $(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

test-all: .venv/installed-dev
	$(TEST_ENV) $(BIN)/python -m pytest

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv build dist
