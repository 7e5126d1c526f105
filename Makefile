# make demo | test | test-search | test-slow | lint | study | real-open: each does all the set-up it needs on a fresh machine.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
RUN    ?= runs/demo

.PHONY: demo test test-search test-slow lint study real-open clean help

help:
	@echo "make demo       the whole path on a synthetic hospital; opens $(RUN)/index.html"
	@echo "make test       the test suite with line coverage"
	@echo "make test-search  the property tests on examples that nobody has tried yet"
	@echo "make test-slow  the tests that take minutes"
	@echo "make lint       ruff and pyright"
	@echo "make study      the longer phantom study (up to 90 minutes on 2 cores)"
	@echo "make real-open  the same path on the real radiographs named in configs/real-open.yaml"

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed; name it with: make PYTHON=python3.12 ..." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "error: Python's venv module is missing; on Debian or Ubuntu: sudo apt install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/vlp run configs/demo.yaml --out $(RUN) --open

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" --cov --cov-report=term:skip-covered --durations=10 tests

test-search: $(VENV)/.installed-dev
	VLP_PROPERTY_TESTS=search $(BIN)/python -m pytest -n 2 --dist loadfile -m hypothesis tests

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow tests

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check anonymize vlp tests scripts benchmarks
	$(BIN)/ruff format --check anonymize vlp tests scripts benchmarks
	$(BIN)/pyright

study: $(VENV)/.installed
	$(BIN)/vlp run configs/phantom-study.yaml --out runs/phantom-study

real-open: $(VENV)/.installed
	$(BIN)/vlp run configs/real-open.yaml --out runs/real-open

clean:
	rm -rf runs/demo runs/demo.private
