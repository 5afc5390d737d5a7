//! What a block of a new thread looks like.
//!
//! Nobody but the C library knows all that it puts into a `struct pthread`. So the C library makes
//! two of them, of threads that never ran, the [*models*](super::model):
//!
//! - A word that is the same in both is the same in every thread. A word that differs by the
//!   distance between the two is a pointer into the block or its stack. What differs otherwise must
//!   be one of the few fields that are known; else there are no thread-locals of one's own here.
//!   What another thread is writing to both at the moment, as when it loads a library, is the same a moment later. What it has
//!   taken out between the two was one's only, and stays there: then there are two others.
//! - Their thread-locals always have the initial values, also those of libraries that are loaded
//!   later: the C library sees to that, as for every thread in its list.
//! - They are neighbours in that list, and stay in it. Blocks of green threads are linked in
//!   between the two, where nobody else inserts or removes anything. The list is that of threads on stacks of the program's,
//!   new ones are put at its front, and a thread that comes between two models goes again: so two
//!   of several are neighbours sooner or later.
//!
//! # The allocator's cache
//!
//! malloc has a cache a thread. A hundred thousand green threads do not want one each: a green
//! thread uses the cache of the worker that runs it. Which thread-locals those are is found by
//! looking: the words of the C library that change with a thread's first `malloc`. As nothing
//! suspends within `malloc`, the green thread has only to get a copy of these words when it arrives
//! on another worker ([`Own::lend_allocator`]).

use std::hint;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::protocol::lock::Mutex;

use super::OwnPointer;
use super::claim;
use super::everybody;
use super::keys;
use super::libc_layout::{Layout, Refusal};
use super::model;
use super::pointer;
use super::random::Random;
use super::resolver::Resolver;
use super::surplus::Surplus;
use super::tid;
use super::unsignalled;
use crate::stack::compact::NoCompactStacks;

/// So many models are made at most until two are neighbours.
const MODELS: u32 = 32;
/// So many pairs of them are made at most.
const PAIRS: u32 = 8;
/// So often two are compared that differ, with a pause in between.
const COMPARISONS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(5);
/// The pause before the third model, which doubles from one to the next up to the longest: in all two seconds.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// All that it takes to make blocks.
#[derive(Debug)]
pub(crate) struct Own {
    pub(super) layout: Layout,
    /// The thread pointers of the models; the C library comes to the first one first.
    pub(super) models: [usize; 2],
    /// A copy of the first model's `struct pthread`.
    pub(super) pthread_image: Box<[usize]>,
    /// The words that are pointers into the block, relative to it.
    pub(super) relative: Box<[isize]>,
    /// `pthread.stackblock`, which `pthread.stackblock_size` follows.
    pub(super) stack_bounds: isize,
    pub(super) surplus: Surplus,
    /// The highest id of the modules that there were when the models were made.
    pub(super) modules: usize,
    /// The words of `struct pthread` that a thread may change, with what they are for a new one.
    pub(super) changeable: Box<[(isize, usize)]>,
    /// The words that are pointers into the block, relative to it, as far as they are among the
    /// former or the C library's thread-locals.
    pub(super) changeable_relative: Box<[isize]>,
    pub(super) resolver: Resolver,
    pub(super) random: Random,
    /// The word of `struct pthread` that says whether the thread has had values of pthread keys: it
    /// differs from the image's then.
    pub(super) keys_used: isize,
    /// The allocator's words of the C library.
    allocator: Box<[isize]>,
    /// Whether blocks are compact, or why not; `None` if nobody has asked for that.
    compact: Option<Result<(), NoCompactStacks>>,
    /// Guards the links between the models too.
    pub(super) tids: Mutex<tid::Tids>,
}

