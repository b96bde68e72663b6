# gnnpot: `make demo` trains, tests and reports on real data; `make test` checks everything. Both install what they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PYTHONUNBUFFERED := 1

.PHONY: help install demo test gates lint clean

help:  ## show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

install: $(VENV)/.installed  ## set up .venv with gnnpot and all it needs

demo: install  ## train SchNet on bundled Li2O data, test it, write runs/demo/report.html, run MD, also in a field (5 minutes)
	rm -rf runs/demo runs/demo-response
	$(BIN)/gnnpot fit run_dir=runs/demo
	$(BIN)/gnnpot md checkpoint=runs/demo structure=Li2O repeat=[2,2,2] temperature=600 steps=200 output=runs/demo/md
	$(BIN)/gnnpot fit head=polarization checkpoint=runs/demo trainer.max_time=00:00:00:45 run_dir=runs/demo-response
	$(BIN)/gnnpot md checkpoint=runs/demo-response structure=Li2O repeat=[2,2,2] temperature=600 steps=300 \
		field=[0,0,0.1] output=runs/demo-response/md

test: install  ## run all tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --cov=gnnpot --cov-report=term

gates: install  ## train on real data, and test that Born charges are accurate (minutes each; GNNPOT_DATA names more data)
	OMP_NUM_THREADS=1 $(BIN)/pytest --gates tests/test_accuracy.py

lint: install  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## remove the environment and what tools left behind
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .coverage
