//! Who sleeps, who searches, and who is woken.
//!
//! The goal: whenever there is work that a sleeping worker could do, somebody is on the way to it,
//! and yet workers are neither woken for nothing nor spinning. The hard part is the moment in which
//! one worker finds nothing and falls asleep while another pushes work and finds nobody asleep.
//!
//! A worker is *busy* (it runs green threads), *searching* (it looks through the queues of all), or
//! *asleep* (its bit is set).
//!
//! Pushing work:
//! 1. push the green thread;
//! 2. fence (**P**);
//! 3. if nobody searches and some bit is set, clear it ("claim" the sleeper), count it as
//!    searching, unpark it.
//!
//! Falling asleep:
//! 1. set the own bit;
//! 2. if searching, stop being counted as such;
//! 3. fence (**S**);
//! 4. look at all the queues once more. If there is work, clear the own bit and search again;
//! 5. park.
//!
//! **No wake-up is lost.** Take a push and the falling asleep of the last worker that could have
//! served it. Fences are totally ordered. If P comes before S, step 4 sees the pushed work. If S
//! comes before P, the pusher sees the set bit in step 3 and claims it, unless it saw somebody
//! searching. That searcher is later than the pusher's look in the counter's order, so either it
//! finds work, and then [`Idle::search_found`] makes it look (behind a fence of its own) for what
//! it leaves behind; or it falls asleep, and then its S comes after P and its step 4 sees the work.
//!
//! **Every claim is one unpark.** Whoever clears a bit, and nobody else, unparks its worker exactly
//! once. A worker that wakes for another reason (an event, a timer) clears its own bit; if it finds
//! it cleared, an unpark is on its way and [`Parker::absorb`](crate::protocol::parker::Parker::absorb) takes
//! it.
//!
//! A claimed worker counts as searching from the claim on, so that a burst of pushes wakes one
//! worker, which wakes the next when it has found work, and so on: as in Go's scheduler and in
//! tokio's. At most half of the workers search by their own choice.
//!
//! **No busy worker is alone with what it should look for.** One that runs a green thread for long
//! looks neither at its timers nor for events. So while some are busy and some asleep, one of the
//! latter *watches*: it does not sleep for longer than a while, nor beyond the next timer of those
//! that are busy. Who falls asleep while anybody is busy watches, if nobody does. Who has slept and is
//! about to be busy wakes another one if nobody watches. Of one that falls asleep and one that gets
//! busy at the same time, either the first sees that the other is not asleep, or the other sees its
//! bit, by the same fences. A watcher goes on for some time when all are asleep, so that a runtime
//! that is busy now and then need not wake one each time; then nobody watches, and an idle runtime uses
//! no time. (Go has a thread of its own for this, sysmon.)
//!
//! The same one looks after what a busy worker would run next, which nobody is woken for: it takes from
//! the [slots](crate::protocol::slot) of the others what has been there for long. A worker empties its
//! own before it falls asleep, so a slot that is not empty is that of a busy one, which somebody watches if
//! anybody sleeps. And it finds who is [stuck](crate::protocol::roster), whose place a spare takes. A spare
//! in reserve sleeps always, so there is somebody to watch also when all workers are busy.
//!
//! Who is stuck counts as busy no more: nobody need watch it, be it stuck for hours. What it does, it does
//! as if it were no worker. What it wakes or spawns is queued where others look, and somebody is claimed for it;
//! who sleeps has an eye on the timers that it has.
//!
//! **Nobody is woken again and again for what is gone when it comes.** What waits alone in the queues of
//! its worker is most often taken by that worker at once: what was spawned is joined. A worker that has
//! been woken for nothing *naps*: it sleeps as others do, but only for a moment, and looks again by
//! itself. While one naps, lone work wakes nobody, and does not keep others from falling asleep in step
//! 4. At worst it waits as long as a nap. It is not lost: who has napped first says so, and then
//! searches. It finds work, and looks for what it leaves behind, or it falls asleep as above; and a
//! pusher whose P comes after the fence of either sees that nobody naps.
//!
//! What a worker does in which order is in [`sleep`], which the models run as the workers do.
//!
//! Rejected: a list of sleepers under a lock (every push of a green thread to its own worker would
//! take it), and one word that packs both counts (a claim must name a worker, so the bits are
//! needed anyway).

pub(crate) mod sleep;

use std::convert::identity;

use crossbeam_utils::CachePadded;

use crate::protocol::primitive::{AtomicU64, AtomicUsize, Ordering, fence};

const BITS: usize = u64::BITS as usize;

