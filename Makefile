# Everything that the project needs is installed into .venv by its own files.
PYTHON ?= python3
BIN := .venv/bin

# Parallel tests share the cores: one thread each, and no spinning while they wait.
TEST_ENV := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

.PHONY: chromium shells demo test test-all test-cpus test-loggers lint bench anatomy clean

demo: .venv/installed
	@$(BIN)/train model=gan data=digits

test: .venv/installed-dev
	$(TEST_ENV) $(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

test-all: .venv/installed-dev
	$(TEST_ENV) $(BIN)/python -m pytest
	$(BIN)/python tests/numerics/on_cpus.py

# The tests that compare numbers, as other processors compute; `ARGS=--quick`: a third of the runs.
test-cpus: .venv/installed-dev
	$(BIN)/python tests/numerics/on_cpus.py $(ARGS)

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

# Programs that some tests need: two commands, their Debian packages, what is skipped without them.
define from_debian
@command -v $(1) >/dev/null && command -v $(2) >/dev/null || \
	{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	apt-get update -q && apt-get install -qy $(3); } || \
	echo "no $(1) or no $(2): $(4) will be skipped"
endef

chromium:
	$(call from_debian,chromium,chromedriver,chromium chromium-driver,the tests of \`runs report\` in a browser)

shells:
	$(call from_debian,zsh,fish,zsh fish,the tests of tab completion there)

clean:
	rm -rf .venv build dist
