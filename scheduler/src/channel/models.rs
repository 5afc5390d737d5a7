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

/// At every moment at least one of the two has a message.
#[test]
fn a_select_that_does_not_wait_finds_what_is_there_at_each_moment() {
    loom::model(|| {
        let (one, two) = (unbounded(), unbounded());
        one.0.send(1).unwrap();
        let (to_two, from_one) = (two.0.clone(), one.1.clone());
        let other = thread::spawn(move || {
            to_two.send(2).unwrap();
            from_one.try_recv().ok()
        });
        let mut select = Select::new_biased();
        select.recv(&two.1);
        select.recv(&one.1);
        let operation = select.try_select().expect("one of them has a message");
        match operation.index() {
            0 => assert_eq!(operation.recv(&two.1), Ok(2)),
            _ => assert_eq!(operation.recv(&one.1), Ok(1)),
        }
        other.join().unwrap();
    });
}

/// Two have met a sender each: each gets the message of its own, and nobody that which it sends.
#[test]
fn a_meeting_is_between_two() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let (sender, receiver) = bounded(0);
        let (other_sender, other_receiver) = (sender.clone(), receiver.clone());
        let sends_and_receives = thread::spawn(move || {
            let mut select = Select::new_biased();
            select.send(&sender);
            select.select().send(&sender, 1).unwrap();
            drop(sender);
            receiver.recv()
        });
        let sends = thread::spawn(move || {
            let mut select = Select::new_biased();
            select.send(&other_sender);
            select.select().send(&other_sender, 2).unwrap();
        });
        let mut got: Vec<_> = other_receiver.recv().into_iter().collect();
        if got == [2] {
            got.extend(other_receiver.recv());
        }
        match sends_and_receives.join().unwrap() {
            Ok(other) => assert_eq!((other, &got[..]), (2, &[1][..])),
            Err(RecvError) => assert_eq!(got, [2, 1]),
        }
        sends.join().unwrap();
    });
}

/// The room of a promise whose message somebody has waited for is the next sender's.
#[test]
fn room_that_was_promised_and_not_used_is_given_on() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let (sender, receiver) = bounded(1);
        let (other_sender, other_receiver) = (sender.clone(), receiver.clone());
        let receives = thread::spawn(move || other_receiver.recv());
        let promises = thread::spawn(move || {
            let mut select = Select::new_biased();
            select.send(&sender);
            select.select().send(&sender, 1).unwrap();
        });
        other_sender.send(2).unwrap();
        promises.join().unwrap();
        let mut got = [receives.join().unwrap(), receiver.recv()].map(Result::unwrap);
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    });
}

/// What is not found because of a promise is known only when it is settled.
#[test]
fn full_and_then_empty_is_never_seen() {
    loom::model(|| {
        let (sender, receiver) = bounded(1);
        let other = {
            let (sender, receiver) = (sender.clone(), receiver.clone());
            thread::spawn(move || {
                let is_full = sender.try_send(2).is_err();
                let got = receiver.try_recv();
                assert!(!is_full || got == Ok(1), "the one who sent 1 was first");
            })
        };
        let mut select = Select::new_biased();
        select.send(&sender);
        if let Ok(operation) = select.try_select() {
            operation.send(&sender, 1).unwrap();
        }
        other.join().unwrap();
        drop(receiver);
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
