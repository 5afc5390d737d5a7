//! Guards by poison: a userfaultfd marks the pages of the guard in the page table as ones whose content is
//! lost, so that an access gives SIGBUS. The marks stay when the descriptor is closed, and in forked children;
//! nothing is kept open, and the mapping is whole again.

use super::Slots;
use super::userfault::Userfault;
use super::why::Why;

/// Guards all of `slots`.
pub(super) fn install(slots: Slots) -> Result<usize, Why> {
    let userfault = Userfault::to_poison()?;
    userfault.register(slots.bottom, slots.bytes())?;
    for guard in slots.guards() {
        userfault.poison(guard, slots.guard_bytes)?;
    }
    userfault.unregister(slots.bottom, slots.bytes())?;
    Ok(slots.count)
}
