//! What a block of a new thread looks like.
//!
//! Nobody but the C library knows all that it puts into a `struct pthread`. So the C library makes
//! two of them: two OS threads are created, on stacks of ours, that end at once by the bare system
//! call, so that the library does not notice and takes nothing apart. What they leave behind is two
//! blocks of threads that never ran, the *models*:
//!
//! - A word that is the same in both is the same in every thread. A word that differs by the
//!   distance between the two is a pointer into the block or its stack. What differs otherwise must
//!   be one of the few fields that are known; else there are no thread-locals of one's own here.
//! - Their thread-locals always have the initial values, also those of libraries that are loaded
//!   later: the C library sees to that, as for every thread in its list.
//! - They are neighbours in that list, and stay in it. Blocks of green threads are linked in
//!   between the two, where nobody else inserts or removes anything.
//!
//! # The allocator's cache
//!
//! malloc has a cache a thread. A hundred thousand green threads do not want one each: a green
//! thread uses the cache of the worker that runs it. Which thread-locals those are is found by
//! looking: the words of the C library that change with a thread's first `malloc`. As nothing
//! suspends within `malloc`, the green thread has only to get a copy of these words when it arrives
//! on another worker ([`Own::lend_allocator`]).

use std::ffi::c_void;
use std::hint;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::OwnPointer;
use super::everybody;
use super::libc_layout::{Layout, Refusal};
use super::pointer;
use super::resolver::Resolver;
use super::surplus::Surplus;

/// The stack of a model, larger than the least that the C library takes on any processor. No other
/// word of a `struct pthread` is likely to have this value.
const MODEL_STACK: usize = 67 * 4096;

/// So often two models are made that are not neighbours, since another thread came between.
const ATTEMPTS: u32 = 16;
/// The pause before the second attempt, which doubles from one to the next: in all a tenth of a second.
const FIRST_PAUSE: Duration = Duration::from_micros(50);

/// No OS thread has an id from here on: this is `PID_MAX_LIMIT`. A futex has room for 30 bits of an
/// id, and a clock for 29.
pub(super) const FIRST_TID: u32 = 1 << 22;

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
    /// The highest id of the modules that had static thread-locals when the models were made.
    pub(super) modules: usize,
    /// The words of `struct pthread` that a thread may change, with what they are for a new one.
    pub(super) changeable: Box<[(isize, usize)]>,
    /// The words that are pointers into the block, relative to it, as far as they are among the
    /// former or the C library's thread-locals.
    pub(super) changeable_relative: Box<[isize]>,
    /// `None` if its state is not part of `struct pthread`.
    pub(super) resolver: Option<Resolver>,
    /// The word of `struct pthread` that says whether the thread has had values of pthread keys, if
    /// that is known: it differs from the image's then.
    pub(super) keys_used: Option<isize>,
    /// The allocator's words of the C library.
    allocator: Box<[isize]>,
    /// Guards the links between the models.
    pub(super) links: Mutex<()>,
    next_tid: AtomicU32,
}

impl Own {
    pub(crate) fn new(own_pointer: OwnPointer) -> Result<Self, Refusal> {
        let layout = Layout::find()?;
        let (first, second) = neighbours(&layout)?;
        let distance = second.wrapping_sub(first);
        let models = Models {
            first,
            second,
            distance,
        };
        let known = models.known_fields(&layout);
        let relative = models.relative_words(&layout, &known)?;
        let stack_bounds = models.stack_bounds(&layout, &relative)?;
        let pthread_image = layout
            .pthread
            .clone()
            .step_by(8)
            .map(|offset| word(first, offset).load(Ordering::Relaxed))
            .collect();
        let allocator = models.allocator_words(&layout);
        let keys_used = models.keys_used_word(&layout);
        let resolver = Resolver::find(&layout, second);
        let changeable = changeable(&layout, stack_bounds, resolver.as_ref());
        let (changeable_relative, _): (Vec<_>, Vec<_>) = relative
            .iter()
            .partition(|offset| layout.libc_locals.contains(offset) || changeable.contains(offset));
        let modules = static_modules(first);
        everybody::wrap_handler(own_pointer)?;
        let absolute = changeable
            .into_iter()
            .filter(|offset| !relative.contains(offset));
        let changeable =
            absolute.map(|offset| (offset, word(first, offset).load(Ordering::Relaxed)));
        Ok(Self {
            models: [first, second],
            pthread_image,
            changeable: changeable.collect(),
            changeable_relative: changeable_relative.into(),
            relative,
            resolver,
            stack_bounds,
            surplus: Surplus::watch(&layout, [first, second], &modules),
            modules: modules.last().copied().unwrap_or(0),
            allocator,
            keys_used,
            layout,
            links: Mutex::new(()),
            next_tid: AtomicU32::new(FIRST_TID),
        })
    }

