# Tasks of users and of developers. Variables:
#   CONTEXTS="cluster1 cluster2"   contexts of the kubeconfig
#   DIR=secrets                    folder of the extracted files (ignored by Git)
#   CLUSTER=cluster3               cluster to remove, or with new certificates
#   ARGS="--tls=common"            additional arguments of the program
# make exits with 2 if a program fails; the program's exit code is in the last line, as in
# `make: *** [Makefile:70: import] Error 3`. Run the program directly if a script depends on its exit code.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.PHONY: help install build demo sandbox extract import diff migrate inspect verify status connect disconnect rotate mesh assets test test-all test-node golden docs lines words bench bench-lts bench-sync soak check format clean

DIR ?= secrets
CONTEXTS ?=
CLUSTER ?=
ARGS ?=
# Two unset variables leave a space, which is not a context.
override DIR := $(strip $(DIR))
override CONTEXTS := $(strip $(CONTEXTS))
override CLUSTER := $(strip $(CLUSTER))
NEED_CONTEXTS = test -n "$(CONTEXTS)" || { \
	  printf 'error: CONTEXTS is not set\n  make %s CONTEXTS="cluster1 cluster2"\n' $@ >&2; exit 2; }
NEED_CLUSTER = test -n "$(CLUSTER)" -a -n "$(CONTEXTS)" || { \
	  printf 'error: CLUSTER or CONTEXTS is not set\n  make %s CLUSTER=cluster3 CONTEXTS="cluster1 cluster2"\n' $@ >&2; exit 2; }
# A shell function that extracts each of CONTEXTS into a file of a folder. It continues after a failure, and returns the exit
# code of the first one.
EXTRACT_EACH = extract_each() { \
	  local code=0 context; \
	  for context in $(CONTEXTS); do \
	    node dist/extract-secret.js --context "$$context" --output-file "$$1/$${context//\//_}-secret.json" "$${@:2}" || \
	      code=$$((code ? code : $$?)); \
	  done; \
	  return $$code; \
	}
# The limit names a test that hangs; the slowest file takes six minutes.
NODE_TEST = node --import tsx --test --test-reporter=spec --test-timeout=1200000

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

install: node_modules/.installed ## install the packages of the lock file

node_modules/.installed: package.json package-lock.json
	@npm ci --ignore-scripts --no-fund --no-audit --loglevel=error
	@touch $@

build: dist/extract-secret.js ## build the programs into dist/

dist/extract-secret.js: node_modules/.installed build.mjs package.json $(shell find build lib scripts -type f)
	@node build.mjs

demo: build ## connect three embedded clusters, end to end
	@node dist/clustermesh-secrets.js demo $(ARGS)

sandbox: build ## run embedded clusters until Ctrl-C; ARGS="--clusters 5"
	@node dist/clustermesh-secrets.js sandbox $(ARGS)

extract: build ## extract each of CONTEXTS into a file of DIR
	@$(NEED_CONTEXTS)
	@mkdir -p -m 700 "$(DIR)"
	@$(EXTRACT_EACH); extract_each "$(DIR)" $(ARGS)

import: build ## import the files of DIR into each of CONTEXTS
	@$(NEED_CONTEXTS)
	@node dist/import-secrets.js $(addprefix --context ,$(CONTEXTS)) $(ARGS) "$(DIR)"

diff: build ## show what importing the files of DIR into each of CONTEXTS would change
	@$(NEED_CONTEXTS)
	@node dist/import-secrets.js --diff $(addprefix --context ,$(CONTEXTS)) $(ARGS) "$(DIR)" || test $$? -eq 1

migrate: build ## convert the peers of each of CONTEXTS to the installed version of Cilium
	@$(NEED_CONTEXTS)
	@node dist/import-secrets.js --migrate $(addprefix --context ,$(CONTEXTS)) $(ARGS)

inspect: build ## check the files of DIR offline
	@node dist/clustermesh-secrets.js inspect $(ARGS) "$(DIR)"

verify: build ## check the peers of DIR live or, with CONTEXTS, the configured peers of each
	@if test -n "$(CONTEXTS)"; then node dist/clustermesh-secrets.js verify $(addprefix --context ,$(CONTEXTS)) $(ARGS); \
	else node dist/clustermesh-secrets.js verify $(ARGS) "$(DIR)"; fi

status: build ## show the state of the mesh of CONTEXTS
	@$(NEED_CONTEXTS)
	@node dist/clustermesh-secrets.js status $(CONTEXTS) $(ARGS)

connect: build ## connect CONTEXTS with each other, without files
	@$(NEED_CONTEXTS)
	@node dist/clustermesh-secrets.js connect $(CONTEXTS) $(ARGS)

disconnect: build ## remove CLUSTER from each of CONTEXTS
	@$(NEED_CLUSTER)
	@node dist/clustermesh-secrets.js disconnect $(CLUSTER) $(addprefix --context ,$(CONTEXTS)) $(ARGS)

rotate: build ## update the certificates of CLUSTER in each of CONTEXTS
	@$(NEED_CLUSTER)
	@node dist/clustermesh-secrets.js rotate $(CLUSTER) $(addprefix --context ,$(CONTEXTS)) $(ARGS)

mesh: build ## extract and import all of CONTEXTS, with files in a temporary folder
	@$(NEED_CONTEXTS)
	@umask 077; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	$(EXTRACT_EACH); extract_each "$$dir"; \
	node dist/import-secrets.js $(addprefix --context ,$(CONTEXTS)) $(ARGS) "$$dir"

assets: install ## build the servers, helm, promtool and charts of the tests into the cache
	@node test/servers/assets.mjs

test: build ## run the quick tests, with one small real mesh
	@$(NODE_TEST) --test-concurrency=4 $$(node test/support/suites.mjs quick)

test-all: check test test-node ## run all tests and checks
	@$(NODE_TEST) --test-concurrency=2 $$(node test/support/suites.mjs programs)
	@$(NODE_TEST) --test-concurrency=3 $$(node test/support/suites.mjs e2e)

test-node: build ## test the built programs on the current LTS of Node
	@node test/support/current-lts.mjs

bench: build ## compare wall times with bare node and kubectl
	@node --import tsx test/bench/bench.ts

bench-lts: build ## run the benchmarks on the current LTS of Node
	@"$$(node test/support/current-lts.mjs --where)" --import tsx test/bench/bench.ts

bench-sync: build ## measure what sync costs with 30 and 254 embedded clusters; SIZES=30 for fewer
	@node --import tsx test/bench/bench-sync.ts

soak: build ## run sync under random changes and faults for an hour; SOAK_MINUTES=5 for less
	@node --import tsx test/soak/sync-soak.ts

golden: build ## update the golden files
	@UPDATE_GOLDEN=1 node --import tsx --test --test-reporter=dot test/golden.test.ts test/e2e/golden.test.ts

docs: build ## update the outputs in the docs and the reference pages
	@UPDATE_DOCS=1 node --import tsx --test --test-reporter=dot test/docs/docs.test.ts test/docs/reference.test.ts

lines: install ## count lines of code without blanks and comments
	@node test/support/count-lines.mjs

words: ## list words that the style rules replace
	@node test/support/words.mjs

check: install ## check types, format, lint, unused exports and words
	@npx tsc --noEmit
	@npx tsc --noEmit -p lib/render/page
	@npx biome check
	@npx knip
	@node test/support/words.mjs

format: install
	@npx biome check --write

clean:
	@rm -rf dist node_modules
