# Everything a person or a CI server needs. `make` alone says what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

CARGO ?= cargo
PROGRAMS := -p windlass-server -p windlass-agent -p windlass-ctl
# nextest where it is installed: it ends a test that hangs, and names it.
NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)
# All tests are built as one selection with one set of features, the scenarios' too, so that nothing is compiled twice.
TESTED := --locked --workspace --features windlass-tests/crash-points

# Half of the unit tests wait for something most of the time.
THREADS := $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) * 3 / 2 )))

.PHONY: help
help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## the three programs, quickly built
	$(CARGO) build --locked $(PROGRAMS)

.PHONY: release
release: ## the three programs, as they are shipped: target/release
	$(CARGO) build --locked --release $(PROGRAMS)

.PHONY: dist
dist: ## the three programs, optimised across crates: smaller, and slow to build; target/dist
	$(CARGO) build --locked --profile dist $(PROGRAMS)

.PHONY: demo
demo: release ## three hosts, a rollout, a bad release, a dead coordinator: ten minutes, most of it the build
	examples/demo/demo.sh

.PHONY: test
test: needs format lint deny layering doc test-unit test-doc sim test-engine ## everything, from a fresh clone
	@echo "make test: all of it passed, except what was LEFT OUT above, if anything"

.PHONY: needs
needs: ## install what the tests need and this machine lacks
	tests/lab/install.sh || echo "LEFT OUT: installing; what needs it says so below"

.PHONY: format
format: ## is it formatted?
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path tests/fuzz/Cargo.toml --check

.PHONY: fmt
fmt: ## format it
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path tests/fuzz/Cargo.toml

.PHONY: lint
lint: ## clippy, and shellcheck where it is installed
	$(CARGO) clippy --locked --workspace --all-targets --features windlass-tests/long -- -D warnings
	@if command -v shellcheck >/dev/null; then \
		shellcheck -x $$(git ls-files '*.sh') .ci/run; \
	else \
		echo "LEFT OUT: shellcheck, because it is not installed"; \
	fi

.PHONY: deny
deny: ## licenses, sources and bans of the dependencies
	@if ! command -v cargo-deny >/dev/null; then \
		echo "installing cargo-deny, which takes a minute or two"; \
		CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install cargo-deny --locked --quiet --debug || \
			{ echo "LEFT OUT: licenses and sources of the dependencies, because cargo-deny cannot be installed here"; exit 0; }; \
	fi; \
	$(CARGO) deny --log-level error check bans licenses sources

.PHONY: layering
layering: ## who may know whom
	.ci/layering.sh
	.ci/circles.sh

.PHONY: doc
doc: ## the API documentation, without a warning
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

.PHONY: test-unit
test-unit: ## unit, property, snapshot and in-process tests
ifneq ($(NEXTEST),)
	$(CARGO) nextest run $(TESTED) --test-threads $(THREADS) -E 'not package(windlass-tests)'
else
	$(CARGO) test --locked --workspace --exclude windlass-tests --lib --bins --tests
endif

.PHONY: test-doc
test-doc: ## examples in the documentation
	$(CARGO) test $(TESTED) --doc

# In the release profile and beside the programs, so that both share every dependency.
SIM := target/release/sim

.PHONY: build-sim
build-sim:
	$(CARGO) build --locked --release $(PROGRAMS) -p windlass-sim

.PHONY: sim
sim: build-sim ## the whole system in virtual time; SEED=n shows one run, SEEDS=n says how many
ifdef SEED
	$(SIM) --seed $(SEED) $(if $(STRICT),--strict)
else
	$(SIM) --seeds $(or $(SEEDS),2000) $(if $(STRICT),--strict)
	$(SIM) --seeds 300 --strict
	$(SIM) --seeds 50 --store sled
endif

.PHONY: soak
soak: build-sim ## fresh seeds of the simulation for FOR=3600 seconds; the last line counts
	$(SIM) --for $(or $(FOR),3600)

.PHONY: test-engine
test-engine: release ## scenarios over real engines; needs root
	.ci/engine-tests.sh

.PHONY: test-long
test-long: release ## deployments that move traffic, at each step, over real engines; about half an hour; needs root
	WINDLASS_LONG=1 .ci/engine-tests.sh

.PHONY: bench
# Some of them simulate thousands of agents, on the same processors as what is measured: not unoptimized.
bench: release ## figures on a quiet machine; ONLY=first, rest, ten, many, update or routes (real engines; needs root), place, crash, grow, steps, fleet, canaries or telemetry
	$(if $(filter place crash grow steps fleet canaries telemetry,$(ONLY)),,tests/lab/install.sh)
	$(CARGO) run --locked --quiet --release -p windlass-tests --bin bench -- $(ONLY)

.PHONY: bench-ingress
bench-ingress: ## the ingress beside HAProxy, nginx and Caddy; wants a quiet machine
	tests/bench/ingress.sh

.PHONY: fuzz
fuzz: ## every parser of untrusted bytes, a minute each; FOR=10 for ten seconds, TARGETS="envelope keys" for some
	@command -v cargo-fuzz >/dev/null || { echo "installing cargo-fuzz, which takes some minutes"; $(CARGO) install cargo-fuzz --locked --quiet; }
	tests/fuzz/run.sh $(or $(FOR),60) $(TARGETS)

.PHONY: mutants
mutants: ## does a test fail for every changed line of verifier, seq and policy? hours; SHARD=1/8 for a part of it
	@command -v cargo-mutants >/dev/null || { echo "installing cargo-mutants, which takes some minutes"; $(CARGO) install cargo-mutants --locked --quiet; }
	$(CARGO) mutants $(if $(SHARD),--shard $(SHARD))

.PHONY: clean-lab
clean-lab: ## take down what a test or the demo may have left
	@for lab in "tests 10.214.0" "tests-1 10.214.1" "tests-2 10.214.2" "demo 10.215.0"; do \
		set -- $$lab; \
		WINDLASS_LAB=/var/tmp/windlass-$$1 WINDLASS_LAB_NET=$$2 tests/lab/lab.sh down; \
		rm -rf /var/tmp/windlass-$$1; \
	done
