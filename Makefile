# On a fresh machine with Python 3.11 or newer: `make demo` and `make test` set everything up in .venv and run.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test app lint format wheel clean

demo: $(VENV)/.installed
	$(BIN)/tltool demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest

app: $(VENV)/.installed
	$(BIN)/tltool app

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(VENV)/.installed
	$(BIN)/python -m build --wheel

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[app,augment,backbones,dev,export]'
	touch $@

clean:
	rm -rf $(VENV) build dist
