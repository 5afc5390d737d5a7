# The commands of this repository. `make` alone lists them.

CARGO ?= cargo
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
EXAMPLES := hello echo http chat fetch primes million philosophers pipeline jobs happy_eyeballs generators transfer hangs metrics record shutdown supervisor rooms relay tail names grep
# What has so many dependencies that to compile them takes minutes: `make ecosystem`.
LARGE_EXAMPLES := roving-example-axum roving-example-bookshop
LARGE := roving-ecosystem roving-top $(LARGE_EXAMPLES)
# What has a feature that changes what all else is built of: `make adopt`.
ADOPT := roving-adopt roving-preload roving-run roving-adopt-bench roving-adopt-suites
# Has that feature, and many dependencies.
ADOPT_LARGE := roving-example-adopted-server roving-bench-http
# What is built in many ways by its own tests: `make builds`.
BUILDS := roving-builds roving-builds-dylib roving-builds-plugin
# What others can depend on or install, from the ground up.
LIBRARIES := roving-scheduler roving-io roving-adopt roving
PUBLISHED := $(LIBRARIES) roving-top
# What is tested in debug. To build less of it would choose other features, and so build all once more; therefore a part of it is
# built with the rest, and chosen by what runs the programs. What is tested in release is checked with it.
CHECKED := --workspace $(addprefix --exclude ,$(LARGE) $(ADOPT) $(ADOPT_LARGE) $(BUILDS)) --locked
TESTED := $(CHECKED) --exclude roving-soundness
RUNNER := CARGO_TARGET_$(shell echo $(HOST) | tr a-z- A-Z_)_RUNNER
OF_SCHEDULER_AND_FACADE := $(CURDIR)/.ci/of-scheduler-and-facade
# What the README's main figure is made of; for example `make bench ARGS="--connections 20000"`.
ARGS ?=

# Whether green threads must have their own thread-locals here: a test that finds none then fails, and has not passed without
# testing anything. Where they rightly have none, as with an old C library: `make test ROVING_EXPECT_OWN=0`.
ROVING_EXPECT_OWN ?= $(if $(filter x86_64-%-linux-gnu,$(HOST)),$(shell grep -cwm1 fsgsbase /proc/cpuinfo),0)
export ROVING_EXPECT_OWN

# The same of a gdb that may look at other processes.
ROVING_EXPECT_GDB ?= $(if $(filter x86_64-%-linux-gnu,$(HOST)),$(if $(shell command -v gdb),1,0),0)
export ROVING_EXPECT_GDB

.DEFAULT_GOAL := help
.PHONY: help test tools check unit pinned pinned-some guards compact confined confined-some confine shared shared-some stress debugger soundness soundness-some glibc kernels aarch64 musl portable wine package api semver advisories floor builds workflow loom examples adopted adopt adopt-uses adopt-suites ecosystem fuzz sanitize address-sanitizer thread-sanitizer rust-src bench bench-quick bench-http bench-finished bench-switch bench-sync bench-files bench-adopt bench-resp bench-check bench-scale peers clean

help:                 ## lists the commands
	@sed -n 's/^\([a-z0-9-]*\): *[a-z -]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

FIRST := unit pinned-some guards compact confined-some
SECOND := shared-some stress debugger soundness-some
THIRD := loom adopted examples
# Begins a lane of its own, whose process, and group of processes, the variable $(2) of the shell then has.
lane = setsid nice $(MAKE) --no-print-directory $(1) >target/$(2).log 2>&1 & $(2)=$$!
end_of_lane = tail --lines=+1 --follow --pid=$$$(1) target/$(1).log; wait $$$(1)

# Tests mostly wait, so they run in three lanes. What the second and the third print is shown when the first has ended.
test: check           ## all that continuous integration runs
	@$(call lane,$(SECOND),second); $(call lane,$(THIRD),third); \
		trap "kill -- -$$second -$$third 2>/dev/null" EXIT; trap "exit 1" HUP INT TERM; \
		$(MAKE) --no-print-directory $(FIRST) || exit; \
		$(call end_of_lane,second) || exit; $(call end_of_lane,third) || exit
	@echo "make test: all passed"

tools:
	@$(CARGO) fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy

check: tools          ## format, lints, documentation, all warnings denied; that no import runs up a floor, that no lock file is behind, and whether it compiles elsewhere
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(CHECKED) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(TESTED) --no-deps --document-private-items
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(TESTED) --no-deps
	timeout 600 $(CARGO) test $(TESTED) --test floors
	machines/portable --quick
	$(CARGO) fmt --manifest-path bench/peers/Cargo.toml --all --check
	$(CARGO) metadata --locked --format-version 1 --manifest-path bench/peers/Cargo.toml >/dev/null

