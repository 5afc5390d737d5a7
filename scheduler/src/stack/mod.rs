//! Stacks of green threads: carved from slabs, guarded, pooled.
//!
//! A *slab* is one `mmap` of many equal *slots*. A slot is a guard page at its low end and the
//! usable stack above it:
//!
//! ```text
//!     bottom                                              base           top   next slot's bottom
//!       | guard | usable, grows down <----------------------| thread-locals |.....|
//!                                                                          stagger
//! ```
//!
//! - Address space is not memory: a slab is reserved without backing (`MAP_NORESERVE`), and only
//!   the pages that a green thread has touched cost anything. Huge pages are refused, since one
//!   would back eight stacks whole.
//! - **Every stack that leaves this file has a guard below it** ([`guard`]), so that an overflow
//!   faults and never reaches the neighbour. Where no guard can be had, there is no stack but an
//!   error.
//! - A green thread with [thread-locals of its own](crate::stack::tls) has them above its stack, and they
//!   are pooled with it.
//! - What a switch touches, which is the frames of a thread that does little and the thread-locals
//!   that lie next to them, is in one page, so that thousands of threads need few entries in the
//!   processor's buffers for translations. What lies above them and is hardly used (most of the C
//!   library's `struct pthread`) is in the page above.
//! - Tops are staggered by cache lines. If all stacks began at one offset within their pages, the
//!   hot top lines of thousands of them would compete for the same few sets of the first-level
//!   cache.
//! - **A [`Promise`] is a stack.** A green thread takes its stack when it starts, and not when it is
//!   spawned: so a million that wait for their turn, and end in their first, share a few stacks that
//!   stay in the processor's caches. But whoever spawns must be told if there is none. Therefore
//!   spawning takes a promise, and there are never more promises than stacks have been carved: see
//!   `promised` in [`Pool`].
//! - Free stacks are kept for ever, in a pool of the process and in a small cache per worker
//!   ([`Cache`]). They keep their pages too, so that a spawn reuses them without a fault; but those
//!   that nobody has needed for a while ([`Cooling`]), beyond the first [`WARM`] of a class, give
//!   them back to the system. So a burst of a million green threads leaves address space behind and
//!   no memory.
//!
//! Sizes are powers of two, from 16 KiB to 1 GiB: one free list a [`Class`].

pub(crate) mod coroutine;
mod guard;
pub(crate) mod mode;
pub(crate) mod tls;
pub(crate) mod usage;

use std::fmt;
use std::io;
use std::mem;
use std::num::NonZeroUsize;
use std::ptr;
use std::sync::OnceLock;

use corosensei::stack::STACK_ALIGNMENT;
use parking_lot::Mutex;

use self::tls::Block;

/// The stack size where none is asked for.
pub(crate) const DEFAULT_SIZE: usize = 256 << 10;
pub(crate) const MIN_SIZE: usize = 16 << 10;
pub(crate) const MAX_SIZE: usize = 1 << 30;

const MIN_LOG: u32 = MIN_SIZE.ilog2();
const SIZES: usize = (MAX_SIZE.ilog2() - MIN_LOG) as usize + 1;
/// Each size with thread-locals and without.
const CLASSES: usize = 2 * SIZES;

/// Address space of a slab, if the stacks are not larger than that.
const SLAB_BYTES: usize = 64 << 20;
/// Free stacks a class whose pages stay.
const WARM: usize = 1024;
/// So many stacks give their pages back at a time.
const COOLED_AT_ONCE: usize = 256;

/// Tops are staggered over at most so many places, so many bytes apart (two cache lines, which
/// prefetchers fetch in pairs).
const STAGGER_PLACES: usize = 16;
const STAGGER_BYTES: usize = 128;
/// What a green thread that does little uses of its stack beside its buffers. No stagger makes it need
/// another page.
const SHALLOW: usize = 1344;

/// The size of a page of memory.
fn page() -> usize {
    static PAGE: OnceLock<usize> = OnceLock::new();
    *PAGE.get_or_init(|| {
        // SAFETY: sysconf has no preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(page).expect("the page size is positive")
    })
}

