//! A first-in, first-out list of those who wait, whose nodes lie on their stacks.
//!
//! A node is linked and unlinked under the lock of its list, in constant time wherever it is, and
//! without memory of its own. Whoever takes a node out to wake its owner does so before the
//! wake-up: once the owner's wait has ended it may return, and the node is gone.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomPinned;
use std::ptr;

/// See the [module](self).
pub(crate) struct List<T> {
    head: *const Node<T>,
    tail: *const Node<T>,
}

// SAFETY: the list owns none of its nodes; what it leads to is only touched by whoever has the list
// for himself, so it moves between threads as a `&mut` to `T` would.
unsafe impl<T: Send> Send for List<T> {}

/// One who waits.
pub(crate) struct Node<T> {
    pub(crate) value: T,
    previous: Cell<*const Node<T>>,
    next: Cell<*const Node<T>>,
    linked: Cell<bool>,
    _pinned: PhantomPinned,
}

impl<T> Node<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value,
            previous: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
            linked: Cell::new(false),
            _pinned: PhantomPinned,
        }
    }

    /// Gives the value of a node that is in no list.
    pub(crate) fn into_value(self) -> T {
        debug_assert!(!self.linked.get());
        self.value
    }
}

impl<T> List<T> {
    pub(crate) const fn new() -> Self {
        Self {
            head: ptr::null(),
            tail: ptr::null(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    /// Adds a node behind all others.
    ///
    /// # Safety
    ///
    /// The node is in no list, and stays where it is until it has been taken out of this one.
    pub(crate) unsafe fn push_back(&mut self, node: &Node<T>) {
        node.previous.set(self.tail);
        node.next.set(ptr::null());
        node.linked.set(true);
        // SAFETY: what is in the list is there, by the contract of the pushes.
        match unsafe { self.tail.as_ref() } {
            Some(tail) => tail.next.set(node),
            None => self.head = node,
        }
        self.tail = node;
    }

    /// Adds a node before all others.
    ///
    /// # Safety
    ///
    /// That of [`push_back`](Self::push_back).
    pub(crate) unsafe fn push_front(&mut self, node: &Node<T>) {
        node.previous.set(ptr::null());
        node.next.set(self.head);
        node.linked.set(true);
        // SAFETY: as in `push_back`.
        match unsafe { self.head.as_ref() } {
            Some(head) => head.previous.set(node),
            None => self.tail = node,
        }
        self.head = node;
    }

    /// Takes a node out. `false` if it was out already.
    ///
    /// # Safety
    ///
    /// The node is in this list or in none.
    pub(crate) unsafe fn remove(&mut self, node: &Node<T>) -> bool {
        if !node.linked.replace(false) {
            return false;
        }
        let (previous, next) = (node.previous.get(), node.next.get());
        // SAFETY: the neighbours are in the list, so they are there.
        match unsafe { previous.as_ref() } {
            Some(previous) => previous.next.set(next),
            None => self.head = next,
        }
        // SAFETY: as above.
        match unsafe { next.as_ref() } {
            Some(next) => next.previous.set(previous),
            None => self.tail = previous,
        }
        true
    }

    /// The nodes, first to last. The list does not change meanwhile.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Node<T>> {
        let mut next = self.head;
        std::iter::from_fn(move || {
            // SAFETY: what is in the list is there, and stays while the list is borrowed.
            let node = unsafe { next.as_ref() }?;
            next = node.next.get();
            Some(node)
        })
    }

    /// Takes the first node out that `is_wanted`, and lends it. It is there as long as its owner's
    /// wait has not ended.
    pub(crate) fn take_first(&mut self, is_wanted: impl Fn(&T) -> bool) -> Option<&Node<T>> {
        let found: *const Node<T> = self.iter().find(|node| is_wanted(&node.value))?;
        // SAFETY: it was found in this list.
        unsafe {
            self.remove(&*found);
            Some(&*found)
        }
    }
}

impl<T> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List")
            .field("len", &self.iter().count())
            .finish()
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    fn values(list: &List<u32>) -> Vec<u32> {
        list.iter().map(|node| node.value).collect()
    }

    #[test]
    fn nodes_come_and_go_at_both_ends_and_in_the_middle() {
        let nodes: Vec<_> = (0..5).map(Node::new).collect();
        let mut list = List::new();
        assert!(list.is_empty());
        // SAFETY: the nodes outlive the list and are each in it once.
        unsafe {
            list.push_back(&nodes[1]);
            list.push_back(&nodes[2]);
            list.push_front(&nodes[0]);
            list.push_back(&nodes[3]);
            assert_eq!(values(&list), [0, 1, 2, 3]);
            assert!(list.remove(&nodes[2]));
            assert!(!list.remove(&nodes[2]));
            assert!(!list.remove(&nodes[4]));
            assert_eq!(values(&list), [0, 1, 3]);
            assert!(list.remove(&nodes[3]));
            assert!(list.remove(&nodes[0]));
            list.push_back(&nodes[2]);
            assert_eq!(values(&list), [1, 2]);
        }
        assert_eq!(list.take_first(|value| *value == 2).unwrap().value, 2);
        assert!(list.take_first(|value| *value == 2).is_none());
        assert_eq!(list.take_first(|_| true).unwrap().value, 1);
        assert!(list.is_empty());
    }
}