unit:                 ## all tests, in debug
	timeout 1800 $(CARGO) test $(TESTED) -- $(addprefix --skip ,$(BUILD_MORE))

# Benchmarks that build programs in release; `make adopt` tries them.
BUILD_MORE := the_adopted_server_is_measured it_measures_every_row_in_both_layouts

# The tests again with the other two modes. The benchmark and the io crate's own tests do not depend on the mode.
in_pinned_mode = ROVING_THREAD_LOCALS=pinned $(RUNNER)=$(OF_SCHEDULER_AND_FACADE) timeout 1200 $(CARGO) test $(TESTED)
in_shared_mode = RUSTFLAGS="--cfg roving_shared" CARGO_TARGET_DIR=target/shared timeout 1800 $(CARGO) test --locked -p roving-scheduler

pinned:               ## the tests with green threads that stay on their worker
	$(in_pinned_mode) --tests

shared:               ## the tests with green threads that share thread-locals and move
	$(in_shared_mode) -p roving --tests

# Those in which it matters most where a thread goes on, and whose thread-locals it has.
WHERE := --lib $(addprefix --test ,blocking cancel destructors fairness greenly in_destructors panicking park pinned runtime \
	shutdown_timeout spawn_join starvation stealing stress thread_end)

pinned-some:
	$(in_pinned_mode) $(WHERE) --test tcp_echo

shared-some:
	$(in_shared_mode) $(WHERE)

# The tests that begin with each kind by themselves are in `unit`.
guards:               ## the tests of stacks, with each method of guards
	@for kind in madvise poison write-protect memfd mprotect; do echo "== $$kind"; \
		ROVING_STACK_GUARDS=$$kind $(RUNNER)=$(OF_SCHEDULER_AND_FACADE) \
			timeout 600 $(CARGO) test $(TESTED) --lib --test stack_use --test own \
		|| exit 1; \
	done

compact:              ## the tests of stacks with compact ones
	ROVING_COMPACT_STACKS=1 $(RUNNER)=$(OF_SCHEDULER_AND_FACADE) timeout 600 $(CARGO) test $(TESTED) \
		--lib --test stack_use --test own --test overflow --test destructors --test many_parked --test dump --test fork

soundness:            ## what safe code may rely on, with every suspension resumed on another OS thread; optimised as a whole
	$(CARGO) clippy --locked --profile soundness -p roving-soundness --all-features --all-targets -- -D warnings
	timeout 1800 $(CARGO) test --locked --profile soundness -p roving-soundness --all-features --tests
	ROVING_COMPACT_STACKS=1 timeout 1800 $(CARGO) test --locked --profile soundness -p roving-soundness --all-features --tests

# Without what takes longer to build than all else: programs that are optimised as a whole, and an allocator.
soundness-some:
	timeout 1200 $(CARGO) test --locked --release -p roving-soundness --tests
	ROVING_COMPACT_STACKS=1 timeout 1200 $(CARGO) test --locked --release -p roving-soundness --tests

kernels:              ## stacks, limits and 100,000 connections on Debian's kernels 6.1 and 6.12, in virtual machines; needs qemu
	machines/kernels

glibc:                ## own thread-locals, stacks and overflows under the C libraries of four Debians; needs root and debootstrap
	machines/glibc

aarch64:              ## own thread-locals, the driver and adoption on aarch64, under emulation; needs qemu-user and a cross compiler
	machines/aarch64

musl:                 ## the scheduler and the driver with musl, linked statically and, in part, dynamically; needs musl-tools
	machines/musl

wine:                 ## the scheduler, the driver and the facade on Windows, under Wine; needs mingw-w64
	machines/wine

portable:             ## whether it compiles for macOS, FreeBSD and Windows
	machines/portable

# The documentation is made as it is where packages are shown.
package:              ## the published packages, each built from its own contents alone, and their documentation
	$(CARGO) package --locked --allow-dirty --target-dir target/packages $(addprefix -p ,$(PUBLISHED))
	@for package in target/packages/package/*.crate; do \
		for file in LICENSE-APACHE LICENSE-MIT README.md; do \
			tar --list --file $$package | grep "^[^/]*/$$file$$" >/dev/null || { echo "$$package lacks $$file"; exit 1; }; \
		done; \
	done
	RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS="--cfg docsrs -D warnings" $(CARGO) doc --locked --no-deps --all-features \
		--target-dir target/packages $(addprefix -p ,$(LIBRARIES))
	timeout 600 $(CARGO) test --locked -p roving-builds --test dependencies

