# Everything needs only Python 3.11 to 3.13; `.venv` is made on the first call.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || echo python3)
BIN := .venv/bin

.PHONY: demo test lint types soak docs bench clean

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: .venv/.installed  ## the whole story on built-in data: scenes, matching, fine-tuning, evaluation, report
	$(BIN)/fastgoal demo --out demo

test: .venv/.installed lint types  ## lint, types and the test suite
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: .venv/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/.installed
	$(BIN)/mypy

soak: .venv/.installed  ## every long command killed, signalled and out of disk space, over and over; about twenty minutes
	$(BIN)/python -m tests.soak

docs: .venv/.installed  ## the documentation as a site in build/site, without network
	$(BIN)/mkdocs build --quiet

bench: .venv/.installed  ## fastgoal beside the obvious way, on this machine; about forty minutes on two cores
	$(BIN)/fastgoal bench decode
	$(BIN)/fastgoal bench eval
	$(BIN)/fastgoal bench match
	$(BIN)/fastgoal bench step
	$(BIN)/fastgoal bench search

clean:
	rm -rf .venv demo
