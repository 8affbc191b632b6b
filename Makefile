# SPDX-License-Identifier: Apache-2.0
# The front door. CMake does the building (CMakePresets.json), tests/run the testing.

PREFIX ?= /usr/local
DESTDIR ?=

# As many jobs as there are processors, unless -j or MORA_JOBS says otherwise.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
BINARIES = mora-broker mora-api mora-web mora
FAYE = build/share/web/faye.js

.PHONY: help deps deps-build build run test test-full lint fuzz-short install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install the Debian packages that are missing (MORA_NO_INSTALL=1: only say which)
	@sh cmake/deps.sh test

deps-build:
	@sh cmake/deps.sh build

build: deps-build $(FAYE) ## the four programs, optimised and hardened, in build/bin
	@cmake --preset release >build/cmake.log || { cat build/cmake.log; exit 1; }
	@cmake --build --preset release -j $(JOBS)

run: build ## build and start everything on 127.0.0.1; Ctrl-C stops it
	@cmake/run.sh

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

# Faye's own browser client, for the pages of mora-web: fetched by its version, never committed.
$(FAYE): web-gateway/package-lock.json | deps-build
	@cd web-gateway && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@mkdir -p $(@D)
	@cp web-gateway/node_modules/faye/client/faye-browser-min.js $@

install: build ## install below $(DESTDIR)$(PREFIX)
	@mkdir -p "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/share/mora"
	@for each in $(BINARIES); do install -m 755 build/bin/$$each "$(DESTDIR)$(PREFIX)/bin/" || exit 1; done
	@cp -R build/share/web "$(DESTDIR)$(PREFIX)/share/mora/"

clean: ## remove build/
	@rm -rf build
