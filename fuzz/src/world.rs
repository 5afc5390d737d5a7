//! The objects that the threads of a program share, and what must be true of them in the end.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use roving::channel::{Receiver, Sender, bounded, unbounded};
use roving::sync::{
    Barrier, Condvar, Mutex, Notify, Once, RwLock, Semaphore, TryLockError, broadcast, oneshot,
    watch,
};
use roving::{CancelToken, Handle, Runtime, ThreadLocals};

use crate::oracle::Oracle;
use crate::program::{OBJECTS, Program};
use crate::value::{Item, Message};

/// How many permits a semaphore has.
pub(crate) const PERMITS: usize = 2;
/// How many threads a barrier waits for.
const PARTIES: usize = 2;
/// How many messages a broadcast keeps.
const KEPT: usize = 4;

/// See the [module](self).
pub(crate) struct World {
    pub(crate) program: Arc<Program>,
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) runtime: Handle,
    /// Whether the green threads of the runtime have thread-locals of their own.
    pub(crate) owns: bool,
    pub(crate) tokens: [CancelToken; OBJECTS],
    pub(crate) mutexes: [Slot<Mutex<Guarded>>; OBJECTS],
    pub(crate) locks: [Slot<RwLock<Guarded>>; OBJECTS],
    /// The mutexes of these are held for nothing else.
    pub(crate) condvars: [(Mutex<Guarded>, Condvar); OBJECTS],
    pub(crate) semaphores: [Permits; OBJECTS],
    pub(crate) barriers: [Barrier; OBJECTS],
    pub(crate) notifies: [Notify; OBJECTS],
    pub(crate) onces: [Once; OBJECTS],
    /// Who runs the closure of each.
    pub(crate) once_runs: [Guarded; OBJECTS],
    pub(crate) oneshots: [Oneshot; OBJECTS],
    pub(crate) broadcast: broadcast::Sender<Arc<Item>>,
    pub(crate) watch: watch::Sender<Item>,
    /// Whom one can unpark.
    pub(crate) threads: StdMutex<Vec<roving::thread::Thread>>,
}

/// What a lock guards: who is in there.
#[derive(Debug, Default)]
pub(crate) struct Guarded {
    pub(crate) writers: AtomicUsize,
    pub(crate) readers: AtomicUsize,
}

/// A lock, and whether somebody has forgotten a guard of it.
#[derive(Debug, Default)]
pub(crate) struct Slot<L> {
    lock: L,
    pub(crate) is_forgotten: AtomicBool,
}

impl<L> Deref for Slot<L> {
    type Target = L;

    fn deref(&self) -> &L {
        &self.lock
    }
}

/// A semaphore, and who has permits.
pub(crate) struct Permits {
    pub(crate) semaphore: Semaphore,
    pub(crate) taken: AtomicUsize,
    pub(crate) forgotten: AtomicUsize,
}

/// Both ends, until they are taken.
pub(crate) struct Oneshot {
    pub(crate) sender: StdMutex<Option<oneshot::Sender<Item>>>,
    pub(crate) receiver: StdMutex<Option<oneshot::Receiver<Item>>>,
}

/// Counts somebody in, until this is dropped.
#[derive(Debug)]
pub(crate) struct Inside<'a> {
    count: &'a AtomicUsize,
    by: usize,
}

impl<'a> Inside<'a> {
    /// Counts `by` in; gives how many there were before.
    pub(crate) fn enter(count: &'a AtomicUsize, by: usize) -> (Self, usize) {
        let before = count.fetch_add(by, Ordering::SeqCst);
        (Self { count, by }, before)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(self.by, Ordering::SeqCst);
    }
}

impl Guarded {
    /// Counts a writer in, and sees that it is alone.
    pub(crate) fn write(&self, oracle: &Oracle) -> Inside<'_> {
        let (inside, others) = Inside::enter(&self.writers, 1);
        let readers = self.readers.load(Ordering::SeqCst);
        oracle.check(
            others + readers == 0,
            format_args!("{others} writers and {readers} readers beside one who writes"),
        );
        inside
    }

    /// Counts a reader in, and sees that nobody writes.
    pub(crate) fn read(&self, oracle: &Oracle) -> Inside<'_> {
        let (inside, _) = Inside::enter(&self.readers, 1);
        let writers = self.writers.load(Ordering::SeqCst);
        oracle.check(
            writers == 0,
            format_args!("{writers} writers beside one who reads"),
        );
        inside
    }
}