impl Own {
    /// Blocks are compact if that is wanted and can be had, and wherever a parent of this process has made them so.
    pub(crate) fn new(own_pointer: OwnPointer, wants_compact: bool) -> Result<Self, Refusal> {
        let mut layout = Layout::find()?;
        let compact = match claim::claimed() {
            Some(claim) => Some(Ok(claim)),
            None => wants_compact.then(|| claim::claim(&layout.locals)),
        };
        if let Some(Ok(claim)) = compact {
            layout.leave_out(claim);
        }
        let (models, relative) = Models::compared(&layout)?;
        let first = models.first;
        let stack_bounds = models.stack_bounds(&layout, &relative)?;
        let pthread_image = layout
            .pthread
            .clone()
            .step_by(8)
            .map(|offset| word(first, offset).load(Ordering::Relaxed))
            .collect();
        let allocator = models.allocator_words(&layout)?;
        let keys_used = models.keys_used_word(&layout)?;
        let resolver = Resolver::find(&layout, |ask| models.as_second(ask))?;
        let random = Random::find(&layout, models.written_by(&layout.pthread, Random::draw))?;
        let changeable = changeable(&layout, stack_bounds, &resolver)?;
        let (changeable_relative, _): (Vec<_>, Vec<_>) = relative
            .iter()
            .partition(|offset| layout.libc_locals.contains(offset) || changeable.contains(offset));
        let modules = models.static_modules(&layout)?;
        everybody::wrap_handler(own_pointer)?;
        let absolute = changeable
            .into_iter()
            .filter(|offset| !relative.contains(offset));
        let changeable =
            absolute.map(|offset| (offset, word(first, offset).load(Ordering::Relaxed)));
        Ok(Self {
            models: [first, models.second],
            pthread_image,
            changeable: changeable.collect(),
            changeable_relative: changeable_relative.into(),
            relative,
            resolver,
            random,
            stack_bounds,
            surplus: Surplus::watch(&layout, [first, models.second], &modules),
            modules: models.vector().next_back().map_or(0, |(module, _)| module),
            allocator,
            keys_used,
            compact: compact.map(|claim| claim.map(drop).map_err(NoCompactStacks::because)),
            layout,
            tids: Mutex::new(tid::Tids::new()),
        })
    }

    /// How many bytes a block takes at most, with what its alignment costs.
    pub(crate) fn block_bytes(&self) -> usize {
        self.layout.block.len() + self.layout.align
    }

    /// Whether a block ends at the thread-locals that are in use, and why not if that was asked for.
    pub(crate) fn compact(&self) -> Option<&Result<(), NoCompactStacks>> {
        self.compact.as_ref()
    }

    /// Whether a block ends at the thread-locals that are in use.
    pub(crate) fn is_compact(&self) -> bool {
        self.layout.claim.is_some()
    }

    /// How many of its bytes lie above all that a switch touches, which is the thread-locals and what a
    /// compiler finds at the thread pointer.
    pub(crate) fn cold_bytes(&self) -> usize {
        let layout = &self.layout;
        let end = if pointer::STRUCT_IS_ABOVE {
            layout.pthread.start + pointer::HEAD
        } else {
            layout.used.end
        };
        (layout.block.end - end).unsigned_abs()
    }

    /// A word of the `struct pthread` of a thread that never ran.
    pub(super) fn image(&self, offset: isize) -> usize {
        self.pthread_image[(offset - self.layout.pthread.start).unsigned_abs() / 8]
    }

    /// In a forked child: the kernel writes no more to what it shares with the OS thread of this pointer, which has forked.
    pub(crate) fn unregister_in_child(&self, thread_pointer: usize) {
        self.layout.rseq.unregister(thread_pointer);
    }

    /// Lets the thread of the block `to` use the allocator's cache of the thread of the block
    /// `from`, which is the OS thread that is about to run it.
    pub(crate) fn lend_allocator(&self, from: usize, to: usize) {
        for &offset in &self.allocator {
            let lent = word(from, offset).load(Ordering::Relaxed);
            word(to, offset).store(lent, Ordering::Relaxed);
        }
    }

    /// Whether the allocator's cache is known, so that no block has one of its own.
    pub(super) fn lends_allocator(&self) -> bool {
        !self.allocator.is_empty()
    }

