# Every target makes the virtual environment when it is missing. `make help` lists them.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help train test lint bench audit torture soak docs clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jaxrl needs Python 3.11 or newer; call make with PYTHON=python3.11 or the like")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

train: $(VENV)/ready  ## train A3C on Riverraid (other options: make train ARGS="--env Pong-v5")
	$(BIN)/python experiments/a3c.py $(ARGS)

test: $(VENV)/ready  ## run the tests (about twelve minutes on two cores)
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

lint: $(VENV)/ready  ## check style and imports
	$(BIN)/ruff check .

bench: $(VENV)/ready  ## measure speed of A3C (ARGS are its own), then of DQN (a quiet machine, please)
	$(BIN)/python benchmarks/throughput.py $(ARGS)
	$(BIN)/python benchmarks/dqn.py

audit: $(VENV)/ready  ## every derived gradient against autodiff: errors, time, memory
	$(BIN)/python -m jaxrl.audit $(ARGS)

torture: $(VENV)/ready  ## kill and resume runs, and compare them to the bit (hours; goes on where it stopped)
	$(BIN)/python tests/torture.py $(ARGS)

soak: $(VENV)/ready  ## train for two hours and watch memory, file descriptors and threads (a quiet machine, please)
	$(BIN)/python tests/soak.py $(ARGS)

docs: $(VENV)/ready  ## build the documentation site into site/
	$(BIN)/python -m pip install --quiet --requirement requirements-docs.lock
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "open site/index.html in a browser"

clean:  ## remove the virtual environment
	rm -rf $(VENV)
