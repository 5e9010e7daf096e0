# Two targets are the whole set-up: `make run` and `make test`. Python >= 3.11 and make are enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Tests run side by side, since many of them wait: three processes keep two cores busy. JOBS=0 is one process.
JOBS ?= 3
SPREAD := -n $(JOBS) --dist worksteal
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Where it is set, every program that a test starts compiles the whole source anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check bench soak mutants schemas docs screenshots lock format fuzz sbom audit clean

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) --require-hashes -r requirements/run.txt
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) --require-hashes -r requirements/dev.txt
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@ $(VENV)/.run

# SENSOR=cowrie=/path/to/cowrie.json reads your own log; without it the demo recording is played.
run: $(VENV)/.run
	$(BIN)/decnet-tui $(if $(SENSOR),--sensor $(SENSOR),$(if $(DECNET_SENSORS),,--demo)) $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow and not bench" $(SPREAD) $(ARGS)

# What CI runs. The tests are those of the built and installed wheel: what an editable install finds may be missing there.
check: $(VENV)/.dev
	$(BIN)/ruff format --check decnet decnet_tui tests
	$(BIN)/ruff check decnet decnet_tui tests
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.supply.wheel dist -m "not bench" $(SPREAD) $(ARGS)

bench: $(VENV)/.dev
	$(BIN)/python -m pytest -m bench -s tests/bench $(ARGS)

# Fault tests at full size, and then a week in an hour; MINUTES=5 is shorter. What it saw is in $(SOAK): plot and verdict.
MINUTES ?= 60
RATE ?=
SOAK ?= soak
soak: $(VENV)/.dev
	DECNET_FAULT_SCALE=1 $(BIN)/python -m pytest -m soak -s tests/fault $(ARGS)
	$(BIN)/python -m tests.fault.soak --minutes $(MINUTES) $(if $(RATE),--rate $(RATE)) --out $(SOAK)

# Puts faults into guards, one at a time, and asks whether a test notices; the verdicts are kept.
mutants: $(VENV)/.dev
	$(BIN)/python -m tests.mutants.run $(ARGS)

# What is generated from the code and shipped: schemas of events and rules, what decnet/db/schema says of tables.
schemas: $(VENV)/.dev
	$(BIN)/python -m decnet.events.schema
	$(BIN)/python -m decnet.db.describe
	$(BIN)/python -m decnet.ttp.rule_schema

# Reference pages and the picture of the architecture, from the code.
docs: $(VENV)/.dev
	$(BIN)/python -m tests.docs.make

screenshots: $(VENV)/.dev
	$(BIN)/decnet-tui screenshots --out screenshots

format: $(VENV)/.dev
	$(BIN)/ruff format decnet decnet_tui tests
	$(BIN)/ruff check --fix decnet decnet_tui tests

UV := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links
EXTRAS := --extra postgres --extra otel --extra stix --extra sigma --group build
lock: $(VENV)/.dev
	$(UV) pyproject.toml $(EXTRAS) -o requirements/run.txt
	$(UV) pyproject.toml $(EXTRAS) --group dev -o requirements/dev.txt

# Bytes from anywhere into everything that reads bytes, for some minutes; what fails is kept in tests/fuzz/corpus.
# FUZZ drawn inputs for each reader, then BREED seconds of those that atheris makes of what reached new code (in fuzz/).
FUZZ ?= 5000
BREED ?= 60
fuzz: $(VENV)/.dev
	DECNET_FUZZ_EXAMPLES=$(FUZZ) $(BIN)/python -m pytest --timeout 3600 tests/fuzz tests/fault/test_any_order.py $(ARGS)
	$(BIN)/python -m tests.fuzz.guided --seconds $(BREED)

# Every part of the program with its version and hashes, as CycloneDX.
sbom: $(VENV)/.dev
	$(BIN)/python -m tests.supply.sbom dist/sbom.cdx.json

# Known faults of the parts, where their list can be reached.
audit: $(VENV)/.dev
	$(BIN)/python -m tests.supply.audit

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
