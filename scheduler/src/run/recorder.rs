//! The recorder: the last events of each worker, for whoever asks what has led to where things are.
//!
//! Each worker has a [ring](crate::protocol::ring) of its own, which it makes as it begins, and all who are no
//! workers of the runtime have one together. To write an event is to read the processor's counter and to store
//! seven words: no lock, no allocation, nothing formatted. Places and words are stored by their addresses,
//! which are static; the name of a thread as its first bytes, since the thread may be gone when somebody reads.
//!
//! # Invariant
//!
//! **Whatever a ring gives was written by [`Recorder::write`]**, all seven words of one event. So an address in
//! it is one that was written there: of a `Location` or of a `str`, both static.

use std::fmt;
use std::panic::Location;
use std::ptr;
use std::sync::OnceLock;

use crate::protocol::ring::{Ring, Written};
use crate::protocol::word::{By, Epoch};
use crate::run::context;
use crate::run::event::{Event, Ran};
use crate::run::green::Waiter;
use crate::run::shared::RuntimeId;

const WORDS: usize = 7;

/// So many bytes of a thread's name are kept.
const NAME: usize = 24;

/// See the [module](self).
pub(crate) struct Recorder {
    /// How many events of each.
    size: usize,
    /// By the numbers of workers and spares.
    workers: Box<[OnceLock<Ring<WORDS>>]>,
    others: Ring<WORDS>,
}

impl Recorder {
    /// For so many workers and spares.
    pub(crate) fn new(size: usize, workers: usize) -> Self {
        Self {
            size,
            workers: (0..workers).map(|_| OnceLock::new()).collect(),
            others: Ring::new(size),
        }
    }

    /// The worker of that number begins.
    pub(crate) fn worker_begins(&self, worker: usize) {
        self.workers[worker].get_or_init(|| Ring::new(self.size));
    }

    /// Writes down what happened at that time, in [ticks](crate::run::ticks), in the runtime of this recorder.
    pub(crate) fn write(&self, runtime: RuntimeId, at: u64, event: Event<'_>) {
        let words = encode(at, event);
        let worker = context::with_worker(|worker| {
            let worker = worker.filter(|worker| worker.shared().id == runtime)?;
            Some(worker.index())
        });
        let own = worker.and_then(|worker| self.workers[worker].get());
        own.unwrap_or(&self.others).write(words);
    }

    /// What was noted by each worker that there has been, and under `None` by all others; the oldest first.
    pub(crate) fn read(&self) -> impl Iterator<Item = (Option<usize>, Kept)> {
        let workers = self.workers.iter().enumerate();
        let of_workers = workers.filter_map(|(worker, ring)| Some((Some(worker), ring.get()?)));
        let all = of_workers.chain([(None, &self.others)]);
        all.map(|(who, ring)| (who, Kept::of(ring.read())))
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// What is left of what was noted in one ring.
#[derive(Debug)]
pub(crate) struct Kept {
    /// How many were noted before these, and are gone.
    pub(crate) gone: u64,
    pub(crate) notes: Vec<Note>,
}

impl Kept {
    fn of(written: Vec<Written<WORDS>>) -> Self {
        Self {
            gone: written.first().map_or(0, |first| first.number),
            notes: written
                .iter()
                .map(|written| decode(written.words))
                .collect(),
        }
    }
}

/// What was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// When, in [ticks](crate::run::ticks).
    pub(crate) at: u64,
    /// The number of the thread that it is about; 0 if it is about a worker.
    pub(crate) thread: u64,
    pub(crate) what: What,
}

/// An [`Event`] as it was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Spawned {
        /// Who has spawned it; 0 if that was no green thread.
        by: u64,
        site: &'static Location<'static>,
    },
    Runs {
        /// The wait that it has been in last; 0 before the first.
        wait: u64,
        site: &'static Location<'static>,
        /// Its beginning, if it is long.
        name: String,
    },
    Ran(Ran),
    Waits {
        why: &'static str,
        place: &'static Location<'static>,
    },
    Woken {
        wait: u64,
        /// Who has woken it; 0 if that was no green thread.
        waker: u64,
        by: By,
    },
    Stolen {
        from: usize,
    },
    HandedOver(usize),
    IsBack(usize),
}

const SPAWNED: u64 = 0;
const RUNS: u64 = 1;
const RAN: u64 = 2;
const WAITS: u64 = 3;
const WOKEN: u64 = 4;
const STOLEN: u64 = 5;
const HANDED_OVER: u64 = 6;
const IS_BACK: u64 = 7;

/// The bits of the word that has the kind of the event: below are the kind, and the length of a name.
const DETAIL: u32 = 16;

fn head(kind: u64, length: usize, detail: u64) -> u64 {
    kind | (length as u64) << 8 | detail << DETAIL
}

