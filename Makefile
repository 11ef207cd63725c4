# `make demo` and `make test` do all the set-up. Needs Python 3.11 to 3.13, git and make; no compiler.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
FOUNDATION := $(BIN)/foundation

# make demo                 simulates labelled populations first
# make demo DATA=folder     takes the NWB files of a folder
DATA ?=
ifeq ($(strip $(DATA)),)
OUT ?= demo/simulated
INPUT = $(OUT)/nwb
else
OUT ?= demo/$(notdir $(abspath $(DATA)))
INPUT = $(DATA)
endif
TRACKING = sqlite:///$(abspath $(OUT))/mlflow.db

# Tests start hundreds of processes, and each would compile the packages again if what the first compiled were not kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo checkpoint docs test test-full lint format coverage wheel dist licences clean

help:
	@echo "make demo [DATA=folder]  from NWB files to finetuned heads and a report"
	@echo "make checkpoint          train a checkpoint and put it, with its card, where it ships from"
	@echo "make docs                build the documentation site into build/docs"
	@echo "make test                every test but the long campaigns"
	@echo "make test-full           the long campaigns too; writes docs/results/test-full.md"
	@echo "make lint                ruff and mypy"
	@echo "make format              let ruff lay out the code"
	@echo "make coverage            tests, and which lines they ran"
	@echo "make wheel               build the package into dist/"
	@echo "make dist                build wheel and sdist for a release, and check them"
	@echo "make licences            list the licences of all dependencies in docs/licences.md"
	@echo "make clean               remove what the above made, the environment too"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed, {sys.executable} is {v[0]}.{v[1]}: name another with make PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): some minutes, about 3 GB"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@

demo: $(INSTALLED)
	@mkdir -p $(OUT)
ifeq ($(strip $(DATA)),)
	$(FOUNDATION) simulate izhikevich --config simulate/demo --output $(OUT)/nwb
endif
	@rm -f $(OUT)/incomplete
	$(FOUNDATION) ingest --input $(INPUT) --store $(OUT)/store || { test $$? -eq 1 && touch $(OUT)/incomplete; }
	$(FOUNDATION) catalog $(OUT)/store
	$(FOUNDATION) pretrain --config pretrain/two-streams --store $(OUT)/store --output $(OUT)/pretrain --tracking_uri $(TRACKING)
	$(FOUNDATION) finetune --config finetune/demo --store $(OUT)/store --checkpoint $(OUT)/pretrain \
		--output $(OUT)/finetune --tracking_uri $(TRACKING)
	$(FOUNDATION) report --store $(OUT)/store --checkpoint $(OUT)/pretrain --results $(OUT)/finetune \
		--output $(OUT)/report.html --picture $(OUT)/report.png
	@test ! -e $(OUT)/incomplete || { echo "some files were not ingested: see the table above"; exit 1; }

# make checkpoint                       trains configs/pretrain/eit-tiny.yaml into foundation/checkpoints/eit-tiny
# DATA=folder                           NWB files, besides simulated networks
# SIMULATE=simulate/demo NETWORKS=8     the simulation and its number of networks; empty: none
# SIMULATING="--seed 1000"              options of the simulation: other networks than those of make demo
# CHECKPOINT=name CONFIG=pretrain/name FINETUNE=finetune/demo PACK=pack/name SHIPPED=folder WORK=folder WATTS=65
# PRETRAIN="--steps 50" FINETUNING="--folds 5"   options of the two commands
CHECKPOINT ?= eit-tiny
CONFIG ?= pretrain/$(CHECKPOINT)
FINETUNE ?= finetune/demo
PACK ?= pack/eit-tiny
SIMULATE ?= simulate/demo
NETWORKS ?= 8
SIMULATING ?= --seed 1000 --name tiny
SHIPPED ?= foundation/checkpoints/$(CHECKPOINT)
WORK ?= build/checkpoints/$(CHECKPOINT)
PRETRAIN ?=
FINETUNING ?=
PRETRAINING = foundation pretrain --config $(CONFIG) $(PRETRAIN)

checkpoint: $(INSTALLED)
	@test -n "$(strip $(DATA)$(SIMULATE))" || { echo "nothing to train on: give DATA=folder or SIMULATE=simulate/demo"; exit 2; }
	@mkdir -p $(WORK)
ifneq ($(strip $(SIMULATE)),)
	$(FOUNDATION) simulate izhikevich --config $(SIMULATE) --networks $(NETWORKS) $(SIMULATING) --output $(WORK)/simulated
	$(FOUNDATION) ingest --input $(WORK)/simulated --store $(WORK)/store
endif
ifneq ($(strip $(DATA)),)
	$(FOUNDATION) ingest --input $(DATA) --store $(WORK)/store
endif
	$(FOUNDATION) catalog $(WORK)/store
	$(BIN)/$(PRETRAINING) --store $(WORK)/store --output $(WORK)/pretrain
	$(FOUNDATION) finetune --config $(FINETUNE) --store $(WORK)/store --checkpoint $(WORK)/pretrain \
		--output $(WORK)/finetune $(FINETUNING)
	$(FOUNDATION) pack --config $(PACK) --checkpoint $(WORK)/pretrain --results $(WORK)/finetune --output $(SHIPPED) \
		--name $(CHECKPOINT) $(if $(WATTS),--watts $(WATTS)) \
		--commands '["make checkpoint CHECKPOINT=$(CHECKPOINT) CONFIG=$(CONFIG) SIMULATE=$(SIMULATE) NETWORKS=$(NETWORKS) SIMULATING=\"$(SIMULATING)\"$(if $(FINETUNING), FINETUNING=\"$(FINETUNING)\")$(if $(DATA), DATA=<the NWB files above>)", "$(strip $(PRETRAINING)) --store <store> --output <run>"]'

# Strict: a warning is an error. The pages need no network; tests/docs/test_site.py builds them too.
docs: $(INSTALLED)
	$(BIN)/python -m sphinx -b html -W --keep-going -n -q docs build/docs
	@echo "open build/docs/index.html"

# Files go to as many processes as there are cores; those that start the same services stay in one, and the longest begin
# first (tests/conftest.py).
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not long" -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
		--durations=25

test-full: $(INSTALLED)
	$(BIN)/python -m pytest --junitxml=build/test-full.xml; status=$$?; \
	$(BIN)/python tests/full_page.py build/test-full.xml docs/results/test-full.md && exit $$status

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: $(INSTALLED)
	$(BIN)/python -m pytest -m "not long" --cov --cov-report=term --cov-report=html

wheel: $(INSTALLED)
	$(BIN)/python -m build --wheel --no-isolation

# From a clean work tree only: the build takes every file of the packages that git does not ignore.
dist: $(INSTALLED)
	@test -z "$$(git status --porcelain)" || { echo "commit or remove these first:"; git status --short; exit 1; }
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*
	FOUNDATION_DIST=dist $(BIN)/python -m pytest -q tests/test_wheel.py

licences: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python infra/release/licences.py docs/licences.md

clean:
	rm -rf $(VENV) demo build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
