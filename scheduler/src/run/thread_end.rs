//! Whether the current thread drops its thread-locals.
//!
//! What lies in one, suspended, may have borrowed another, which is gone by then; only frames
//! that are gone by then could not. So it is not unwound there, unless it is sure to have ended [before](super::first_destructor).
//!
//! A green thread with thread-locals of its own knows when it ends. Of an OS thread neither std nor the C
//! library tells, but the calls that it is in do: there is a function that calls the destructors of
//! thread-locals and is called at no other time. Which that is is [learnt](learn) from an OS thread that
//! looks at its calls twice, while it runs and in such a destructor.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread::Builder;

use crate::protocol::lock::Mutex;

use crate::protocol::passage::Passage;
use crate::protocol::process::PerProcess;
use crate::run::{context, first_destructor};
use crate::stack::frames;

/// Whether what is suspended may have borrowed a thread-local that is gone: it is not sure to have ended before.
pub(crate) fn may_be_too_late() -> bool {
    !first_destructor::is_there() && may_have_begun()
}

/// Whether the current thread drops its thread-locals, or nobody knows.
fn may_have_begun() -> bool {
    let of_its_own = context::with_running(|waiter| {
        let own_stack = waiter.own_stack()?;
        // SAFETY: it is the current thread.
        let owns = unsafe { own_stack.started() }.thread_pointer.is_some();
        // A worker is no green thread when its thread-locals go.
        (owns || waiter.green().is_some()).then(|| own_stack.is_ending())
    });
    // Nor does one know that it ends which is in `exit`, which calls destructors, too.
    of_its_own.flatten() == Some(true) || of_os_thread()
}

fn of_os_thread() -> bool {
    static CALLS_DESTRUCTORS: PerProcess<Option<Function>> = PerProcess::new();
    match CALLS_DESTRUCTORS.get_or_make(learn) {
        Some(function) => functions().contains(function),
        None => true,
    }
}

/// The address of a function.
type Function = usize;

/// What the current thread is in, from the inside to the outside.
#[inline(never)]
fn functions() -> Vec<Function> {
    let mut found = Vec::new();
    frames::each(|frame| {
        found.push(frames::function_of(frame));
        true
    });
    found
}

/// Learns which function calls the destructors of an OS thread's thread-locals: the outermost of those
/// that it is in then and not before.
fn learn() -> Option<Function> {
    struct Looks(Option<Arc<Mutex<Vec<Function>>>>);

    impl Drop for Looks {
        fn drop(&mut self) {
            if let Some(seen) = &self.0 {
                *seen.lock() = functions();
            }
        }
    }

    thread_local! {
        static LOOKS: RefCell<Looks> = const { RefCell::new(Looks(None)) };
    }

    let at_end = Arc::new(Mutex::new(Vec::new()));
    let seen = at_end.clone();
    let while_it_runs = Passage::enter().on_an_os_thread(Builder::new(), move || {
        LOOKS.with_borrow_mut(|looks| looks.0 = Some(seen));
        functions()
    })?;
    let at_end = at_end.lock();
    let mut from_outside = at_end.iter().rev();
    let found = from_outside.find(|function| !while_it_runs.contains(function));
    found.copied().filter(|&function| function != 0)
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn the_end_of_an_os_thread_is_told_from_its_life() {
        struct AtEnd(mpsc::Sender<bool>);

        impl Drop for AtEnd {
            fn drop(&mut self) {
                self.0.send(may_have_begun()).unwrap();
            }
        }

        use std::sync::mpsc;

        thread_local! {
            static AT_END: RefCell<Option<AtEnd>> = const { RefCell::new(None) };
        }

        let (sender, at_end) = mpsc::channel();
        let in_life = thread::spawn(move || {
            drop(AtEnd(sender.clone()));
            AT_END.set(Some(AtEnd(sender)));
        });
        in_life.join().unwrap();
        assert_eq!(at_end.iter().collect::<Vec<_>>(), [false, true]);
    }
}
