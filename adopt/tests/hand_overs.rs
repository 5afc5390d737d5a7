//! For what does not wait, no worker is handed over, in a program that is adopted.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use common::{in_adopted_programs, or_error};
use roving_scheduler::Handle;

/// What `f` gives, during which this program hands no worker over.
fn without_hand_overs<T>(f: impl FnOnce() -> T) -> T {
    let hand_overs = || Handle::current().unwrap().metrics().hand_overs;
    let before = hand_overs();
    let given = f();
    assert_eq!(hand_overs() - before, 0);
    given
}

fn counter() -> OwnedFd {
    // SAFETY: it makes a descriptor, which is owned by what is given.
    unsafe {
        let fd = or_error(libc::eventfd(0, libc::EFD_NONBLOCK)).unwrap();
        OwnedFd::from_raw_fd(fd as RawFd)
    }
}

/// As pollers do that are to be woken.
#[test]
fn counters_that_do_not_block() {
    in_adopted_programs("counters_that_do_not_block", || {
        let counter = counter();
        let fd = counter.as_raw_fd();
        let add = |number: u64| {
            // SAFETY: it is there to be read.
            or_error(unsafe { libc::write(fd, (&raw const number).cast(), 8) } as i64)
        };
        let take = || {
            let mut number = 0_u64;
            // SAFETY: there is room for it.
            let taken = unsafe { libc::read(fd, (&raw mut number).cast(), 8) };
            or_error(taken as i64).map(|_| number)
        };
        without_hand_overs(|| {
            for _ in 0..100 {
                assert_eq!(add(1), Ok(8));
            }
            assert_eq!(take(), Ok(100));
            assert_eq!(take(), Err(libc::EAGAIN));
            assert_eq!(add(u64::MAX - 1), Ok(8));
            assert_eq!(add(1), Err(libc::EAGAIN));
        });
    });
}

#[test]
fn connections() {
    in_adopted_programs("connections", || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let made = without_hand_overs(|| [(); 20].map(|()| TcpStream::connect(address).unwrap()));
        for mut stream in made {
            let (mut other, _) = listener.accept().unwrap();
            stream.write_all(b"x").unwrap();
            let mut byte = [0];
            other.read_exact(&mut byte).unwrap();
        }
        let again = TcpStream::connect(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let blocks = without_hand_overs(|| {
            let (_, from) = listener.accept().unwrap();
            assert_eq!(from, again.local_addr().unwrap());
            listener.accept().unwrap_err()
        });
        assert_eq!(blocks.kind(), ErrorKind::WouldBlock);
        drop(listener);
        without_hand_overs(|| {
            for _ in 0..20 {
                let refused = TcpStream::connect(address).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            }
        });
    });
}
