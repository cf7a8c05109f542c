PYTHON ?= python3
BIN := .venv/bin

# Where this is set, every process of a search and of the tests compiles the sources again.
export PYTHONDONTWRITEBYTECODE =

.PHONY: search test check-code clean

search: .venv/run.stamp
	$(BIN)/trp-search search search_spaces/digits.yaml

# Without a restart: after one, pytest-xdist waits for ever for tests that nobody has.
test: check-code
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

check-code: .venv/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy -n 2
	$(BIN)/codespell
	$(BIN)/vulture
	$(BIN)/deptry .

# Stamps make the second call free; a change of the requirements reinstalls.
.venv/run.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/test.stamp: .venv/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .[test]
	touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
