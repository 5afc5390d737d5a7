//! Stacks, and the pool of the process that keeps the free ones.
//!
//! - **A [`Promise`] is a stack.** A green thread takes its stack when it starts, and not when it is
//!   spawned: so a million that wait for their turn, and end in their first, share a few stacks that
//!   stay in the processor's caches. But whoever spawns must be told if there is none. Therefore
//!   spawning takes a promise, and there are never more promises than stacks have been carved: see
//!   `promised` in [`Pool`].
//! - A green thread with [thread-locals of its own](super::tls) has them above its stack, and they
//!   are pooled with it.
//! - Free stacks are kept for ever. Those in use last are *warm*: they keep their pages too, so that
//!   a spawn reuses them without a fault. Those that have [given them back](super::cooling), and those
//!   that were never used, are *cold*.

use std::fmt;
use std::io;
use std::mem;
use std::num::NonZeroUsize;
use std::panic::Location;
use std::ptr;

use crate::protocol::lock::Mutex;
use corosensei::stack::STACK_ALIGNMENT;

use super::bounds::Bounds;
use super::class::{CLASSES, Class};
use super::plate::Plate;
use super::slab::Slab;
use super::tls::Block;
use crate::protocol::process::PerProcess;

/// The right to a stack, which is there when it is [asked for](super::cache::Cache::redeem). Dropping
/// it gives it up.
#[derive(Debug)]
pub(crate) struct Promise {
    class: Class,
}

impl Promise {
    /// Takes a promise from the pool.
    ///
    /// # Errors
    ///
    /// There are not enough stacks, and the system refuses another one.
    pub(crate) fn new(class: Class) -> io::Result<Self> {
        pool_of(class).lock().promise(class, 1)?;
        Ok(Self { class })
    }

    /// The promise of a stack that has been promised to the caller.
    pub(super) fn of(class: Class) -> Self {
        Self { class }
    }

    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// The stack is given, and is the promise from now on.
    pub(super) fn keep(self) {
        mem::forget(self);
    }

    /// Takes a stack for it from the pool.
    pub(crate) fn redeem(self) -> Stack {
        let class = self.class;
        self.keep();
        let stack = pool_of(class).lock().take();
        stack.with_block()
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        pool_of(self.class).lock().promised -= 1;
    }
}

/// A guarded stack. Dropping it gives it back to the pool.
pub(crate) struct Stack {
    bottom: NonZeroUsize,
    /// The address below which whoever runs on it uses it: its top, or where the thread-locals begin that end there.
    base: NonZeroUsize,
    pub(super) class: Class,
    /// Of its [top](Class::top).
    place: u8,
    /// Whether its thread-locals are there.
    has_block: bool,
    /// There since it was a coroutine's first.
    plate: Option<&'static Plate>,
}

// Of each thread, one is in the control block.
const _: () = assert!(size_of::<Stack>() == 4 * size_of::<usize>());

