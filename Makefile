# The targets are the commands of README and CI. Bare `make` lists them.
PYTHON ?= python3
BIN := .venv/bin
# Processes that run tests side by side, a file of tests in each; one takes up to 2 GB of memory.
JOBS ?= logical --maxprocesses 4
KILLS ?= 100
SEED ?= 0
PYTEST = $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
ONE := --lr 4e-3 --epochs 2 --repeats 2

.DEFAULT_GOAL := help
.PHONY: help sweep test test-fast test-cluster lint audit types imports docs-check docs sweeps figures golden check dist bench torture clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

sweep: .venv/run.stamp ## set up, run the five-dim MNIST sweep and draw its frontier
	$(BIN)/ae-sweep run --dims 2 8 32 128 1024
	$(BIN)/ae-sweep frontier --out mlruns/frontier.png

test: test-fast ## set up, run all tests, the fast ones first; JOBS=n for n processes
	$(PYTEST) -m slow --durations=25

test-fast: .venv/dev.stamp ## run the fast tests only: offline, no browser
	$(PYTEST) -m "not slow" --durations=10

test-cluster: .venv/dev.stamp ## run only those that start servers and a Ray cluster of their own; skipped where that needs root
	$(BIN)/pytest -n 0 -m cluster --durations=25

lint: .venv/dev.stamp ## check style, formatting and unsafe calls
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive ae_sweep cli.py benchmarks docs .ci

audit: .venv/dev.stamp ## look installed packages up in the advisory database, if it can be reached
	$(BIN)/python .ci/audit.py

types: .venv/dev.stamp ## check types
	$(BIN)/mypy

imports: .venv/dev.stamp ## check the import contracts of the architecture
	$(BIN)/lint-imports

docs: .venv/dev.stamp ## write the generated docs: the command line's reference, lines in concepts.md
	$(BIN)/python docs/generate.py

docs-check: .venv/dev.stamp ## check that docs say what the code does
	$(BIN)/python docs/generate.py --check
	$(BIN)/pytest tests/test_docs.py

sweeps: .venv/run.stamp ## run the sweeps that README, docs and notebook show: an hour on two cores
	$(BIN)/ae-sweep run --dims 8 32 1024 --model vae --beta 0.0001 0.01 0.1 1 10 $(ONE) --name vae
	$(BIN)/ae-sweep run --dims 2 8 32 128 --model vqvae --codebook 16 256 $(ONE) --name vqvae
	$(BIN)/ae-sweep run --dims 2 8 32 128 --model fsq --codebook 16 256 $(ONE) --name fsq
	$(BIN)/ae-sweep run --dims 2 8 32 128 1024 --repeats 2 --name digits

figures: .venv/dev.stamp ## draw the pictures of README, docs and notebook from what make sweeps has stored
	$(BIN)/ae-sweep frontier digits --out docs/images/frontier-mnist.png
	$(BIN)/ae-sweep frontier vae --beside vqvae --out docs/images/rate-mnist.png
	$(BIN)/ae-sweep frontier digits --rate bits --references all --out docs/images/bits-mnist.png
	$(BIN)/ae-sweep reconstruct digits --out docs/images/reconstructions-mnist.png
	$(BIN)/ae-sweep latent digits --dim 2 --out docs/images/latent-mnist.png
	$(BIN)/ae-sweep manifold digits --dim 2 --side 15 --out docs/images/manifold-mnist.png
	$(BIN)/python docs/execute.py

golden: .venv/dev.stamp ## write the golden files of the tests anew
	AE_SWEEP_WRITE_GOLDEN=1 $(BIN)/pytest -m "not slow" -k golden

bench: .venv/dev.stamp ## measure this machine, add it to docs/benchmarks.md; BENCH="nested studies" for some
	$(BIN)/python -m benchmarks.run_all $(BENCH)

torture: .venv/dev.stamp ## kill running sweeps with SIGKILL 100 times and compare what remains; KILLS=n, SEED=n
	$(BIN)/pytest tests/test_torture.py --kills $(KILLS) --kill-seed $(SEED) --log-cli-level INFO

dist: .venv/dev.stamp ## build wheel and sdist, run a sweep from the wheel; FULL=1 installs its dependencies anew
	$(BIN)/python .ci/dist.py $(if $(FULL),--full)

check: lint types imports docs-check dist test ## all that CI runs

clean: ## remove the virtual environment and caches; runs in mlruns/ stay
	rm -rf .venv dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache *.egg-info

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"

.venv/run.stamp: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --editable .
	@touch $@

.venv/dev.stamp: pyproject.toml .venv/run.stamp
	$(BIN)/pip install --quiet --group dev
	@touch $@
