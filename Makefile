# Everything a newcomer needs: a Python from 3.11 to 3.14, make, and nothing else.
SHELL = /bin/sh
.DEFAULT_GOAL = help
.NOTPARALLEL:

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --no-input
# Wheels only: building from source would fetch build tools that no hash pins.
# Where a wheel is missing, say make setup ONLY_BINARY=
ONLY_BINARY = --only-binary :all:
# Tests on a Kafka mostly wait. Tests of one xdist_group run in one process, all others wherever there is room.
SIDE_BY_SIDE = -n 5 --dist loadgroup
STAMP = $(VENV)/.set-up
SETUP_LOG = .tocsin/setup.log
QUIETLY = sh requirements/quietly.sh $(SETUP_LOG)
BENCH_STAMP = $(VENV)/.set-up-bench
# Hundreds of processes start in a run of the tests, and benchmarks measure starts; each would compile all of Tocsin again where this is set.
test test-long unit check-wheel bench bench-latency: export PYTHONDONTWRITEBYTECODE =
# What benchmarks compare Tocsin with has dependencies of its own, kept away from the product's.
PEERS = .tocsin/bench-peers
PEERS_STAMP = $(PEERS)/.set-up
# The WebSub hub of the tests: away from the environment, since it brings a package of the name tests.
HUB = .tocsin/hub
UV_VERSION = 0.13.9
LOCK_ENV = .tocsin/lock-env
# Where the wheel is tried, as pip installs it.
WHEEL_ENV = .tocsin/wheel-env

# An environment that was moved, or made by a Python that is gone, is made anew.
MADE_FOR := $(shell $(BIN)/python -c "" 2>/dev/null && cat $(STAMP) 2>/dev/null)
ifneq ($(MADE_FOR),$(CURDIR))
$(STAMP): FORCE
endif

.PHONY: help setup demo test test-long lint format types unit check-wheel chaos soak bench bench-latency docs screenshots lock lock-kafka clean first-demo FORCE

help: ## Show this.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## Make .venv with everything in it, pinned by hash.

$(STAMP): pyproject.toml requirements/dev.txt requirements/hub.txt
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here: install Python 3.11, 3.12, 3.13 or 3.14, or name one, as in make PYTHON=python3.12." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 15) else "Tocsin needs Python 3.11, 3.12, 3.13 or 3.14 and $(PYTHON) is %d.%d: name another one, as in make PYTHON=python3.12." % v)'
	@echo "==> Setting up $(VENV): once, a minute or two. What the installer says goes to $(SETUP_LOG)"
	@mkdir -p .tocsin && : > $(SETUP_LOG)
	@[ "$(MADE_FOR)" = "$(CURDIR)" ] || $(QUIETLY) "1/4  An empty Python environment: some seconds" 0 $(PYTHON) -m venv --clear $(VENV)
	@rm -f $(STAMP) $(BENCH_STAMP)
	@$(QUIETLY) "2/4  Python packages, pinned by hash: about 150 MB, most of the time" $$(grep -c == requirements/dev.txt) \
		$(PIP) install --progress-bar off --require-hashes --no-deps $(ONLY_BINARY) -r requirements/dev.txt
	@$(QUIETLY) "3/4  What has no wheel, built here: some seconds" 0 \
		$(PIP) install --target $(HUB) --upgrade --require-hashes --no-deps --no-build-isolation --no-binary :all: -r requirements/hub.txt
	@$(QUIETLY) "4/4  Tocsin itself: some seconds" 0 \
		$(PIP) install --no-index --no-deps --no-build-isolation --editable '.[local]'
	@printf '%s\n' "$(CURDIR)" > $(STAMP)
	@echo "==> $(VENV) is ready; the command is $(BIN)/tocsin"

$(BENCH_STAMP): $(STAMP) requirements/bench.txt
	$(PIP) install --require-hashes --no-deps $(ONLY_BINARY) -r requirements/bench.txt
	@touch $(BENCH_STAMP)

$(PEERS_STAMP): $(STAMP) requirements/peers.txt
	$(BIN)/python -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip --disable-pip-version-check --no-input install --require-hashes --no-deps $(ONLY_BINARY) -r requirements/peers.txt
	@touch $(PEERS_STAMP)

demo: $(if $(wildcard $(STAMP)),,first-demo) $(STAMP) ## Start Kafka, a worker and a load here, and show what they do; DEMO_SECONDS=30 ends it by itself.
	@exec $(BIN)/tocsin demo $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS))

# What is ahead, said before the first step of it.
first-demo:
	@echo "==> A first demo sets up Python packages, fetches Kafka (45 MB), and starts it with a worker: about three minutes. Later ones take seconds."