    /// The id that the current thread goes by among mutexes, if it is a green one.
    #[cfg(feature = "adopt")]
    pub(crate) fn tid_of_green(&self) -> Option<u32> {
        Some(half(pointer::current(), self.layout.tid)).filter(|&tid| tid >= tid::FIRST)
    }

    /// Sets it, if the current thread is a green one.
    #[cfg(feature = "adopt")]
    pub(crate) fn set_tid_of_green(&self, tid: u32) {
        if self.tid_of_green().is_some() {
            set_half(pointer::current(), self.layout.tid, tid);
        }
    }
}

/// A word of the block of `thread_pointer`.
///
/// All access to words of blocks goes through this, since the C library reads and writes some of
/// them on other threads.
pub(super) fn word(thread_pointer: usize, offset: isize) -> &'static AtomicUsize {
    let address = thread_pointer.wrapping_add_signed(offset);
    debug_assert!(address.is_multiple_of(8));
    // SAFETY: blocks are never unmapped, and offsets come from the layout of a block.
    unsafe { AtomicUsize::from_ptr(ptr::with_exposed_provenance_mut(address)) }
}

/// Where the `list` field of a thread is, as the C library's links have it.
pub(super) fn node(layout: &Layout, thread_pointer: usize) -> usize {
    thread_pointer.wrapping_add_signed(layout.list)
}

/// A field of four bytes.
pub(super) fn half(thread_pointer: usize, offset: isize) -> u32 {
    (word(thread_pointer, offset & !7).load(Ordering::SeqCst) >> (8 * (offset & 7))) as u32
}

/// Sets such a field, whose neighbour nobody changes meanwhile.
pub(super) fn set_half(thread_pointer: usize, offset: isize, value: u32) {
    let shift = 8 * (offset & 7);
    let word = word(thread_pointer, offset & !7);
    let neighbour = word.load(Ordering::Relaxed) & !(0xffff_ffff << shift);
    word.store(neighbour | (value as usize) << shift, Ordering::SeqCst);
}

/// The words of `struct pthread` that a thread may change, beside what it has of a kind:
///
/// - from its id to the flags of cancellation: the list of robust mutexes, handlers of clean-up
/// - from the values of keys to the scheduling policy: whether it has had values, is detached, its
///   result, its priority
/// - from the bounds of its stack to the state of the resolver: the ceilings of its mutexes
///
/// A part that is longer than it can be, or ends before it begins, is not what it was taken for.
fn changeable(
    layout: &Layout,
    stack_bounds: isize,
    resolver: &Resolver,
) -> Result<Vec<isize>, Refusal> {
    const LONGEST: isize = 128;
    let cancelhandling = layout.cancelhandling & !7;
    let parts = [
        (layout.tid & !7) + 8..cancelhandling,
        cancelhandling..cancelhandling + 8,
        layout.keys.end()..(layout.schedpolicy & !7) + 8,
        stack_bounds + 32..resolver.start(),
    ];
    if parts
        .iter()
        .all(|part| (0..=LONGEST).contains(&(part.end - part.start)))
    {
        Ok(parts.into_iter().flat_map(|part| part.step_by(8)).collect())
    } else {
        Err("the fields of the C library's threads are in an unknown order".into())
    }
}

/// Whether other threads write to this word of a thread's block: a neighbour in the list that comes or goes, and a change of
/// credentials, which marks the flags of cancellation and leaves a note among the fields up to the scheduling policy.
pub(super) fn is_marked_by_others(layout: &Layout, offset: isize) -> bool {
    (layout.list..layout.list + 16).contains(&offset)
        || offset == layout.cancelhandling & !7
        || notes(layout).contains(&offset)
}

/// Whether a word may differ so much from another thread's because one of them has such a note: a field of four bytes is 1 or 0
/// then. For a thread of ours one is as good as the other.
fn is_note(layout: &Layout, offset: isize, difference: usize) -> bool {
    notes(layout).contains(&offset) && [1, 1 << 32].contains(&difference)
}

fn notes(layout: &Layout) -> Range<isize> {
    layout.keys.end() + 8..layout.schedpolicy
}

