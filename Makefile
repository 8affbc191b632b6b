# SPDX-License-Identifier: Apache-2.0
# The front door. CMake does the building (CMakePresets.json), tests/run the testing.

PREFIX ?= /usr/local
DESTDIR ?=

# Compilers at once: make JOBS=1 build.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: help deps deps-build build run test test-full lint fuzz-short bench bench-quick bench-build install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install the Debian packages that are missing (MORA_NO_INSTALL=1: only say which)
	@sh cmake/deps.sh test

deps-build:
	@sh cmake/deps.sh build

build: deps-build ## the four programs, optimised and hardened, in build/bin
	@mkdir -p build
	@cmake --preset release >build/cmake.log 2>&1 || { cat build/cmake.log; exit 1; }
	@cmake --build --preset release -j $(JOBS)

run: build ## build and start everything on 127.0.0.1; Ctrl-C stops it (ENGINE=memory: without Redis)
	@[ "$(ENGINE)" = memory ] || sh cmake/deps.sh run
	@ENGINE="$(ENGINE)" cmake/run.sh

test: ## lint, unit, component, integration, browser and short fuzz tests
	@sh cmake/deps.sh test
	@tests/run

test-full: ## make test and every long suite
	@sh cmake/deps.sh test
	@tests/run --long all

lint: ## layers, sizes, words, headers
	@sh cmake/deps.sh test
	@tests/run --only lint

fuzz-short: ## 30 seconds of fuzzing
	@sh cmake/deps.sh test
	@tests/run --only fuzz

bench-build:
	@sh cmake/deps.sh bench
	@mkdir -p build
	@cmake --preset bench >build/cmake.log 2>&1 || { cat build/cmake.log; exit 1; }
	@cmake --build --preset bench -j $(JOBS)

bench: bench-build ## measure Mora, its peers and the floors, and write docs/benchmarks.md (40 minutes)
	@tests/bench/run

bench-quick: bench-build ## two minutes: is any figure 10 % worse than recorded?
	@tests/bench/run --quick

install: build ## install below $(DESTDIR)$(PREFIX)
	@DESTDIR="$(DESTDIR)" cmake --install build/release --prefix "$(PREFIX)"

clean: ## remove build/
	@rm -rf build
