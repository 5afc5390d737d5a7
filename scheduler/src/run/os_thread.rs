//! How the runtime starts an OS thread.
//!
//! - One that lacks memory as it starts ends the process, so it is started only where there is [room].
//! - It has the default [floating-point environment](Environment): who starts it may be a green thread with another one,
//!   which an OS thread inherits.
//! - It has all signals blocked at first if a green thread starts it that may have a [mask of its own](super::signals), which it would inherit. If it is a
//!   worker, it has that of its runtime then.
//! - A fork waits while one starts or ends, in a [`Passage`].

use std::cell::Cell;
use std::io;
use std::thread::{Builder, JoinHandle};

use crate::protocol::lock::Inside;
use crate::protocol::passage::Passage;
use crate::run::context;
use crate::run::signal_stack::SignalStack;
use crate::run::signals::HeldBack;
use crate::stack::fp::Environment;
use crate::stack::room;

/// On an OS thread of ours, whose end is a [`Passage`] from when this is dropped.
struct Ends;

thread_local! {
    /// It is dropped after what std does as the thread ends.
    static PASSAGE: Cell<Option<Passage>> = const { Cell::new(None) };
}

impl Ends {
    /// Takes the memory for it now, when there is some.
    fn later() -> Self {
        PASSAGE.set(None);
        Self
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        PASSAGE.set(Some(Passage::enter()));
    }
}

/// Starts an OS thread of that name.
///
/// # Errors
///
/// The system refuses it. The error says which limits there are, one of which is to be raised.
pub fn start(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // It is to be one also in a program that is adopted.
    let (starts, _inside) = (Passage::enter(), Inside::enter());
    let body = move || {
        let _ends = Ends::later();
        drop(starts);
        Environment::begin_default();
        let _signal_stack = SignalStack::of_this_thread();
        body();
    };
    let started = room::is_left().and_then(|()| {
        let _held_back = context::keeps_signals().then(HeldBack::begin);
        Builder::new().name(name).spawn(body)
    });
    started.map_err(|error| {
        let advice = room::advice_on_threads();
        io::Error::new(error.kind(), format!("{error} {advice}"))
    })
}
