# `make demo` and `make test` work right after a clone: each sets up .venv first, when it is not there or out of date.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install -c constraints.txt

export OMP_NUM_THREADS := 1
export HF_HUB_OFFLINE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test lint format clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r goal text; do \
		printf 'make %-8s %s\n' "$$goal" "$$text"; done
	@echo
	@echo 'PYTHON=... names the Python (3.10 or newer) to set up with; the default is python3.'

# $(call run,CODE,ARGUMENTS): shows a command, its output and its exit code, which must be CODE.
define run
printf '\n$$ paramlint %s\n' '$(2)'; $(BIN)/paramlint $(2); code=$$?; echo "exit code $$code"; test $$code -eq $(1)
endef

demo: $(STAMP)  ## check a small GPT: its parameters, a recipe that is wrong for it, groups that are right
	@$(call run,0,params examples/gpt.py:build)
	@$(call run,1,check examples/gpt.py:build --groups examples/gpt.py:blog_recipe)
	@$(call run,0,check examples/gpt.py:build --groups examples/gpt.py:right_groups)

test: lint  ## ruff, mypy and all tests
	$(BIN)/python -m pytest -n 2

lint: $(STAMP)  ## ruff and mypy only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove .venv and all caches
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find paramlint tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

# What builds the package comes first, so that the pinned versions of it do. timm and torchvision stay without their
# dependencies, which would ask for another torch than the one chosen here; pillow is the one they need besides.
# Optimizers that generated code is run against lie in a folder of their own: most tests want them missing.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
		echo "make: no '$(PYTHON)' here; name a Python 3.10 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "make: $(PYTHON) is $$($(PYTHON) -V 2>&1); paramlint needs Python 3.10 or newer:" \
			"make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
		exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "make: $(PYTHON) cannot make virtual environments: ensurepip is missing." \
			"On Debian and Ubuntu: apt install python3-venv" >&2; \
		exit 1; }
	@test -x $(BIN)/python || { echo 'Setting up $(VENV): the first time takes minutes, torch is large.'; \
		$(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
		echo "make: $(VENV) has no pip, or a Python older than 3.10; remove it with 'make clean'" >&2; \
		exit 1; }
	$(PIP) -q hatchling editables
	$(PIP) -q --no-build-isolation -e '.[model,dev]'
	$(PIP) -q --no-deps timm torchvision pillow
	$(PIP) -q --no-deps --upgrade --target $(VENV)/optimizers muon-optimizer pytorch_optimizer heavyball
	@touch $@