test: lint types ## Run all checks, and the tests but for further cases, on a real Kafka; PYTEST_ARGS are passed on.
	@echo "==> pytest (further cases: make test-long)"
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not long" --durations 10 $(PYTEST_ARGS)

test-long: $(STAMP) ## Run the further cases that make test leaves out.
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m long $(PYTEST_ARGS)

lint: $(STAMP) ## Check style, form and the direction of imports.
	@echo "==> ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "==> import-linter"
	@$(BIN)/lint-imports --no-logo --no-cache

format: $(STAMP) ## Put the form right.
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

types: $(STAMP) ## Check types.
	@echo "==> mypy"
	@$(BIN)/mypy

unit: $(STAMP) ## Run the tests that need no Kafka.
	@$(BIN)/python -m pytest -n 2 tests/unit tests/property $(PYTEST_ARGS)

check-wheel: $(STAMP) ## Install the wheel into an empty environment, without the extra, and test it there.
	rm -rf $(WHEEL_ENV) .tocsin/wheel
	$(BIN)/python -m hatchling build -t wheel -d .tocsin/wheel
	$(BIN)/python -m venv $(WHEEL_ENV)
	$(WHEEL_ENV)/bin/python -m pip --disable-pip-version-check --no-input install --require-hashes --no-deps $(ONLY_BINARY) -r requirements/runtime.txt
	$(WHEEL_ENV)/bin/python -m pip --disable-pip-version-check --no-input install --no-index --no-deps .tocsin/wheel/*.whl
	$(WHEEL_ENV)/bin/python -m pip --disable-pip-version-check check
	@WHEEL_ENVIRONMENT=$(WHEEL_ENV) $(BIN)/python -m pytest tests/integration/test_wheel.py $(PYTEST_ARGS)

chaos: $(STAMP) ## Prove exact counts through every fault on a real cluster; SEED=2 for others, CHAOS_ARGS are passed on.
	@exec $(BIN)/python -m tests.chaos --seed $(or $(SEED),1) $(CHAOS_ARGS)

soak: $(STAMP) ## Look for growth of memory, descriptors and tables under a steady load; SOAK_SECONDS=1200.
	@SOAK_SECONDS=$(SOAK_SECONDS) exec $(BIN)/python -m tests.chaos.soak $(SOAK_ARGS)

bench: $(BENCH_STAMP) $(PEERS_STAMP) ## Run every benchmark; ONLY=latency for one, QUICK=1 for small sizes.
	@exec $(BIN)/python -m tests.benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick) $(BENCH_ARGS)

bench-latency: $(BENCH_STAMP) $(PEERS_STAMP) ## Measure how long CRITICAL waits under a backlog.
	@exec $(BIN)/python -m tests.benchmarks.latency $(BENCH_ARGS)

docs: $(STAMP) ## Write the tables of docs/ that are made from the code.
	@$(BIN)/python -m tests.unit.docs.generated

screenshots: $(STAMP) ## Take the pictures of the page for docs/images; needs Chromium.
	@exec $(BIN)/python -m tests.browser.screenshots

# No header and no index, so that no address gets into the files. Pins stay unless UPGRADE=1.
COMPILE = $(LOCK_ENV)/bin/uv pip compile --no-config --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links --quiet $(if $(UPGRADE),--upgrade)

lock: ## Pin the Python packages anew after a change of pyproject.toml; UPGRADE=1 takes newer ones.
	@$(PYTHON) -m venv $(LOCK_ENV)
	@$(LOCK_ENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(COMPILE) pyproject.toml -c requirements/constraints.in -o requirements/runtime.txt
	$(COMPILE) pyproject.toml --extra local --extra msk --extra rabbit --extra routing --group test --group lint --group build -c requirements/runtime.txt -o requirements/dev.txt
	$(COMPILE) --group hub --no-deps -o requirements/hub.txt
	$(COMPILE) --group bench -c requirements/dev.txt -o requirements/bench.txt
	$(COMPILE) --group peers -o requirements/peers.txt

lock-kafka: $(STAMP) ## Pin the jars of the local Kafka anew after a change of its version.
	$(BIN)/python -m tocsin.local_kafka.jars
	$(BIN)/python -m tests.benchmarks.arms.kafka_streams.build

clean: ## Stop the local Kafka and delete all that was made here.
	@if [ -x $(BIN)/tocsin ] && [ -d .tocsin/kafka ]; then $(BIN)/tocsin kafka stop; fi
	rm -rf $(VENV) .tocsin build dist .mypy_cache .ruff_cache .hypothesis bench-results

FORCE:
