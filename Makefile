# One environment, .venv; every target makes what it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := twostage gateway retrieval_service ranking_service model_server training
STAMP := $(VENV)/.installed
DATA ?=
STORE ?= demo-store
ALONE := tests/chaos/test_ladder.py tests/chaos/test_replicas.py

# TensorFlow's own start-up notes are not what a person asked for.
export TF_CPP_MIN_LOG_LEVEL ?= 3
export TF_ENABLE_ONEDNN_OPTS ?= 1

.PHONY: help setup demo test check lint types imports proto-check k8s protos bench bench-retrieval clean

help:  ## What the targets do
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

setup: $(STAMP)  ## Make the environment in .venv

$(STAMP): pyproject.toml scripts/find-python
	@set -e; \
	python=$$(scripts/find-python); \
	echo "setting up .venv with $$($$python --version), some minutes at the first time"; \
	$$python -m venv $(VENV); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: setup  ## Train quickly, serve and recommend: DATA=dir for data of your own, STORE=dir to keep the result
	@$(BIN)/twostage demo --store '$(STORE)' $(if $(DATA),--data '$(DATA)')

# Three processes keep two cores busy: many tests wait for servers to start. A file's tests stay together. Those that hold
# answers to their rungs come after the others, alone: beside them answers would be late for want of a core.
test: setup  ## Run the tests
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile $(ALONE:%=--ignore %); others=$$?; \
	$(BIN)/python -m pytest $(ALONE) && exit $$others

check: setup lint types imports proto-check k8s  ## Lint, strict types, import rules, contracts, manifests

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports --no-cache

proto-check: setup
	scripts/check-protos $(BIN)/python

k8s: setup  ## Render every combination of k8s/ and check it against Kubernetes and the code
	scripts/check-k8s $(BIN)/python

protos: setup  ## Generate twostage/v1, the model server's descriptors and the OpenAPI document
	scripts/generate-protos $(BIN)/python .
	$(BIN)/python -m twostage.tfserving.build_descriptors
	$(BIN)/python -m gateway.http.build_openapi

bench: setup  ## Measure against the floor: STORE=dir of a trained store
	$(BIN)/python -m benchmarks --store '$(STORE)'

bench-retrieval: setup  ## Compare retrieval with other libraries: VECTORS=dir PEERS=python
	@test -n '$(VECTORS)' -a -n '$(PEERS)' || { echo 'make bench-retrieval VECTORS=dir PEERS=python' >&2; exit 2; }
	$(BIN)/python -m benchmarks.retrieval.frontier --vectors '$(VECTORS)' --peers-python '$(PEERS)' \
	  --index '$(VECTORS)/index' --cache '$(VECTORS)/peers' --out '$(VECTORS)/results'

clean:  ## Remove the environment and what tools left
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
