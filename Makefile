# Needs Python 3.11+, make and git. Everything else goes into .venv, in locked versions with hashes.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin
RUN := $(BIN)/python
PIP := $(RUN) -m pip --disable-pip-version-check --quiet --no-input install
UV := uv==0.13.9
ARGS ?=
# Two workers, one of which owns the broker; `make test WORKERS=0` for a debugger.
WORKERS ?= 2
PYTEST = $(RUN) -m pytest -n $(WORKERS) --dist loadgroup
SEEDS ?= 1000
SECONDS ?= 60

# `make NAME` runs `python -m tests.NAME`, but for two that live elsewhere.
TOOLS := bench scoreboard simulate coverage ope_peers soak
scoreboard: PLACE = bench.scoreboard
simulate: PLACE = simulation
PLACE = $@

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-slow lint format fuzz lock clean $(TOOLS)

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@for tool in $(TOOLS); do printf 'make %-10s a longer proof or measurement, ARGS="..." go to it\n' $$tool; done

demo: .venv/.runtime ## the closed loop on this machine; KAFKA=host:port runs it through a real broker
	$(BIN)/policywatch demo $(if $(KAFKA),--kafka $(KAFKA)) $(ARGS)

test: .venv/.dev ## all tests but the slow ones; ARGS="-k name" goes to pytest
	$(PYTEST) -m "not slow" $(ARGS)

test-fast: .venv/.dev ## the tests that need no real Kafka
	$(PYTEST) -m "not slow and not kafka" $(ARGS)

test-slow: .venv/.dev ## the slow ones only
	$(PYTEST) -m slow $(ARGS)

lint: .venv/.dev ## style, types, and the one way down
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: .venv/.fuzz ## bytes that break a promise, sought for SECONDS=60 in each of the places where strangers hand us some
	$(RUN) -m tests.fuzz --seconds $(SECONDS) $(ARGS)

simulate: ARGS += --seeds $(SEEDS)
$(TOOLS): .venv/.dev
	$(RUN) -m tests.$(PLACE) $(ARGS)

# The environment. Only wheels, so that no package's own build fetches something unlocked; the project itself is built
# with the locked setuptools.
.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found (PYTHON=/path/to/python)" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }

.venv/.runtime: requirements/runtime.lock pyproject.toml | .venv/bin/python
	@echo "installing what the daemon needs into .venv ..."
	@$(PIP) --require-hashes --only-binary :all: -r requirements/runtime.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: requirements/dev.lock pyproject.toml | .venv/bin/python
	@echo "installing what the daemon, the tests and the checks need into .venv ..."
	@$(PIP) --require-hashes --only-binary :all: -r requirements/dev.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@ .venv/.runtime

.venv/.fuzz: requirements/fuzz.lock .venv/.dev
	@$(PIP) --require-hashes --only-binary :all: --no-deps -r requirements/fuzz.lock
	@touch $@

# One version for all platforms and Pythons; no address of a registry, no path of this machine. UPGRADE=--upgrade takes
# the newest of everything.
LOCK = .cache/lock/bin/uv pip compile --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links --no-config --quiet $(UPGRADE)
COMPILE = $(LOCK) pyproject.toml --extra demo --extra fast

lock: .cache/lock/bin/uv ## write requirements/*.lock anew from pyproject.toml; UPGRADE=--upgrade for the newest
	$(COMPILE) --group build --output-file requirements/runtime.lock
	$(COMPILE) --group dev --constraints requirements/runtime.lock --output-file requirements/dev.lock
	$(LOCK) --group pyproject.toml:fuzz --output-file requirements/fuzz.lock

.cache/lock/bin/uv:
	@$(PYTHON) -m venv .cache/lock
	@.cache/lock/bin/python -m pip --disable-pip-version-check --quiet install '$(UV)'

clean: ## remove everything that was made here, the broker's jars included
	rm -rf .venv .cache build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf demo-out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
