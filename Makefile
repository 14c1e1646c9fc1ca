# `make demo` and `make test` set up .venv by themselves; nothing else is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MINUTES ?= 30

.DEFAULT_GOAL := help
.PHONY: help demo test lint search fuzz golden samples pictures clean

help:
	@echo "make demo     set up .venv, then show attention on the real capture and on random tensors"
	@echo "make test     the same, then linters, types and tests"
	@echo "make lint     linters and types alone"
	@echo "make search   run the tests with other cases than make test draws"
	@echo "make fuzz     give attn hostile files and options for MINUTES=30; goes on from the last time (.fuzz/)"
	@echo "make golden   write the expected terminal output anew"
	@echo "make samples  write the textbook samples anew"
	@echo "make pictures draw the README's pictures anew (those of the page need Chromium)"
	@echo "make clean    remove .venv and caches"

# pip compiles one file after the other. What takes long to import is compiled on all cores, whatever in it is for later
# Pythons left out; the rest is when it is imported.
$(VENV)/ready: pyproject.toml constraints.txt
	@echo "setting up $(VENV): this downloads PyTorch once and can take some minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-compile -c constraints.txt --editable '.[test]'
	$(BIN)/python -m compileall -q attn_cli
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib/python3*/site-packages/torch $(VENV)/lib/python3*/site-packages/sympy || true
	touch $@

demo: $(VENV)/ready
	$(BIN)/attn run sample_inputs/minilm.safetensors
	$(BIN)/attn run sample_inputs/minilm.safetensors --layer 3 --head 5
	$(BIN)/attn demo

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The cores are shared out among processes, so each computes in one thread; make search leaves that to PyTorch.
test: demo lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

search: $(VENV)/ready
	HYPOTHESIS_PROFILE=search $(BIN)/python -m pytest

fuzz: $(VENV)/ready
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES) $(if $(SUMMARY),--summary $(SUMMARY))

golden: $(VENV)/ready
	ATTN_UPDATE_GOLDEN=1 $(BIN)/python -m pytest -q tests/reporters

samples: $(VENV)/ready
	$(BIN)/python sample_inputs/make_textbook_samples.py

pictures: $(VENV)/ready
	$(BIN)/python docs/pictures/draw.py

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
