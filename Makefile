# Two commands on a fresh machine: `make demo` and `make test`.
# Only Python 3.11+ and make are asked of the machine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# --no-compile leaves byte-compiling to the first import of what is used.
INSTALL := $(BIN)/pip install --quiet --quiet --no-compile \
  --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-fast lint format clean

demo: $(VENV)/core
	@$(BIN)/python launch.py

test: $(VENV)/test
	$(BIN)/python -m pytest --numprocesses=auto

test-fast: $(VENV)/test
	$(BIN)/python -m pytest --numprocesses=auto -m 'not slow'

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(VENV)/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# river and bokeh-sampledata are wanted for one data file each, so they come
# without what they depend on (pandas, shapely, ...).
$(VENV)/core: pyproject.toml constraints.txt
	@echo 'Setting up $(VENV) (about a minute) ...'
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "mlc needs Python 3.11 or newer, but $(PYTHON) is " + \
	  sys.version.split()[0] + ". Name another: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --editable . iterative-stratification scikit-learn
	@$(INSTALL) --no-deps bokeh-sampledata river
	@touch $@

$(VENV)/test: $(VENV)/core
	@echo 'Adding what the tests need ...'
	@$(INSTALL) --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV)
