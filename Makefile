# Needs python3 and make; the first target that needs it makes a virtual environment in .venv and installs into it.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed

.PHONY: demo test lint diff clean

demo: $(INSTALLED)
	$(BIN)/python experiments/demo.py

test: $(INSTALLED)
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

diff: $(INSTALLED)
	$(BIN)/python -m selectnet_tf.report diff

clean:
	rm -rf .venv .pytest_cache .ruff_cache build *.egg-info results/demo

$(INSTALLED): setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	touch $@