    /// How many bytes a block takes at most, with what its alignment costs.
    pub(crate) fn block_bytes(&self) -> usize {
        self.layout.block.len() + self.layout.align
    }

    /// How many of them lie above all that a switch touches, which is the thread-locals and what a
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

    pub(super) fn new_tid(&self) -> u32 {
        self.next_tid.fetch_add(1, Ordering::Relaxed)
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

/// Two models that are neighbours in the C library's list: the one that comes first, and the other.
fn neighbours(layout: &Layout) -> Result<(usize, usize), Refusal> {
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            // A burst of threads, as when a program starts, is over in a while.
            thread::sleep(FIRST_PAUSE * 2_u32.pow(attempt.min(8)));
        }
        // New threads are put at the front.
        let second = model(layout)?;
        let first = model(layout)?;
        if word(first, layout.list).load(Ordering::Acquire) == node(layout, second) {
            return Ok((first, second));
        }
    }
    Err("other threads are being created all the time".into())
}

/// Makes a model and gives its thread pointer. Its memory and its place in the C library's list are
/// never given back.
fn model(layout: &Layout) -> Result<usize, Refusal> {
    let refused = |what, error| format!("{what} failed: {}", io::Error::from_raw_os_error(error));
    // SAFETY: a new mapping.
    let stack = unsafe {
        libc::mmap(
            ptr::null_mut(),
            MODEL_STACK,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if stack == libc::MAP_FAILED {
        let error = io::Error::last_os_error();
        return Err(format!("mapping a stack failed: {error}").into());
    }
    let start = stack.expose_provenance();
    let mut thread: libc::pthread_t = 0;
    let mut attributes = MaybeUninit::uninit();
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: the stack is a mapping of its own, of the size that is told, and stays; the masks and
    // the attributes are initialised before they are used.
    let created = unsafe {
        libc::pthread_attr_init(attributes.as_mut_ptr());
        libc::pthread_attr_setstack(attributes.as_mut_ptr(), stack, MODEL_STACK);
        // No handler shall run on it.
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        let created =
            libc::pthread_create(&mut thread, attributes.as_ptr(), vanish, ptr::null_mut());
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        created
    };
    if created != 0 {
        return Err(refused("creating a thread", created).into());
    }
    let pthread = thread as usize;
    let size = layout.pthread.len();
    if !(start..=start + MODEL_STACK - size).contains(&pthread) {
        return Err("the C library does not put a thread's block on its stack".into());
    }
    let thread_pointer = pthread.wrapping_add_signed(-layout.pthread.start);
    wait_until_gone(thread_pointer.wrapping_add_signed(layout.tid));
    Ok(thread_pointer)
}

/// What a model does: it ends without the C library's knowledge.
extern "C" fn vanish(_: *mut c_void) -> *mut c_void {
    // SAFETY: ends this thread at once, which uses nothing of its stack any more.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("the thread has ended")
}

/// Waits until the kernel has zeroed the thread id of a model, as it does when a thread has ended.
fn wait_until_gone(tid: usize) {
    // SAFETY: a field of the model, which stays.
    let tid = unsafe { AtomicU32::from_ptr(ptr::with_exposed_provenance_mut(tid)) };
    loop {
        let seen = tid.load(Ordering::Acquire);
        if seen == 0 {
            return;
        }
        // SAFETY: waits on a word that stays; without a timeout, since the kernel wakes it.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                tid.as_ptr(),
                libc::FUTEX_WAIT,
                seen,
                ptr::null::<libc::timespec>(),
            );
        }
    }
}

/// The words of `struct pthread` that a thread may change, beside what it has of a kind:
///
/// - from its id to the flags of cancellation: the list of robust mutexes, handlers of clean-up
/// - from the values of keys to the scheduling policy: whether it has had values, is detached, its
///   result, its priority
/// - from the bounds of its stack to the state of the resolver: the ceilings of its mutexes
///
/// A part that is longer than it can be is not what it was taken for, and left alone.
fn changeable(layout: &Layout, stack_bounds: isize, resolver: Option<&Resolver>) -> Vec<isize> {
    const LONGEST: isize = 128;
    let end_of_stack_bounds = stack_bounds + 32;
    let cancelhandling = layout.cancelhandling & !7;
    let parts = [
        (layout.tid & !7) + 8..cancelhandling,
        cancelhandling..cancelhandling + 8,
        layout.keys.end()..(layout.schedpolicy & !7) + 8,
        end_of_stack_bounds..resolver.map_or(end_of_stack_bounds, Resolver::start),
    ];
    let plausible = parts
        .into_iter()
        .filter(|part| part.end - part.start <= LONGEST);
    plausible.flat_map(|part| part.step_by(8)).collect()
}

