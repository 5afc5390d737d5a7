//! What selects are promised, until they have done what was selected.

/// What a select has been given for one of its operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::channel) enum Claim {
    /// A message, which has left the queue or its sender, and is the select's.
    Message(Key),
    /// A place in the queue.
    Room,
    /// Without capacity: somebody of the other side. The one who sends brings a message, the one who
    /// receives waits for it.
    Meeting(Key),
    /// The operation will find that the other side is gone.
    Disconnected,
}

/// Which promise it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::channel) struct Key(usize);

/// The promises that are kept in a channel, each until it is taken. A place is used again only then.
pub(super) struct Promises<P> {
    places: Vec<Place<P>>,
    /// The place that was left last.
    free: Option<usize>,
    taken: usize,
}

enum Place<P> {
    Taken(P),
    /// The place that was left before this one.
    Free(Option<usize>),
}

impl<P> Promises<P> {
    /// So many places are kept for the next ones.
    const KEPT: usize = 16;

    pub(super) const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: None,
            taken: 0,
        }
    }

    pub(super) fn insert(&mut self, promise: P) -> Key {
        self.taken += 1;
        let Some(place) = self.free else {
            self.places.push(Place::Taken(promise));
            return Key(self.places.len() - 1);
        };
        match std::mem::replace(&mut self.places[place], Place::Taken(promise)) {
            Place::Free(before) => self.free = before,
            Place::Taken(_) => unreachable!("a free place is not taken"),
        }
        Key(place)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> &mut P {
        match &mut self.places[key.0] {
            Place::Taken(promise) => promise,
            Place::Free(_) => unreachable!("a promise is there until it is taken"),
        }
    }

    pub(super) fn take(&mut self, key: Key) -> P {
        let left = std::mem::replace(&mut self.places[key.0], Place::Free(self.free));
        self.free = Some(key.0);
        self.taken -= 1;
        if self.taken == 0 && self.places.len() > Self::KEPT {
            *self = Self::new();
        }
        match left {
            Place::Taken(promise) => promise,
            Place::Free(_) => unreachable!("a promise is there until it is taken"),
        }
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_and_given_back() {
        let mut promises = Promises::new();
        let keys: Vec<_> = (0..100).map(|n| promises.insert(n)).collect();
        *promises.get_mut(keys[7]) += 100;
        assert_eq!(promises.take(keys[7]), 107);
        assert_eq!(promises.take(keys[50]), 50);
        assert_eq!(promises.insert(1), keys[50]);
        assert_eq!(promises.insert(2), keys[7]);
        assert_eq!(promises.places.len(), 100);
        for key in keys {
            promises.take(key);
        }
        assert_eq!(promises.places.capacity(), 0);
    }
}