/// What stacks are pooled by: their size, and whether thread-locals come with them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Class {
    log: u8,
    own: Option<&'static tls::Own>,
}

impl Class {
    /// The smallest class of at least `size` bytes, with thread-locals of its own if `own` is given.
    pub(crate) fn of(size: usize, own: Option<&'static tls::Own>) -> io::Result<Self> {
        if size > MAX_SIZE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "a stack of {size} bytes is too large: at most {MAX_SIZE} bytes are possible"
                ),
            ));
        }
        let log = size.max(MIN_SIZE).next_power_of_two().ilog2();
        Ok(Self {
            log: (log - MIN_LOG) as u8,
            own,
        })
    }

    /// The same with another size.
    pub(crate) fn resized(self, size: usize) -> io::Result<Self> {
        Self::of(size, self.own)
    }

    /// The usable bytes of a stack.
    pub(crate) fn size(self) -> usize {
        MIN_SIZE << self.log
    }

    fn slot_bytes(self) -> usize {
        // What lies above the stack is added, so that the promised size is usable at every stagger.
        let stagger = self.stagger_places() * STAGGER_BYTES;
        let above = self.lift() + self.block_bytes() + stagger;
        page() + self.size() + above.next_multiple_of(page())
    }

    /// What thread-locals take of a stack, at most.
    fn block_bytes(self) -> usize {
        self.own.map_or(0, tls::Own::block_bytes)
    }

    /// What of the thread-locals lies above all that a switch touches.
    fn cold_bytes(self) -> usize {
        self.own.map_or(0, tls::Own::cold_bytes)
    }

    /// How far below the end of a slot the highest top is, so that what a switch touches ends with a
    /// page.
    fn lift(self) -> usize {
        self.cold_bytes().next_multiple_of(page()) - self.cold_bytes()
    }

    /// Over how many places tops are staggered.
    fn stagger_places(self) -> usize {
        let used = self.block_bytes() - self.cold_bytes() + SHALLOW;
        let slack = used.next_multiple_of(page()) - used;
        (slack / STAGGER_BYTES + 1).min(STAGGER_PLACES)
    }

    fn index(self) -> usize {
        usize::from(self.log) + if self.own.is_some() { SIZES } else { 0 }
    }

    fn pool(self) -> &'static Mutex<Pool> {
        &POOL[self.index()]
    }
}

/// Where a stack is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The lowest address, where the guard begins.
    pub(crate) bottom: usize,
    /// The highest address that a thread uses.
    pub(crate) base: usize,
    /// The size that was promised.
    pub(crate) size: usize,
}

/// The right to a stack, which is there when it is [asked for](Cache::redeem). Dropping it gives it
/// up.
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
        class.pool().lock().promise(class, 1)?;
        Ok(Self { class })
    }

    /// Takes a stack for it from the pool.
    fn redeem(self) -> Stack {
        let class = self.class;
        // The stack is the promise from now on.
        mem::forget(self);
        let stack = class.pool().lock().take();
        stack.with_block()
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.class.pool().lock().promised -= 1;
    }
}

/// A guarded stack. Dropping it gives it back to the pool.
pub(crate) struct Stack {
    bottom: NonZeroUsize,
    /// The highest address that it may use.
    top: NonZeroUsize,
    class: Class,
    /// The thread-locals, which end at the top.
    block: Option<Block>,
}

impl Stack {
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            bottom: self.bottom.get(),
            base: corosensei::stack::Stack::base(self).get(),
            size: self.class.size(),
        }
    }

    /// The thread pointer of whoever runs on it; `None` if that is its worker's.
    pub(crate) fn thread_pointer(&self) -> Option<NonZeroUsize> {
        NonZeroUsize::new(self.block?.thread_pointer())
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
        if let Some(block) = self.block {
            // SAFETY: the caller's promise.
            unsafe { block.renew() };
        }
    }

    /// Makes the thread-locals if they should be there and are not. That touches new memory, so it is
    /// not for who has a lock.
    fn with_block(mut self) -> Self {
        if let (Some(own), None) = (self.class.own, self.block) {
            let stack = self.usable()..self.top.get();
            // SAFETY: this is the top of a stack that nobody else has; `give_back` forgets the
            // block before it uses the memory otherwise.
            self.block = Some(unsafe { Block::new(own, self.top.get(), stack) });
        }
        self
    }

    fn usable(&self) -> usize {
        self.bottom.get() + page()
    }

    /// Gives all pages of a stack that nobody uses back to the system, but for those that hold
    /// thread-locals.
    fn drop_pages(&self) {
        let end = match self.block {
            Some(block) => block.bottom() & !(page() - 1),
            None => self.bottom.get() + self.class.slot_bytes(),
        };
        // SAFETY: nobody uses the stack, and the thread-locals are above. Guards survive it.
        unsafe { give_back_pages(self.bottom.get(), end) };
    }
}

