# Everything that the project needs is installed into .venv by its own files.
PYTHON ?= python3
BIN := .venv/bin

# Parallel tests share the cores: one thread each, and no spinning while they wait.
TEST_ENV := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

LOCKED := --quiet --no-deps --require-hashes --no-build-isolation --use-pep517

# What builds us is locked too; torch is not, nor is what only its builds for CUDA need.
define locked
printf 'hatchling\neditables\n' | $(BIN)/uv pip compile --quiet --universal --upgrade \
	--python-version 3.11 --generate-hashes --no-annotate --no-header \
	--constraint constraints.txt $(2) pyproject.toml - --output-file .venv/$(1).lock >/dev/null
awk '/^[a-z]/ {kept = !/^(torch|triton|nvidia-[a-z0-9-]*|cuda-[a-z]*)==/} kept' \
	.venv/$(1).lock > lock/$(1).txt
endef

.PHONY: chromium shells docs demo test test-all test-cpus test-loggers lint bench anatomy lock clean

demo: .venv/installed
	@$(BIN)/train model=gan data=digits

test: .venv/installed-dev
	$(TEST_ENV) $(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

test-all: .venv/installed-dev
	$(TEST_ENV) $(BIN)/python -m pytest
	$(BIN)/python tests/numerics/on_cpus.py

# The tests that compare numbers, as other processors compute; `ARGS=--quick`: one run.
test-cpus: .venv/installed-dev
	$(BIN)/python tests/numerics/on_cpus.py $(ARGS)

# W&B and MLflow, another 470 MB, which `make test` does without: their tests are skipped by name.
test-loggers: .venv/installed-loggers
	$(TEST_ENV) $(BIN)/python -m pytest tests/hooks/loggers

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation as a site, in build/site; any warning or dead link fails.
docs: .venv/installed-dev
	$(BIN)/python docs/site/make.py

# Interrupted, it goes on where it was; `make bench ARGS=--quick` takes a few minutes.
bench: .venv/installed-bench
	$(BIN)/python benchmarks/bench.py $(ARGS)

anatomy: .venv/installed
	$(BIN)/python benchmarks/anatomy.py $(ARGS)

# torch comes by version alone, since each index has builds of its own; all else by digest too.
.venv/installed: pyproject.toml constraints.txt lock/demo.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install $(LOCKED) --requirement lock/demo.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/installed-dev: .venv/installed lock/dev.txt
	$(BIN)/python -m pip install $(LOCKED) --requirement lock/dev.txt
	@touch $@

# The newest versions that pyproject.toml takes, for every system and Python that it names.
lock: .venv/installed
	$(BIN)/python -m pip install --quiet uv
	$(call locked,demo)
	$(call locked,dev,--extra dev --constraint lock/demo.txt)

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
