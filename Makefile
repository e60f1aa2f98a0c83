# Two commands on a fresh machine: `make demo` and `make test`. Each sets up .venv once; `make test-oracle` has its own.

PYTHON ?= python3
OUT ?= demo
SEED ?= 0
BIN := .venv/bin
READY := .venv/.ready
ORACLE := .venv-oracle/bin
ORACLE_READY := .venv-oracle/.ready
INSTALL := install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-slow test-oracle check docs bench clean

demo: $(READY)  ## train four networks on the embedded pictures: table, figure, verdicts, page in $(OUT)/
	$(BIN)/reslab reproduce degradation --seed $(SEED) --out $(OUT)

test: $(READY) check  ## style, types and the fast tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 -m "not slow and not data and not oracle"

test-slow: $(READY)  ## the tests marked slow or data
	$(BIN)/pytest -q -m "(slow or data) and not oracle"

test-oracle: $(ORACLE_READY)  ## the networks against torchvision's and timm's, in .venv-oracle
	OMP_NUM_THREADS=1 $(ORACLE)/pytest -q -n 2 -m oracle tests/oracle

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)  ## write the generated part of README.md again
	$(BIN)/python tools/readme.py

bench: $(READY)  ## speed of training against a bare step, in one run
	$(BIN)/reslab bench train --model cifar-resnet20 --batch 128

clean:
	rm -rf .venv .venv-oracle demo

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip $(INSTALL) torch
	$(BIN)/pip $(INSTALL) --editable ".[dev]"
	touch $(READY)

# Of timm and torchvision networks and crops are used: neither what they fetch weights with, nor their torch.
$(ORACLE_READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-oracle
	echo '*' > .venv-oracle/.gitignore
	$(ORACLE)/pip $(INSTALL) torch
	$(ORACLE)/pip $(INSTALL) --editable ".[dev]"
	$(ORACLE)/pip $(INSTALL) --no-deps timm torchvision
	$(ORACLE)/pip $(INSTALL) torchmetrics
	touch $(ORACLE_READY)
