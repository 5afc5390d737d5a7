//! Coroutines without a scheduler: Roving's, those of others, and what they are instead of.

use roving::coroutine::{self, Coroutine, Generator, Next, State};
use std::hint::black_box;

use super::bare::each;

const PAIRS: u32 = 300_000;

/// A coroutine that is resumed, and yields at once.
pub(super) fn resumed() -> f64 {
    let coroutine = Coroutine::new(|yielder, ()| {
        loop {
            yielder.yield_(());
        }
    });
    each(PAIRS, || {
        for _ in 0..PAIRS {
            let state: State<(), ()> = coroutine.resume(());
            black_box(&state);
        }
    })
}

/// The same with the crate `generator`.
pub(super) fn others() -> f64 {
    let mut other = generator::Gn::<()>::new_scoped(|mut own| {
        loop {
            own.yield_(());
        }
    });
    each(PAIRS, || {
        for _ in 0..PAIRS {
            black_box(other.resume());
        }
    })
}

fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.take(PAIRS as usize).map(black_box).sum()
}

/// The numbers from a generator.
pub(super) fn generated() -> f64 {
    let numbers = Generator::new(|yielder| {
        for n in 0.. {
            yielder.yield_(black_box(n));
        }
    });
    each(PAIRS, || {
        black_box(sum(numbers));
    })
}

/// The same from an iterator that was written by hand.
pub(super) fn iterated() -> f64 {
    struct Numbers(u64);

    impl Iterator for Numbers {
        type Item = u64;

        #[inline(never)]
        fn next(&mut self) -> Option<u64> {
            self.0 += 1;
            Some(black_box(self.0))
        }
    }

    each(PAIRS, || {
        black_box(sum(Numbers(0)));
    })
}

/// Two peers that transfer control to each other.
pub(super) fn transferred() -> f64 {
    coroutine::scope(|scope| {
        let (one, other) = (scope.peer(), scope.peer());
        one.does(move |transfer, mut left: u32| {
            while left > 0 {
                left = transfer.transfer(other, left - 1);
            }
            Next::Back(())
        });
        other.does(move |transfer, mut left: u32| {
            loop {
                left = transfer.transfer(one, left.saturating_sub(1));
            }
        });
        each(PAIRS, || one.enter(PAIRS))
    })
}

/// What a transfer would take that switches once, from the one stack to the other: the least that saves
/// what a function must save.
#[cfg(target_arch = "x86_64")]
pub(super) fn switched_directly() -> f64 {
    use std::arch::naked_asm;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// Where the two have stopped.
    static HERE: AtomicUsize = AtomicUsize::new(0);
    static THERE: AtomicUsize = AtomicUsize::new(0);

    /// Notes where this stops, and goes on where another has stopped.
    ///
    /// # Safety
    ///
    /// `to` is where a call of this has stopped, or a stack that was made to look so.
    #[unsafe(naked)]
    unsafe extern "sysv64" fn switch(_stopped: *mut usize, _to: usize) {
        naked_asm!(
            "push rbp",
            "push rbx",
            "push r12",
            "push r13",
            "push r14",
            "push r15",
            "mov [rdi], rsp",
            "mov rsp, rsi",
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop rbx",
            "pop rbp",
            "ret",
        )
    }

    extern "sysv64" fn goes_back() -> ! {
        loop {
            // SAFETY: there has stopped whoever has switched here.
            unsafe { switch(THERE.as_ptr(), HERE.load(Relaxed)) };
        }
    }

    let mut stack = vec![0_usize; 4096];
    let top = stack.len() & !1;
    let top = if stack.as_ptr().addr().is_multiple_of(16) {
        top
    } else {
        top - 1
    };
    stack[top - 2] = (goes_back as *const ()).expose_provenance();
    THERE.store(
        stack.as_mut_ptr().wrapping_add(top - 8).expose_provenance(),
        Relaxed,
    );
    each(PAIRS, || {
        for _ in 0..PAIRS / 2 {
            // SAFETY: the stack looks as if it had stopped in a call by nobody, which returns to the
            // function. That has nothing on it that must be dropped when this is over.
            unsafe { switch(HERE.as_ptr(), THERE.load(Relaxed)) };
        }
    })
}