/// The value of an element of the vector whose module's thread-locals were not yet needed.
pub(super) const UNALLOCATED: usize = usize::MAX;

/// The two models while they are compared.
struct Models {
    first: usize,
    second: usize,
    distance: usize,
}

impl Models {
    /// Makes two that differ as it is known, and finds the words that are pointers into the block, relative to it.
    fn compared(layout: &Layout) -> Result<(Self, Box<[isize]>), Refusal> {
        let mut pairs = 1;
        loop {
            let models = Self::make(layout)?;
            match models.relative_words(layout) {
                Ok(relative) => return Ok((models, relative)),
                Err(refusal) if pairs == PAIRS => return Err(refusal),
                Err(_) => pairs += 1,
            }
        }
    }

    /// Makes two that are neighbours in the C library's list.
    fn make(layout: &Layout) -> Result<Self, Refusal> {
        let mut made = Vec::new();
        let mut pause = FIRST_PAUSE;
        for count in 1..=MODELS {
            made.push(model::make(layout)?);
            if let Some(models) = Self::neighbours(layout, &made) {
                return Ok(models);
            }
            if count > 1 {
                thread::sleep(pause);
                pause = LONGEST_PAUSE.min(2 * pause);
            }
        }
        Err("the program creates threads on stacks of its own all the time, and they stay".into())
    }

    /// Two of `made` that are neighbours.
    fn neighbours(layout: &Layout, made: &[usize]) -> Option<Self> {
        made.iter().find_map(|&first| {
            let next = word(first, layout.list).load(Ordering::Acquire);
            let second = *made.iter().find(|&&other| node(layout, other) == next)?;
            Some(Self {
                first,
                second,
                distance: second.wrapping_sub(first),
            })
        })
    }

    /// The words that are pointers into the block, relative to it.
    fn relative_words(&self, layout: &Layout) -> Result<Box<[isize]>, Refusal> {
        for _ in 1..COMPARISONS {
            if let Ok(relative) = self.compare(layout) {
                return Ok(relative);
            }
            thread::sleep(PAUSE);
        }
        self.compare(layout)
    }

    fn compare(&self, layout: &Layout) -> Result<Box<[isize]>, Refusal> {
        // The fields that differ from thread to thread in their own way, and what the signal to all threads marks.
        let known = [
            pointer::DTV..pointer::DTV + 8,
            layout.list..layout.list + 16,
            layout.rseq.area.clone(),
            layout.cancelhandling..layout.cancelhandling + 4,
        ];
        let mut relative = Vec::new();
        for offset in layout.block.clone().step_by(8) {
            let is_known = known
                .iter()
                .any(|field| field.start < offset + 8 && offset < field.end);
            let [first, second] =
                [self.first, self.second].map(|it| word(it, offset).load(Ordering::Relaxed));
            if is_known || first == second || is_note(layout, offset, first ^ second) {
                continue;
            }
            if second.wrapping_sub(first) != self.distance {
                return Err(format!(
                    "the C library keeps something unknown at {offset} from the thread pointer"
                )
                .into());
            }
            if layout.locals.contains(&offset) && !layout.libc_locals.contains(&offset) {
                return Err("a library keeps an address in a thread-local from the start".into());
            }
            relative.push(offset);
        }
        Ok(relative.into())
    }

    /// Finds the field with the bounds of the stack by its value.
    fn stack_bounds(&self, layout: &Layout, relative: &[isize]) -> Result<isize, Refusal> {
        let is_size =
            |offset: isize| word(self.first, offset).load(Ordering::Relaxed) == model::STACK;
        let mut found = relative.iter().copied().filter(|&offset| {
            let start = word(self.first, offset).load(Ordering::Relaxed);
            layout.pthread.contains(&(offset + 8))
                && is_size(offset + 8)
                && (start..start.wrapping_add(model::STACK)).contains(&self.first)
        });
        match (found.next(), found.next()) {
            (Some(bounds), None) => Ok(bounds),
            _ => Err(
                "the C library does not keep the bounds of a stack where they were looked for"
                    .into(),
            ),
        }
    }

