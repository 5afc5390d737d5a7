//! What happens as this process forks.
//!
//! A fork tells of itself first who was registered when it began. So we register as the program is loaded, before it can have another
//! thread that forks: if we did when the runtime is first used, a fork might have begun by then, and the child would not know that it
//! is one and that all that was made meanwhile is its parent's. Until the runtime is used nothing is counted: a child
//! that begins so is as good as its parent.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{FORKS, HAS_FORKED};
use crate::protocol::passage;

/// Whether anything may have been made that belongs to a process.
static IN_USE: AtomicBool = AtomicBool::new(false);

// What is in this section the loader calls once.
#[used]
#[cfg_attr(
    target_vendor = "apple",
    unsafe(link_section = "__DATA,__mod_init_func")
)]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static AT_LOAD: extern "C" fn() = at_load;

extern "C" fn at_load() {
    // Who uses the runtime asks again.
    let _ = register();
}

/// Registers what is told of all forks.
fn register() -> io::Result<()> {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if REGISTERED.load(Ordering::Acquire) {
        return Ok(());
    }
    // SAFETY: the functions stay, do not unwind, and do in the child what may be done there.
    let refused =
        unsafe { libc::pthread_atfork(Some(before_fork), Some(in_parent), Some(count_fork)) };
    done(refused)?;
    REGISTERED.store(true, Ordering::Release);
    Ok(())
}

fn done(refused: libc::c_int) -> io::Result<()> {
    match refused {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Sees to it that a child forked from now on knows that it is one, and calls `in_child` on its only
/// thread, within `fork`, if that is what runs on a stack of its own and has begun after this. All calls have the same `in_child`, which
/// may be called several times for one fork: who comes
/// here waits for nobody who is about to have all this called, since in a child that is forked meanwhile he would not exist.
pub(crate) fn watch_forks(in_child: extern "C" fn()) {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.load(Ordering::Acquire) {
        return;
    }
    IN_USE.store(true, Ordering::SeqCst);
    let watched = register().and_then(|()| {
        // SAFETY: the function stays, does not unwind, and does in the child what may be done there.
        done(unsafe { libc::pthread_atfork(None, None, Some(in_child)) })
    });
    if let Err(refused) = watched {
        panic!("cannot watch for forks: {refused}");
    }
    WATCHED.store(true, Ordering::Release);
}

extern "C" fn before_fork() {
    HAS_FORKED.store(true, Ordering::Relaxed);
    passage::before_fork();
}

extern "C" fn in_parent() {
    passage::in_parent();
}

extern "C" fn count_fork() {
    if IN_USE.load(Ordering::Relaxed) {
        FORKS.fetch_add(1, Ordering::Relaxed);
    } else {
        HAS_FORKED.store(false, Ordering::Relaxed);
    }
    passage::in_child();
}
