//! What selects are promised, until they have done what was selected.

use slab::Slab;

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

/// The promises that are kept in a channel, each until it is taken. A key is used again only then.
pub(super) struct Promises<P>(Slab<P>);

impl<P> Promises<P> {
    /// So many places are kept for the next ones.
    const KEPT: usize = 16;

    pub(super) const fn new() -> Self {
        Self(Slab::new())
    }

    pub(super) fn insert(&mut self, promise: P) -> Key {
        Key(self.0.insert(promise))
    }

    pub(super) fn get_mut(&mut self, key: Key) -> &mut P {
        &mut self.0[key.0]
    }

    pub(super) fn take(&mut self, key: Key) -> P {
        let promise = self.0.remove(key.0);
        if self.0.is_empty() && self.0.capacity() > Self::KEPT {
            self.0 = Slab::new();
        }
        promise
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_back_with_the_last() {
        let mut promises = Promises::new();
        let keys: Vec<_> = (0..100).map(|n| promises.insert(n)).collect();
        *promises.get_mut(keys[7]) += 100;
        let sum: i32 = keys.into_iter().map(|key| promises.take(key)).sum();
        assert_eq!(sum, 99 * 50 + 100);
        assert_eq!(promises.0.capacity(), 0);
    }
}