/// Whether `address` lies in the guard of the stack that begins at `bottom`. Safe in a signal
/// handler.
pub(crate) fn is_guard(bottom: usize, address: usize) -> bool {
    (bottom..bottom + page()).contains(&address)
}

/// Gives the pages of a stack below `end` back to the system.
///
/// # Safety
///
/// A stack begins at `bottom`, `end` is in it, and nothing below `end` is in use.
pub(crate) unsafe fn give_back_pages(bottom: usize, end: usize) {
    let (start, end) = (bottom + page(), end & !(page() - 1));
    if start < end {
        // SAFETY: the caller's promise.
        unsafe {
            libc::madvise(
                ptr::without_provenance_mut(start),
                end - start,
                libc::MADV_DONTNEED,
            );
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let stack = Self { ..*self };
        let mut pool = self.class.pool().lock();
        pool.warm.push(stack);
        pool.promised -= 1;
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stack({:#x}..{:#x})", self.bottom, self.top)
    }
}

// SAFETY: `bottom` and `base` are bounds within a mapping that is never unmapped; the lowest page
// is a guard, installed before the stack left the pool; both are aligned as they must be, and
// `Class` makes at least 16 KiB usable.
unsafe impl corosensei::stack::Stack for Stack {
    fn base(&self) -> NonZeroUsize {
        match self.block {
            Some(block) => {
                let base = block.bottom() & !(STACK_ALIGNMENT - 1);
                NonZeroUsize::new(base).expect("above the bottom")
            }
            None => self.top,
        }
    }

    fn limit(&self) -> NonZeroUsize {
        self.bottom
    }
}

static POOL: [Mutex<Pool>; CLASSES] = [const { Mutex::new(Pool::new()) }; CLASSES];

/// The free stacks of one class.
struct Pool {
    warm: Vec<Stack>,
    /// The fewest that were warm at some moment since it was looked at: so many nobody has needed.
    fewest_warm: usize,
    /// Without pages.
    cold: Vec<Stack>,
    /// What is not carved yet of the newest slab.
    slab_next: usize,
    slab_end: usize,
    carved: usize,
    /// Each stack in use, each [`Promise`] and each that a [`Cache`] holds is one; they are never
    /// more than have been carved. A cache keeps no more free stacks than it holds promises. So
    /// whoever has a promise finds a stack in the pool, or, if it is a cache, in itself: all others
    /// that are elsewhere have promises of their own.
    promised: usize,
}

impl Pool {
    const fn new() -> Self {
        Self {
            warm: Vec::new(),
            fewest_warm: 0,
            cold: Vec::new(),
            slab_next: 0,
            slab_end: 0,
            carved: 0,
            promised: 0,
        }
    }

    /// Promises `count` stacks.
    fn promise(&mut self, class: Class, count: usize) -> io::Result<()> {
        while self.promised + count > self.carved {
            let stack = self.carve(class)?;
            self.cold.push(stack);
        }
        self.promised += count;
        Ok(())
    }

    /// How many more can be promised without carving.
    fn unpromised(&self) -> usize {
        self.carved - self.promised
    }

    /// Takes a stack that has been promised. It may have no [block](Stack::with_block) yet.
    fn take(&mut self) -> Stack {
        let free = self.warm.pop();
        self.fewest_warm = self.fewest_warm.min(self.warm.len());
        let stack = free.or_else(|| self.cold.pop());
        stack.expect("a promise is a stack")
    }

    /// Takes up to `count` warm stacks.
    fn take_warm(&mut self, count: usize) -> impl Iterator<Item = Stack> {
        let from = self.warm.len() - self.warm.len().min(count);
        self.fewest_warm = self.fewest_warm.min(from);
        self.warm.drain(from..)
    }

    /// Begins to count anew, and gives how many stacks nobody has needed since the last time.
    fn surplus(&mut self) -> usize {
        let fewest = mem::replace(&mut self.fewest_warm, self.warm.len());
        fewest.saturating_sub(WARM)
    }

    fn carve(&mut self, class: Class) -> io::Result<Stack> {
        if self.slab_next == self.slab_end {
            let (start, bytes) = map_slab(class)?;
            self.slab_next = start;
            self.slab_end = start + bytes;
        }
        let bottom = self.slab_next;
        guard::install(bottom, page())?;
        let stagger = self.carved % class.stagger_places() * STAGGER_BYTES;
        self.slab_next += class.slot_bytes();
        self.carved += 1;
        let top = bottom + class.slot_bytes() - class.lift() - stagger;
        Ok(Stack {
            bottom: NonZeroUsize::new(bottom).expect("mmap gave an address"),
            top: NonZeroUsize::new(top).expect("above the bottom"),
            class,
            block: None,
        })
    }

    fn free(&self) -> usize {
        self.warm.len() + self.cold.len()
    }
}

/// Gives the pages of stacks that nobody has needed for a while back to the system, some at a time.
#[derive(Debug, Default)]
pub(crate) struct Cooling {
    /// How many are left to do, by class.
    left: Vec<usize>,
}

impl Cooling {
    /// Looks how many stacks of each class nobody has needed since the last time. `true` if there
    /// are so many free ones that it should be looked again after a while.
    pub(crate) fn look(&mut self) -> bool {
        let mut again = false;
        self.left.clear();
        for pool in &POOL {
            let mut pool = pool.lock();
            self.left.push(pool.surplus());
            again |= pool.warm.len() > WARM;
        }
        again
    }

    /// Cools some of them. `true` if there are more.
    pub(crate) fn slice(&mut self) -> bool {
        let Some(class) = self.left.iter().position(|&left| left > 0) else {
            return false;
        };
        let count = self.left[class].min(COOLED_AT_ONCE);
        self.left[class] -= count;
        cool(&POOL[class], count);
        true
    }
}

/// Cools all free stacks but the first [`WARM`] of each class.
pub(crate) fn cool_all() {
    for pool in &POOL {
        loop {
            let surplus = {
                let pool = pool.lock();
                let surplus = pool.warm.len().saturating_sub(WARM);
                surplus.min(pool.unpromised())
            };
            if surplus == 0 {
                break;
            }
            cool(pool, surplus.min(COOLED_AT_ONCE));
        }
    }
}

/// Gives the pages of up to `count` free stacks to the system, and their thread-locals first.
fn cool(pool: &Mutex<Pool>, count: usize) {
    let stacks: Vec<_> = {
        let mut pool = pool.lock();
        // While they are out of the pool, they are promised.
        let count = count.min(pool.unpromised());
        let stacks: Vec<_> = pool.take_warm(count).collect();
        pool.promised += stacks.len();
        stacks
    };
    let promised = stacks.len();
    let (mut bare, with_block): (Vec<_>, Vec<_>) = stacks.into_iter().partition(|stack| {
        // SAFETY: the stack is not in use.
        stack
            .block
            .is_none_or(|block| unsafe { block.is_forgettable() })
    });
    let blocks: Vec<_> = bare.iter().filter_map(|stack| stack.block).collect();
    // SAFETY: nobody uses these stacks, and the blocks may be forgotten.
    if !blocks.is_empty() && unsafe { tls::forget(&blocks) } {
        bare.iter_mut().for_each(|stack| stack.block = None);
    }
    bare.extend(with_block);
    bare.iter().for_each(Stack::drop_pages);
    let mut pool = pool.lock();
    pool.cold.append(&mut bare);
    pool.promised -= promised;
}

/// Maps a slab and gives its start and size. Takes a smaller one where a full one is refused.
fn map_slab(class: Class) -> io::Result<(usize, usize)> {
    let mut slots = (SLAB_BYTES / class.slot_bytes()).max(1);
    loop {
        let bytes = slots * class.slot_bytes();
        // SAFETY: a new private mapping, wherever the system likes it.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if start != libc::MAP_FAILED {
            // Only a saving is lost where this is refused.
            // SAFETY: the range has just been mapped.
            #[cfg(target_os = "linux")]
            unsafe {
                libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE);
            }
            return Ok((start.expose_provenance(), bytes));
        }
        let error = io::Error::last_os_error();
        if slots == 1 {
            return Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                format!(
                    "no room for another green thread: mapping a stack of {} KiB failed: {error}; look at the limit of the \
                     address space (ulimit -v), vm.overcommit_memory and vm.max_map_count, or take smaller stacks",
                    class.slot_bytes() >> 10
                ),
            ));
        }
        slots /= 2;
    }
}

