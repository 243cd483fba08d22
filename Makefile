# SPDX-License-Identifier: Apache-2.0
# Entry points for building, testing and measuring bpfman.

export BPFMAN_TEST_OBJECTS := $(CURDIR)/target/bpf

HOST := $(shell rustc -vV | sed -n 's/^host: //p')

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup mounts bpf build release fmt-check clippy test test-kernels test-pure soak demo bench lines circles clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## Install the missing build and test dependencies (Debian)
	@scripts/setup.sh

mounts: ## Mount bpffs, tracefs and securityfs when missing (root)
	@scripts/mounts.sh

bpf: ## Compile the BPF samples and test inputs into target/bpf
	$(MAKE) -C bpf OUT=$(BPFMAN_TEST_OBJECTS)

build: ## Build the workspace
	cargo build --workspace --locked

# Static: it starts a third of a millisecond sooner and runs on any Linux. Only with --target are the flags
# kept from procedural macros, which cannot be static.
release: ## Build the static release binaries into target/release
	RUSTFLAGS="-Clink-arg=-fuse-ld=lld -Ctarget-feature=+crt-static" cargo build --release --locked -p bpfman -p bpfman-kernel --target $(HOST)
	install -D -t target/release target/$(HOST)/release/bpfman target/$(HOST)/release/bpfman-kernel

fmt-check: ## Check the formatting
	cargo fmt --all --check

clippy: ## Lint; warnings are errors
	cargo clippy --workspace --all-targets --locked -- -D warnings

test: setup mounts bpf fmt-check clippy build ## Run every check, and the tests on this kernel, 6.1 and 6.12 (root)
	@scripts/kernels/setup.sh 6.1 6.12
	@scripts/test.sh --elsewhere scripts/kernels/elsewhere.tsv running 6.1 6.12

test-kernels: setup mounts bpf build ## Run the tests on this kernel, 5.10, 6.1, 6.12 and the newest, and 2,000 random chains (root)
	@scripts/kernels/setup.sh 5.10 6.1 6.12 newest
	@scripts/test.sh --long running 5.10 6.1 6.12 newest
	BPFMAN_TEST_CHAINS=1000 cargo nextest run --locked -p bpfman --test random_chains --success-output final

test-pure: ## Run the tests that need neither root nor BPF
	cargo nextest run --locked -p bpfman-core

soak: ## Play random sequences of operations and faults for SECONDS (600), or the one of SEED again
	BPFMAN_SOAK_SECONDS=$(or $(SECONDS),600) $(if $(SEED),BPFMAN_SOAK_SEED=$(SEED)) \
	    cargo nextest run --locked -p bpfman-model --test sequences --no-fail-fast --success-output final

demo: setup mounts bpf release ## Load, show and unload one program (root)
	scripts/demo.sh

bench: setup mounts bpf release ## Measure against plain libbpf and bpftool (root)
	bench/run.sh
	@bench/packets.sh build
	@echo
	@bench/packets.sh chain
	@scripts/kernels/setup.sh 6.12
	@echo
	@scripts/kernels/run.sh 6.12 env REPEAT=20000 ROUNDS=9 bash bench/packets.sh dispatcher; cat target/kernels/6.12/out/output

lines: ## Count the lines of the product by crate and kind
	@scripts/lines.sh

circles: ## Show which files of a crate take from each other
	@scripts/circles.py

clean: ## Remove everything built
	cargo clean
