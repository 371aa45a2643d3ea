# The one place that says how this house is set up, checked, tested and shown. CI and pre-commit call these targets.
#
#   make demo        the whole loop on a year of flights, in a virtual environment of its own
#   make test        what must hold before a commit        make test-all   and what is slow or needs the network
#   make check       format, lint, types, import rules     make fmt        put the format right
#   make setup       everything a developer needs          make bench      every figure, with its rival
#   make docs        do the documents agree with the code  make bench-serving   the data plane's, with its peers
#
# All it needs is Python 3.11 or newer and make.

SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV ?= .venv
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := $(VENV)/bin
JOBS ?= 2
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help setup fmt check test test-slow test-all bench bench-serving demo docs

help:
	@sed -n '3,7s/^# \{0,1\}//p' Makefile

# A stamp is younger than what it was made of; so each installation happens once, and again when pyproject changes.
$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "kaizen needs Python 3.11 or newer: name one with make PYTHON=/path/to/python3"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml
	@echo "installing kaizen and what the demo needs into $(VENV) ..."
	@$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	@echo "installing kaizen and what its tests need into $(VENV) ..."
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.demo

setup: $(VENV)/.dev
	@if git rev-parse --git-dir >/dev/null 2>&1; then $(BIN)/pre-commit install; fi

fmt: $(VENV)/.dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

check: $(VENV)/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy -p kaizen
	$(BIN)/lint-imports

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS) -m 'not slow'

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m slow

test-all: test test-slow

# batching.py is one of the data plane's claims: `python -m serving` runs it with the others.
bench: $(VENV)/.dev bench-serving
	@set -e; for claim in $(filter-out benchmarks/batching.py,$(wildcard benchmarks/[a-z]*.py)); do \
		echo "== $$claim"; $(BIN)/python $$claim; done
	@echo "== benchmarks/monitoring"; cd benchmarks && $(abspath $(BIN))/python -m monitoring

bench-serving: $(VENV)/.dev
	@echo "== benchmarks/serving"; cd benchmarks && $(abspath $(BIN))/python -m serving

demo: $(VENV)/.demo
	$(BIN)/kaizen demo

docs: $(VENV)/.dev
	$(BIN)/python -m pytest tests/house/test_docs.py tests/house/test_readme.py