impl Stack {
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            lowest: self.lowest(),
            base: self.base.get(),
        }
    }

    /// The thread pointer of whoever runs on it; `None` if that is its worker's.
    pub(crate) fn thread_pointer(&self) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.block()?.thread_pointer())
    }

    /// The thread-locals, if they are there.
    pub(super) fn block(&self) -> Option<Block> {
        let own = self.class.own().filter(|_| self.has_block)?;
        Some(Block::above(own, self.base.get()))
    }

    /// Calls `call` on it, as part of the current thread. What unwinds out of `call` unwinds out of this.
    pub(crate) fn call<R>(&mut self, call: impl FnOnce() -> R) -> R {
        corosensei::on_stack(self, call)
    }

    /// Wipes what has been written to it, so that the next user's mark is its own.
    ///
    /// # Safety
    ///
    /// Nobody runs on it.
    pub(crate) unsafe fn wipe(&self, used: usize) {
        let base = self.bounds().base;
        // SAFETY: the used part of a stack on which nobody runs.
        unsafe { ptr::with_exposed_provenance_mut::<u8>(base - used).write_bytes(0, used) };
    }

    /// Makes the stack of a thread that has ended that of a new one.
    ///
    /// # Safety
    ///
    /// Nobody runs on it.
    pub(crate) unsafe fn renew(&self) {
        if let Some(block) = self.block() {
            // SAFETY: the caller's promise.
            unsafe { block.renew() };
        }
    }

    /// Says whose it is from now on: a coroutine's that was made at `site`.
    pub(crate) fn lend(&mut self, site: &'static Location<'static>) {
        let bounds = self.bounds();
        let plate = self.plate.get_or_insert_with(|| Plate::put_on(bounds));
        plate.set_site(Some(site));
    }

    /// Makes the thread-locals if they should be there and are not. That touches new memory, so it is
    /// not for who has a lock.
    fn with_block(mut self) -> Self {
        if let (Some(own), false) = (self.class.own(), self.has_block) {
            let top = self.base.get();
            // SAFETY: this is the top of a stack that nobody else has; `cooling` forgets the
            // block before it uses the memory otherwise.
            let block = unsafe { Block::new(own, top, self.lowest()..top) };
            self.base = base_below(block);
            self.has_block = true;
        }
        self
    }

    /// The thread-locals have been [forgotten](super::tls::forget), or are not there.
    pub(super) fn forget_block(&mut self) {
        self.has_block = false;
        self.base = top(self.class, self.bottom.get(), self.place);
    }

    /// The lowest address that it may use, where the guard ends.
    fn lowest(&self) -> usize {
        self.bottom.get() + Class::guard_bytes()
    }

    /// Gives all pages of a stack that nobody uses back to the system, but for those that hold
    /// thread-locals.
    pub(super) fn drop_pages(&self) {
        let end = match self.block() {
            Some(block) => block.bottom(),
            None => self.bottom.get() + self.class.slot_bytes(),
        };
        // SAFETY: nobody uses the stack, and the thread-locals are above.
        unsafe { self.bounds().give_back_below(end) };
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Some(plate) = self.plate {
            plate.set_site(None);
        }
        let stack = Self { ..*self };
        let mut pool = pool_of(self.class).lock();
        pool.warm.push(stack);
        pool.promised -= 1;
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stack({:#x}..{:#x})", self.bottom, self.base)
    }
}

/// Where a stack ends that has nothing above it.
fn top(class: Class, bottom: usize, place: u8) -> NonZeroUsize {
    NonZeroUsize::new(class.top(bottom, place)).expect("above the bottom")
}

/// Where a stack ends that has these thread-locals above it.
fn base_below(block: Block) -> NonZeroUsize {
    NonZeroUsize::new(block.bottom() & !(STACK_ALIGNMENT - 1)).expect("above the bottom")
}

// SAFETY: `bottom` and `base` are bounds within a mapping that is never unmapped; at the low end is
// a guard, installed before the stack left the pool; both are aligned as they must be, and `Class` makes
// at least 16 KiB usable.
unsafe impl corosensei::stack::Stack for Stack {
    fn base(&self) -> NonZeroUsize {
        self.base
    }

    fn limit(&self) -> NonZeroUsize {
        self.bottom
    }

    /// The whole stack is there, so that the system need not make it grow.
    #[cfg(windows)]
    fn teb_fields(&self) -> corosensei::stack::StackTebFields {
        corosensei::stack::StackTebFields {
            StackBase: self.base.get(),
            StackLimit: self.lowest(),
            DeallocationStack: self.bottom.get(),
            GuaranteedStackBytes: 0,
        }
    }

    #[cfg(windows)]
    fn update_teb_fields(&mut self, _stack_limit: usize, _guaranteed_stack_bytes: usize) {}
}

/// The pools of all classes. A forked child leaves the stacks of its parent alone: those that are free
/// have thread-locals that its C library does not know.
pub(super) fn pools() -> &'static [Mutex<Pool>; CLASSES] {
    static POOLS: PerProcess<[Mutex<Pool>; CLASSES]> = PerProcess::new();
    POOLS.get_or_make(|| [const { Mutex::new(Pool::new()) }; CLASSES])
}

pub(super) fn pool_of(class: Class) -> &'static Mutex<Pool> {
    &pools()[class.index()]
}

/// The free stacks of one class.
pub(super) struct Pool {
    pub(super) warm: Vec<Stack>,
    /// The fewest that were warm at some moment since it was looked at: so many nobody has needed.
    fewest_warm: usize,
    /// Without pages.
    pub(super) cold: Vec<Stack>,
    slab: Slab,
    pub(super) carved: usize,
    /// Each stack in use, each [`Promise`] and each that a [`Cache`](super::cache::Cache) holds is one; they are never
    /// more than have been carved. A cache keeps no more free stacks than it holds promises. So
    /// whoever has a promise finds a stack in the pool, or, if it is a cache, in itself: all others
    /// that are elsewhere have promises of their own.
    pub(super) promised: usize,
}

impl Pool {
    const fn new() -> Self {
        Self {
            warm: Vec::new(),
            fewest_warm: 0,
            cold: Vec::new(),
            slab: Slab::empty(),
            carved: 0,
            promised: 0,
        }
    }

