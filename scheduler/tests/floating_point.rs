//! The floating-point environment is the green thread's own, in every mode.
//!
//! - who sets a rounding mode has it until it sets another, over every kind of suspension, on every
//!   worker, and while it unwinds
//! - neighbours, new threads and the worker's loop do not have it; those that it spawns do
//! - flags are seen by who raised them, also those of the x87
//! - an exception is raised in who asked for it and computes what raises it, and in nobody else

#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]

mod common;

use std::ffi::c_int;
use std::hint;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{WORKER_COUNTS, lone_worker, not_tested, stacks_returned, watchdog};
use roving_scheduler::driver::Driver;
use roving_scheduler::wait::Ticket;
use roving_scheduler::{Builder, Runtime, blocking, thread};

#[link(name = "m")]
unsafe extern "C" {
    safe fn fesetround(rounding: c_int) -> c_int;
    safe fn fegetround() -> c_int;
    safe fn feclearexcept(flags: c_int) -> c_int;
    safe fn fetestexcept(flags: c_int) -> c_int;
    #[cfg(target_arch = "x86_64")]
    safe fn feenableexcept(flags: c_int) -> c_int;
}

const NEAREST: c_int = 0;
#[cfg(target_arch = "x86_64")]
mod numbers {
    use super::c_int;
    pub(super) const DOWNWARD: c_int = 0x400;
    pub(super) const UPWARD: c_int = 0x800;
    pub(super) const DIVISION_BY_ZERO: c_int = 4;
    pub(super) const ALL: c_int = 0x3d;
}
#[cfg(target_arch = "aarch64")]
mod numbers {
    use super::c_int;
    pub(super) const DOWNWARD: c_int = 0x80_0000;
    pub(super) const UPWARD: c_int = 0x40_0000;
    pub(super) const DIVISION_BY_ZERO: c_int = 2;
    pub(super) const ALL: c_int = 0x1f;
}
use numbers::{ALL, DIVISION_BY_ZERO, DOWNWARD, UPWARD};

/// What the processor does, not what the library notes.
fn rounds() -> c_int {
    let [one, tiny] = [1.0, 1e-30].map(hint::black_box);
    let (up, down) = (one + tiny > one, one - tiny < one);
    match (up, down) {
        (true, false) => UPWARD,
        (false, true) => DOWNWARD,
        _ => NEAREST,
    }
}

#[track_caller]
fn expect(rounding: c_int) {
    assert_eq!((fegetround(), rounds()), (rounding, rounding));
}

/// Raises a flag of the processor's vector unit.
fn divide_by_zero() {
    let [one, zero] = [1.0, 0.0].map(hint::black_box);
    hint::black_box(one / zero);
}

/// Suspends in a way of which there are several.
fn suspend(way: usize) {
    match way % 4 {
        0 => thread::yield_now(),
        1 => thread::sleep(Duration::from_micros(1)),
        2 => {
            let this = thread::current();
            thread::spawn(move || this.unpark());
            thread::park();
        }
        _ => thread::spawn(|| ()).join().unwrap(),
    }
}

/// Runs `test` with runtimes of each size and mode. Those whose green threads move do so with every
/// suspension.
fn on_each(test: impl Fn(&Runtime)) {
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        let own = || Builder::new().own_thread_locals().migrate_always(true);
        let pinned = || Builder::new().pinned_thread_locals();
        // SAFETY: the tests below hold nothing of a thread-local across a suspension.
        let shared = || unsafe { Builder::new().shared_thread_locals() }.migrate_always(true);
        for builder in [own(), pinned(), shared()] {
            let _watchdog = watchdog(format_args!("{workers} workers, {builder:?}"));
            match builder.workers(workers).build() {
                Ok(runtime) => test(&runtime),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
                    not_tested::without_own_thread_locals(error);
                }
            }
        }
    }
}

