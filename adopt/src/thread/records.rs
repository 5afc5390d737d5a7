//! Where what is known of threads lies, and how an id leads there.
//!
//! Each record has a *place*. Places lie in chunks that come as they are needed and never go, so one may be looked at at any time: what is in it
//! its state tells, a word.
//!
//! ```text
//!     bits 32 to 63   how many records have been there before
//!     bit 31          whether the record is listed: an id leads to it
//!     bits 0 to 30    how many references to it there are, that of the list among them; 0 if there is no record
//! ```
//!
//! Who follows an id adds a reference by one change of that word, from one in which the record that is meant is listed. So no lock is taken
//! for it, and nobody gets at a record that is gone or not yet there. Whoever gives up the last reference drops the record, and has the place until he gives
//! it back. An id has the same number of earlier records in its upper half, and in the lower one the number of the place, and a 1: it is odd.
//!
//! Who makes a thread mostly takes the place that was given back last near its own stack: a *hand* holds one, and whoever has taken
//! it out has it alone. Others are in a list under a lock.
//!
//! A forked child begins anew, with other numbers of earlier records, so that what its parent's ids lead to is nobody, but for that of its only
//! thread. What it still has of its parent's records stays there.

use std::alloc::{Layout, alloc_zeroed};
use std::cell::UnsafeCell;
use std::mem::{self, ManuallyDrop, MaybeUninit};
use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

use libc::pthread_t;
use roving_scheduler::PerProcess;
use roving_scheduler::lock::Mutex;

use super::{Known, current};

const EARLIER_SHIFT: u32 = 32;
const LISTED: u64 = 1 << 31;
const REFERENCES: u64 = LISTED - 1;

/// A place of a record. Zeroes are one that never had any.
pub(super) struct Place {
    state: AtomicU64,
    /// By which the record is found, while there is one.
    id: AtomicU64,
    known: UnsafeCell<MaybeUninit<Known>>,
}

// SAFETY: a record, which is `Sync`, is written and dropped by whoever has its place alone, and lent while there is a reference to it.
unsafe impl Sync for Place {}

const fn assert_shareable<T: Send + Sync>() {}
const _: () = assert_shareable::<Known>();