# How it is made is in `builds/tests/api.rs`. To store a new baseline: `make api ARGS=--bless`.
api:                  ## the public API of the published crates, against the baseline in builds/api/
	timeout 600 $(CARGO) test --quiet --locked -p roving-builds --test api -- $(ARGS)

# Against another commit, or a published version: `make semver ARGS="--baseline-version 0.1.0"`.
BASELINE ?= $(if $(ARGS),$(ARGS),--baseline-rev HEAD^)
semver:               ## whether the published crates break programs that use those of the commit before; with cargo-semver-checks
	@$(CARGO) semver-checks --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-semver-checks
	$(CARGO) semver-checks --all-features $(addprefix -p ,$(LIBRARIES)) $(BASELINE)

# It fetches the advisory database. If that is there already: `make advisories ARGS=--offline`.
advisories:           ## known vulnerabilities, licences and sources of all dependencies; with cargo-deny and the network
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --locked $(ARGS) check

FLOOR := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' scheduler/Cargo.toml)
floor:                ## whether the minimum supported Rust version compiles the published crates
	@cargo +$(FLOOR) --version >/dev/null 2>&1 || rustup toolchain install $(FLOOR) --profile minimal
	cargo +$(FLOOR) check --locked --target-dir target/floor $(addprefix -p ,$(LIBRARIES)) \
		--features roving/console,roving/futures-io,roving/hyper,roving/tokio-io,roving/tracing
	cargo +$(FLOOR) check --locked --target-dir target/floor $(addprefix -p ,$(filter-out roving-adopt,$(LIBRARIES)))

workflow:             ## whether the workflows of the forge are well-formed; needs yamllint
	@command -v yamllint >/dev/null || { apt-get update && apt-get install -y --no-install-recommends yamllint; } >/dev/null || \
		{ echo "make workflow: it needs yamllint, which Debian's package of that name has"; exit 1; }
	yamllint --strict -d '{extends: default, rules: {line-length: {max: 160}}}' .github/workflows

builds:               ## builds without unwinding, with LTO, for size, in a dynamic library, in plugins, and runs them
	$(CARGO) clippy --locked $(addprefix -p ,$(BUILDS)) --all-targets -- -D warnings
	timeout 1800 $(CARGO) test --locked -p roving-builds --test builds -- --nocapture --test-threads=1

stress:               ## the stress tests, in release
	timeout 1800 $(CARGO) test --release --locked -p roving-scheduler -p roving --test 'stress*' --test 'many*'

debugger:             ## the gdb script, in release, with line numbers as the only debug information; and in debug, with all of it
	CARGO_PROFILE_DEV_DEBUG=full timeout 600 $(CARGO) test --locked -p roving --test gdb
	timeout 600 $(CARGO) test --release --locked -p roving --test gdb
	ROVING_COMPACT_STACKS=1 timeout 600 $(CARGO) test --release --locked -p roving --test gdb

# One model at a time: they map and unmap stacks all the time, for which threads of one process wait for each other.
loom:                 ## the wait, idle and join protocols under the model checker
	LOOM_MAX_PREEMPTIONS=3 RUSTFLAGS="--cfg roving_loom" CARGO_TARGET_DIR=target/loom \
		timeout 1800 $(CARGO) test --profile loom --locked -p roving-scheduler --lib -- --test-threads=1

# Each program of tests is run, and only run, with what containers refuse, on any kernel. Whether guards are as they are
# there on older kernels decides much, so that is tried too.
CONFINE := $(CURDIR)/target/debug/roving-confine --docker
confined_test = $(RUNNER)="$(CONFINE) $(1) -- $(2)" timeout 1200 $(CARGO) test $(TESTED) --exclude roving-confine
OLDER := --refuse guard-install

# They are about systems that refuse less.
NEED_USERFAULTFD := --skip a_kernel_without_the_advice --skip guards_that_somebody_has_taken_away

confined: confine     ## all tests, with the system calls refused that Docker refuses; and the scheduler's as on older kernels
	$(call confined_test) --no-fail-fast -- $(NEED_USERFAULTFD)
	$(call confined_test,$(OLDER),$(OF_SCHEDULER_AND_FACADE)) --no-fail-fast --tests -- $(NEED_USERFAULTFD)

SOME := --test own --test overflow --test limits --test runtime
confined-some: confine
	$(call confined_test,,$(OF_SCHEDULER_AND_FACADE)) $(SOME) --test tcp_echo --test fork
	$(call confined_test,$(OLDER),$(OF_SCHEDULER_AND_FACADE)) $(SOME)

confine:
	$(CARGO) build --locked -p roving-confine --target-dir target

