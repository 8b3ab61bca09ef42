PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TESTS := $(BIN)/pytest -n auto --dist loadfile

.PHONY: app check test test-all models lint

app: $(VENV)/.installed
	$(BIN)/routescope app

check: lint
	$(TESTS) -m "not slow and not exhaustive"

test: lint
	sh tests/browser/install_chromium.sh
	$(TESTS) -m "not exhaustive"

test-all: lint
	sh tests/browser/install_chromium.sh
	$(TESTS)

models: $(VENV)/.installed-dev
	$(BIN)/python -m tests.model.huggingface.table

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers auto

$(VENV)/.installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
