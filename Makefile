# Everything that the project needs is installed into .venv by its own files.
PYTHON ?= python3
BIN := .venv/bin

# Parallel tests share the cores: one thread each, and no spinning while they wait.
TEST_ENV := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

.PHONY: chromium demo test test-all test-loggers lint bench anatomy clean

demo: .venv/installed
	@$(BIN)/train model=gan data=digits

test: .venv/installed-dev
	$(TEST_ENV) $(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

test-all: .venv/installed-dev
	$(TEST_ENV) $(BIN)/python -m pytest

# W&B and MLflow, another 470 MB, which `make test` does without: their tests are skipped by name.
test-loggers: .venv/installed-loggers
	$(TEST_ENV) $(BIN)/python -m pytest tests/loggers

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Interrupted, it goes on where it was; `make bench ARGS=--quick` takes a few minutes.
bench: .venv/installed-bench
	$(BIN)/python benchmarks/bench.py $(ARGS)

anatomy: .venv/installed
	$(BIN)/python benchmarks/anatomy.py $(ARGS)

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

.venv/installed-loggers: .venv/installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[wandb,mlflow]'
	@touch $@

.venv/installed-bench: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@

chromium:  # for the tests of `runs report`; without it they are skipped by name
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		apt-get update -q && apt-get install -qy chromium chromium-driver; } || \
		echo "no chromium: the tests of \`runs report\` in a browser will be skipped"

clean:
	rm -rf .venv build dist
