# SPDX-License-Identifier: MIT OR Apache-2.0
# Every task has one door. `make` alone lists them.

LAB ?= lab
TOPOLOGY ?= two-arm
FUZZ_SECONDS ?= 600
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
PYTHON := /usr/bin/python3 -B
WITH_DPDK := --workspace --exclude wire --exclude lb --exclude control
NEED_ROOT = @test "$$(id -u)" -eq 0 || { echo \
	"make $@ needs root: it makes network namespaces. make test-pure and make check do not." >&2; \
	exit 1; }

.DEFAULT_GOAL := list
.PHONY: list demo test check test-pure test-lab bench bench-compare bench-instructions fuzz \
	lab-up lab-down

list: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 28

demo: ## build, then show all four modes with real servers (root; KEEP=1 leaves it running)
	$(NEED_ROOT)
	lab/install.sh demo
	lab/demo.sh

test: ## everything: format, lints, unit tests, the lab (root)
	$(NEED_ROOT)
	lab/install.sh test
	$(MAKE) check
	$(MAKE) test-pure
	cargo test $(WITH_DPDK)
	$(MAKE) test-lab

check: ## format and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

test-pure: ## the crates without DPDK: no root, no hugepages, seconds
	lab/pure-tests.sh

# With overflow checks and debug assertions, which a release build and so the demo go without. Two
# labs at a time: most of a test is waiting.
test-lab: ## the lab alone: end to end, in namespaces (root)
	$(NEED_ROOT)
	cargo test --no-run $(WITH_DPDK)
	cd lab/tests && POINTSMAN=$(TARGET)/debug/pointsman $(PYTHON) -m pytest -q -p no:cacheprovider \
		-n 2 --dist loadfile

bench: ## what a packet costs, beside testpmd: 10 minutes (QUICK=1: 2) [PAGES=huge] [JSON=F] [SVG=F]
	cargo run --release -p perf --bin bench -- $(if $(QUICK),--quick) \
		$(if $(PAGES),--pages $(PAGES)) $(if $(JSON),--json $(JSON)) $(if $(SVG),--svg $(SVG))

bench-compare: ## do two runs agree within 10 %? A=FIRST.json B=SECOND.json
	cargo run --release -p perf --bin bench -- --compare $(A) $(B)

bench-instructions: ## instructions per packet against those recorded (RECORD=1: records them)
	lab/install.sh bench
	cargo run --release -p perf --bin instructions -- $(if $(RECORD),--record)

fuzz: ## every fuzz target for FUZZ_SECONDS each (nightly Rust, cargo-fuzz)
	@set -e; for dir in appliance/*/fuzz; do \
		for target in $$(cargo +nightly fuzz list --fuzz-dir $$dir); do \
			cargo +nightly fuzz run --fuzz-dir $$dir $$target -- \
				-max_total_time=$(FUZZ_SECONDS); \
		done; \
	done

lab-up: ## a lab to play with: TOPOLOGY=two-arm|one-arm LAB=PREFIX (root)
	$(NEED_ROOT)
	lab/net.sh up $(TOPOLOGY) $(LAB)
	lab/servers.sh up $(LAB)

lab-down: ## takes that lab down: LAB=PREFIX (root)
	$(NEED_ROOT)
	lab/net.sh down $(LAB)
