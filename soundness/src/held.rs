//! What only a thread can hold, held over operations that block: a borrow of a thread-local, an `Rc`
//! that lies in one, a guard that is not `Send`, an `errno`.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;

use crate::{THREADS, errno, many, on_moving_threads, os_thread, set_errno};

thread_local! {
    static BORROWED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    static COUNTED: Rc<Cell<usize>> = Rc::new(Cell::new(0));
    static PLAIN: Cell<usize> = const { Cell::new(0) };
    /// How often this thread, while it [held](Held) something, has been found on another OS thread than before.
    static MOVES: Cell<usize> = const { Cell::new(0) };
}

/// So often what is to be seen with threads that move is run, at most, until they have moved.
const ATTEMPTS: usize = 1000;

/// The `errno` of the thread number 0. No operation sets it.
const ERRNO: i32 = 1000;

/// What one thread holds. It cannot leave it.
#[derive(Debug)]
pub struct Held<'a> {
    number: usize,
    borrowed: &'a [usize],
    counted: Rc<Cell<usize>>,
    guard: MutexGuard<'a, usize>,
    id: ThreadId,
    os_thread: Cell<libc::pid_t>,
    this_thread: PhantomData<*const ()>,
}

/// Calls `body` with what the current thread, which has a number, holds meanwhile.
pub fn holding<R>(number: usize, body: impl FnOnce(&Held<'_>) -> R) -> R {
    let mutex = Mutex::new(number);
    BORROWED.with_borrow_mut(|borrowed| {
        borrowed.push(number);
        PLAIN.set(number);
        set_errno(ERRNO + number as i32);
        let held = Held {
            number,
            borrowed,
            counted: COUNTED.with(Rc::clone),
            guard: mutex.lock().expect("it is new"),
            id: std::thread::current().id(),
            os_thread: Cell::new(os_thread()),
            this_thread: PhantomData,
        };
        held.is_mine();
        let result = body(&held);
        held.is_mine();
        drop(held);
        borrowed.pop();
        result
    })
}

impl Held<'_> {
    /// Sees that all of it is this thread's, which does not panic.
    #[inline(always)]
    pub fn is_mine(&self) {
        self.is_mine_while(false);
    }

    /// The same for one that panics.
    #[inline(always)]
    pub fn is_mine_in_a_panic(&self) {
        self.is_mine_while(true);
    }

    #[inline(always)]
    fn is_mine_while(&self, panicking: bool) {
        // The compiler may know the addresses from before.
        assert_eq!(PLAIN.get(), self.number);
        assert_eq!(std::thread::panicking(), panicking);
        assert_eq!(roving::thread::panicking(), panicking);
        assert_eq!(self.borrowed.last(), Some(&self.number));
        assert!(BORROWED.with(|borrowed| borrowed.try_borrow_mut().is_err()));
        COUNTED.with(|counted| {
            assert!(Rc::ptr_eq(counted, &self.counted));
            assert_eq!(Rc::strong_count(counted), 2);
        });
        self.counted.set(self.counted.get() + 1);
        assert_eq!(*self.guard, self.number);
        assert_eq!(std::thread::current().id(), self.id);
        // An operation may have set it, but not to what another thread has there.
        let errno = errno();
        let others = ERRNO..ERRNO + THREADS as i32;
        assert!(errno == ERRNO + self.number as i32 || !others.contains(&errno));
        set_errno(ERRNO + self.number as i32);
        let now = os_thread();
        if self.os_thread.replace(now) != now {
            MOVES.set(MOVES.get() + 1);
        }
    }
}

/// Whether nothing is held any more: the last thing that a thread looks at.
pub fn nothing_is_held() -> bool {
    let is_borrowed = BORROWED.with(|borrowed| borrowed.try_borrow_mut().is_err());
    let count = COUNTED.with(Rc::strong_count);
    !is_borrowed && count == 1 && !std::thread::panicking()
}

/// Runs many threads with `body` at a time, on runtimes whose green threads move with every suspension.
/// Each holds something, and knows what `make` has made for all of them. They must be seen to move.
pub fn many_holding<S: Send + Sync + 'static>(
    make: impl Fn() -> S,
    body: impl Fn(usize, &Held<'_>, &S) + Send + Sync + Copy + 'static,
) {
    many_sharing(make, move |number, shared| {
        holding(number, |held| body(number, held, shared));
    });
}

/// The same for threads that hold something when they choose to.
///
/// Where the body does not [make sure](crate::migrate) that it moves, an OS thread that is late may be all that runs. So it is
/// run until threads have moved.
pub fn many_sharing<S: Send + Sync + 'static>(
    make: impl Fn() -> S,
    body: impl Fn(usize, &S) + Send + Sync + Copy + 'static,
) {
    on_moving_threads(|runtime| {
        let have_moved = (0..ATTEMPTS).any(|_| {
            let moves = Arc::new(AtomicUsize::new(0));
            let shared = Arc::new(make());
            many(runtime, {
                let moves = moves.clone();
                move |number| {
                    body(number, &shared);
                    assert!(nothing_is_held());
                    moves.fetch_add(MOVES.get(), Ordering::Relaxed);
                }
            });
            moves.load(Ordering::Relaxed) > 0
        });
        assert!(have_moved, "the threads do not move");
    });
}
