# Two commands on a fresh machine: `make demo` and `make test`. Each sets up .venv once.

PYTHON ?= python3
OUT ?= demo
SEED ?= 0
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-slow check docs bench clean

demo: $(READY)  ## train four networks on the embedded pictures: table, figure, verdicts, page in $(OUT)/
	$(BIN)/reslab reproduce degradation --seed $(SEED) --out $(OUT)

test: $(READY) check  ## style, types and the fast tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 -m "not slow and not data"

test-slow: $(READY)  ## the tests marked slow or data
	$(BIN)/pytest -q -m "slow or data"

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)  ## write the generated part of README.md again
	$(BIN)/python tools/readme.py

bench: $(READY)  ## speed of training against a bare step, in one run
	$(BIN)/reslab bench train --model cifar-resnet20 --batch 128

clean:
	rm -rf .venv demo

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $(READY)