/// A reference to a record.
pub(super) struct Shared(&'static Place);

impl Shared {
    /// Two references to a new record: one of the two is meant for the [list](Self::list). `None` if there is no memory for it, or no number.
    pub(super) fn two(make: impl FnOnce() -> Known) -> Option<(Self, Self)> {
        let place = table().take()?;
        place.hold(make(), 2);
        Some((Self(place), Self(place)))
    }

    /// Has its id lead to it from now on. Nobody has changed its number of references yet.
    pub(super) fn list(self) {
        let state = &self.0.state;
        // Release: who follows the id finds the record whole.
        state.fetch_or(LISTED, Ordering::Release);
        mem::forget(self);
    }

    /// Has its id lead nowhere from now on.
    pub(super) fn unlist(&self) {
        let state = &self.0.state;
        let without = |seen: u64| (seen & LISTED != 0).then(|| (seen & !LISTED) - 1);
        // Nobody drops it: the caller has another reference than the list. Release: as when one is given up.
        let _ = state.fetch_update(Ordering::Release, Ordering::Relaxed, without);
    }

    pub(super) fn id(&self) -> pthread_t {
        self.0.id.load(Ordering::Relaxed)
    }

    /// The same reference, to be had back by [`from_raw`](Self::from_raw) once.
    pub(super) fn into_raw(self) -> *const Place {
        ptr::from_ref(ManuallyDrop::new(self).0)
    }

    /// # Safety
    ///
    /// It is from [`into_raw`](Self::into_raw), and this is done once.
    pub(super) unsafe fn from_raw(place: *const Place) -> Self {
        // SAFETY: the caller's promise, and places stay.
        Self(unsafe { &*place })
    }
}

impl Deref for Shared {
    type Target = Known;

    fn deref(&self) -> &Known {
        // SAFETY: this is a reference to it.
        unsafe { self.0.known() }
    }
}

impl Clone for Shared {
    fn clone(&self) -> Self {
        self.0.state.fetch_add(1, Ordering::Relaxed);
        Self(self.0)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Release: whoever drops the record does so after this.
        let before = self.0.state.fetch_sub(1, Ordering::Release);
        if before & REFERENCES == 1 {
            self.0.clear();
        }
    }
}

impl Place {
    /// # Safety
    ///
    /// There is a reference to its record for as long as this is lent.
    pub(super) unsafe fn known(&self) -> &Known {
        // SAFETY: the caller's promise: the record was written before there were references, and is dropped after the last.
        unsafe { (*self.known.get()).assume_init_ref() }
    }

    /// Puts a record where none is, which has so many references from now on. The caller has the place alone.
    fn hold(&self, known: Known, references: u64) {
        // SAFETY: nobody else has the place, and there is no record.
        unsafe { (*self.known.get()).write(known) };
        let free = self.state.load(Ordering::Relaxed);
        // Relaxed: whoever is given a reference is so by something that orders the two.
        self.state.store(free | references, Ordering::Relaxed);
    }

    /// Drops the record, whose last reference has been given up, and gives the place back.
    #[inline(never)]
    fn clear(&'static self) {
        // With those who have given up theirs.
        fence(Ordering::Acquire);
        let earlier = self.state.load(Ordering::Relaxed) >> EARLIER_SHIFT;
        // SAFETY: nobody has a reference any more, so the caller has the place alone; the record has been written.
        unsafe { (*self.known.get()).assume_init_drop() };
        let free = (earlier + 1) << EARLIER_SHIFT;
        self.state.store(free, Ordering::Relaxed);
        // A place of the parent's is of no use to a child.
        if let Some(table) = TABLE.get()
            && let Some(place) = table.place(number(self.id.load(Ordering::Relaxed)))
            && ptr::eq(place, self)
        {
            table.give_back(place);
        }
    }
}

/// The number of the place to which an id leads.
fn number(id: pthread_t) -> u32 {
    id as u32 >> 1
}

/// The places of a process.
struct Table {
    /// What is added to the number of earlier records in ids.
    first: u32,
    /// Each is twice as long as the one before.
    chunks: [AtomicPtr<Place>; CHUNKS],
    /// The numbers of places that are free, and one; or 0.
    hands: [AtomicU32; HANDS],
    rest: Mutex<Rest>,
}

#[derive(Default)]
struct Rest {
    /// The numbers of those that are free and in no hand.
    free: Vec<u32>,
    /// How many numbers have been given to places.
    given: u32,
    /// One that is the survivor's of a fork.
    survivor: Option<u32>,
}

/// The length of the first chunk.
const FIRST: usize = 64;
/// All of these have fewer places than there are numbers.
const CHUNKS: usize = 24;
const HANDS: usize = 64;

static TABLE: PerProcess<Table> = PerProcess::new();

fn table() -> &'static Table {
    // Ids come from here: who has one already, and is the first to ask, has survived a fork.
    TABLE.get_or_make(|| Table::new(std::process::id() << 8, current::id().map(number)))
}

/// In which chunk a place is, by its number, and where there.
fn position(number: u32) -> (usize, usize) {
    let number = number as usize;
    let chunk = (number / FIRST + 1).ilog2() as usize;
    (chunk, number - (length(chunk) - FIRST))
}

fn length(chunk: usize) -> usize {
    FIRST << chunk
}

