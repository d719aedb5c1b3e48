# Needs python3 and make; the first target that needs it makes a virtual environment in .venv and installs into it.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
DEVELOPED = $(VENV)/.developed
PIP = $(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
CONSTRAINTS ?=
RESULTS ?= results
SWEEP = $(strip $(foreach name,SEEDS EPOCHS DATASETS ARCHS METHODS PRESET JOBS DRY DEVICE RAY PRINT,$(if $($(name)),$(flag)=$($(name)))))
flag = --$(shell echo $(name) | tr A-Z a-z)

.PHONY: demo test slow gpu oldest lint table1 table2 table3 table4 figure2 ablation diff report docs bench clean

demo: $(INSTALLED)
	$(BIN)/python experiments/demo.py

test: $(DEVELOPED)
	$(BIN)/python -m pytest

slow: $(DEVELOPED)
	$(BIN)/python -m pytest -m slow

gpu: $(DEVELOPED)
	$(BIN)/python -m pytest -m gpu -rs

oldest:
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip install --quiet uv
	$(VENV)-oldest/bin/uv pip install --quiet --python $(VENV)-oldest/bin/python --resolution=lowest-direct --editable '.[test]'
	$(VENV)-oldest/bin/python -m pytest

lint: $(DEVELOPED)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

table1 table2 table3 table4 figure2: $(INSTALLED)
	$(if $(PRINT),@)$(BIN)/python experiments/$@.py --results_dir=$(RESULTS) $(SWEEP)

ablation: $(INSTALLED)
	$(BIN)/python experiments/ablation.py --results_dir=$(RESULTS) $(foreach name,SEEDS EPOCHS PRECISION OUT JOBS DRY DEVICE,$(if $($(name)),$(flag)=$($(name))))

diff: $(INSTALLED)
	$(BIN)/python -m selectnet_tf report diff --results_dir=$(RESULTS) --out=$(RESULTS)/diff$(addprefix _,$(filter released,$(PRESET))).csv $(if $(PRESET),--preset=$(PRESET))

report: $(INSTALLED)
	$(BIN)/python -m selectnet_tf report tables figures html --results_dir=$(RESULTS)
	$(if $(filter results,$(patsubst ./%,%,$(patsubst %/,%,$(RESULTS)))),$(BIN)/python experiments/pages.py)

# No --quiet: with it mkdocs counts no warning, and --strict lets a broken link pass.
docs: $(INSTALLED)
	$(PIP) --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "see build/site/index.html"

bench: $(INSTALLED)
	$(BIN)/python experiments/benchmark.py --results_dir=$(RESULTS)

clean:
	rm -rf .venv .venv-oldest .pytest_cache .mypy_cache .ruff_cache build *.egg-info results/demo

$(INSTALLED): setup.py
	gpu=$$($(PYTHON) -m selectnet_tf._devices $(DEVICE)) && $(PYTHON) -m venv $(VENV) && \
	$(PIP) --editable ".$${gpu:+[$$gpu]}"
	touch $@

$(DEVELOPED): $(INSTALLED)
	$(PIP) --editable '.[test,lint]'
	touch $@
