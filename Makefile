# make demo | test | dev | check | benchmarks
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export AIOS_HOME ?= $(CURDIR)/.aios
export AIOS_DATASETS ?= $(abspath $(CURDIR)/../shared/datasets)

.PHONY: install demo test check lint types structure dev benchmarks lock clean

install: $(VENV)/.installed

$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/pyvenv.cfg
	$(BIN)/pip install --disable-pip-version-check --quiet --progress-bar off -r requirements.lock
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps -e .
	touch $@

# Several processes share the cores: more threads in each would only wait for one another.
demo test: export OMP_NUM_THREADS := 1
demo test: export OPENBLAS_NUM_THREADS := 1

# All at once; what the first ones said is shown when the last has ended.
demo: install
	@mkdir -p $(AIOS_HOME)
	@$(BIN)/aios rehearse claims --fresh --to 2025-01-01 > $(AIOS_HOME)/demo-claims.txt 2>&1 & \
	claims=$$!; \
	AIOS_AUTOMATIONS=examples AIOS_HOME=$(AIOS_HOME)/payouts \
	$(BIN)/aios rehearse payouts --fresh > $(AIOS_HOME)/demo-payouts.txt 2>&1 & \
	payouts=$$!; \
	$(BIN)/aios rehearse invoices --fresh --from 2025-07-01 --to 2025-10-01; invoices=$$?; \
	wait $$claims; claims=$$?; cat $(AIOS_HOME)/demo-claims.txt; \
	wait $$payouts; payouts=$$?; cat $(AIOS_HOME)/demo-payouts.txt; \
	echo "Cases wait for you. Open the console: AIOS_HOME=$(AIOS_HOME) $(BIN)/aios console"; \
	exit $$((claims + invoices + payouts))

test: install
	$(BIN)/pytest -m unit -n 2
	$(BIN)/pytest -m loop -n 2

check: lint types structure

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

structure: install
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
