# The commands of this repository. `make` alone lists them.

CARGO ?= cargo
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
EXAMPLES := hello echo http chat fetch primes million philosophers pipeline jobs happy_eyeballs
# What the README's main figure is made of; for example `make bench ARGS="--connections 20000"`.
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help test tools check unit pinned shared stress soundness loom examples fuzz sanitize bench bench-quick bench-switch bench-sync bench-check peers clean

help:                 ## lists the commands
	@sed -n 's/^\([a-z-]*\): *[a-z ]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

test: check unit pinned shared stress soundness loom examples   ## all that continuous integration runs
	@echo "make test: all passed"

tools:
	@$(CARGO) fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy

check: tools          ## format, lints, documentation, all warnings denied; and that no import runs up a floor
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --document-private-items
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked
	timeout 300 $(CARGO) test --locked -p roving-scheduler --test floors

unit:                 ## all tests, in debug
	timeout 1800 $(CARGO) test --workspace --exclude roving-soundness --locked

# The tests again with the other two modes. The benchmark and the io crate's own tests do not depend on the mode.
pinned:               ## the tests with green threads that stay on their worker
	ROVING_THREAD_LOCALS=pinned timeout 1200 $(CARGO) test --locked -p roving-scheduler -p roving --tests

shared:               ## the tests with green threads that share thread-locals and move
	RUSTFLAGS="--cfg roving_shared" CARGO_TARGET_DIR=target/shared \
		timeout 1200 $(CARGO) test --locked -p roving-scheduler -p roving --tests

soundness:            ## what safe code may rely on, with every suspension resumed on another OS thread
	timeout 1800 $(CARGO) test --locked --profile soundness -p roving-soundness

stress:               ## the stress tests, in release
	timeout 1200 $(CARGO) test --release --locked -p roving-scheduler -p roving --test 'stress*' --test 'many*'

loom:                 ## the wait, idle and join protocols under the model checker
	LOOM_MAX_PREEMPTIONS=3 RUSTFLAGS="--cfg roving_loom" CARGO_TARGET_DIR=target/loom \
		timeout 1200 $(CARGO) test --release --locked -p roving-scheduler --lib

examples:             ## every example, run to its end
	$(CARGO) build --release --locked --examples
	@for example in $(EXAMPLES); do \
		echo "== $$example"; timeout 300 target/release/examples/$$example || exit 1; \
	done

fuzz:                 ## random programs for ten minutes; for example `make fuzz ARGS="--seconds 60 --workers 2"`
	$(CARGO) run --release --locked -p roving-fuzz -- run --seconds 600 $(ARGS)

# The sanitizers are unstable options of the compiler; their run-time libraries come with the stable toolchain.
sanitize:             ## the stress tests under AddressSanitizer, the protocols under ThreadSanitizer
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" CARGO_TARGET_DIR=target/asan ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0 \
		timeout 900 $(CARGO) test --locked --release --target $(HOST) --features sanitizer \
		-p roving-scheduler -p roving --test 'stress*'
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" CARGO_TARGET_DIR=target/tsan \
		ROVING_THREAD_LOCALS=pinned TSAN_OPTIONS="suppressions=$(CURDIR)/.ci/tsan.supp" \
		timeout 600 $(CARGO) test --locked --target $(HOST) -p roving-scheduler --lib hammer

bench:                ## the main job: 100,000 connections, green threads against OS threads
	$(CARGO) run --release --locked -p roving-bench -- connections $(ARGS)

bench-quick:          ## the same with 10,000 connections, in well under a minute
	$(CARGO) run --release --locked -p roving-bench -- connections --quick $(ARGS)

bench-switch:         ## what a switch costs: futures, coroutines, green threads, OS threads, processes
	$(CARGO) run --release --locked -p roving-bench -- switch $(ARGS)

bench-sync:           ## locks, channels, select, spawning, timers, beside std, crossbeam, tokio and may
	$(CARGO) run --release --locked -p roving-bench -- sync $(ARGS)

bench-check:          ## instructions of the hot paths, by callgrind, against the stored baseline; needs valgrind
	$(CARGO) run --release --locked -p roving-bench -- check $(ARGS)

peers:                ## the same work for Roving, tokio, may, Go, OS threads and a bare event loop, side by side
	$(CARGO) run --release --locked -p roving-bench -- peers $(ARGS)

clean:                ## removes what was built
	$(CARGO) clean
