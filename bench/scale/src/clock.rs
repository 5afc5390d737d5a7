//! Virtual time, and what runs in it.
//!
//! Each simulated thread is a future that waits for times, and for others that rouse it. What happens does so in the
//! order of its times, and at the same time in the order in which it was said; so a run is the same each time.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Nanoseconds.
pub(crate) type Time = u64;

/// What happens at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// A thread goes on, if it is still in that wait.
    Goes { thread: usize, wait: u64 },
    /// A descriptor becomes ready.
    Arrives(usize),
}

#[derive(Debug, Default)]
pub(crate) struct Clock {
    now: Cell<Time>,
    /// How much has been said to happen.
    said: Cell<u64>,
    coming: RefCell<BinaryHeap<Reverse<(Time, u64, Happening)>>>,
    current: Cell<usize>,
    /// By thread: which of its waits it is in.
    waits: RefCell<Vec<u64>>,
}

impl Clock {
    pub(crate) fn now(&self) -> Time {
        self.now.get()
    }

    fn say(&self, time: Time, what: Happening) {
        let said = self.said.get();
        self.said.set(said + 1);
        self.coming.borrow_mut().push(Reverse((time, said, what)));
    }

    /// A descriptor becomes ready then.
    pub(crate) fn arrives(&self, time: Time, descriptor: usize) {
        self.say(time, Happening::Arrives(descriptor));
    }

    /// A thread that waits goes on then, if nothing else ends its wait before.
    pub(crate) fn rouse(&self, thread: usize, time: Time) {
        let wait = self.waits.borrow()[thread];
        self.say(time, Happening::Goes { thread, wait });
    }

    /// Waits until then, or until it is roused.
    pub(crate) fn wait(&self, until: Option<Time>) -> impl Future<Output = ()> + '_ {
        let mut begun = false;
        poll_fn(move |_| {
            if begun {
                return Poll::Ready(());
            }
            begun = true;
            if let Some(until) = until {
                self.rouse(self.current.get(), until);
            }
            Poll::Pending
        })
    }

    /// Runs all threads until the end or until nothing can happen, with `arrival` for each descriptor that becomes ready.
    pub(crate) fn run(
        &self,
        end: Time,
        mut threads: Vec<Pin<Box<dyn Future<Output = ()> + '_>>>,
        arrival: impl Fn(usize),
    ) {
        self.waits.borrow_mut().resize(threads.len(), 0);
        for thread in 0..threads.len() {
            self.rouse(thread, 0);
        }
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let next = self.coming.borrow_mut().pop();
            let Some(Reverse((time, _, what))) = next.filter(|next| next.0.0 <= end) else {
                self.now.set(self.now().max(end));
                return;
            };
            debug_assert!(time >= self.now());
            self.now.set(time);
            match what {
                Happening::Arrives(descriptor) => arrival(descriptor),
                Happening::Goes { thread, wait } if self.waits.borrow()[thread] == wait => {
                    self.waits.borrow_mut()[thread] += 1;
                    self.current.set(thread);
                    if threads[thread].as_mut().poll(&mut context).is_ready() {
                        threads[thread] = Box::pin(std::future::pending());
                    }
                }
                Happening::Goes { .. } => {}
            }
        }
    }
}
