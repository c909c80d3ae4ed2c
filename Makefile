# SPDX-License-Identifier: MIT
#
# The front door. Each command does what set-up it needs; a second run redoes nothing.

JOBS ?= $(shell nproc)
BUILD := build
MAKEFLAGS += --no-print-directory
CACHE := $(BUILD)/CMakeCache.txt
# One stamp per choice of libraries: another choice is looked up anew and configured anew.
STAMP := $(BUILD)/.deps-$(or $(H3POOL_DEPS),auto)

.DEFAULT_GOAL := help
.PHONY: help build run compare bench peers test check clean setup gone

help: ## list the commands
	@echo "h3pool: an HTTP/3 server whose memory is a contract"
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1@\2/p' Makefile | awk -F@ '{ printf "%-14s %s\n", $$1, $$2 }'

# Dependencies are looked at again when their script changes or the fetched ones are gone.
$(STAMP): cmake/deps.sh cmake/fetch-debs.sh $(if $(wildcard .deps),,gone)
	@sh cmake/deps.sh
	@mkdir -p $(BUILD) && rm -rf $(BUILD)/.deps-* $(CACHE) $(BUILD)/CMakeFiles && touch $@

gone:

setup: $(STAMP)

$(CACHE): $(STAMP) CMakePresets.json CMakeLists.txt $(wildcard */CMakeLists.txt cmake/*.cmake)
	@cmake --preset release >$(BUILD)/configure.log || { cat $(BUILD)/configure.log; exit 1; }
	@touch $@

build: $(CACHE) ## all set-up and both builds
	@cmake --build $(BUILD) -j $(JOBS) --target programs -- --quiet

certs/localhost.pem: certs/make-certs.sh | setup
	@sh certs/make-certs.sh && touch $@

run: build certs/localhost.pem ## the server on https://localhost:4433 with a development certificate, until Ctrl-C
	@sh certs/make-certs.sh
	@echo "try:  curl --http3-only --cacert certs/ca.pem https://localhost:4433/health"
	@echo "      curl --http3-only --cacert certs/ca.pem https://localhost:4433/data/1M -o /dev/null"
	@echo "      (needs a curl with HTTP3 among the features of 'curl -V')"
	@[ ! -x $(BUILD)/h3load ] || \
	    echo "      $(BUILD)/h3load -n 100000 -c 10 -m 32 --cacert certs/ca.pem https://localhost:4433/health"
	@exec $(BUILD)/h3pool

compare: $(CACHE) certs/localhost.pem ## both builds under HTTP/3 load: the before/after table, and a report in reports/
	@sh certs/make-certs.sh
	@cmake --build $(BUILD) -j $(JOBS) --target measuring -- --quiet
	@sh bench/compare/run.sh

bench: $(CACHE) certs/localhost.pem ## pools against four allocators, handlers, and which bars are met; reports/bench/
	@sh certs/make-certs.sh
	@cmake --build $(BUILD) -j $(JOBS) --target benchmarks -- --quiet
	@sh bench/micro/run.sh

peers: build certs/localhost.pem ## nginx, HAProxy, Caddy and both builds under the same load (as root); reports/peers/
	@sh certs/make-certs.sh
	@sh bench/peers/run.sh

test: build certs/localhost.pem ## every test that needs no special rights; ends with one line
	@sh tests/run.sh test

check: setup ## all that CI runs: tests, sanitizers, lint, real-client tests
	@sh tests/run.sh check

clean: ## remove build output, not the fetched dependencies
	rm -rf $(BUILD)
