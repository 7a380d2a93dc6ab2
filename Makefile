# Two commands on a fresh machine: `make demo` and `make test`.
# Only Python 3.11+ and make are asked of the machine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# --no-compile leaves byte-compiling to the first import of what is used.
INSTALL := $(BIN)/pip install --quiet --quiet --no-compile --no-deps \
  --disable-pip-version-check

# Many containers set it: every process would then byte-compile JAX anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-fast lint format clean

demo: $(VENV)/ready
	@$(BIN)/python launch.py

# Neighbouring tests share what they train: a worker takes them in one piece.
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --dist=worksteal

# Most of a test is compiling what it runs once: without optimisations. What
# numbers and gradients hang on is compiled as users have it.
QUICKLY := XLA_FLAGS="$$XLA_FLAGS --xla_backend_optimization_level=0 \
  --xla_cpu_use_fusion_emitters=false"
OPTIMISED := tests/losses tests/metrics tests/training tests/numerics_test.py

test: $(VENV)/ready-to-test
	@$(PYTEST) $(OPTIMISED); optimised=$$?; \
	  $(QUICKLY) $(PYTEST) $(OPTIMISED:%=--ignore=%) && exit $$optimised

test-fast: $(VENV)/ready-to-test
	@$(QUICKLY) $(PYTEST) -m 'not slow'

lint: $(VENV)/ready-to-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(VENV)/ready-to-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The two lists name every package, so that pip has nothing to resolve, which
# would take it longer than the download; and river and bokeh-sampledata, wanted
# for one data file each, come without what they depend on (pandas, shapely).
$(VENV)/ready: pyproject.toml constraints.txt
	@echo 'Setting up $(VENV) (about a minute) ...'
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "mlc needs Python 3.11 or newer, but $(PYTHON) is " + \
	  sys.version.split()[0] + ". Name another: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --requirement constraints.txt
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@

$(VENV)/ready-to-test: $(VENV)/ready constraints-test.txt
	@$(INSTALL) --requirement constraints-test.txt
	@touch $@

clean:
	rm -rf $(VENV)
