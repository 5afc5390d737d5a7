//! Roving: green threads.

super::work::channels!(
    roving::thread,
    roving::channel::bounded,
    roving::channel::unbounded
);
super::work::selects!(roving::thread, roving::channel);

pub(crate) mod locks {
    use super::super::work;
    work::locks!(roving::thread, roving::sync);
}

/// A tree of green threads that adds up the numbers of its leaves.
pub(crate) fn skynet(count: usize) -> f64 {
    fn node(first: usize, size: usize) -> usize {
        if size == 1 {
            return first;
        }
        let (sender, receiver) = bounded(10);
        for child in 0..10 {
            let sender = sender.clone();
            thread::spawn(move || {
                sender
                    .send(node(first + child * (size / 10), size / 10))
                    .unwrap()
            });
        }
        drop(sender);
        receiver.iter().sum()
    }
    let whole = count * (count - 1) / 2;
    // The first tree gets the memory from the system.
    assert_eq!(node(0, count), whole);
    let start = Instant::now();
    assert_eq!(node(0, count), whole);
    each(start, count)
}
