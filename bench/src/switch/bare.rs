//! Switches without a scheduler.

use corosensei::{Coroutine, CoroutineResult};
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

const PAIRS: u32 = 300_000;

pub(super) fn each(pairs: u32, run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_nanos() as f64 / f64::from(pairs)
}

/// Two futures that are polled in turn: a poll each is a pair, as is each resume.
pub(super) fn futures() -> f64 {
    let work = || async {
        loop {
            let mut waited = false;
            std::future::poll_fn(|_| {
                if std::mem::replace(&mut waited, true) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
            black_box(());
        }
    };
    let (mut one, mut other): (_, _) = (pin!(work()), pin!(work()));
    let mut context = Context::from_waker(Waker::noop());
    each(PAIRS, || {
        for _ in 0..PAIRS / 2 {
            let _: Poll<()> = black_box(one.as_mut().poll(&mut context));
            let _: Poll<()> = black_box(other.as_mut().poll(&mut context));
        }
    })
}

fn suspends_for_ever() -> Coroutine<(), (), ()> {
    Coroutine::new(|yielder, ()| {
        loop {
            yielder.suspend(());
        }
    })
}

/// Resumes a coroutine, which suspends at once, with something done before and after.
fn resumed(before: impl Fn(), after: impl Fn()) -> f64 {
    let mut coroutine = suspends_for_ever();
    each(PAIRS, || {
        for _ in 0..PAIRS {
            before();
            let result: CoroutineResult<(), ()> = coroutine.resume(());
            after();
            black_box(&result);
        }
    })
}

pub(super) fn coroutine() -> f64 {
    resumed(|| (), || ())
}

/// The same, with the thread pointer written on the way in and on the way out, as a worker does for
/// a green thread with its own thread-locals.
pub(super) fn coroutine_with_thread_locals() -> f64 {
    let pointer = thread_pointer::read();
    let write = || thread_pointer::write_again(pointer);
    resumed(write, write)
}

/// What could be saved if green thread followed green thread without the worker's own pointer.
pub(super) fn coroutine_with_one_write() -> f64 {
    let pointer = thread_pointer::read();
    resumed(|| thread_pointer::write_again(pointer), || ())
}

/// Called only where the runtime has found that green threads can have their own thread-locals.
mod thread_pointer {
    use std::arch::asm;

    #[cfg(target_arch = "x86_64")]
    pub(super) fn read() -> usize {
        let pointer;
        // SAFETY: by the ABI, the word at the thread pointer holds the thread pointer.
        unsafe { asm!("mov {}, fs:0", out(reg) pointer, options(nostack, readonly)) };
        pointer
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn write_again(pointer: usize) {
        // SAFETY: writes the value that the register has.
        unsafe { asm!("wrfsbase {}", in(reg) pointer, options(nostack)) };
    }

    #[cfg(target_arch = "aarch64")]
    pub(super) fn read() -> usize {
        let pointer;
        // SAFETY: reads a register.
        unsafe { asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack)) };
        pointer
    }

    #[cfg(target_arch = "aarch64")]
    pub(super) fn write_again(pointer: usize) {
        // SAFETY: writes the value that the register has.
        unsafe { asm!("msr tpidr_el0, {}", in(reg) pointer, options(nostack)) };
    }
}
