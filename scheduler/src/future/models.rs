//! `block_on` under the model checker: the real code, from the waker to the door, on loom's threads, which
//! take the place of OS threads.

use std::future::{self, Future};
use std::panic::{self, AssertUnwindSafe};
use std::task::{Poll, Waker};

use loom::sync::Arc;
use loom::thread;

use super::block_on;
use crate::protocol::primitive::{AtomicUsize, Mutex, Ordering};
use crate::run::context;
use crate::wait::{self, Outcome};

/// Something that comes to pass, and wakes who waits for it.
struct Event {
    times: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

impl Event {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            times: AtomicUsize::new(0),
            waker: Mutex::new(None),
        })
    }

    /// It first happens and then wakes, so whoever leaves a waker first and looks then sees it.
    fn happen(&self) {
        self.times.fetch_add(1, Ordering::Release);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn has_happened(&self, times: usize) -> impl Future<Output = ()> + '_ {
        future::poll_fn(move |context| {
            *self.waker.lock() = Some(context.waker().clone());
            if self.times.load(Ordering::Acquire) >= times {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    }
}

#[test]
fn a_wake_up_is_not_lost_whenever_it_comes() {
    loom::model(|| {
        let event = Event::new();
        let happens: Vec<_> = (0..2)
            .map(|_| {
                let event = event.clone();
                thread::spawn(move || event.happen())
            })
            .collect();
        block_on(event.has_happened(2));
        for happens in happens {
            happens.join().unwrap();
        }
    });
}

#[test]
fn a_late_wake_up_ends_no_later_wait() {
    loom::model(|| {
        let event = Event::new();
        let mut left = None;
        block_on(future::poll_fn(|context| {
            left = Some(context.waker().clone());
            Poll::Ready(())
        }));
        let late = thread::spawn(move || left.unwrap().wake());
        // Another call has a signal of its own, and what else waits has none.
        let happens = {
            let event = event.clone();
            thread::spawn(move || event.happen())
        };
        block_on(event.has_happened(1));
        let wait = wait::begin();
        let ticket = wait.ticket();
        let fires = thread::spawn(move || assert!(ticket.fire(), "nobody else has ended it"));
        assert_eq!(wait.block(None), Outcome::Fired);
        fires.join().unwrap();
        happens.join().unwrap();
        late.join().unwrap();
    });
}

#[test]
fn a_call_that_is_cancelled_ends_while_it_is_woken() {
    loom::model(|| {
        let event = Event::new();
        let me = context::current();
        let happens = {
            let event = event.clone();
            thread::spawn(move || event.happen())
        };
        let cancels = {
            let me = me.clone();
            thread::spawn(move || me.cancel(true))
        };
        // It never happens twice.
        let never = AssertUnwindSafe(|| block_on(event.has_happened(2)));
        let payload = panic::catch_unwind(never).unwrap_err();
        assert!(payload.is::<wait::Cancelled>());
        happens.join().unwrap();
        cancels.join().unwrap();
    });
}