/// See the [module](self). Workers have the numbers from 0, and spares those from the number of workers.
#[derive(Debug)]
pub(crate) struct Idle {
    searching: CachePadded<AtomicUsize>,
    /// 1 if somebody watches, else 0.
    watching: CachePadded<AtomicUsize>,
    /// 1 if somebody naps, else 0.
    napping: CachePadded<AtomicUsize>,
    asleep: Box<[CachePadded<AtomicU64>]>,
    asleep_spares: Box<[AtomicU64]>,
    /// Which spares take part.
    enrolled: Box<[AtomicU64]>,
    /// How many bits are set there.
    enrolled_count: CachePadded<AtomicUsize>,
    workers: usize,
    watches: bool,
}

fn words<T>(bits: usize, word: fn(AtomicU64) -> T) -> Box<[T]> {
    (0..bits.div_ceil(BITS))
        .map(|_| word(AtomicU64::new(0)))
        .collect()
}

impl Idle {
    /// For so many. If one `watches_alone`, somebody watches also where there is but one worker.
    pub(crate) fn new(workers: usize, spares: usize, watches_alone: bool) -> Self {
        Self {
            searching: CachePadded::new(AtomicUsize::new(0)),
            watching: CachePadded::new(AtomicUsize::new(0)),
            napping: CachePadded::new(AtomicUsize::new(0)),
            asleep: words(workers, CachePadded::new),
            asleep_spares: words(spares, identity),
            enrolled: words(spares, identity),
            enrolled_count: CachePadded::new(AtomicUsize::new(0)),
            workers,
            watches: workers > 1 || watches_alone,
        }
    }

    /// Whether anybody could take what a worker has queued for all.
    ///
    /// Who is the only worker asks this before each fence of a push, and pays for none as long as nobody else takes part. So it may
    /// miss a spare that is enrolled at that moment, as the one who enrols may miss the push. If it enrols one itself, since
    /// it blocks, it does not miss it. Else a spare has found it stuck that is in reserve, and has its place then, or takes part
    /// already. In any case that spare is awake. It looks at the queues before it sleeps, and once more behind the fence of
    /// step 4, and again each time that it has watched, which it does for a while though nobody is busy: so it finds the push
    /// as soon as that is seen at all. More workers than one always fence.
    pub(crate) fn has_others(&self) -> bool {
        self.workers > 1 || self.enrolled_count.load(Ordering::Relaxed) > 0
    }

