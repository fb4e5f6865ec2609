# `make demo` and `make test` are all a newcomer needs; `make help` lists the rest.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
TEST_WORKERS ?= 3
run_tests = $(BIN)/python -m coverage run -m pytest $(1) $(PYTEST_FLAGS)
SOURCES := exporter tests demo benchmarks alerts dashboards requirements
TOOLS := .tools
FUZZ_SECONDS ?= 600
KILLS ?= 100

.PHONY: help demo test check format lock docs alerts dashboards pictures bench bench-analysis bench-rules reliability fuzz kills soak sbom audit packages clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

demo: $(VENV)/.runtime ## serve a sample store; an alert fires if Prometheus is installed
	@$(BIN)/python -m demo $(DEMO_FLAGS)

test: packages $(VENV)/.test $(TOOLS)/.made check ## run all checks and all tests
	@rm -f .coverage .coverage.*
	@# PYTEST_FLAGS may deselect all tests of one kind: pytest then ends with 5.
	@none=0; \
	$(call run_tests,-m "not alone and not soak" -n $(TEST_WORKERS) --dist loadfile) || { (( $$? == 5 )); none=1; }; \
	$(call run_tests,-m "alone and not soak") || (( $$? == 5 && ! none ))
	@$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report $(if $(shell command -v docker-registry),,--fail-under=0)

check: $(VENV)/.test ## run the checks that need no server
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy $(SOURCES)

format: $(VENV)/.test ## format the code
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

docs: $(VENV)/.runtime ## write docs/metrics.md from the catalogue of metrics
	$(BIN)/python -m exporter.metrics.documentation > docs/metrics.md

dashboards: $(VENV)/.runtime ## write the dashboards' JSON from their builder
	$(BIN)/python -m dashboards

pictures: packages $(VENV)/.test ## take the pictures of the explorer that the README shows
	$(BIN)/python -m tests.explorer_pictures

alerts: $(VENV)/.runtime ## write Grafana's rules and the PrometheusRule from the alert rules
	$(BIN)/python -m alerts

bench: packages $(VENV)/.runtime ## measure against the goals, du and the registry's garbage collector
	$(BIN)/python -m benchmarks $(BENCH_FLAGS)

bench-analysis: $(VENV)/.runtime ## measure what simulating the collector adds to the analysis
	$(BIN)/python -m benchmarks.store
	$(BIN)/python -m benchmarks.analysis

bench-rules: packages $(VENV)/.runtime ## measure the alert rules on a day of 1,000 repositories
	$(BIN)/python -m benchmarks.rules $(BENCH_FLAGS)

reliability: packages $(VENV)/.test ## test the promises under attack, load and failure; writes docs/reliability.md
	$(BIN)/python -m pytest -m "reliability and not fuzz and not soak" --reliability-page=docs/reliability.md $(PYTEST_FLAGS)

fuzz: $(VENV)/.test ## test with random input for FUZZ_SECONDS (600); writes its part of docs/reliability.md
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest -m "reliability and fuzz" \
	  --reliability-page=docs/reliability.md $(PYTEST_FLAGS) tests/test_fuzz.py

kills: packages $(VENV)/.test ## kill each command that changes or saves a registry KILLS (100) times
	APPLY_KILLS=$(KILLS) BACKUP_KILLS=$(KILLS) RESTORE_KILLS=$(KILLS) COLLECT_KILLS=$(KILLS) \
	  $(BIN)/python -m pytest -n 2 --dist worksteal -k "killed or kill_at" $(PYTEST_FLAGS) tests/test_apply_stopped.py \
	  tests/test_backup_killed.py tests/test_restore.py tests/test_collect_garbage_killed.py

sbom: $(VENV)/.runtime $(TOOLS)/.made ## write sbom.cdx.json: the contents of the image, in CycloneDX format
	$(BIN)/python -m requirements.sbom $(TOOLS) sbom.cdx.json

audit: $(VENV)/.runtime $(TOOLS)/.made ## look up advisories: exit code 1 if there are any, 3 if unknown
	@$(BIN)/python -m requirements.audit $(TOOLS)

soak: packages $(VENV)/.test ## run beside a registry under load for twenty minutes; writes its part of docs/reliability.md
	@# A run that SOAK_SECONDS shortens proves nothing, so it writes nothing.
	$(BIN)/python -m pytest -m soak $(if $(SOAK_SECONDS),,--reliability-page=docs/reliability.md) $(PYTEST_FLAGS)

lock: ## lock the dependencies again; LOCK_FLAGS=--upgrade takes newer versions
	PYTHON=$(PYTHON) requirements/lock.sh $(LOCK_FLAGS)

packages: ## install the servers that the tests run against, if this user may
	@tests/install-packages.sh
	@tests/install-registry-3.sh

clean: ## remove all generated files
	rm -rf $(VENV) $(TOOLS) sbom.cdx.json .fuzz .demo .bench .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is older than Python 3.11; use a newer one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "making $(VENV) failed; on Debian: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }

$(VENV)/.runtime: requirements/image.txt requirements/build.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements/image.txt -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.runtime
	@$(PIP) install --require-hashes -r requirements/test.txt
	@touch $@

# An environment of its own: the packages of the tools must not mix with those of the exporter.
$(TOOLS)/.made: requirements/tools.txt | $(VENV)/bin/python
	@echo "Installing into $(TOOLS) ..."
	@rm -rf $(TOOLS) && $(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r $<
	@touch $@