impl Table {
    fn new(first: u32, survivor: Option<u32>) -> Self {
        Self {
            first,
            chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS],
            hands: [const { AtomicU32::new(0) }; HANDS],
            rest: Mutex::new(Rest {
                survivor,
                ..Rest::default()
            }),
        }
    }

    fn place(&self, number: u32) -> Option<&'static Place> {
        let (chunk, at) = position(number);
        // Acquire: it is there whole.
        let first = self.chunks.get(chunk)?.load(Ordering::Acquire);
        // SAFETY: a chunk has so many, and stays.
        (!first.is_null()).then(|| unsafe { &*first.add(at) })
    }

    /// A hand near the stack of the caller.
    fn hand(&self) -> &AtomicU32 {
        let here = 0_u8;
        &self.hands[((&raw const here).addr() >> 16) % HANDS]
    }

    /// A place that the caller has alone, with an id for its next record.
    fn take(&self) -> Option<&'static Place> {
        // Acquire: whoever has given it back has left it before.
        let number = match self.hand().swap(0, Ordering::Acquire) {
            0 => self.take_from_rest()?,
            number => number - 1,
        };
        let place = self.place(number)?;
        let earlier = (place.state.load(Ordering::Relaxed) >> EARLIER_SHIFT) as u32;
        let upper = u64::from(self.first.wrapping_add(earlier));
        let id = upper << EARLIER_SHIFT | u64::from(number) << 1 | 1;
        place.id.store(id, Ordering::Relaxed);
        Some(place)
    }

    #[inline(never)]
    fn take_from_rest(&self) -> Option<u32> {
        let mut rest = self.rest.lock();
        if let Some(number) = rest.free.pop() {
            return Some(number);
        }
        let number = rest.given + u32::from(rest.survivor == Some(rest.given));
        self.make(number)?;
        rest.given = number + 1;
        Some(number)
    }

    fn give_back(&self, place: &Place) {
        let number = number(place.id.load(Ordering::Relaxed));
        // Release: whoever takes it next finds it as it is left. Acquire: and so does whoever takes that which was there, of this caller.
        let other = self.hand().swap(number + 1, Ordering::AcqRel);
        if other != 0 {
            self.rest.lock().free.push(other - 1);
        }
    }

    /// Sees to it that there is a place of that number. The caller has the rest locked.
    fn make(&self, number: u32) -> Option<()> {
        let (chunk, _) = position(number);
        let first = self.chunks.get(chunk)?;
        if first.load(Ordering::Relaxed).is_null() {
            let layout = Layout::array::<Place>(length(chunk)).ok()?;
            // SAFETY: it has a size, and zeroes are a place.
            let made = unsafe { alloc_zeroed(layout) }.cast::<Place>();
            if made.is_null() {
                return None;
            }
            // Release: it is found whole.
            first.store(made, Ordering::Release);
        }
        Some(())
    }

    /// Where the record of that id is, and what it has in place of the number of earlier records there.
    fn lead(&self, id: pthread_t) -> Option<(&'static Place, u64)> {
        let earlier = ((id >> EARLIER_SHIFT) as u32).wrapping_sub(self.first);
        Some((self.place(number(id))?, u64::from(earlier)))
    }
}

/// What an id leads to.
pub(super) fn find(id: pthread_t) -> Option<Shared> {
    let (place, earlier) = TABLE.get()?.lead(id)?;
    let is_it = |seen: u64| seen >> EARLIER_SHIFT == earlier && seen & LISTED != 0;
    let one_more = |seen: u64| is_it(seen).then(|| seen + 1);
    // Acquire: the record was written before it was listed.
    let found = place
        .state
        .fetch_update(Ordering::Acquire, Ordering::Relaxed, one_more);
    found.is_ok().then(|| Shared(place))
}

