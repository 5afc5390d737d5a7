//! The spans of `tracing` that a thread is in.
//!
//! Subscribers keep them in thread-locals. A thread that has thread-locals of its own takes them along; one that
//! has not would leave them to its neighbours while it is suspended, and find theirs when it goes on. So that one leaves its
//! spans before it suspends, and enters them again afterwards, wherever it is then.
//!
//! A subscriber runs here as [a listener](crate::run::listeners) does.

use tracing::Id;
use tracing::dispatcher::{self, Dispatch};
use tracing::level_filters::LevelFilter;

use crate::run::context;
use crate::run::panicking;

/// More spans than this are left where they are: they may come from a subscriber that does not let them go.
const MOST: usize = 1000;

/// What the current thread was in, from the inside to the outside.
#[derive(Debug)]
pub(super) struct Spans(Vec<Id>);

/// Leaves what the current thread is in; `None` if that is nothing.
#[inline]
pub(super) fn leave() -> Option<Spans> {
    if LevelFilter::current() == LevelFilter::OFF {
        return None;
    }
    leave_all()
}

#[cold]
#[inline(never)]
fn leave_all() -> Option<Spans> {
    let mut spans = Vec::new();
    with_subscriber(|subscriber| {
        while spans.len() < MOST
            && let Some(span) = subscriber.current_span().id()
        {
            subscriber.exit(span);
            spans.push(span.clone());
        }
    });
    (!spans.is_empty()).then_some(Spans(spans))
}

impl Spans {
    #[cold]
    #[inline(never)]
    pub(super) fn enter(self) {
        with_subscriber(|subscriber| {
            for span in self.0.iter().rev() {
                subscriber.enter(span);
            }
        });
    }
}

fn with_subscriber(f: impl FnOnce(&Dispatch)) {
    context::as_os_thread(|| {
        let mut f = Some(f);
        let call = || {
            dispatcher::get_default(|subscriber| f.take().into_iter().for_each(|f| f(subscriber)))
        };
        panicking::contain(call);
    });
}
