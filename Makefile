# Two commands: `make demo` shows the whole job on real recordings, `make test` checks everything but what
# is slow by nature, which `make test-slow` does.
# Both make their own virtual environment, with the versions of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
DEMO_OUT ?= crossl-demo

.PHONY: demo test test-slow lint docs clean

demo: $(VENV)/.demo-installed
	$(BIN)/crossl demo --out $(DEMO_OUT)

test: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

# what is slow by nature: kills, clusters, tutorials
test-slow: $(VENV)/.dev-installed
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow tests

lint: $(VENV)/.dev-installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# the documentation site, with every example run; warnings are errors: build/docs/index.html
docs: $(VENV)/.docs-installed
	$(BIN)/python -m sphinx -W --keep-going -n -q -c docs . build/docs

# a first try may have failed half-way: only a venv that has its pip counts as made
$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("crossl needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --version
	touch $@

$(VENV)/.demo-installed: pyproject.toml constraints.txt | $(VENV)/.created
	$(PIP) install --quiet --constraint constraints.txt --editable ".[demo]"
	touch $@

$(VENV)/.dev-installed: pyproject.toml constraints.txt | $(VENV)/.created
	$(PIP) install --quiet --constraint constraints.txt --editable ".[demo,io,ray,bench,export,stream,app,hub,dev]"
	touch $@ $(VENV)/.demo-installed

$(VENV)/.docs-installed: pyproject.toml constraints.txt | $(VENV)/.created
	$(PIP) install --quiet --constraint constraints.txt --editable ".[demo,io,export,stream,docs]"
	touch $@

clean:
	rm -rf $(VENV) $(DEMO_OUT) build/docs docs/commands docs/gallery docs/reference docs/settings
