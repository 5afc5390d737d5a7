//! What grows in a burst goes back: what the allocator holds after one is what it held before, or a
//! little more.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use common::each_worker_count;
use roving_scheduler::channel::{Select, bounded, unbounded};
use roving_scheduler::sync::{Notify, mpsc};
use roving_scheduler::{CancelToken, Group, thread};

struct Counting;

static HELD: AtomicIsize = AtomicIsize::new(0);

// SAFETY: the system's allocator, which is told all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Tests count one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs `burst` on a green thread of runtimes of each size. It takes megabytes, and gives nearly all of
/// them back though what it is about is still there.
fn gives_back<K: Send>(what: &str, burst: impl Fn() -> K + Send + Sync) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    each_worker_count(|runtime| {
        // What comes with the first use of anything.
        drop(runtime.run(&burst));
        let before = HELD.load(Ordering::Relaxed);
        let kept = runtime.run(&burst);
        let held = HELD.load(Ordering::Relaxed) - before;
        assert!(held < 200_000, "{what}: {held} bytes are still held");
        drop(kept);
    });
}

const MANY: usize = 20_000;
type Message = [u8; 256];

#[test]
fn channels() {
    gives_back("unbounded", || {
        let (sender, receiver) = unbounded::<Message>();
        (0..MANY).for_each(|_| sender.send([0; 256]).unwrap());
        (0..MANY).for_each(|_| _ = receiver.recv().unwrap());
        (sender, receiver)
    });
    gives_back("bounded", || {
        let (sender, receiver) = bounded::<Message>(MANY);
        (0..MANY).for_each(|_| sender.send([0; 256]).unwrap());
        (0..MANY).for_each(|_| _ = receiver.try_recv().unwrap());
        (sender, receiver)
    });
    gives_back("mpsc", || {
        let (sender, receiver) = mpsc::channel::<Message>();
        (0..MANY).for_each(|_| sender.send([0; 256]).unwrap());
        (0..MANY).for_each(|_| _ = receiver.recv().unwrap());
        (sender, receiver)
    });
}

#[test]
fn promises() {
    gives_back("promises", || {
        let (sender, receiver) = unbounded::<Message>();
        let selected: Vec<_> = (0..MANY)
            .map(|_| {
                sender.send([0; 256]).unwrap();
                let mut select = Select::new();
                select.recv(&receiver);
                select.select()
            })
            .collect();
        for operation in selected {
            operation.recv(&receiver).unwrap();
        }
        (sender, receiver)
    });
}

#[test]
fn those_who_waited() {
    gives_back("notify, token", || {
        let (notify, token) = (Arc::new(Notify::new()), CancelToken::new());
        let begun = Arc::new(AtomicUsize::new(0));
        let waiting: Vec<_> = (0..MANY / 10)
            .map(|_| {
                let (notify, token, begun) = (notify.clone(), token.clone(), begun.clone());
                thread::spawn(move || {
                    begun.fetch_add(1, Ordering::Relaxed);
                    token.run(|| notify.wait()).unwrap();
                })
            })
            .collect();
        // In each burst as many stacks are in use at a time, which a runtime keeps.
        while begun.load(Ordering::Relaxed) < waiting.len() {
            thread::yield_now();
        }
        for thread in waiting {
            while !thread.is_finished() {
                notify.notify_one();
                thread::yield_now();
            }
            thread.join().unwrap();
        }
        (notify, token)
    });
}

#[test]
fn values_of_a_group_that_were_taken() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    each_worker_count(|runtime| {
        let held = runtime.run(|| {
            Group::new().limit(10).run(|members| {
                let mut before = 0;
                for n in 0..MANY {
                    members.spawn(|| Ok::<Message, ()>([0; 256]));
                    let _ = members.next();
                    if n == MANY / 10 {
                        before = HELD.load(Ordering::Relaxed);
                    }
                }
                let held = HELD.load(Ordering::Relaxed) - before;
                assert!(held < 200_000, "{held} bytes are still held");
                Ok(())
            })
        });
        assert_eq!(held.unwrap().len(), 0);
    });
}