examples:             ## every example, run to its end
	$(CARGO) build --release --locked --examples
	@for example in $(EXAMPLES); do \
		echo "== $$example"; timeout 300 target/release/examples/$$example || exit 1; \
	done

adopted: tools        ## programs of std's threads on green threads
	$(CARGO) clippy --locked $(addprefix -p ,$(ADOPT)) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked $(addprefix -p ,$(ADOPT)) --no-deps --document-private-items
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked $(addprefix -p ,$(ADOPT)) --no-deps
	timeout 1800 $(CARGO) test --locked -p roving-adopt --lib --tests

# Most of the tests begin programs with 1, 2 and 8 workers by themselves. What other programs it wants, it uses if they are there. The facade's part has the feature `adopt`, which nothing else is tested with.
adopt: adopt-uses adopted ## programs of std's threads and finished ones on green threads, with 1, 2 and 8 workers
	$(CARGO) clippy --locked -p roving --features adopt --all-targets -- -D warnings
	$(CARGO) clippy --locked $(addprefix -p ,$(ADOPT_LARGE)) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked -p roving --features adopt --no-deps
	timeout 600 $(CARGO) test --locked -p roving-run
	timeout 600 $(CARGO) test --locked -p roving-adopt-bench
	timeout 600 $(CARGO) test --locked --release -p roving-adopt-bench
	timeout 600 $(CARGO) test --locked -p roving-adopt-suites
	timeout 1200 $(CARGO) test --locked -p roving-bench --test connections --test memory -- $(BUILD_MORE)
	@for workers in 1 8; do echo "== $$workers workers"; \
		ROVING_WORKERS=$$workers timeout 600 $(CARGO) test --locked -p roving-adopt --test std_threads || exit 1; \
	done
	ROVING_MIGRATE_ALWAYS=1 timeout 900 $(CARGO) test --locked -p roving-adopt --tests
	timeout 600 $(CARGO) test --locked -p roving-adopt --doc
	timeout 600 $(CARGO) test --locked -p roving --features adopt --test adopted_main
	timeout 600 $(CARGO) test --locked -p roving --features adopt --doc adopt
	timeout 600 $(CARGO) test --locked -p roving-example-adopted-server
	$(CARGO) build --release --locked --features adopt --example adopted
	$(CARGO) build --release --locked -p roving-example-adopted-server
	@for workers in 1 2 8; do echo "== adopted, $$workers workers"; \
		ROVING_WORKERS=$$workers timeout 300 target/release/examples/adopted || exit 1; \
		ROVING_WORKERS=$$workers timeout 300 target/release/roving-example-adopted-server || exit 1; \
	done
	$(CARGO) run --release --locked -p roving-bench -- connections --exchange http --connections 200 --seconds 1 \
		--json target/http.json --svg target/http.svg
	$(CARGO) run --release --locked -p roving-bench -- finished --connections 200 --seconds 1 --rounds 1
	@$(ADOPT_LACKS); echo "make adopt: all passed$${lacks:+, but what wants more was not tested: apt install$$lacks}"

# Programs, and Debian's packages of them.
ADOPT_LACKS = for program in cc:gcc c++:g++ /usr/bin/python3:python3; do \
		command -v $${program%:*} >/dev/null || lacks="$$lacks $${program\#*:}"; \
	done

adopt-uses:
	@$(ADOPT_LACKS); [ -z "$$lacks" ] || echo "make adopt: there is more that it tests: apt install$$lacks"

# What it wants of Debian, such as redis-server, postgresql, glibc-source and libpython3.*-testsuite, it says if it is not there, and goes on. For example
# `make adopt-suites ARGS="parking_lot rayon"`.
adopt-suites:         ## the test suites of other projects, adopted with 1, 2 and 8 workers and on OS threads; takes hours, needs the network
	$(CARGO) run --locked -p roving-adopt-suites -- $(ARGS)

# An example exits with 77 if the machine lacks what it needs, after it has said what that is.
ecosystem:            ## programs with many dependencies: clients for tokio, roving-top, and the examples that have a crate of their own
	$(CARGO) clippy --all-targets --locked $(addprefix -p ,$(LARGE)) -- -D warnings
	timeout 1200 $(CARGO) test --locked -p roving-ecosystem -p roving-top
	$(CARGO) build --release --locked $(addprefix -p ,$(LARGE_EXAMPLES))
	@for example in $(LARGE_EXAMPLES); do \
		echo "== $$example"; timeout 300 target/release/$$example || \
			{ [ $$? = 77 ] && not_run="$$not_run, but not run: $$example"; } || exit 1; \
	done; echo "make ecosystem: all passed$$not_run"