/// In a forked child: lists a record of its only thread, the current one, which has had that id in its parent. Called once.
pub(super) fn list_survivor(id: pthread_t, known: Known) -> Option<Shared> {
    let table = table();
    {
        let _rest = table.rest.lock();
        table.make(number(id))?;
    }
    // Nobody is given that place.
    let (place, earlier) = table.lead(id)?;
    place.id.store(id, Ordering::Relaxed);
    place
        .state
        .store(earlier << EARLIER_SHIFT, Ordering::Relaxed);
    // That of the list and the caller's.
    place.hold(known, 2);
    Shared(place).list();
    Some(Shared(place))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::super::Known;
    use super::*;

    fn listed() -> Shared {
        let (record, of_list) = Shared::two(Known::default).unwrap();
        assert!(find(record.id()).is_none());
        of_list.list();
        record
    }

    #[test]
    fn an_id_leads_to_its_record_while_that_is_listed() {
        let record = listed();
        let id = record.id();
        assert_eq!(id & 1, 1);
        let found = find(id).unwrap();
        assert!(ptr::eq(&*found, &*record) && found.id() == id);
        record.unlist();
        record.unlist();
        assert!(find(id).is_none());
        drop(record);
        // It is there as long as there is a reference.
        found.is_cancelled.store(true, Ordering::Relaxed);
        drop(found);
        assert!(find(id).is_none());
    }

    #[test]
    fn an_earlier_id_of_a_place_leads_nowhere() {
        let mut ids = Vec::new();
        for _ in 0..100 {
            let record = listed();
            assert!(ids.iter().all(|&id| find(id).is_none()), "{ids:x?}");
            assert!(!record.is_cancelled.swap(true, Ordering::Relaxed));
            ids.push(record.id());
            record.unlist();
        }
        // All that could be asked for lead somewhere or nowhere.
        for id in [1, u64::MAX, 0xffff_ffff, 1 << 32 | 1] {
            drop(find(id));
        }
    }

    #[test]
    fn positions_are_one_after_the_other() {
        let mut expected = (0, 0);
        for number in 0..10_000 {
            assert_eq!(position(number), expected);
            expected.1 += 1;
            if expected.1 == length(expected.0) {
                expected = (expected.0 + 1, 0);
            }
        }
        assert!(position(u32::MAX >> 1).0 >= CHUNKS);
    }

    #[test]
    fn the_place_of_who_has_survived_a_fork_is_given_to_nobody() {
        let table = Table::new(7 << 8, Some(3));
        let ids: Vec<_> = (0..100)
            .map(|_| table.take().unwrap().id.load(Ordering::Relaxed))
            .collect();
        let numbers: Vec<_> = ids.iter().map(|&id| number(id)).collect();
        let expected: Vec<_> = (0..=100).filter(|&number| number != 3).collect();
        assert_eq!(numbers, expected);
        assert!(ids.iter().all(|id| id >> EARLIER_SHIFT == 7 << 8));
    }

    #[test]
    fn many_are_made_found_and_dropped_by_several_at_once() {
        static STOPS: AtomicBool = AtomicBool::new(false);
        static CURRENT: AtomicU64 = AtomicU64::new(0);
        let rounds = if cfg!(miri) { 100 } else { 100_000 };
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !STOPS.load(Ordering::Relaxed) {
                        let id = CURRENT.load(Ordering::Relaxed);
                        if let Some(found) = find(id) {
                            assert_eq!(found.id(), id);
                            // Its maker has written it.
                            assert_eq!(found.asked.stack_size as u64, id);
                        }
                    }
                });
            }
            let makers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut held = Vec::new();
                        for round in 0..rounds {
                            let (record, of_list) = Shared::two(Known::default).unwrap();
                            let id = record.id();
                            // SAFETY: nobody else has it yet.
                            unsafe {
                                (*record.0.known.get()).assume_init_mut().asked.stack_size =
                                    id as usize;
                            }
                            of_list.list();
                            CURRENT.store(id, Ordering::Relaxed);
                            held.push(record);
                            if round % 7 == 6 {
                                held.drain(..).for_each(|record| record.unlist());
                            }
                        }
                        held.drain(..).for_each(|record| record.unlist());
                    })
                })
                .collect();
            makers.into_iter().for_each(|maker| maker.join().unwrap());
            STOPS.store(true, Ordering::Relaxed);
        });
    }
}
