# Needs python3 and make; the first target that needs it makes a virtual environment in .venv and installs into it.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
RESULTS ?= results
SWEEP = $(strip $(foreach name,SEEDS EPOCHS DATASETS ARCHS METHODS PRESET JOBS DRY,$(if $($(name)),$(flag)=$($(name)))))
flag = --$(shell echo $(name) | tr A-Z a-z)

.PHONY: demo test slow lint table1 table2 table3 table4 figure2 diff report docs bench torture clean

demo: $(INSTALLED)
	$(BIN)/python experiments/demo.py

test: $(INSTALLED)
	$(BIN)/python -m pytest

slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

table1 table2 table3 table4 figure2: $(INSTALLED)
	$(BIN)/python experiments/$@.py --results_dir=$(RESULTS) $(SWEEP)

diff: $(INSTALLED)
	$(BIN)/python -m selectnet_tf.report diff --results_dir=$(RESULTS) $(if $(PRESET),--preset=$(PRESET))

report: $(INSTALLED)
	$(BIN)/python -m selectnet_tf.report tables figures html readme --results_dir=$(RESULTS)

docs: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/mkdocs build --quiet
	@echo "see build/site/index.html"

bench: $(INSTALLED)
	$(BIN)/python experiments/benchmark.py --results_dir=$(RESULTS)

torture: $(INSTALLED)
	$(BIN)/python experiments/torture.py

clean:
	rm -rf .venv .pytest_cache .ruff_cache build *.egg-info results/demo

$(INSTALLED): setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	touch $@
