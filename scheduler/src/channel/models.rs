//! Channels and selects under the model checker: the real code, on loom's threads.

use loom::sync::Arc;
use loom::thread;

use super::{Receiver, RecvError, Select, Sender, bounded, unbounded};

fn sends(sender: Sender<u32>, messages: std::ops::Range<u32>) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let sent = messages.filter(|message| sender.send(*message).is_ok());
        sent.count()
    })
}

fn drain(receiver: &Receiver<u32>) -> Vec<u32> {
    receiver.iter().collect()
}

#[test]
fn every_message_is_received_before_the_disconnection() {
    loom::model(|| {
        let (sender, receiver) = unbounded();
        let other = sends(sender, 0..2);
        assert_eq!(drain(&receiver), [0, 1]);
        assert_eq!(receiver.recv(), Err(RecvError));
        assert_eq!(other.join().unwrap(), 2);
    });
}

#[test]
fn a_full_channel_blocks_until_there_is_room() {
    loom::model(|| {
        let (sender, receiver) = bounded(1);
        let other = sends(sender, 0..3);
        assert_eq!(drain(&receiver), [0, 1, 2]);
        assert_eq!(other.join().unwrap(), 3);
    });
}

#[test]
fn a_sender_that_is_blocked_learns_that_the_receiver_is_gone() {
    loom::model(|| {
        let (sender, receiver) = bounded(1);
        let other = sends(sender, 0..2);
        drop(receiver);
        assert!(other.join().unwrap() <= 1);
    });
}

#[test]
fn a_rendezvous_hands_over() {
    loom::model(|| {
        let (sender, receiver) = bounded(0);
        let other = sends(sender.clone(), 0..1);
        let another = sends(sender, 1..2);
        let mut got = drain(&receiver);
        got.sort_unstable();
        assert_eq!(got, [0, 1]);
        assert_eq!(other.join().unwrap() + another.join().unwrap(), 2);
    });
}

#[test]
fn a_select_takes_one_message_of_two() {
    loom::model(|| {
        let (one, two) = (unbounded(), unbounded());
        let (first, second) = (sends(one.0, 0..1), sends(two.0, 1..2));
        let mut select = Select::new_biased();
        select.recv(&one.1);
        select.recv(&two.1);
        let operation = select.select();
        let (taken, left) = match operation.index() {
            0 => (operation.recv(&one.1), two.1.recv()),
            _ => (operation.recv(&two.1), one.1.recv()),
        };
        let mut got = [taken.unwrap_or(9), left.unwrap_or(9)];
        got.sort_unstable();
        assert_eq!(got, [0, 1]);
        assert!(one.1.try_recv().is_err());
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn two_selects_meet_without_room() {
    loom::model(|| {
        let (sender, receiver) = bounded(0);
        let receiver = Arc::new(receiver);
        let other = thread::spawn(move || {
            let mut select = Select::new_biased();
            select.send(&sender);
            let operation = select.select();
            operation.send(&sender, 7).is_ok()
        });
        let mut select = Select::new_biased();
        select.recv(&receiver);
        let operation = select.select();
        assert_eq!(operation.recv(&receiver), Ok(7));
        assert!(other.join().unwrap());
    });
}
