//! Barriers.
//!
//! The C library promises that as many threads go on together as the barrier was made for, one of them as the leader, and that the
//! barrier may be destroyed then. It offers no way to arrive without waiting, so it is asked for nothing but the number: the
//! threads of each round are counted here, by the address of the barrier, and wait in the table.

use std::collections::HashMap;
use std::ffi::c_int;

use libc::pthread_barrier_t;
use roving_scheduler::PerProcess;
use roving_scheduler::lock::Mutex;

use super::layout::layout;
use super::{ALL, ANY};
use crate::hand_over::in_system;
use crate::is_adopted;
use crate::next::next;

/// The rounds for which somebody waits.
#[derive(Default)]
struct Rounds {
    /// By the address of the barrier.
    open: HashMap<usize, Round>,
    begun: u64,
}

struct Round {
    /// That of no other round.
    number: u64,
    arrived: u32,
}

static ROUNDS: PerProcess<Mutex<Rounds>> = PerProcess::new();

fn rounds() -> &'static Mutex<Rounds> {
    ROUNDS.get_or_make(Mutex::default)
}

impl Rounds {
    /// One more has arrived. `None` if the round ends with that, else its number.
    fn arrive(&mut self, barrier: usize, awaited: u32) -> Option<u64> {
        let begun = &mut self.begun;
        let round = self.open.entry(barrier).or_insert_with(|| {
            *begun += 1;
            Round {
                number: *begun,
                arrived: 0,
            }
        });
        round.arrived += 1;
        let number = round.number;
        if round.arrived < awaited {
            return Some(number);
        }
        self.open.remove(&barrier);
        None
    }

    fn is_open(&self, barrier: usize, number: u64) -> bool {
        let round = self.open.get(&barrier);
        round.is_some_and(|round| round.number == number)
    }
}

/// # Safety
///
/// That of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pthread_barrier_wait(barrier: *mut pthread_barrier_t) -> c_int {
    type Next = unsafe extern "C-unwind" fn(*mut pthread_barrier_t) -> c_int;
    // SAFETY: the caller's promise.
    let real = || unsafe { next!(pthread_barrier_wait: Next)(barrier) };
    if !is_adopted() {
        return real();
    }
    let layout = layout();
    // SAFETY: the caller's promise.
    let (is_shared, awaited) = unsafe {
        (
            layout.shared_barrier.is_on(barrier),
            layout.barrier_count.word(barrier),
        )
    };
    if is_shared {
        in_system(real)
    } else {
        arrive(barrier.addr(), awaited)
    }
}

#[inline(never)]
fn arrive(address: usize, awaited: u32) -> c_int {
    let arrived = rounds().lock().arrive(address, awaited);
    let Some(round) = arrived else {
        super::wake(address, ANY, ALL);
        return libc::PTHREAD_BARRIER_SERIAL_THREAD;
    };
    let is_open = || rounds().lock().is_open(address, round);
    while is_open() {
        super::wait(address, None, "a barrier", is_open, None);
    }
    0
}
