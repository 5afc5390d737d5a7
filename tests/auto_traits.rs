//! Which threads a value may move to, and whether it may be used after a panic: no less than with
//! the types of std that are mirrored.

use std::cell::Cell;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// Whether a type has a trait. An inherent constant, if its bounds hold, comes before one of a
/// trait.
macro_rules! has {
    ($type:ty, $trait:path) => {{
        struct Probe<T>(PhantomData<T>);
        #[allow(dead_code)]
        trait Otherwise {
            const HAS: bool = false;
        }
        impl<T> Otherwise for Probe<T> {}
        #[allow(dead_code)]
        impl<T: $trait> Probe<T> {
            const HAS: bool = true;
        }
        <Probe<$type>>::HAS
    }};
}

/// Send, Sync, Unpin, UnwindSafe, RefUnwindSafe.
macro_rules! traits {
    ($type:ty) => {
        [
            has!($type, Send),
            has!($type, Sync),
            has!($type, Unpin),
            has!($type, UnwindSafe),
            has!($type, RefUnwindSafe),
        ]
    };
}

/// What a type of std has, ours has too.
macro_rules! at_least {
    ($($ours:ty: $theirs:ty;)*) => {
        $(
            for (ours, theirs) in traits!($ours).into_iter().zip(traits!($theirs)) {
                assert!(ours || !theirs, stringify!($ours));
            }
        )*
    };
}

#[test]
fn the_probe_tells_the_difference() {
    assert_eq!(traits!(u8), [true; 5]);
    assert_eq!(traits!(Cell<u8>), [true, false, true, true, false]);
    assert_eq!(
        traits!(std::sync::MutexGuard<'static, u8>),
        [false, true, true, true, true]
    );
    assert_eq!(traits!(&'static mut u8), [true, true, true, false, true]);
    assert_eq!(
        traits!(std::marker::PhantomPinned),
        [true, true, false, true, true]
    );
}

#[test]
fn threads_are_like_those_of_std() {
    at_least! {
        roving::thread::JoinHandle<()>: std::thread::JoinHandle<()>;
        roving::thread::JoinHandle<Cell<u8>>: std::thread::JoinHandle<Cell<u8>>;
        roving::thread::JoinHandle<&'static mut u8>: std::thread::JoinHandle<&'static mut u8>;
        roving::thread::Thread: std::thread::Thread;
        roving::thread::ThreadId: std::thread::ThreadId;
        roving::thread::Builder: std::thread::Builder;
    }
}

#[test]
fn sockets_are_like_those_of_std() {
    at_least! {
        roving::net::TcpStream: std::net::TcpStream;
        roving::net::TcpListener: std::net::TcpListener;
        roving::net::Incoming<'static>: std::net::Incoming<'static>;
    }
}

#[test]
fn what_std_has_not_may_go_everywhere() {
    let everything = [true; 5];
    assert_eq!(traits!(roving::Runtime), everything);
    assert_eq!(traits!(roving::Handle), everything);
    assert_eq!(traits!(roving::Builder), everything);
    assert_eq!(traits!(roving::RuntimeId), everything);
    assert_eq!(traits!(roving::ShutdownTimedOut), everything);
    assert_eq!(traits!(roving::ThreadLocals), everything);
    assert_eq!(traits!(roving::Cancelled), everything);
    assert_eq!(traits!(roving_scheduler::wait::Ticket), everything);
}

/// A wait belongs to the thread that began it.
#[test]
fn a_wait_stays_on_its_thread() {
    assert!(!has!(roving_scheduler::wait::Wait, Send));
    assert!(!has!(roving_scheduler::wait::Wait, Sync));
}