/// What one worker keeps at hand, without a lock: free stacks of one class, and promises of them.
#[derive(Debug)]
pub(crate) struct Cache {
    class: Class,
    stacks: Vec<Stack>,
    /// Never fewer than `stacks`: see [`Pool`].
    promises: usize,
}

impl Cache {
    const CAPACITY: usize = 64;
    const BATCH: usize = 32;

    pub(crate) fn new(class: Class) -> Self {
        Self {
            class,
            stacks: Vec::with_capacity(Self::CAPACITY + 1),
            promises: 0,
        }
    }

    fn keeps(&self, class: Class) -> bool {
        class.index() == self.class.index()
    }

    /// See [`Promise::new`].
    pub(crate) fn promise(&mut self, class: Class) -> io::Result<Promise> {
        if !self.keeps(class) {
            return Promise::new(class);
        }
        if self.promises == self.stacks.len() {
            let mut pool = class.pool().lock();
            // A batch of what there is, but no stack is carved that nobody has asked for.
            let more = pool.unpromised().clamp(1, Self::BATCH);
            pool.promise(class, more)?;
            self.promises += more;
        }
        self.promises -= 1;
        Ok(Promise { class })
    }

    /// Gives the stack that was promised.
    pub(crate) fn redeem(&mut self, promise: Promise) -> Stack {
        if !self.keeps(promise.class) {
            return promise.redeem();
        }
        if self.stacks.is_empty() {
            let mut pool = self.class.pool().lock();
            self.stacks
                .extend(pool.take_warm(self.promises.min(Self::BATCH)));
        }
        match self.stacks.pop() {
            Some(stack) => {
                // The stack is the promise from now on.
                mem::forget(promise);
                stack
            }
            None => promise.redeem(),
        }
    }

