# The one list of verbs: CI and buildspec.yml call these and nothing else. `make help` explains them.

PYTHON ?= python3
# Where the CPU build of torch comes from; its version is in docker/locks/torch.txt.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# More arguments for pytest, e.g. `make test PYTEST='-k digits'`.
PYTEST ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo demo-image test test-slow test-browser lint types image image-studio test-image audit bench lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Train on real digits, serve the model, ask it: no Docker, under 3 minutes
	@$(BIN)/python examples/digits/demo.py

demo-image: $(READY) ## The same through `docker run` (after `make image`)
	@PATH="$$(dirname "$$(docker/client)"):$$PATH" $(BIN)/python examples/digits/demo.py --image twofold:cpu

test: $(READY) ## Run all tests that need no Docker
	$(BIN)/pytest -m "not image and not slow and not browser" $(PYTEST)

test-slow: $(READY) ## Run the tests that take minutes: many kills, parity of parallelisms, fuzzing
	$(BIN)/pytest -m slow $(PYTEST)

test-browser: $(READY) ## Look at the pages in a headless Chromium (`.ci/browser` installs it)
	$(BIN)/pytest -m browser $(PYTEST)

lint: $(READY) ## Check style: Python, Dockerfile, shell, CloudFormation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint Dockerfile
	$(BIN)/cfn-lint examples/pipeline/pipeline.yaml
	$(BIN)/shellcheck .ci/run .ci/engine .ci/browser docker/audit docker/build docker/client docker/jupyterlab docker/lock docker/trim docker/cluster/rehearse

types: $(READY) ## Check types, strictly
	$(BIN)/mypy

image: ## Build twofold:cpu (twofold:cuda with `docker/build cuda`)
	docker/build cpu

image-studio: ## Build twofold:studio: the same with JupyterLab, for SageMaker Studio
	IMAGE=twofold:studio docker/build cpu --target studio

test-image: $(READY) ## Test the built image: docker run, two hosts, AWS's SDKs in local mode
	PATH="$$(dirname "$$(docker/client)"):$$PATH" $(BIN)/pytest -m image tests/image $(PYTEST)

audit: ## Ask PyPI for known vulnerabilities of what the image holds
	@test -x build/audit/bin/pip-audit || { $(PYTHON) -m venv build/audit && \
		build/audit/bin/pip install --quiet --require-hashes -r docker/locks/audit.txt; }
	PIP_AUDIT=$(CURDIR)/build/audit/bin/pip-audit docker/audit

bench: $(READY) ## Measure, and print what goes to benchmarks/results/
	$(BIN)/python benchmarks/startup.py

lock: $(READY) ## Write docker/locks/ anew from pyproject.toml
	UV=$(CURDIR)/$(BIN)/uv docker/lock

clean: ## Remove everything that is not tracked: environments, caches, results of the demo
	git clean -ffdXq

$(READY): docker/locks/dev.txt docker/locks/torch.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info[:2] == (3, 11) else f"Found Python {sys.version.split()[0]}, expected 3.11: make PYTHON=python3.11 ...")'
	@echo "Setting up $(VENV) (once; a few hundred MB)..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/pip install --quiet --no-deps --retries 1 --index-url $(TORCH_INDEX) -r docker/locks/torch.txt
	@$(BIN)/pip install --quiet --require-hashes -r docker/locks/dev.txt
	@PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
