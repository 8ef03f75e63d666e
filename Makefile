# make demo | test | dev | check | benchmarks
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export AIOS_HOME ?= $(CURDIR)/.aios
export AIOS_DATASETS ?= $(abspath $(CURDIR)/../shared/datasets)

.PHONY: install demo test check dev benchmarks lock clean

install: $(VENV)/.installed

$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/pyvenv.cfg
	$(BIN)/pip install --disable-pip-version-check --quiet --progress-bar off -r requirements.lock
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps -e .
	touch $@

demo: install
	$(BIN)/aios rehearse claims --fresh

test: install
	$(BIN)/pytest -m unit -n 2
	$(BIN)/pytest -m loop -n 2

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -m unit tests/test_structure.py tests/test_docs.py tests/test_definitions.py

dev: install
	$(BIN)/aios dev

benchmarks: install
	$(BIN)/python -m benchmarks

# In a fresh environment, from the ranges of pyproject.toml. A local build keeps its plain version.
lock:
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet ".[dev]"
	echo "# Exact versions of everything that \`make install\` installs; made by \`make lock\`." > requirements.lock
	$(VENV)-lock/bin/pip freeze --exclude aios | sed 's/+cpu//' >> requirements.lock
	rm -rf $(VENV)-lock

clean:
	rm -rf $(VENV) .aios
