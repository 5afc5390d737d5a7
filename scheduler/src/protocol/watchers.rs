//! Those who want to be told of one event, any number of them, each of whom may change his mind.
//!
//! Whoever watches gets a key, which takes back what he left and nothing else: keys are never used
//! again. What is left and taken back here is dropped by the caller, outside the lock.
//!
//! **No event is missed** if the one who makes it happen does so first and then takes all, and the
//! one who waits for it first watches and then looks whether it has happened: of the two, the one
//! who comes to the lock later sees what the other did before.

use std::collections::BTreeMap;
use std::fmt;

use super::primitive::Mutex;

/// See the [module](self). `T` is what tells one of them.
pub(crate) struct Watchers<T>(Mutex<Kept<T>>);

struct Kept<T> {
    next: u64,
    /// In the order in which they came. It takes memory only while somebody is there.
    by_key: BTreeMap<u64, T>,
}

/// The place of one who watches.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl<T> Watchers<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Kept {
            next: 0,
            by_key: BTreeMap::new(),
        }))
    }

    pub(crate) fn add(&self, watcher: T) -> Key {
        let mut kept = self.0.lock();
        let key = kept.next;
        kept.next += 1;
        kept.by_key.insert(key, watcher);
        Key(key)
    }

    /// Takes one back, unless it has been taken with all.
    pub(crate) fn remove(&self, key: &Key) -> Option<T> {
        self.0.lock().by_key.remove(&key.0)
    }

    pub(crate) fn take_all(&self) -> impl Iterator<Item = T> + use<T> {
        let all = std::mem::take(&mut self.0.lock().by_key);
        all.into_values()
    }
}

impl<T> fmt::Debug for Watchers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchers")
            .field("len", &self.0.lock().by_key.len())
            .finish()
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_key_takes_back_one_and_never_another() {
        let watchers = Watchers::new();
        let (one, two) = (watchers.add('a'), watchers.add('b'));
        assert_eq!(watchers.remove(&one), Some('a'));
        assert_eq!(watchers.remove(&one), None);
        assert_eq!(watchers.take_all().collect::<Vec<_>>(), ['b']);
        let three = watchers.add('c');
        assert_eq!(watchers.remove(&two), None);
        assert_eq!(watchers.remove(&three), Some('c'));
    }
}
