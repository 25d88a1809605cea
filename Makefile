# make demo and make test each do everything on a fresh machine: environment, build, run.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: build test test-fast demo lint bench fuzz clean debian

$(VENV)/.deps: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python tools/install_deps.py
	touch $@

build: $(VENV)/.deps
	$(BIN)/python setup.py -q build_ext --inplace

lint: $(VENV)/.deps
	$(BIN)/ruff check .
	$(BIN)/mypy

test: build lint
	$(BIN)/python -m pytest -n 2 -q

demo: build
	@PYTHONPATH=src $(BIN)/python demo/demo.py

clean:
	rm -rf build $(VENV)
	find src -name '*.so' -delete
