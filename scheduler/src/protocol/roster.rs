//! Who takes part: the workers, and as many spares as workers are stuck.
//!
//! A worker that has run one green thread for long, or has said that it blocks in the system, is *stuck*:
//! it runs none of the others. So that as many run as there are meant to be, another one takes its place: a
//! *spare*, which is a worker like all, but for that it takes part only while others are stuck. A spare
//! may get stuck too.
//!
//! ```text
//!              joins            a worker gets stuck          it is back: this one sleeps,
//!     new ------------> reserve ------------------> enrolled   or has seen that it is one too many
//!                       |     ^                         |
//!       leaves <--------+     +-------------------------+
//! ```
//!
//! A spare in *reserve* sleeps, and may [watch](crate::protocol::idle); nobody wakes it for work that others
//! may do. One that is *enrolled* is claimed for work as any worker, if it sleeps. So to hand a place over
//! takes no wake-up where nothing waits, and a call that blocks for a moment only costs two locks that
//! nobody else wants.
//!
//! # Invariants
//!
//! Under the lock:
//!
//! - `stuck` is how many [paces](Pace) are marked.
//! - Where there is somebody in reserve, as many are enrolled as are stuck, or more. So if fewer are, one that
//!   joins is enrolled at once.
//! - More are enrolled than are stuck only as long as they are busy: those that sleep are dismissed, and
//!   those that are awake see it when their green thread gives them back.
//!
//! **Nobody who rests is marked for long.** A worker writes that it rests, and after the fence with which it
//! announces its sleep reads its mark. Whoever marks one writes the mark, and after a fence looks whether
//! the worker is still at what it was. So one of them sees the other, and takes the mark back.
//!
//! **No work is left for one who sleeps and is enrolled.** It may have fallen asleep in reserve, when it did
//! not look for work. Who enrols it does that in its place: it sets the bit in [`Idle`] first, and then, behind
//! a fence, looks at the queues, as in step 4 of falling asleep. Of a push and this, one sees the other.
//!
//! **A sleeper is dismissed, or it takes part, and not both.** Who dismisses takes the bit away, and then looks
//! whether the spare still sleeps; if not, it puts the bit back. A spare that has slept sleeps no more, by its own doing or by that
//! of who has claimed it, and then looks whether it has the bit. All four are sequentially consistent, so if the one finds
//! that it sleeps, it finds the bit gone. If both see the other, the spare sleeps in reserve, and looks again
//! when it has announced that. While it is awake, nobody but itself takes the bit.
//!
//! The models are with those of [`idle`](crate::protocol::idle), whose workers they have.

use crate::protocol::idle::Idle;
use crate::protocol::pace::{Pace, Seen};
use crate::protocol::primitive::{AtomicUsize, Mutex, Ordering, fence};

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Roster {
    state: Mutex<State>,
    /// How many are stuck, to be read without the lock.
    stuck: AtomicUsize,
    /// How many are enrolled beyond that.
    surplus: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    stuck: usize,
    enrolled: usize,
    reserve: Vec<usize>,
    /// How often a worker has become stuck.
    hand_overs: u64,
}

/// What has become of the place of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Place {
    /// It was stuck before, or it is not.
    Kept,
    /// A spare has it. The caller must now look at the queues, and claim somebody if there is work.
    Taken,
    /// There is no spare. The next that joins will have it.
    Free,
}

impl Roster {
    /// The caller, a worker that runs a green thread, is stuck from now on.
    pub(crate) fn gets_stuck(&self, idle: &Idle, pace: &Pace) -> Place {
        let mut state = self.state.lock();
        if pace.is_stuck() {
            return Place::Kept;
        }
        pace.mark(true);
        self.fill(&mut state, idle, None)
    }

    /// A worker is stuck if it is still at what was `seen`. The caller itself has its place if it is in
    /// reserve.
    pub(crate) fn is_found_stuck(
        &self,
        idle: &Idle,
        pace: &Pace,
        seen: Seen,
        caller: usize,
    ) -> Place {
        let mut state = self.state.lock();
        if pace.is_stuck() {
            return Place::Kept;
        }
        pace.mark(true);
        fence(Ordering::SeqCst);
        if !pace.is_still(seen) {
            pace.mark(false);
            return Place::Kept;
        }
        self.fill(&mut state, idle, Some(caller))
    }

    /// Has somebody take the place of one that has just been marked.
    fn fill(&self, state: &mut State, idle: &Idle, first: Option<usize>) -> Place {
        state.stuck += 1;
        state.hand_overs += 1;
        let mut place = Place::Free;
        if state.enrolled >= state.stuck {
            place = Place::Taken;
        } else if let Some(last) = state.reserve.len().checked_sub(1) {
            let caller = state.reserve.iter().position(|at| Some(*at) == first);
            let spare = state.reserve.swap_remove(caller.unwrap_or(last));
            state.enrolled += 1;
            idle.enrol(spare);
            place = Place::Taken;
        }
        self.publish(state);
        fence(Ordering::SeqCst);
        place
    }

    /// The caller, a worker that may be marked, is not stuck any more. `false` if it was not.
    pub(crate) fn is_back(&self, idle: &Idle, pace: &Pace) -> bool {
        let mut state = self.state.lock();
        if !pace.is_stuck() {
            return false;
        }
        pace.mark(false);
        state.stuck -= 1;
        if state.enrolled > state.stuck
            && let Some(spare) = idle.dismiss_sleeper()
        {
            state.enrolled -= 1;
            state.reserve.push(spare);
        }
        self.publish(&state);
        true
    }