fuzz:                 ## random programs for ten minutes; for example `make fuzz ARGS="--seconds 60 --workers 2"`
	$(CARGO) run --release --locked -p roving-fuzz -- run --seconds 600 $(ARGS)

# The sanitizers are unstable options of the compiler; their run-time libraries come with the stable toolchain. The
# standard library is built with them too, so that its synchronisation and its memory are seen.
#
# Under them no green thread has thread-locals of its own. So each program runs twice, of one build: with threads that
# share thread-locals and move, and with threads that stay on their worker.
SANITIZED_OF_FACADE := --lib --test 'tcp*' --test 'select*' --test 'stress*'
sanitized = ROVING_EXPECT_OWN=0 RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=$(1) --cfg roving_shared" CARGO_TARGET_DIR=target/$(1)-sanitizer \
	timeout 1800 $(CARGO) test -Zbuild-std --locked --profile sanitize --target $(HOST) --features $(1)-sanitizer

sanitize: address-sanitizer thread-sanitizer   ## the tests under AddressSanitizer and ThreadSanitizer

# Uses of frames that are gone are not looked for, since each green thread would get megabytes for that; nor are leaks,
# since tests leak on purpose.
address-sanitizer: export ASAN_OPTIONS = detect_stack_use_after_return=0:detect_leaks=0
thread-sanitizer: export TSAN_OPTIONS = suppressions=$(CURDIR)/.ci/tsan.supp
address-sanitizer thread-sanitizer: %-sanitizer: rust-src
	$(call sanitized,$*) -p roving-scheduler --lib --tests
	$(call sanitized,$*) -p roving -p roving-io $(SANITIZED_OF_FACADE)
	ROVING_THREAD_LOCALS=pinned $(call sanitized,$*) -p roving-scheduler --lib --tests
	ROVING_THREAD_LOCALS=pinned $(call sanitized,$*) -p roving -p roving-io $(SANITIZED_OF_FACADE)

rust-src:
	@test -d "$$(rustc --print sysroot)/lib/rustlib/src/rust/library" || rustup component add rust-src || \
		{ echo "make sanitize: the standard library is built too, and this toolchain lacks its source, the component rust-src"; exit 1; }

bench:                ## the main benchmark: 100,000 connections on green threads, on OS threads, and adopted; and the memory of waiting threads
	$(CARGO) run --release --locked -p roving-bench -- connections $(ARGS)
	$(CARGO) run --release --locked -p roving-bench -- memory

bench-quick:          ## the same with 10,000 connections, in well under a minute
	$(CARGO) run --release --locked -p roving-bench -- connections --quick $(ARGS)

bench-http:           ## the same of an HTTP server with a database and a client that blocks
	$(CARGO) run --release --locked -p roving-bench -- connections --exchange http $(ARGS)

bench-finished:       ## finished servers in C and Python, on OS threads and by roving-run; needs cc and Debian's python3
	$(CARGO) run --release --locked -p roving-bench -- finished $(ARGS)

bench-switch:         ## what a switch costs: futures, coroutines, green threads, OS threads, processes
	$(CARGO) run --release --locked -p roving-bench -- switch $(ARGS)

bench-sync:           ## locks, channels, select, spawning, timers, compared with std, crossbeam, tokio and may
	$(CARGO) run --release --locked -p roving-bench -- sync $(ARGS)

bench-files:          ## reads, writes and commits of files, compared with std on OS threads and tokio
	$(CARGO) run --release --locked -p roving-bench -- files $(ARGS)

bench-adopt:          ## what adoption costs, compared with green threads by their own API, and OS threads
	$(CARGO) run --release --locked -p roving-bench -- adopt $(ARGS)

bench-resp:           ## a server of Redis's protocol, compared with OS threads and redis-server; needs redis-server and redis-tools
	$(CARGO) run --release --locked -p roving-bench -- resp $(ARGS)

bench-check:          ## instructions of the hot paths, by callgrind, against the stored baseline; needs valgrind
	$(CARGO) run --release --locked -p roving-bench -- check $(ARGS)

bench-scale:          ## what more cores would bring, simulated with costs measured here; and a comparison with this machine
	$(CARGO) run --release --locked -p roving-bench-scale -- $(ARGS)

# `make peers ARGS=--publish` also puts its table and its picture into README.md and docs/peers.svg.
peers:                ## the same work for Roving, tokio, may, Go, OS threads and a bare event loop, side by side
	$(CARGO) run --release --locked -p roving-bench -- peers $(ARGS)

clean:                ## removes what was built
	$(CARGO) clean