impl World {
    pub(crate) fn new(program: Arc<Program>, oracle: Arc<Oracle>, runtime: &Runtime) -> Self {
        let watched = Item::new(&oracle, "watched", 0);
        Self {
            runtime: runtime.handle(),
            owns: runtime.thread_locals() == ThreadLocals::Own,
            tokens: Default::default(),
            mutexes: Default::default(),
            locks: Default::default(),
            condvars: Default::default(),
            semaphores: std::array::from_fn(|_| Permits {
                semaphore: Semaphore::new(PERMITS),
                taken: AtomicUsize::new(0),
                forgotten: AtomicUsize::new(0),
            }),
            barriers: std::array::from_fn(|_| Barrier::new(PARTIES)),
            notifies: std::array::from_fn(|_| Notify::new()),
            onces: std::array::from_fn(|_| Once::new()),
            once_runs: Default::default(),
            oneshots: std::array::from_fn(|_| {
                let (sender, receiver) = oneshot::channel();
                Oneshot {
                    sender: StdMutex::new(Some(sender)),
                    receiver: StdMutex::new(Some(receiver)),
                }
            }),
            broadcast: broadcast::channel(KEPT).0,
            watch: watch::channel(watched).0,
            threads: StdMutex::default(),
            program,
            oracle,
        }
    }

    /// Makes the channels, and gives both ends of each.
    pub(crate) fn ends(&self) -> Ends {
        let channels = self.program.channels.iter();
        let (senders, receivers) = channels
            .map(|channel| {
                let (sender, receiver) = match channel.capacity {
                    Some(capacity) => bounded(capacity),
                    None => unbounded(),
                };
                (Some(sender), Some(receiver))
            })
            .unzip();
        Ends { senders, receivers }
    }

    /// Notes that there is a thread to be unparked.
    pub(crate) fn has_thread(&self, thread: roving::thread::Thread) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.push(thread);
    }

    /// One of the threads.
    pub(crate) fn thread(&self, number: usize) -> Option<roving::thread::Thread> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let number = number.checked_rem(threads.len())?;
        threads.get(number).cloned()
    }

    /// When all threads have ended, nothing is held.
    pub(crate) fn is_free(&self) {
        let oracle = &self.oracle;
        for (number, mutex) in self.mutexes.iter().enumerate() {
            let is_locked = matches!(mutex.try_lock(), Err(TryLockError::WouldBlock));
            oracle.check(
                is_locked == mutex.is_forgotten.load(Ordering::SeqCst),
                format_args!("mutex {number}: locked: {is_locked}"),
            );
        }
        for (number, lock) in self.locks.iter().enumerate() {
            let is_locked = matches!(lock.try_write(), Err(TryLockError::WouldBlock));
            oracle.check(
                is_locked == lock.is_forgotten.load(Ordering::SeqCst),
                format_args!("lock {number}: locked: {is_locked}"),
            );
        }
        for (number, permits) in self.semaphores.iter().enumerate() {
            let available = permits.semaphore.available_permits();
            let forgotten = permits.forgotten.load(Ordering::SeqCst);
            oracle.check(
                available + forgotten == PERMITS,
                format_args!(
                    "semaphore {number}: {available} permits available, {forgotten} forgotten, of {PERMITS}"
                ),
            );
        }
        for (number, (mutex, _)) in self.condvars.iter().enumerate() {
            oracle.check(
                !matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)),
                format_args!("the mutex of condvar {number} is locked"),
            );
        }
        for (number, once) in self.onces.iter().enumerate() {
            // If a run were left half done, this would wait for ever.
            once.call_once_force(|_| ());
            oracle.check(
                once.is_completed(),
                format_args!("once {number} is not completed"),
            );
        }
        oracle.check(
            self.broadcast.receiver_count() == 0,
            "a receiver of the broadcast is left",
        );
        oracle.check(
            self.watch.receiver_count() == 0,
            "a receiver of the watched value is left",
        );
    }
}

/// The ends of the channels that a thread has.
#[derive(Clone, Default)]
pub(crate) struct Ends {
    pub(crate) senders: Vec<Option<Sender<Message>>>,
    pub(crate) receivers: Vec<Option<Receiver<Message>>>,
}
