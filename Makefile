# The menu: `make` lists it. PYTHON is the interpreter of your virtual environment.
PYTHON ?= python
CORE = tests/analysis tests/test_axes.py tests/test_moves.py tests/test_mincut.py tests/test_shapes.py \
       tests/test_house.py tests/test_seed_example.py tests/test_trace.py

ELSEWHERE = tests/test_contained.py tests/test_interpreter.py tests/test_process.py tests/test_cli.py \
            tests/test_contained_library.py tests/test_python.py tests/test_signals.py tests/io tests/batch

.PHONY: help test test-all versions fuzz bench bench-check profile trace docs lint types portable ci golden-update

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 16

test:  ## the core's tests: layouts, analysis, files, the house rules
	$(PYTHON) -m pytest $(CORE)

test-all:  ## every test
	$(PYTHON) -m pytest

versions:  ## the tests with the lowest and the newest version of each dependency, in environments of their own
	$(PYTHON) benchmarks/versions.py

fuzz:  ## random graphs, converted in both scopes and compared: make fuzz N=1000 START=0
	$(PYTHON) benchmarks/long_fuzz.py $(or $(N),1000) --start $(or $(START),0)

bench:  ## start-up and planning, as ratios
	$(PYTHON) benchmarks/startup.py
	$(PYTHON) benchmarks/scaling.py

bench-check:  ## what became slower by more than a tenth since benchmarks/figures.json was written
	$(PYTHON) benchmarks/check.py

profile:  ## where the time of a conversion goes: make profile MODEL=in.onnx
	$(PYTHON) benchmarks/profiled.py $(MODEL)

golden-update:  ## run the golden cases and write what comes out into their files
	$(PYTHON) -m pytest tests/golden/test_golden.py --update-golden

trace:  ## how the planner saw each node: make trace MODEL=in.onnx
	$(PYTHON) -m fc2conv trace $(MODEL)

docs:  ## write the pages that are made from the code
	$(PYTHON) docs/generate.py

lint:  ## ruff, as CI runs it
	ruff check
	ruff check --preview --select PLW1514  # text files have an encoding
	ruff format --check

types:  ## mypy --strict, for each system
	for system in linux win32 darwin; do mypy --platform $$system || exit; done

portable:  ## the tests of files, processes and conversion, on a simulated system without what Windows does not offer
	PYTHONPATH=tests/elsewhere $(PYTHON) -m pytest $(ELSEWHERE)

ci:  ## all checks in a new virtual environment
	.ci/run
