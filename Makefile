# Every target sets up what it needs by itself. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
# Three workers keep CI's two cores busy: most tests wait for processes. Who has nothing left takes from the
# others: the slow ones stand together. More with PYTEST="-n 8 --dist worksteal".
PYTEST ?= -n 3 --dist worksteal
E2E ?= tests/e2e
# `rei chaos --help` has more; give it by CHAOS="--freezes 20".
JOBS ?= 2000
KILLS ?= 20
SEED ?= 1

.PHONY: help setup demo demo-once test test-unit test-integration test-browser test-acceptance test-cluster cluster images node e2e e2e-scaling crash-matrix chaos drill mutants lint format crds renders dashboards dashboard-pictures screenshots bench bench-scaling clean

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install the locked Python packages into .venv
	@tools/setup

demo: ## Run Rei against the stand-ins, play the story, then stay up with a chat page
	@tools/setup
	@$(BIN)/rei demo

demo-once: ## Play the story once; exit 0 only if every step and the ledger audit held
	@tools/setup
	@$(BIN)/rei demo --once

test: ## Run all tests: unit, integration, migrations, browser, acceptance, cluster
	@tools/setup browser prometheus
	@$(BIN)/python -m rei_sandbox.cluster prepare
	$(BIN)/pytest $(PYTEST)

test-unit: ## Run the tests that need no server: Python, and promtool for the alerts
	@tools/setup prometheus
	$(BIN)/pytest $(PYTEST) tests/unit

test-integration: ## Run the tests on real PostgreSQL, Redis and HTTP
	@tools/setup prometheus
	$(BIN)/pytest $(PYTEST) tests/integration tests/migrations

test-browser: ## Drive the chat page in Chromium
	@tools/setup browser
	$(BIN)/pytest $(PYTEST) tests/browser

chaos: ## Break everything around Rei under load, account for every kopeck (JOBS, KILLS, SEED)
	@tools/setup
	$(BIN)/rei chaos --jobs $(JOBS) --kills $(KILLS) --seed $(SEED) $(CHAOS)

drill: ## Break the running system in every way that people on call know, and measure (WRITE=docs/drills.md)
	@tools/setup prometheus
	@$(BIN)/python -m rei_sandbox.cluster prepare
	$(BIN)/rei drill $(if $(WRITE),--write $(WRITE)) $(DRILL)

test-acceptance: ## Run the demo with kill -9 in the middle
	@tools/setup
	$(BIN)/pytest tests/acceptance

test-cluster: ## Run the tests on a real Kubernetes API server (REI_TEST_KUBECONFIG: on a given one)
	@tools/setup prometheus
	@$(BIN)/python -m rei_sandbox.cluster prepare
	$(BIN)/pytest $(PYTEST) tests/cluster

cluster: ## Start a Kubernetes API server to play with, until Ctrl-C
	@tools/setup
	@$(BIN)/python -m rei_sandbox.cluster up

crash-matrix: ## Kill the operator and its Jobs everywhere; WRITE=docs/crash-matrix.md writes the page
	@tools/setup
	@$(BIN)/python -m rei_sandbox.cluster prepare
	REI_CRASH_MATRIX=$(WRITE) $(BIN)/pytest -q -s -p no:xdist tests/cluster/operator/crashes

images: ## Build Rei's images without Docker, as root (with Docker: docker build --target bot .)
	@tools/setup images
	@$(BIN)/python -m rei_sandbox.cluster images

node: ## Start a whole Kubernetes with one node that runs Rei's images, as root, until Ctrl-C
	@tools/setup node
	@$(BIN)/python -m rei_sandbox.cluster node up --load bot --load worker --load operator

e2e: ## Run the tests on images and on a Kubernetes that runs pods, as root (E2E: only these)
	@tools/setup node
	$(BIN)/pytest -n 2 $(E2E)

e2e-scaling: ## Scale a release on such a Kubernetes, and draw it into docs/scaling anew
	@tools/setup node
	REI_SCALING_TIMELINE=.rei/scaling $(BIN)/pytest tests/e2e/test_scaling.py -k follow
	@bench/scaling-pictures .rei/scaling

mutants: ## Plant one bug after the other where money moves; exit 0 only if the tests catch each
	@tools/setup
	$(BIN)/python tools/mutants.py $(NAMES)

lint: ## Check style, types, layers, migrations, planted bugs, CRDs, chart, dashboards, vulnerabilities
	@tools/setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/squawk src/core/rei_core/db/revisions/*.sql
	$(BIN)/python tools/mutants.py --check
	$(BIN)/python tools/crds.py --check
	$(BIN)/python tools/chart.py --check
	$(BIN)/python tools/dashboards.py --check
	tools/audit

crds: ## Write k8s/crds anew from the models of the custom resources, and the chart's copies of k8s
	@tools/setup
	$(BIN)/python tools/crds.py

renders: ## Write tests/chart/golden anew: what the chart renders to
	@tools/setup
	$(BIN)/python tools/chart.py

dashboards: ## Write helm/rei/files/dashboards anew from src/sandbox/rei_sandbox/dashboards
	@tools/setup
	$(BIN)/python tools/dashboards.py

dashboard-pictures: ## Draw docs/images/dashboard-*.svg anew: the dashboards of a shop at work
	@tools/setup prometheus
	@$(BIN)/python -m rei_sandbox.cluster prepare
	REI_DASHBOARD_PICTURES=docs/images $(BIN)/pytest -p no:xdist tests/cluster/dashboards

format: ## Format the code and mend what can be mended
	@tools/setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

screenshots: ## Take the pictures of docs/images anew
	@tools/setup browser
	$(BIN)/python tools/screenshots.py

bench: ## Measure Rei beside its peers and this machine's limits, into docs/benchmarks.md (BENCH="--quick")
	@bench/run $(BENCH)

bench-scaling: ## Replay a day of orders against the autoscaler and an oracle, into docs/scaling.md
	@bench/scaling

clean: ## Remove what the targets above made
	rm -rf .venv .cache .rei .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
