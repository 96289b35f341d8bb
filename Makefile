# make demo   train a three-task tree on real data, quantize it, check it against boards
# make test   install what the tests need and run them all
# make lint   format, lint and type checks       make bench   every figure that the README claims

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
OUT    ?= demo-output
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test lint format bench clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' $(firstword $(MAKEFILE_LIST))

# One stamp per set of extras: an installation is repeated only when its pins change.
$(VENV)/demo.stamp: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "keras-tree needs Python 3.10 to 3.13; python3 was not found" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[demo]"
	@touch $@

$(VENV)/test.stamp: $(VENV)/demo.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[demo,test,lint,measure,tfmot]"
	@touch $@

demo: $(VENV)/demo.stamp
	$(BIN)/keras-tree demo --out $(OUT)

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/test.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/test.stamp
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/footprint_models.py
	$(BIN)/python benchmarks/latency_model.py
	$(BIN)/python -m benchmarks.runtime
	$(BIN)/python -m benchmarks.kernel_instructions

clean:
	rm -rf $(VENV) $(OUT) build dist *.egg-info