/// The modules that have static thread-locals in the vector of a model.
fn static_modules(model: usize) -> Vec<usize> {
    let vector = word(model, pointer::DTV).load(Ordering::Relaxed);
    let element = |index: isize| word(vector, index * 16).load(Ordering::Relaxed);
    let length = element(-1).cast_signed();
    (1..=length)
        .filter(|&module| element(module) != UNALLOCATED && element(module) != 0)
        .map(isize::unsigned_abs)
        .collect()
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
    /// The fields that differ from thread to thread in their own way.
    fn known_fields(&self, layout: &Layout) -> Vec<Range<isize>> {
        let mut known = vec![
            pointer::DTV..pointer::DTV + 8,
            layout.list..layout.list + 16,
            layout.tid..layout.tid + 4,
        ];
        known.extend(layout.rseq.clone());
        known
    }

    fn relative_words(
        &self,
        layout: &Layout,
        known: &[Range<isize>],
    ) -> Result<Box<[isize]>, Refusal> {
        let mut relative = Vec::new();
        for offset in layout.block.clone().step_by(8) {
            let is_known = known
                .iter()
                .any(|field| field.start < offset + 8 && offset < field.end);
            let first = word(self.first, offset).load(Ordering::Relaxed);
            let second = word(self.second, offset).load(Ordering::Relaxed);
            if is_known || first == second {
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
            |offset: isize| word(self.first, offset).load(Ordering::Relaxed) == MODEL_STACK;
        let mut found = relative.iter().copied().filter(|&offset| {
            let start = word(self.first, offset).load(Ordering::Relaxed);
            layout.pthread.contains(&(offset + 8))
                && is_size(offset + 8)
                && (start..start.wrapping_add(MODEL_STACK)).contains(&self.first)
        });
        match (found.next(), found.next()) {
            (Some(bounds), None) => Ok(bounds),
            _ => Err(
                "the C library does not keep the bounds of a stack where they were looked for"
                    .into(),
            ),
        }
    }

    /// Finds the words of the C library that a thread's first `malloc` writes.
    fn allocator_words(&self, layout: &Layout) -> Box<[isize]> {
        let words = self.written_by(&layout.libc_locals, || {
            // SAFETY: a plain allocation. Without the black box, the compiler removes the pair.
            unsafe { libc::free(hint::black_box(libc::malloc(64))) };
        });
        words.into()
    }

    /// Finds the word that a thread's first value of a key writes beside the value. `None` if it is
    /// not there, or something else is in its place.
    fn keys_used_word(&self, layout: &Layout) -> Option<isize> {
        let mut key = 0;
        // SAFETY: makes a key without a destructor.
        if unsafe { libc::pthread_key_create(&mut key, None) } != 0 {
            return None;
        }
        let written = self.written_by(&layout.pthread, || {
            // SAFETY: the key is there until it is deleted.
            unsafe { libc::pthread_setspecific(key, ptr::without_provenance(1)) };
        });
        // SAFETY: nobody else knows of the key.
        unsafe { libc::pthread_key_delete(key) };
        let values = word(self.second, layout.keys.specific).load(Ordering::Relaxed);
        let values = values.wrapping_sub(self.second).cast_signed();
        let value = values + 16 * isize::try_from(key).ok()?;
        // The sequence number, the value, and what was looked for.
        let [sequence, data, used] = written.try_into().ok()?;
        ([sequence, data] == [value, value + 8]).then_some(used)
    }

    /// Calls `write` with the second model as the current thread, and gives the words within `part`
    /// of its block that this has changed.
    #[inline(never)]
    fn written_by(&self, part: &Range<isize>, write: impl FnOnce()) -> Vec<isize> {
        let words = || part.clone().step_by(8);
        let load = |offset| word(self.second, offset).load(Ordering::Relaxed);
        let before: Vec<usize> = words().map(load).collect();
        // SAFETY: `Layout::find` has asked for a refusal; the model's thread is gone, and only `Own::new`
        // knows of it.
        unsafe { pointer::call_as(self.second, write) };
        let changed = words()
            .zip(before)
            .filter(|(offset, was)| load(*offset) != *was);
        changed.map(|(offset, _)| offset).collect()
    }
}
