//! What grows in a burst goes back: queues give up memory that they have not used for long.
//!
//! A queue is shrunk when it is down to an eighth of what it could hold, to a quarter of it. Then half
//! of the rest is free, and as much again must be taken out before it is shrunk once more: each
//! message pays for a part of a move, and a stream that is steady never moves. What is small is left
//! alone.

use std::collections::VecDeque;

/// So many bytes may lie unused.
const SMALL: usize = 16 * 1024;

/// Gives memory back, if much is unused. Called when something has been taken out.
#[inline]
pub(crate) fn shrink_queue<T>(queue: &mut VecDeque<T>) {
    let capacity = queue.capacity();
    let is_small = size_of::<T>() == 0 || capacity <= SMALL / size_of::<T>();
    if !is_small && queue.len() < capacity / 8 {
        shrink(queue);
    }
}

#[cold]
fn shrink<T>(queue: &mut VecDeque<T>) {
    queue.shrink_to(queue.capacity() / 4);
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_grew_in_a_burst_goes_back() {
        let mut queue: VecDeque<[u8; 64]> = VecDeque::new();
        (0..100_000).for_each(|_| queue.push_back([0; 64]));
        while queue.pop_front().is_some() {
            shrink_queue(&mut queue);
        }
        assert!(queue.capacity() * 64 <= SMALL, "{}", queue.capacity());
    }

    #[test]
    fn a_steady_stream_does_not_move() {
        let mut queue = VecDeque::new();
        (0..10_000).for_each(|n| queue.push_back(n));
        let capacity = queue.capacity();
        for n in 10_000..100_000 {
            queue.push_back(n);
            queue.pop_front();
            shrink_queue(&mut queue);
            assert_eq!(queue.capacity(), capacity);
        }
    }

    #[test]
    fn what_is_small_is_left_alone() {
        let mut queue: VecDeque<u8> = (0..100).collect();
        while queue.pop_front().is_some() {
            shrink_queue(&mut queue);
        }
        assert!(queue.capacity() >= 100);
    }

    #[test]
    fn what_takes_no_memory_gives_none_back() {
        let mut queue = VecDeque::from([(), ()]);
        queue.pop_front();
        shrink_queue(&mut queue);
        assert_eq!(queue.len(), 1);
    }
}