/// The number of a wait, as far as it has room beside the kind.
fn wait(epoch: Epoch) -> u64 {
    epoch.number() << DETAIL >> DETAIL
}

/// The words are: when, the kind and a detail, the thread, and four that depend on the kind.
fn encode(at: u64, event: Event<'_>) -> [u64; WORDS] {
    let (thread, head, rest) = match event {
        Event::Spawned(thread) => (
            thread.id(),
            head(SPAWNED, 0, 0),
            [address(site(thread)), current(), 0, 0],
        ),
        Event::Runs(thread) => {
            let name = beginning(thread.name().unwrap_or_default());
            let mut bytes = [0; NAME];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            let (words, _) = bytes.as_chunks();
            let [first, second, third] =
                [0, 1, 2].map(|word: usize| u64::from_ne_bytes(words[word]));
            (
                thread.id(),
                head(RUNS, name.len(), wait(thread.word.current())),
                [address(site(thread)), first, second, third],
            )
        }
        Event::Ran(thread, ran) => (thread.id(), head(RAN, 0, ran as u64), [0; 4]),
        Event::Waits(thread, why, place) => (
            thread.id(),
            head(WAITS, 0, 0),
            [
                address(place),
                why.as_ptr().expose_provenance() as u64,
                why.len() as u64,
                0,
            ],
        ),
        Event::Woken(thread, epoch, by) => (
            thread.id(),
            head(WOKEN, 0, wait(epoch)),
            [current(), by as u64, 0, 0],
        ),
        Event::Stolen(thread, from) => (thread.id(), head(STOLEN, 0, from as u64), [0; 4]),
        Event::HandedOver(worker) => (0, head(HANDED_OVER, 0, worker as u64), [0; 4]),
        Event::IsBack(worker) => (0, head(IS_BACK, 0, worker as u64), [0; 4]),
    };
    let [a, b, c, d] = rest;
    [at, head, thread, a, b, c, d]
}

fn decode([at, head, thread, a, b, c, d]: [u64; WORDS]) -> Note {
    let detail = head >> DETAIL;
    let what = match head & 0xff {
        SPAWNED => What::Spawned {
            by: b,
            // SAFETY: it was written as the address of a place.
            site: unsafe { place(a) },
        },
        RUNS => {
            let bytes = [b, c, d].map(u64::to_ne_bytes);
            let length = (head >> 8 & 0xff) as usize;
            What::Runs {
                wait: detail,
                // SAFETY: as above.
                site: unsafe { place(a) },
                name: String::from_utf8_lossy(&bytes.as_flattened()[..length]).into_owned(),
            }
        }
        RAN => What::Ran(match detail {
            0 => Ran::Yields,
            1 => Ran::Waits,
            _ => Ran::Ends,
        }),
        WAITS => What::Waits {
            // SAFETY: they were written as the address and the length of a static text.
            why: unsafe { text(b, c) },
            // SAFETY: as above.
            place: unsafe { place(a) },
        },
        WOKEN => What::Woken {
            wait: detail,
            waker: a,
            by: match b {
                0 => By::Ticket,
                1 => By::Timer,
                2 => By::Cancel,
                _ => By::Deadlock,
            },
        },
        STOLEN => What::Stolen {
            from: detail as usize,
        },
        HANDED_OVER => What::HandedOver(detail as usize),
        _ => What::IsBack(detail as usize),
    };
    Note { at, thread, what }
}

fn site(thread: &Waiter) -> &'static Location<'static> {
    thread.own_stack().expect("green threads have stacks").site
}

/// The number of the green thread or guest that is the current thread, else 0.
fn current() -> u64 {
    context::with_running(Waiter::id).unwrap_or(0)
}

/// As much of a name as is kept.
fn beginning(name: &str) -> &str {
    let mut ends = (0..=name.len().min(NAME)).rev();
    let end = ends.find(|&end| name.is_char_boundary(end));
    &name[..end.unwrap_or(0)]
}

fn address(place: &'static Location<'static>) -> u64 {
    ptr::from_ref(place).expose_provenance() as u64
}

/// # Safety
///
/// It is what [`address`] has given.
unsafe fn place(address: u64) -> &'static Location<'static> {
    // SAFETY: the caller's promise.
    unsafe { &*ptr::with_exposed_provenance(address as usize) }
}

/// # Safety
///
/// They are the address and the length of a static text.
unsafe fn text(address: u64, length: u64) -> &'static str {
    // SAFETY: the caller's promise.
    unsafe {
        let bytes = ptr::with_exposed_provenance(address as usize);
        str::from_utf8_unchecked(std::slice::from_raw_parts(bytes, length as usize))
    }
}