    /// A busy worker wants to search. `false` if enough others do.
    pub(crate) fn start_search(&self) -> bool {
        if 2 * self.searching.load(Ordering::Relaxed) >= self.workers {
            return false;
        }
        self.searching.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// A searching worker has found work. `true` if nobody searches any more: then the caller must
    /// look whether there is more work that others could do, and if so [claim](Self::claim_any)
    /// one of them.
    #[must_use]
    pub(crate) fn search_found(&self) -> bool {
        let last = self.searching.fetch_sub(1, Ordering::SeqCst) == 1;
        fence(Ordering::SeqCst);
        last
    }

    /// Steps 1 to 3 of falling asleep. The caller goes on with step 4.
    pub(crate) fn announce_sleep(&self, worker: usize, searching: bool) {
        let (word, bit) = self.place(worker);
        word.fetch_or(bit, Ordering::SeqCst);
        if searching {
            self.searching.fetch_sub(1, Ordering::SeqCst);
        }
        fence(Ordering::SeqCst);
    }

    /// A worker that announced sleep is awake. `false` if somebody has claimed it meanwhile: then
    /// an unpark is on its way, and the worker is searching.
    #[must_use]
    pub(crate) fn retract_sleep(&self, worker: usize) -> bool {
        self.clear(worker)
    }

    /// A worker that retracted its sleep because it saw work searches, however many others do.
    pub(crate) fn resume_search(&self) {
        self.searching.fetch_add(1, Ordering::SeqCst);
    }

    /// Steps 2 and 3 of pushing work that any worker can do; `is_lone` is whether it waits alone where
    /// its own worker will look for it. The caller must unpark the worker that this names.
    #[must_use]
    pub(crate) fn claim_for_work(&self, is_lone: impl FnOnce() -> bool) -> Option<usize> {
        fence(Ordering::SeqCst);
        if self.searching.load(Ordering::SeqCst) > 0 || self.somebody_naps() && is_lone() {
            return None;
        }
        self.claim_first()
    }

    /// Steps 2 and 3 of pushing work that only `worker` can do. The caller must unpark it if this
    /// says so.
    #[must_use]
    pub(crate) fn claim(&self, worker: usize) -> bool {
        fence(Ordering::SeqCst);
        let claimed = self.clear(worker);
        if claimed {
            self.searching.fetch_add(1, Ordering::SeqCst);
        }
        claimed
    }

    /// Claims some sleeping worker. The caller must unpark it.
    #[must_use]
    pub(crate) fn claim_any(&self) -> Option<usize> {
        fence(Ordering::SeqCst);
        self.claim_first()
    }

    /// A worker that has announced sleep is about to park, and has found that others are busy, or were:
    /// whether it must watch. It [ends](Self::end_watch) that when it is awake.
    #[must_use]
    pub(crate) fn begin_watch(&self) -> bool {
        self.lacks_watcher() && self.watching.swap(1, Ordering::SeqCst) == 0
    }

    /// Whether somebody should watch who sleeps, and nobody does.
    pub(crate) fn lacks_watcher(&self) -> bool {
        self.watches && !self.is_watched()
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watching.load(Ordering::SeqCst) == 1
    }

    /// Whoever has found somebody watching until now is asleep for this worker from now on.
    pub(crate) fn end_watch(&self) {
        self.watching.swap(0, Ordering::SeqCst);
    }

    /// A worker that is about to announce sleep wants to nap. `false` if another one does.
    #[must_use]
    pub(crate) fn begin_nap(&self) -> bool {
        self.has_others() && self.napping.swap(1, Ordering::SeqCst) == 0
    }

    /// A worker that has napped is awake. It searches, however many others do; if it was `called`, it is
    /// counted already.
    pub(crate) fn end_nap(&self, called: bool) {
        if !called {
            self.resume_search();
        }
        self.napping.store(0, Ordering::SeqCst);
    }

    /// Whether lone work is left to one that naps.
    pub(crate) fn somebody_naps(&self) -> bool {
        self.napping.load(Ordering::SeqCst) == 1
    }

    /// A worker that has slept is about to be busy. The caller must unpark the worker that this names,
    /// which will watch.
    pub(crate) fn claim_watcher(&self) -> Watcher {
        fence(Ordering::SeqCst);
        if !self.lacks_watcher() {
            return Watcher::NotNeeded;
        }
        let reserve = || self.claim_spare(|_| u64::MAX);
        match self.claim_first().or_else(reserve) {
            Some(worker) => Watcher::Claimed(worker),
            None => Watcher::Missing,
        }
    }

    /// Whether a worker has announced that it sleeps, and nobody has claimed it since.
    pub(crate) fn is_asleep(&self, worker: usize) -> bool {
        let (word, bit) = self.place(worker);
        word.load(Ordering::SeqCst) & bit != 0
    }

    fn claim_first(&self) -> Option<usize> {
        for (index, word) in self.asleep.iter().enumerate() {
            loop {
                let seen = word.load(Ordering::SeqCst);
                if seen == 0 {
                    break;
                }
                let worker = index * BITS + seen.trailing_zeros() as usize;
                if self.clear(worker) {
                    self.searching.fetch_add(1, Ordering::SeqCst);
                    return Some(worker);
                }
            }
        }
        if self.enrolled_count.load(Ordering::SeqCst) == 0 {
            return None;
        }
        self.claim_spare(|index| self.enrolled[index].load(Ordering::SeqCst))
    }

    /// Claims a spare of those in the masks that `among` gives for each word.
    fn claim_spare(&self, among: impl Fn(usize) -> u64) -> Option<usize> {
        for (index, word) in self.asleep_spares.iter().enumerate() {
            loop {
                let seen = word.load(Ordering::SeqCst);
                let seen = if seen == 0 { 0 } else { seen & among(index) };
                if seen == 0 {
                    break;
                }
                let spare = self.workers + index * BITS + seen.trailing_zeros() as usize;
                if self.clear(spare) {
                    self.searching.fetch_add(1, Ordering::SeqCst);
                    return Some(spare);
                }
            }
        }
        None
    }

    fn clear(&self, worker: usize) -> bool {
        let (word, bit) = self.place(worker);
        word.load(Ordering::SeqCst) & bit != 0 && word.fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    fn place(&self, worker: usize) -> (&AtomicU64, u64) {
        match worker.checked_sub(self.workers) {
            None => (&self.asleep[worker / BITS], 1 << (worker % BITS)),
            Some(spare) => (&self.asleep_spares[spare / BITS], 1 << (spare % BITS)),
        }
    }
}

/// Which spares take part. These are for the [`roster`](crate::protocol::roster), under its lock.
impl Idle {
    pub(super) fn enrol(&self, spare: usize) {
        let (word, bit) = self.enrolled(spare);
        word.fetch_or(bit, Ordering::SeqCst);
        self.enrolled_count.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes it from a spare that is awake, by itself.
    pub(super) fn dismiss(&self, spare: usize) {
        let (word, bit) = self.enrolled(spare);
        word.fetch_and(!bit, Ordering::SeqCst);
        self.enrolled_count.fetch_sub(1, Ordering::SeqCst);
    }

    /// Takes it from one that sleeps, if there is one.
    pub(super) fn dismiss_sleeper(&self) -> Option<usize> {
        for (index, word) in self.enrolled.iter().enumerate() {
            let asleep = &self.asleep_spares[index];
            let mut left = word.load(Ordering::SeqCst) & asleep.load(Ordering::SeqCst);
            while left != 0 {
                let bit = 1 << left.trailing_zeros();
                left &= !bit;
                word.fetch_and(!bit, Ordering::SeqCst);
                if asleep.load(Ordering::SeqCst) & bit != 0 {
                    self.enrolled_count.fetch_sub(1, Ordering::SeqCst);
                    return Some(self.workers + index * BITS + bit.trailing_zeros() as usize);
                }
                word.fetch_or(bit, Ordering::SeqCst);
            }
        }
        None
    }

    pub(super) fn is_spare(&self, worker: usize) -> bool {
        worker >= self.workers
    }

    pub(super) fn is_enrolled(&self, spare: usize) -> bool {
        let (word, bit) = self.enrolled(spare);
        word.load(Ordering::SeqCst) & bit != 0
    }

    fn enrolled(&self, spare: usize) -> (&AtomicU64, u64) {
        let spare = spare - self.workers;
        (&self.enrolled[spare / BITS], 1 << (spare % BITS))
    }
}

/// Who watches when a worker that has slept gets busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Watcher {
    /// Somebody does already, or nobody need.
    NotNeeded,
    /// This one, which must be unparked.
    Claimed(usize),
    /// Nobody: all are busy.
    Missing,
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn at_most_half_search_by_choice() {
        let idle = Idle::new(4, 0, false);
        assert!(idle.start_search());
        assert!(idle.start_search());
        assert!(!idle.start_search());
        assert!(!idle.search_found());
        assert!(idle.search_found());
        assert!(Idle::new(1, 0, false).start_search());
    }

    #[test]
    fn a_push_claims_one_sleeper_and_none_while_somebody_searches() {
        let idle = Idle::new(130, 0, false);
        assert_eq!(idle.claim_for_work(|| false), None);
        idle.announce_sleep(3, false);
        idle.announce_sleep(129, false);
        assert_eq!(idle.claim_for_work(|| false), Some(3));
        assert_eq!(idle.claim_for_work(|| false), None);
        assert!(idle.search_found());
        assert_eq!(idle.claim_for_work(|| false), Some(129));
        assert!(!idle.retract_sleep(129));
    }

    #[test]
    fn one_watches_if_there_are_others() {
        let idle = Idle::new(3, 0, false);
        idle.announce_sleep(0, false);
        assert!(idle.begin_watch());
        assert_eq!(idle.claim_watcher(), Watcher::NotNeeded);
        idle.announce_sleep(1, false);
        assert!(!idle.begin_watch());
        assert!(idle.retract_sleep(0));
        idle.end_watch();
        assert_eq!(idle.claim_watcher(), Watcher::Claimed(1));
        assert_eq!(idle.claim_watcher(), Watcher::Missing);

        let alone = Idle::new(1, 0, false);
        assert!(!alone.begin_watch());
        assert_eq!(alone.claim_watcher(), Watcher::NotNeeded);
        assert!(Idle::new(1, 1, true).begin_watch());
    }

    #[test]
    fn a_sleeper_is_claimed_once() {
        let idle = Idle::new(2, 0, false);
        idle.announce_sleep(1, false);
        assert!(!idle.claim(0));
        assert!(idle.claim(1));
        assert!(!idle.claim(1));
        assert!(!idle.retract_sleep(1));
        idle.announce_sleep(0, false);
        assert!(idle.retract_sleep(0));
    }

    #[test]
    fn a_spare_is_claimed_for_work_while_it_is_enrolled_and_to_watch_anyhow() {
        const SPARE: usize = 3 + 64;
        let idle = Idle::new(3, 100, true);
        idle.announce_sleep(SPARE, false);
        assert_eq!(idle.claim_any(), None);
        idle.enrol(SPARE);
        assert_eq!(idle.claim_any(), Some(SPARE));
        assert_eq!(idle.dismiss_sleeper(), None);
        idle.announce_sleep(SPARE, false);
        assert_eq!(idle.dismiss_sleeper(), Some(SPARE));
        assert_eq!(idle.claim_any(), None);
        assert_eq!(idle.claim_watcher(), Watcher::Claimed(SPARE));
        idle.announce_sleep(SPARE, false);
        assert!(idle.claim(SPARE), "what is bound to it is its own to do");
    }
}

#[cfg(all(test, roving_loom))]
mod models;
