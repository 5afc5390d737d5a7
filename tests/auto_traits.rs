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

/// Neither more nor less: what std keeps on its thread, ours keeps there.
macro_rules! equal {
    ($($ours:ty: $theirs:ty;)*) => {
        $(assert_eq!(traits!($ours), traits!($theirs), stringify!($ours));)*
    };
}

#[test]
fn locks_are_those_of_std() {
    use roving::sync as ours;
    use std::sync as theirs;
    equal! {
        ours::Mutex<u8>: theirs::Mutex<u8>;
        ours::Mutex<Cell<u8>>: theirs::Mutex<Cell<u8>>;
        ours::Mutex<*const u8>: theirs::Mutex<*const u8>;
        ours::MutexGuard<'static, u8>: theirs::MutexGuard<'static, u8>;
        ours::MutexGuard<'static, Cell<u8>>: theirs::MutexGuard<'static, Cell<u8>>;
        ours::RwLock<u8>: theirs::RwLock<u8>;
        ours::RwLock<Cell<u8>>: theirs::RwLock<Cell<u8>>;
        ours::RwLockReadGuard<'static, u8>: theirs::RwLockReadGuard<'static, u8>;
        ours::RwLockWriteGuard<'static, u8>: theirs::RwLockWriteGuard<'static, u8>;
        ours::RwLockWriteGuard<'static, Cell<u8>>: theirs::RwLockWriteGuard<'static, Cell<u8>>;
        ours::Condvar: theirs::Condvar;
        ours::Barrier: theirs::Barrier;
        ours::Once: theirs::Once;
        ours::OnceLock<u8>: theirs::OnceLock<u8>;
        ours::OnceLock<Cell<u8>>: theirs::OnceLock<Cell<u8>>;
        ours::LazyLock<u8>: theirs::LazyLock<u8>;
        ours::LazyLock<Cell<u8>>: theirs::LazyLock<Cell<u8>>;
        ours::mpsc::Sender<u8>: theirs::mpsc::Sender<u8>;
        ours::mpsc::SyncSender<u8>: theirs::mpsc::SyncSender<u8>;
        ours::mpsc::Receiver<u8>: theirs::mpsc::Receiver<u8>;
        ours::mpsc::Sender<*const u8>: theirs::mpsc::Sender<*const u8>;
        ours::mpsc::Receiver<*const u8>: theirs::mpsc::Receiver<*const u8>;
    }
}

/// A guard of a task is sent where a reference to the data may be, and shared as that of a thread is.
#[test]
fn guards_of_tasks_are_sent_with_what_they_lead_to() {
    use roving::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard, TaskGuard};
    type Mine<T> = TaskGuard<MutexGuard<'static, T>>;
    type Reading<T> = TaskGuard<RwLockReadGuard<'static, T>>;
    type Writing<T> = TaskGuard<RwLockWriteGuard<'static, T>>;
    // One is `Send` and not `Sync`, the other `Sync` and not `Send`, the last neither.
    type Sent = Cell<u8>;
    type Shared = std::sync::MutexGuard<'static, u8>;
    type Neither = *const u8;
    assert!(has!(Mine<Sent>, Send) && !has!(Mine<Shared>, Send) && !has!(Mine<Neither>, Send));
    assert!(!has!(Reading<Sent>, Send) && has!(Reading<Shared>, Send));
    assert!(!has!(Reading<Neither>, Send) && has!(Reading<u8>, Send));
    assert!(!has!(Writing<Sent>, Send) && !has!(Writing<Shared>, Send));
    assert!(!has!(Writing<Neither>, Send) && has!(Writing<u8>, Send));
    assert!(!has!(Mine<Sent>, Sync) && has!(Mine<Shared>, Sync));
    assert!(!has!(Reading<Sent>, Sync) && has!(Reading<Shared>, Sync));
    assert!(!has!(Writing<Sent>, Sync) && has!(Writing<Shared>, Sync));
}

#[test]
fn scopes_are_like_those_of_std() {
    at_least! {
        roving::thread::Scope<'static, 'static>: std::thread::Scope<'static, 'static>;
        roving::thread::ScopedJoinHandle<'static, u8>: std::thread::ScopedJoinHandle<'static, u8>;
    }
}

#[test]
fn sockets_are_like_those_of_std() {
    at_least! {
        roving::net::TcpStream: std::net::TcpStream;
        roving::net::UdpSocket: std::net::UdpSocket;
        roving::net::TcpListener: std::net::TcpListener;
        roving::net::Incoming<'static>: std::net::Incoming<'static>;
        roving::os::unix::net::UnixStream: std::os::unix::net::UnixStream;
        roving::os::unix::net::UnixListener: std::os::unix::net::UnixListener;
        roving::os::unix::net::UnixDatagram: std::os::unix::net::UnixDatagram;
        roving::os::unix::net::Incoming<'static>: std::os::unix::net::Incoming<'static>;
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
    assert_eq!(traits!(roving_scheduler::wait::Polled), everything);
    assert_eq!(
        traits!(roving::io::Async<roving::net::TcpStream>),
        everything
    );
}

#[test]
fn futures_go_where_what_they_carry_may() {
    use roving::channel::{Ready, RecvFuture, SelectFuture, SendFuture};
    use roving::thread::{JoinFuture, ScopedJoinFuture};
    macro_rules! go {
        ($($type:ty: $goes:literal;)*) => {
            $(assert_eq!(has!($type, Send), $goes, stringify!($type));)*
        };
    }
    go! {
        JoinFuture<u8>: true;
        ScopedJoinFuture<'static, u8>: true;
        roving::OnWarmStack<std::future::Ready<u8>>: true;
        roving::OnWarmStack<std::future::Ready<*const u8>>: false;
        Ready<'static, roving::CancelToken>: true;
        Ready<'static, roving::net::TcpStream>: true;
        RecvFuture<'static, u8>: true;
        RecvFuture<'static, *const u8>: false;
        SelectFuture<std::future::Ready<u8>>: true;
        SelectFuture<std::future::Ready<*const u8>>: false;
        SendFuture<'static, u8>: true;
        SendFuture<'static, *const u8>: false;
        roving::sync::SemaphorePermit<'static>: true;
        roving::time::Sleep: true;
    }
}

/// What `greenly` runs goes to another OS thread with its thread-locals, where it can have some.
#[test]
fn what_greenly_runs_goes_where_its_thread_locals_go() {
    let may_have_its_own = cfg!(all(
        target_os = "linux",
        target_env = "gnu",
        any(target_arch = "x86_64", target_arch = "aarch64"),
        not(target_feature = "crt-static")
    ));
    assert_eq!(has!(roving::Greenly<u8>, Send), may_have_its_own);
}

#[test]
fn coroutines_stay_on_their_thread() {
    use roving::coroutine::{Coroutine, Delivery, Generator, Peer, Scope, Transfer, Yielder};
    macro_rules! stay {
        ($($type:ty)*) => {
            $(assert!(!has!($type, Send) && !has!($type, Sync), stringify!($type));)*
        };
    }
    stay! {
        Coroutine<'static, (), (), ()>
        Delivery<'static, ()>
        Generator<'static, ()>
        Peer<'static, (), ()>
        Scope<'static, 'static>
        Transfer<'static, 'static, (), ()>
        Yielder<(), ()>
    }
}

/// A wait belongs to the thread that began it.
#[test]
fn a_wait_stays_on_its_thread() {
    assert!(!has!(roving_scheduler::wait::Wait, Send));
    assert!(!has!(roving_scheduler::wait::Wait, Sync));
}