    /// Takes the stack of a thread that has ended.
    pub(crate) fn give_back(&mut self, stack: Stack) {
        if !self.keeps(stack.class) {
            return;
        }
        // The stack was a promise, which is the cache's now.
        self.promises += 1;
        self.stacks.push(stack);
        let too_many = self.stacks.len() > Self::CAPACITY;
        let too_promising = self.promises - self.stacks.len() > Self::CAPACITY;
        if too_many || too_promising {
            let mut pool = self.class.pool().lock();
            if too_many {
                pool.warm.extend(self.stacks.drain(..Self::BATCH));
            }
            pool.promised -= Self::BATCH;
            self.promises -= Self::BATCH;
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // Each stack gives one promise back.
        let others = self.promises - self.stacks.len();
        self.class.pool().lock().promised -= others;
    }
}

/// How many stacks are out of the pool: those of the green threads that are alive, and those that
/// workers keep at hand. It counts all runtimes of the process; a runtime that has shut down keeps
/// none.
pub fn stacks_in_use() -> usize {
    POOL.iter()
        .map(|pool| {
            let pool = pool.lock();
            pool.carved - pool.free()
        })
        .sum()
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;
    use corosensei::stack::Stack as _;

    fn class(size: usize) -> Class {
        Class::of(size, None).unwrap()
    }

    fn stack(class: Class) -> Stack {
        Promise::new(class).unwrap().redeem()
    }

    #[test]
    fn sizes_are_rounded_up_and_bounded() {
        assert_eq!(class(0).size(), MIN_SIZE);
        assert_eq!(class(MIN_SIZE + 1).size(), 2 * MIN_SIZE);
        assert_eq!(class(DEFAULT_SIZE).size(), DEFAULT_SIZE);
        assert_eq!(class(MAX_SIZE).size(), MAX_SIZE);
        let error = Class::of(MAX_SIZE + 1, None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn the_promised_size_is_usable_and_stacks_do_not_overlap() {
        let class = class(32 << 10);
        let stacks: Vec<_> = (0..100).map(|_| stack(class)).collect();
        let mut ranges: Vec<_> = stacks
            .iter()
            .map(|s| (s.limit().get(), s.base().get()))
            .collect();
        ranges.sort_unstable();
        for (limit, base) in &ranges {
            assert!(base - limit - page() >= class.size());
            let usable = ptr::with_exposed_provenance_mut::<u8>(limit + page());
            // SAFETY: the usable part of a stack that this test holds.
            unsafe { usable.write_bytes(0xa5, base - limit - page()) };
        }
        assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        assert!(
            stacks
                .iter()
                .all(|s| is_guard(s.bottom.get(), s.limit().get()))
        );
        assert!(
            stacks
                .iter()
                .all(|s| !is_guard(s.bottom.get(), s.limit().get() + page()))
        );
    }

    #[test]
    fn a_stack_given_back_is_used_again() {
        let class = class(4 << 20);
        let first = stack(class);
        let bottom = first.bottom;
        drop(first);
        assert_eq!(stack(class).bottom, bottom);
    }

    #[test]
    fn what_nobody_has_needed_for_a_while_gets_cold() {
        let class = class(2 << 20);
        let stacks: Vec<_> = (0..WARM + 600).map(|_| stack(class)).collect();
        drop(stacks);
        let mut pool = class.pool().lock();
        assert_eq!(pool.surplus(), 0, "they have just been needed");
        // Some of them are needed again.
        let needed: Vec<_> = pool.take_warm(100).collect();
        pool.warm.extend(needed);
        assert_eq!(pool.surplus(), 500);
        assert_eq!(pool.surplus(), 600);
        drop(pool);
        cool(class.pool(), 500);
        let pool = class.pool().lock();
        assert_eq!((pool.warm.len(), pool.cold.len()), (WARM + 100, 500));
        assert_eq!((pool.free(), pool.promised), (pool.carved, 0));
    }

    #[test]
    fn a_cache_returns_what_it_cannot_keep() {
        let class = class(64 << 10);
        let mut cache = Cache::new(class);
        let promises: Vec<_> = (0..3 * Cache::CAPACITY)
            .map(|_| cache.promise(class).unwrap())
            .collect();
        let stacks: Vec<_> = promises
            .into_iter()
            .map(|promise| cache.redeem(promise))
            .collect();
        for stack in stacks {
            cache.give_back(stack);
            assert!(cache.stacks.len() <= Cache::CAPACITY);
            assert!(cache.promises >= cache.stacks.len());
        }
        assert!(!cache.stacks.is_empty());
        drop(cache);
        let pool = class.pool().lock();
        assert_eq!((pool.free(), pool.promised), (pool.carved, 0));
    }

    #[test]
    fn a_promise_is_kept_whoever_holds_the_others() {
        let class = class(128 << 10);
        let (mut spawns, mut runs) = (Cache::new(class), Cache::new(class));
        for round in 1..500 {
            let promises: Vec<_> = (0..round % 70)
                .map(|_| spawns.promise(class).unwrap())
                .collect();
            let stacks: Vec<_> = promises
                .into_iter()
                .map(|promise| runs.redeem(promise))
                .collect();
            stacks.into_iter().for_each(|stack| runs.give_back(stack));
            let pool = class.pool().lock();
            let held = spawns.promises + runs.promises;
            assert!(held <= 3 * Cache::CAPACITY, "{held} promises are held");
            assert_eq!(pool.promised, held);
            assert!(pool.promised <= pool.carved);
        }
        drop((spawns, runs));
        assert_eq!(class.pool().lock().promised, 0);
    }
}
