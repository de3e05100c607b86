# Everything that a developer runs. The plain pip commands behind `setup` are in README.md.
PYTHON ?= python3
VENV ?= .venv
ifeq ($(origin CXX),default)
CXX := c++# what CMake looks for first; make's own default is g++
endif
BIN := $(VENV)/bin
STAMP := $(VENV)/.reconv-setup
NATIVE := $(shell find native -type f 2>/dev/null) CMakeLists.txt
PYTEST_ARGS ?=
BENCH_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint check format bench native clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## virtual environment in .venv with reconv, its extras and the tools

# rapidocr-onnxruntime comes without its dependencies: only its model file is used, and they would bring a second OpenCV.
# The build tools are installed first and reused (--no-build-isolation), so that nothing is fetched twice.
$(STAMP): pyproject.toml constraints.txt tests/requirements.txt src/reconv/_version.py $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "reconv needs Python 3.10 or newer, and $(PYTHON) is not (to name another: make PYTHON=python3.11)." >&2; exit 1; }
	@echo '#include <span>' | $(CXX) -std=c++20 -fsyntax-only -x c++ - 2>/dev/null || { \
	  echo "reconv needs a C++20 compiler and \"$(CXX)\" is none (on Debian or Ubuntu: apt-get install g++)." >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig as s; sys.exit(not os.path.exists(s.get_path("include") + "/Python.h"))' || { \
	  echo "reconv needs the Python headers (on Debian or Ubuntu: apt-get install python3-dev)." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "reconv needs the venv module (on Debian or Ubuntu: apt-get install python3-venv)." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt scikit-build-core nanobind cmake ninja
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation --editable '.[dev]'
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps --ignore-requires-python rapidocr-onnxruntime
	$(BIN)/python -m pip install --quiet --no-deps -r tests/requirements.txt
	@touch $@

demo: $(STAMP) ## the main job on a real clip: table, picture and annotated video in out/
	$(BIN)/reconv demo

test: $(STAMP) ## the tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(STAMP) ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/meta

check: lint test ## lint and test: what has to pass before a commit

format: $(STAMP) ## put the sources into the common format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## all benchmarks (an idle machine, two hours); writes docs/benchmarks.md
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

native: ## developers' build of the core: build/native, _core*.so put into src/reconv at once
	cmake -S . -B build/native -DCMAKE_BUILD_TYPE=Release -DPython_EXECUTABLE=$$($(PYTHON) -c 'import sys; print(sys.executable)') \
	  -Dnanobind_DIR=$$($(PYTHON) -m nanobind --cmake_dir)
	cmake --build build/native --parallel
	for built in build/native/_core*.so; do \
	  cp "$$built" "src/reconv/.$${built##*/}.new" && mv -f "src/reconv/.$${built##*/}.new" "src/reconv/$${built##*/}" || exit 1; \
	done # a rename: whoever starts meanwhile gets the old core or the new one, and who runs keeps what it mapped

clean: ## remove what make made, the virtual environment included
	rm -rf build $(VENV) src/reconv/_core*.so
