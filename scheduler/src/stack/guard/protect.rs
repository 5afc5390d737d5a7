//! Guards by `mprotect`: it takes the access to the guard away, which splits the mapping. So a stack takes
//! two mappings, within the [budget](super::mappings).

use super::Slots;
use super::mappings;
use super::why::Why;
use crate::stack::memory;

const MAPPINGS: usize = 2;

/// Guards as many of `slots` as the budget allows, and returns how many.
pub(super) fn install(slots: Slots) -> Result<usize, Why> {
    let taken = mappings::take(slots.count * MAPPINGS);
    let (mut count, mut refused) = (0, Why::NO_MAPPINGS);
    for guard in slots.first(taken / MAPPINGS).guards() {
        if let Err(why) = protect(guard, slots.guard_bytes) {
            refused = why;
            break;
        }
        count += 1;
    }
    mappings::give_back(taken - count * MAPPINGS);
    if count == 0 { Err(refused) } else { Ok(count) }
}

/// Takes the access to `bytes` bytes from `address` on away, which are those of a guard.
pub(super) fn protect(address: usize, bytes: usize) -> Result<(), Why> {
    // SAFETY: a guard, in a slab of ours, which holds nothing.
    Ok(unsafe { memory::take_access_away(address, bytes) }?)
}