    /// A spare has started. `true` if it takes part at once: then it is about to be busy as one that has slept.
    pub(crate) fn join(&self, idle: &Idle, spare: usize) -> bool {
        let mut state = self.state.lock();
        let takes_part = state.enrolled < state.stuck;
        if takes_part {
            state.enrolled += 1;
            idle.enrol(spare);
        } else {
            state.reserve.push(spare);
        }
        self.publish(&state);
        takes_part
    }

    /// Whether a worker takes part: the caller, which is awake, or has announced that it sleeps and not parked
    /// since. One that is one too many is in reserve then.
    #[inline]
    pub(crate) fn takes_part(&self, idle: &Idle, worker: usize) -> bool {
        !idle.is_spare(worker) || self.spare_takes_part(idle, worker)
    }

    fn spare_takes_part(&self, idle: &Idle, spare: usize) -> bool {
        idle.is_enrolled(spare) && !self.retire(idle, spare)
    }

    /// `true` if more are enrolled than are stuck; `spare`, which is, then is in reserve.
    fn retire(&self, idle: &Idle, spare: usize) -> bool {
        if self.surplus.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut state = self.state.lock();
        // While it announced that it sleeps, another one may have done this.
        let retires = state.enrolled > state.stuck && idle.is_enrolled(spare);
        if retires {
            idle.dismiss(spare);
            state.enrolled -= 1;
            state.reserve.push(spare);
            self.publish(&state);
        }
        retires || !idle.is_enrolled(spare)
    }

    /// A spare that is awake wants to end. `false` if it is enrolled, or the only one in reserve.
    pub(crate) fn leave(&self, spare: usize) -> bool {
        let mut state = self.state.lock();
        let place = state.reserve.iter().position(|at| *at == spare);
        match place {
            Some(place) if state.reserve.len() > 1 => {
                state.reserve.swap_remove(place);
                true
            }
            _ => false,
        }
    }

    /// How many are stuck. A caller that has fenced sees those marked before a fence before that.
    pub(crate) fn stuck(&self) -> usize {
        self.stuck.load(Ordering::Relaxed)
    }

    /// How many places have been handed over, those included that nobody was there to take.
    pub(crate) fn hand_overs(&self) -> u64 {
        self.state.lock().hand_overs
    }

    /// Whether nobody is in reserve.
    pub(crate) fn has_no_reserve(&self) -> bool {
        self.state.lock().reserve.is_empty()
    }

    fn publish(&self, state: &State) {
        let surplus = state.enrolled.saturating_sub(state.stuck);
        self.stuck.store(state.stuck, Ordering::Relaxed);
        self.surplus.store(surplus, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    /// With one worker, whose number is 0, and two spares.
    fn roster() -> (Roster, Idle, [Pace; 3]) {
        let paces = [(); 3].map(|()| Pace::new());
        paces.iter().for_each(Pace::go_on);
        (Roster::default(), Idle::new(1, 2, true), paces)
    }

    #[test]
    fn the_place_of_one_that_is_stuck_is_taken_and_given_back() {
        let (roster, idle, paces) = roster();
        assert!(!roster.join(&idle, 1));
        assert!(!roster.takes_part(&idle, 1));
        idle.announce_sleep(1, false);
        assert_eq!(roster.gets_stuck(&idle, &paces[0]), Place::Taken);
        assert_eq!(roster.gets_stuck(&idle, &paces[0]), Place::Kept);
        assert!(roster.takes_part(&idle, 1));
        assert!(roster.is_back(&idle, &paces[0]));
        assert!(!roster.is_back(&idle, &paces[0]));
        assert!(!roster.takes_part(&idle, 1), "it slept");
        assert_eq!(roster.hand_overs(), 1);
    }

    #[test]
    fn one_that_is_awake_when_another_is_back_sees_that_it_is_one_too_many() {
        let (roster, idle, paces) = roster();
        roster.join(&idle, 1);
        assert_eq!(roster.gets_stuck(&idle, &paces[0]), Place::Taken);
        assert!(roster.is_back(&idle, &paces[0]));
        assert!(!roster.takes_part(&idle, 1));
        assert!(!roster.takes_part(&idle, 1));
        assert!(!roster.leave(1), "it is the last in reserve");
        roster.join(&idle, 2);
        assert!(roster.leave(1));
    }

    #[test]
    fn a_place_that_nobody_could_take_is_for_the_next_who_joins() {
        let (roster, idle, paces) = roster();
        assert_eq!(roster.gets_stuck(&idle, &paces[0]), Place::Free);
        assert!(roster.join(&idle, 1));
        assert!(roster.takes_part(&idle, 1));
        assert_eq!(roster.gets_stuck(&idle, &paces[1]), Place::Free);
        assert!(roster.is_back(&idle, &paces[0]));
        roster.join(&idle, 2);
        assert!(!roster.takes_part(&idle, 2));
        assert!(roster.takes_part(&idle, 1));
    }

    #[test]
    fn who_gets_on_is_not_found_stuck() {
        assert_eq!(Pace::new().seen(), None, "it has not begun");
        let (roster, idle, paces) = roster();
        roster.join(&idle, 1);
        let found = |seen, caller| roster.is_found_stuck(&idle, &paces[0], seen, caller);
        let seen = paces[0].seen().unwrap();
        paces[0].runs();
        assert_eq!(found(seen, 1), Place::Kept);
        let seen = paces[0].seen().unwrap();
        paces[0].rest();
        assert_eq!((found(seen, 1), paces[0].seen()), (Place::Kept, None));
        paces[0].go_on();
        roster.join(&idle, 2);
        let seen = paces[0].seen().unwrap();
        assert_eq!(found(seen, 1), Place::Taken);
        assert_eq!(paces[0].seen(), None);
        assert!(roster.takes_part(&idle, 1), "who has found it");
        assert!(!roster.takes_part(&idle, 2));
    }
}
