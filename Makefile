# Everything that a person does with the programs, and that the people who change them do.
#   CONTEXTS="cluster1 cluster2"   which contexts of the kubeconfig
#   DIR=secrets                    where files go and come from (ignored by Git)
#   CLUSTER=cluster3               the one that is taken out, or whose certificates changed
#   ARGS="--tls=common"            further arguments of the program
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.PHONY: help install build demo sandbox extract import diff migrate inspect verify status connect disconnect rotate mesh assets test test-all test-node bench check format clean

DIR ?= secrets
CONTEXTS ?=
CLUSTER ?=
ARGS ?=
# Of two unset variables a space is left, which is no context either.
override DIR := $(strip $(DIR))
override CONTEXTS := $(strip $(CONTEXTS))
override CLUSTER := $(strip $(CLUSTER))
FIND_TESTS = find test -name '*.test.ts' -not -path 'test/e2e/*' | sort
NODE_TEST = node --import tsx --test --test-reporter=spec

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

install: node_modules/.installed ## the packages, as the lock file pins them

node_modules/.installed: package.json package-lock.json
	@npm ci --ignore-scripts --no-fund --no-audit --loglevel=error
	@touch $@

build: dist/extract-secret.js ## the programs, into dist/

dist/extract-secret.js: node_modules/.installed build.mjs package.json $(shell find lib scripts -type f)
	@node build.mjs

demo: build ## three embedded clusters, connected end to end
	@node dist/clustermesh-secrets.js demo

sandbox: build ## keeps the embedded clusters up until Ctrl-C
	@node dist/clustermesh-secrets.js sandbox

extract: build ## one file for each of CONTEXTS, into DIR
	@test -n "$(CONTEXTS)" || { echo 'error: say CONTEXTS="cluster1 cluster2"' >&2; exit 2; }
	@mkdir -p -m 700 "$(DIR)"
	@for context in $(CONTEXTS); do \
	  node dist/extract-secret.js --context "$$context" --output-file "$(DIR)/$${context//\//_}-secret.json" $(ARGS); \
	done

import: build ## the files of DIR into each of CONTEXTS
	@test -n "$(CONTEXTS)" || { echo 'error: say CONTEXTS="cluster1 cluster2"' >&2; exit 2; }
	@node dist/import-secrets.js $(addprefix --context ,$(CONTEXTS)) $(ARGS) "$(DIR)"

diff: build ## what importing the files of DIR into each of CONTEXTS would change; nothing is written
	@test -n "$(CONTEXTS)" || { echo 'error: say CONTEXTS="cluster1 cluster2"' >&2; exit 2; }
	@node dist/import-secrets.js --diff $(addprefix --context ,$(CONTEXTS)) $(ARGS) "$(DIR)" || test $$? -eq 1

migrate: build ## what stands in each of CONTEXTS, laid out for the Cilium that runs there now
	@test -n "$(CONTEXTS)" || { echo 'error: say CONTEXTS="cluster1 cluster2"' >&2; exit 2; }
	@node dist/import-secrets.js --migrate $(addprefix --context ,$(CONTEXTS)) $(ARGS)

inspect: build ## the files of DIR, offline: would they connect, where to, until when?
	@node dist/clustermesh-secrets.js inspect $(ARGS) "$(DIR)"

verify: build ## the peers of DIR, live; with CONTEXTS instead, the peers that each is configured for
	@if test -n "$(CONTEXTS)"; then node dist/clustermesh-secrets.js verify $(addprefix --context ,$(CONTEXTS)) $(ARGS); \
	else node dist/clustermesh-secrets.js verify $(ARGS) "$(DIR)"; fi

status: build ## the state of the mesh of CONTEXTS
	@test -n "$(CONTEXTS)" || { echo 'error: say CONTEXTS="cluster1 cluster2"' >&2; exit 2; }
	@node dist/clustermesh-secrets.js status $(CONTEXTS) $(ARGS)

connect: build ## CONTEXTS with each other, without files
	@test -n "$(CONTEXTS)" || { echo 'error: say CONTEXTS="cluster1 cluster2"' >&2; exit 2; }
	@node dist/clustermesh-secrets.js connect $(CONTEXTS) $(ARGS)

disconnect: build ## CLUSTER out of each of CONTEXTS
	@test -n "$(CLUSTER)" -a -n "$(CONTEXTS)" || { echo 'error: say CLUSTER=cluster3 CONTEXTS="cluster1 cluster2"' >&2; exit 2; }
	@node dist/clustermesh-secrets.js disconnect $(CLUSTER) $(addprefix --context ,$(CONTEXTS)) $(ARGS)

rotate: build ## the new certificates of context CLUSTER to CONTEXTS
	@test -n "$(CLUSTER)" -a -n "$(CONTEXTS)" || { echo 'error: say CLUSTER=cluster2 CONTEXTS="cluster1 cluster3"' >&2; exit 2; }
	@node dist/clustermesh-secrets.js rotate $(CLUSTER) $(addprefix --context ,$(CONTEXTS)) $(ARGS)

mesh: build ## both steps; the files only in a private temporary folder
	@test -n "$(CONTEXTS)" || { echo 'error: say CONTEXTS="cluster1 cluster2"' >&2; exit 2; }
	@umask 077; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	$(MAKE) extract ARGS= DIR="$$dir" && $(MAKE) import DIR="$$dir"

assets: install ## the real servers that judge us, built once into the cache
	@node test/servers/assets.mjs

test: build ## units, properties, contracts, and one small real mesh
	@$(NODE_TEST) --test-concurrency=2 $$($(FIND_TESTS)) test/e2e/smoke.test.ts

test-all: check test test-node ## everything
	@$(NODE_TEST) --test-concurrency=1 $$(find test/e2e -name '*.test.ts' -not -name 'smoke.test.ts' | sort)

test-node: build ## the built programs on the current LTS of Node
	@node test/support/current-lts.mjs

bench: build ## wall times against bare node and kubectl
	@node --import tsx test/bench/bench.ts

check: install ## types, formatter and linter
	@npx tsc --noEmit
	@npx biome check

format: install
	@npx biome check --write

clean:
	@rm -rf dist node_modules