    /// Promises `count` stacks.
    pub(super) fn promise(&mut self, class: Class, count: usize) -> io::Result<()> {
        while self.promised + count > self.carved {
            let stack = self.carve(class)?;
            self.cold.push(stack);
        }
        self.promised += count;
        Ok(())
    }

    /// How many more can be promised without carving.
    pub(super) fn unpromised(&self) -> usize {
        self.carved - self.promised
    }

    /// Takes a stack that has been promised. It may have no [block](Stack::with_block) yet.
    fn take(&mut self) -> Stack {
        let free = self.warm.pop();
        self.fewest_warm = self.fewest_warm.min(self.warm.len());
        let stack = free.or_else(|| {
            // As many as have been promised and not been asked for; and that may be a burst.
            shrink(&mut self.cold);
            self.cold.pop()
        });
        stack.expect("a promise is a stack")
    }

    /// Takes up to `count` warm stacks.
    pub(super) fn take_warm(&mut self, count: usize) -> impl Iterator<Item = Stack> {
        let from = self.warm.len() - self.warm.len().min(count);
        self.fewest_warm = self.fewest_warm.min(from);
        self.warm.drain(from..)
    }

    /// Begins to count anew, and returns how many stacks nobody has needed since the last time.
    pub(super) fn unneeded(&mut self) -> usize {
        mem::replace(&mut self.fewest_warm, self.warm.len())
    }

    /// Gives back what the list of warm stacks takes if it was much longer once.
    pub(super) fn shrink_warm(&mut self) {
        shrink(&mut self.warm);
    }

    fn carve(&mut self, class: Class) -> io::Result<Stack> {
        let bottom = self.slab.carve(class, self.carved)?;
        let place = class.place(self.carved);
        self.carved += 1;
        Ok(Stack {
            bottom: NonZeroUsize::new(bottom).expect("mmap gave an address"),
            base: top(class, bottom, place),
            class,
            place,
            has_block: false,
            plate: None,
        })
    }

    /// How many stacks are in the pool.
    pub(super) fn free(&self) -> usize {
        self.warm.len() + self.cold.len()
    }
}

/// Gives back what a list takes that was much longer once.
fn shrink(list: &mut Vec<Stack>) {
    const FEW: usize = 64;
    if list.capacity() / 4 > list.len().max(FEW) {
        list.shrink_to(2 * list.len());
    }
}

/// How many stacks there are somewhere, and of how many usable bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stock {
    pub(crate) stacks: usize,
    pub(crate) bytes: usize,
}

impl Stock {
    fn add(&mut self, stacks: usize, size: usize) {
        self.stacks += stacks;
        self.bytes += stacks * size;
    }
}

/// Those that are out of the pools, which are those of the green threads that are alive and those that
/// workers keep at hand; and those that are in the pools.
pub(crate) fn stock() -> (Stock, Stock) {
    let (mut in_use, mut free) = (Stock::default(), Stock::default());
    for (index, pool) in pools().iter().enumerate() {
        let pool = pool.lock();
        in_use.add(pool.carved - pool.free(), Class::size_of(index));
        free.add(pool.free(), Class::size_of(index));
    }
    (in_use, free)
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    fn stack(size: usize) -> Stack {
        let class = Class::of(size).unwrap();
        Promise::new(class).unwrap().redeem()
    }

    #[test]
    fn the_promised_size_is_usable_and_stacks_do_not_overlap() {
        let size = 32 << 10;
        let stacks: Vec<_> = (0..100).map(|_| stack(size)).collect();
        let mut ranges: Vec<_> = stacks
            .iter()
            .map(|s| (s.lowest(), s.bounds().base))
            .collect();
        ranges.sort_unstable();
        for (lowest, base) in &ranges {
            assert!(base - lowest >= size);
            let usable = ptr::with_exposed_provenance_mut::<u8>(*lowest);
            // SAFETY: the usable part of a stack that this test holds.
            unsafe { usable.write_bytes(0xa5, base - lowest) };
        }
        assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        for stack in &stacks {
            let bounds = stack.bounds();
            let (bottom, lowest) = (bounds.bottom(), bounds.lowest);
            assert_eq!((bottom, bounds.size()), (stack.bottom.get(), size));
            for (address, faults) in [
                (bottom - 1, false),
                (bottom, true),
                (lowest - 1, true),
                (lowest, false),
            ] {
                assert_eq!(bounds.is_overflow(address, lowest), faults);
                assert!(!bounds.is_overflow(address, bounds.base + 16));
            }
        }
    }

    #[test]
    fn a_stack_given_back_is_used_again() {
        let size = 4 << 20;
        let first = stack(size);
        let bottom = first.bottom;
        drop(first);
        assert_eq!(stack(size).bottom, bottom);
    }
}