#[test]
fn who_sets_a_mode_keeps_it_and_nobody_else_has_it() {
    on_each(|runtime| {
        let modes = [NEAREST, UPWARD, NEAREST, DOWNWARD];
        let threads: Vec<_> = (0..16)
            .map(|number| {
                runtime.spawn(move || {
                    expect(NEAREST);
                    let mode = modes[number % modes.len()];
                    fesetround(mode);
                    for round in 0..50 {
                        suspend(number + round);
                        expect(mode);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        expect(NEAREST);
        runtime.run(|| expect(NEAREST));
    });
}

#[test]
fn a_new_thread_begins_with_that_of_the_one_that_spawns_it() {
    on_each(|runtime| {
        fesetround(DOWNWARD);
        let from_outside = runtime.spawn(|| expect(DOWNWARD));
        runtime.run(|| expect(DOWNWARD));
        fesetround(NEAREST);
        from_outside.join().unwrap();
        runtime.run(|| {
            fesetround(UPWARD);
            let child = thread::spawn(|| {
                suspend(0);
                expect(UPWARD);
                let grandchild = thread::spawn(|| expect(UPWARD));
                fesetround(DOWNWARD);
                grandchild.join().unwrap();
            });
            // It has not begun, and what counts is what was when it was spawned.
            fesetround(NEAREST);
            thread::spawn(|| expect(NEAREST)).join().unwrap();
            child.join().unwrap();
            expect(NEAREST);
        });
    });
}

#[test]
fn flags_are_seen_by_who_raised_them() {
    on_each(|runtime| {
        let threads: Vec<_> = (0..16)
            .map(|number| {
                let raises = number % 3 == 0;
                runtime.spawn(move || {
                    feclearexcept(ALL);
                    if raises {
                        divide_by_zero();
                    }
                    for round in 0..50 {
                        suspend(number + round);
                        assert_eq!(fetestexcept(DIVISION_BY_ZERO) != 0, raises);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
    });
}

#[test]
fn who_panics_keeps_its_mode_until_it_has_ended() {
    struct Blocks;
    impl Drop for Blocks {
        fn drop(&mut self) {
            for way in 0..4 {
                suspend(way);
                expect(UPWARD);
            }
        }
    }
    on_each(|runtime| {
        for _ in 0..5 {
            let panics = runtime.spawn(|| {
                fesetround(UPWARD);
                let _blocks = Blocks;
                suspend(0);
                std::panic::resume_unwind(Box::new(()));
            });
            assert!(panics.join().is_err());
            runtime.run(|| {
                expect(NEAREST);
                fesetround(UPWARD);
                let caught = std::panic::catch_unwind(|| {
                    suspend(1);
                    std::panic::resume_unwind(Box::new(()));
                });
                assert!(caught.is_err());
                expect(UPWARD);
            });
        }
    });
}

#[test]
fn a_call_that_blocks_is_made_in_that_of_its_caller() {
    on_each(|runtime| {
        runtime.run(|| {
            fesetround(UPWARD);
            let call = || {
                expect(UPWARD);
                fesetround(DOWNWARD);
            };
            blocking::run(call);
            expect(DOWNWARD);
            fesetround(NEAREST);
            blocking::run(|| expect(NEAREST));
        });
    });
}

/// Looks at the mode of whoever calls it, which is the worker's loop.
#[derive(Default)]
struct Watches {
    waits: AtomicUsize,
    otherwise: AtomicUsize,
}

impl Driver for Watches {
    fn wait(&self, timeout: Option<Duration>, _: &mut Vec<Ticket>) -> io::Result<()> {
        let is_right = fegetround() == NEAREST && rounds() == NEAREST;
        self.waits.fetch_add(1, Ordering::AcqRel);
        self.otherwise
            .fetch_add(usize::from(!is_right), Ordering::AcqRel);
        let nap = Duration::from_millis(1);
        std::thread::sleep(timeout.map_or(nap, |timeout| timeout.min(nap)));
        Ok(())
    }

    fn wake(&self) {}

    fn end(&self, _: &mut Vec<Ticket>) {}
}

#[test]
fn the_loop_of_a_worker_keeps_its_own() {
    on_each(|runtime| {
        let watches: Arc<Watches> = runtime.handle().driver(|| Ok(Watches::default())).unwrap();
        let seen = watches.clone();
        runtime.run(move || {
            fesetround(UPWARD);
            while seen.waits.load(Ordering::Acquire) < 100 {
                thread::yield_now();
            }
        });
        assert_eq!(watches.otherwise.load(Ordering::Acquire), 0);
    });
}

/// A green thread starts a spare when it needs one, which has none of its mode.
#[test]
fn the_loop_of_a_spare_does_not_begin_with_that_of_the_one_that_starts_it() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    // Whose spares are started when they are needed, and no sooner.
    let runtime = lone_worker();
    let watches: Arc<Watches> = runtime.handle().driver(|| Ok(Watches::default())).unwrap();
    let seen = watches.clone();
    runtime.run(move || {
        fesetround(UPWARD);
        blocking::run(|| {
            let before = seen.waits.load(Ordering::Acquire);
            // These are the spare's, since this thread has the worker.
            while seen.waits.load(Ordering::Acquire) < before + 10 {
                std::thread::yield_now();
            }
        });
    });
    assert_eq!(watches.otherwise.load(Ordering::Acquire), 0);
}

#[cfg(target_arch = "x86_64")]
mod x87 {
    use std::arch::asm;

    use super::*;

    /// `MXCSR.FTZ`, which only MXCSR has.
    const FLUSHES_TO_ZERO: u32 = 1 << 15;

    fn mxcsr() -> u32 {
        let mut mxcsr = 0_u32;
        // SAFETY: stores the register.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack)) };
        mxcsr
    }

    /// Divides by zero as C's `long double`s do.
    fn divide_long_by_zero() {
        // SAFETY: leaves nothing on the stack of the x87.
        unsafe { asm!("fld1", "fldz", "fdivp", "fstp st(0)", options(nostack)) };
    }

    /// The rounding mode in the control word.
    fn control() -> u16 {
        let mut control = 0_u16;
        // SAFETY: stores the register.
        unsafe { asm!("fnstcw [{}]", in(reg) &raw mut control, options(nostack)) };
        control & 0xc00
    }

    #[test]
    fn each_register_is_the_threads_own() {
        on_each(|runtime| {
            let threads: Vec<_> = (0..16)
                .map(|number| {
                    let sets = number % 3 == 0;
                    runtime.spawn(move || {
                        assert_eq!((mxcsr() & FLUSHES_TO_ZERO, control()), (0, 0));
                        feclearexcept(ALL);
                        let expected = if sets {
                            let flushes = mxcsr() | FLUSHES_TO_ZERO;
                            // SAFETY: a valid value of the register.
                            unsafe {
                                asm!("ldmxcsr [{}]", in(reg) &raw const flushes, options(nostack));
                            }
                            divide_long_by_zero();
                            (FLUSHES_TO_ZERO, DIVISION_BY_ZERO)
                        } else {
                            (0, 0)
                        };
                        for round in 0..50 {
                            suspend(number + round);
                            let seen = (mxcsr() & FLUSHES_TO_ZERO, fetestexcept(DIVISION_BY_ZERO));
                            assert_eq!(seen, expected);
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|t| t.join().unwrap());
        });
    }

    /// A signal that ends the process would tell.
    #[test]
    fn an_exception_is_not_raised_by_a_neighbours_flag() {
        on_each(|runtime| {
            let threads: Vec<_> = (0..16)
                .map(|number| {
                    runtime.spawn(move || {
                        feclearexcept(ALL);
                        if number % 2 == 0 {
                            assert_ne!(feenableexcept(DIVISION_BY_ZERO), -1);
                        }
                        for round in 0..50 {
                            if number % 2 == 1 {
                                divide_long_by_zero();
                                divide_by_zero();
                            } else {
                                // SAFETY: computes with what the x87 knows, and drops it.
                                unsafe { asm!("fld1", "fstp st(0)", "fwait", options(nostack)) };
                            }
                            suspend(number + round);
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|t| t.join().unwrap());
        });
    }
}