    /// The modules that have static thread-locals, in the vector of a model.
    fn static_modules(&self, layout: &Layout) -> Result<Vec<usize>, Refusal> {
        let is_in_block = |start: usize| {
            let offset = start.wrapping_sub(self.first).cast_signed();
            let is_claimed = layout.claim.is_some_and(|claim| claim.contains(&offset));
            layout.locals.contains(&offset) || is_claimed
        };
        let allocated = self.vector().filter(|&(_, start)| start != UNALLOCATED);
        allocated
            .map(|(module, start)| is_in_block(start).then_some(module))
            .collect::<Option<_>>()
            .ok_or_else(|| {
                "the C library finds the thread-locals of a thread in an unknown way".into()
            })
    }

    /// The ids of the modules in the vector of a model, with where their thread-locals are.
    fn vector(&self) -> impl DoubleEndedIterator<Item = (usize, usize)> {
        const MOST: usize = 1 << 20;
        let vector = word(self.first, pointer::DTV).load(Ordering::Relaxed);
        let element = move |index: isize| word(vector, index * 16).load(Ordering::Relaxed);
        let length = element(-1).min(MOST).cast_signed();
        (1..=length)
            .map(move |module| (module.unsigned_abs(), element(module)))
            .filter(|&(_, start)| start != 0)
    }

    /// Finds the words of the C library that a thread's first `malloc` writes. None if another allocator
    /// has taken its place.
    fn allocator_words(&self, layout: &Layout) -> Result<Box<[isize]>, Refusal> {
        let mut got_memory = false;
        let words = self.written_by(&layout.libc_locals, || {
            // SAFETY: a plain allocation. Without the black box, the compiler removes the pair.
            unsafe {
                let memory = hint::black_box(libc::malloc(64));
                got_memory = !memory.is_null();
                libc::free(memory);
            }
        });
        if got_memory {
            Ok(words.into())
        } else {
            Err("there is no memory".into())
        }
    }

    /// Finds the word that a thread's first value of a key writes beside the value, which follows the arrays of values.
    fn keys_used_word(&self, layout: &Layout) -> Result<isize, Refusal> {
        let mut key = 0;
        // SAFETY: makes a key without a destructor.
        if unsafe { libc::pthread_key_create(&mut key, None) } != 0 {
            return Err("there is no pthread key to be had".into());
        }
        let used = layout.keys.end();
        let written = self.written_by(&(used..used + 8), || {
            // SAFETY: the key is there until it is deleted.
            unsafe { libc::pthread_setspecific(key, ptr::without_provenance(1)) };
        });
        let is_lowest = keys::is_lowest(&layout.keys, key as usize);
        // SAFETY: nobody else knows of the key.
        unsafe { libc::pthread_key_delete(key) };
        if !is_lowest {
            return Err("the C library gives numbers of pthread keys in an unknown order".into());
        }
        if written.is_empty() {
            Err(
                "the C library notes in an unknown way that a thread has values of pthread keys"
                    .into(),
            )
        } else {
            Ok(used)
        }
    }

    /// Calls `write` with the second model as the current thread, and returns the words within `part`
    /// of its block that this has changed.
    #[inline(never)]
    fn written_by(&self, part: &Range<isize>, write: impl FnOnce()) -> Vec<isize> {
        let words = || part.clone().step_by(8);
        let load = |offset| word(self.second, offset).load(Ordering::Relaxed);
        let before: Vec<usize> = words().map(load).collect();
        self.as_second(write);
        let changed = words()
            .zip(before)
            .filter(|(offset, was)| load(*offset) != *was);
        changed.map(|(offset, _)| offset).collect()
    }

    /// Calls the C library with the second model as the current thread, and without any handler of a signal running
    /// meanwhile, which would run as that thread too.
    fn as_second(&self, call: impl FnOnce()) {
        // SAFETY: `Layout::find` has asked for a refusal; the model's thread is gone, and only `Own::new`
        // knows of it.
        unsignalled::with_open(0, || unsafe { pointer::call_as(self.second, call) });
    }
}
