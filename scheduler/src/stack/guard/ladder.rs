//! Which kind of guards a batch of stacks gets: the first one of [`Guards::LADDER`] that the system allows.
//!
//! - What counts is what the system does, not its version. A kind that it has refused for a reason that
//!   [stays](Why::is_final) is not asked for again; one that it refuses for a batch only (locked memory, no
//!   descriptor free) is passed over for that batch. The reasons are kept, and are told where a stack
//!   cannot be guarded at all.
//! - Emulators and sandboxes may answer that something is done which they do not know. So the guards of the
//!   first batch of each kind are *tried*: the system is asked to write to them, which it must refuse.
//!
//! All of this is in atomics, so that a forked child finds it as it was, and no lock of its parent's.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicUsize, Ordering};

use super::kind::Guards;
use super::why::{NoGuards, Why};
use super::{Slots, Unguarded, mappings};
use crate::stack::page::page;
use crate::stack::{memory, room};

const RUNGS: usize = Guards::LADDER.len();

/// Where to begin.
static BEGIN: AtomicUsize = AtomicUsize::new(0);
/// Why each kind was refused the last time; 0 where it was not.
static WHY: [AtomicI32; RUNGS] = [const { AtomicI32::new(0) }; RUNGS];
/// Which kinds have been tried.
static TRIED: [AtomicBool; RUNGS] = [const { AtomicBool::new(false) }; RUNGS];
/// The rung of the newest guards.
static NEWEST: AtomicU8 = AtomicU8::new(NONE);
const NONE: u8 = u8::MAX;
/// How many guards there are in this process.
static GUARDS: AtomicUsize = AtomicUsize::new(0);

/// Begins with a kind: those before it are not tried.
pub(crate) fn begin_with(guards: Guards) {
    BEGIN.store(guards.rung(), Ordering::Relaxed);
}

/// Guards some of `slots`, the first ones, and returns how many.
///
/// # Errors
///
/// The system refuses guards of every kind. The error says why each, and how to raise the limit.
pub(in crate::stack) fn install(slots: Slots) -> Result<usize, Unguarded> {
    let begin = BEGIN.load(Ordering::Relaxed);
    for &guards in &Guards::LADDER[begin..] {
        let rung = guards.rung();
        let known = Why::from_code(WHY[rung].load(Ordering::Relaxed));
        if known.is_some_and(Why::is_final) {
            continue;
        }
        match install_kind(guards, slots) {
            Ok(count) => {
                WHY[rung].store(0, Ordering::Relaxed);
                NEWEST.store(rung as u8, Ordering::Relaxed);
                GUARDS.fetch_add(count, Ordering::Relaxed);
                return Ok(count);
            }
            Err(why) => {
                WHY[rung].store(why.code(), Ordering::Relaxed);
                if why == Why::LOST {
                    return Err(unguarded(true));
                }
            }
        }
    }
    Err(unguarded(false))
}

fn install_kind(guards: Guards, slots: Slots) -> Result<usize, Why> {
    let count = guards.install(slots)?;
    let tried = &TRIED[guards.rung()];
    if !tried.load(Ordering::Relaxed) {
        if !slots
            .first(count)
            .guards()
            .all(|guard| is_guard(guard, slots.guard_bytes))
        {
            return Err(Why::DOES_NOT_FAULT);
        }
        tried.store(true, Ordering::Relaxed);
    }
    Ok(count)
}

/// Whether a write to the first page and one to the last page of a range are refused.
fn is_guard(address: usize, bytes: usize) -> bool {
    // SAFETY: a guard, which nobody uses.
    let refuses = |address: usize| unsafe { memory::refuses_writes(address) };
    refuses(address) && refuses(address + bytes - page())
}

fn unguarded(are_lost: bool) -> Unguarded {
    let stacks = GUARDS.load(Ordering::Relaxed);
    let refused = refused();
    let mut message = format!(
        "no room for another green thread: guarding its stack failed after {stacks} stacks"
    );
    let mut separator = ": ";
    for refusal in &refused {
        message += &format!("{separator}{refusal}");
        separator = "; ";
    }
    if refused.iter().any(NoGuards::is_for_mappings) {
        message += "; raise it with sysctl vm.max_map_count";
    }
    if are_lost {
        message += &format!(" {}", room::advice());
    }
    Unguarded {
        error: io::Error::new(io::ErrorKind::OutOfMemory, message),
        are_lost,
    }
}

/// The kinds that were refused, and why, those that were tried first first.
pub(in crate::stack) fn refused() -> Vec<NoGuards> {
    let whys = WHY
        .iter()
        .map(|why| Why::from_code(why.load(Ordering::Relaxed)));
    let kinds = Guards::LADDER.iter().zip(whys);
    kinds
        .filter_map(|(&guards, why)| Some(NoGuards::new(guards, why?)))
        .collect()
}

/// The kind of the newest guards; `None` where there are none.
pub(in crate::stack) fn in_use() -> Option<Guards> {
    let rung = usize::from(NEWEST.load(Ordering::Relaxed));
    Guards::LADDER.get(rung).copied()
}

/// How many guards there can be, if more are like the newest; `None` if memory alone limits them.
pub(in crate::stack) fn limit() -> Option<usize> {
    let each = in_use()?.mappings();
    mappings::limit()?;
    let more = mappings::left().checked_div(each)?;
    Some(GUARDS.load(Ordering::Relaxed) + more)
}

/// Makes anew those guards that somebody has taken away.
pub(crate) fn look_after() {
    #[cfg(target_os = "linux")]
    super::write_protect::look_after();
}
