# qwin's tasks, by name; `make help` lists them. Each installs what it misses, and nothing when it misses nothing.
.DEFAULT_GOAL := help
SHELL := /bin/bash

JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 60
DEMO_MODEL ?= qwen2.5-coder-0.5b
# What the suites on real models look for among the pulled ones.
TEST_MODELS ?= qwen2.5-coder-0.5b qwen2.5-coder-1.5b
export CCACHE_MAXSIZE ?= 2G
export QWIN_BINARY ?= $(CURDIR)/build/release/qwin

PYTHON := .venv/bin/python
CTEST := ctest --output-on-failure --no-tests=error -j $(JOBS)

# $(call build,PRESET[,OPTIONS]): configures once (Ninja reconfigures by itself after that) and builds.
build = { [ -e build/$(1)/build.ninja ] || cmake --preset $(1) -Wno-dev; } && cmake --build build/$(1) -j $(JOBS) $(2)

.PHONY: help build build-tests wheel demo test test-long check asan tsan fuzz format tidy clean install-build install-test

help:  ## List the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install-build:
	@tools/install_dependencies.sh build libraries test

install-test: install-build
	@tools/python_environment.sh tools/requirements-test.txt

build: install-build  ## Build the command: build/release/qwin
	@$(call build,release,--target qwin)

# The tests need the Python extension too, which `make build` leaves out.
build-tests: install-test
	@grep -qs '^QWIN_PYTHON:BOOL=ON' build/release/CMakeCache.txt || \
	  cmake --preset release -Wno-dev -DQWIN_PYTHON=ON -DPython_EXECUTABLE=$(CURDIR)/$(PYTHON) >/dev/null
	@$(call build,release)

wheel: install-build  ## A wheel for any Linux with this C library or a newer one: dist/qwin-*.whl
	@tools/python_environment.sh tools/requirements-wheel.txt
	@tools/make_wheel.sh $(PYTHON) dist

demo: build  ## Build, fetch a small Qwen2.5 and let it answer
	@tools/install_dependencies.sh python
	@tools/demo.sh $(QWIN_BINARY) $(DEMO_MODEL)

check: install-test  ## The checks of the source itself: arrows between rooms, sizes
	@$(PYTHON) tools/check_includes.py
	@$(PYTHON) tools/check_sizes.py

# Both runners speak even if the first one fails; the last lines are theirs.
test: install-test build-tests check  ## Every test but the long ones
	@status=0; \
	$(CTEST) --test-dir build/release -E 'LongTest' || status=1; \
	$(PYTHON) -m pytest -m 'not long' || status=1; \
	exit $$status

test-long: install-test build-tests check  ## Every test, the sanitizers' too, and a minute of fuzzing a target
	@tools/install_dependencies.sh browser
	@tools/python_environment.sh tools/requirements-test.txt tools/requirements-long.txt tools/requirements-wheel.txt
	@for model in $(TEST_MODELS); do $(QWIN_BINARY) pull $$model || exit 1; done
	@status=0; \
	$(MAKE) asan || status=1; \
	$(MAKE) tsan || status=1; \
	$(MAKE) fuzz || status=1; \
	$(CTEST) --test-dir build/release || status=1; \
	$(PYTHON) -m pytest || status=1; \
	exit $$status

asan: install-build  ## The C++ tests under the address and undefined-behaviour sanitizers
	@$(call build,asan)
	@$(CTEST) --test-dir build/asan -E 'LongTest'

# The thread sanitizer of g++ 12 cannot live with widely spread addresses; some containers forbid to narrow them.
tsan: install-build  ## The C++ tests under the thread sanitizer
	@$(call build,tsan)
	@$$(setarch -R true 2>/dev/null && echo setarch -R) $(CTEST) --test-dir build/tsan -E 'LongTest'

fuzz: install-build  ## FUZZ_SECONDS (60) of every fuzz target, or of FUZZ=name alone
	@tools/install_dependencies.sh clang
	@$(call build,fuzz,--target fuzz_targets)
	@tools/fuzz.sh build/fuzz $(FUZZ_SECONDS) $(FUZZ)

format:  ## Format the C++ sources in place
	@tools/install_dependencies.sh format
	@tools/format.sh

tidy: build  ## clang-tidy over src/
	@tools/install_dependencies.sh clang tidy
	@run-clang-tidy-19 -quiet -p build/release -j $(JOBS) '$(CURDIR)/src/.*'

clean:  ## Remove what was built and installed in the checkout
	rm -rf build .venv dist .pytest_cache
