//! Any descriptor that tells when it is ready: events, timers, changes of folders, netlink, terminals, epoll in epoll.
//!
//! - each is read when something comes, by green threads, OS threads and futures, in either mode of the descriptor
//! - what is of priority
//! - whatever happens to the descriptor itself, nobody waits for another one
//! - several who wait, cancellations, deadlines, select; what cannot be watched
#![cfg(target_os = "linux")]

mod common;
#[path = "../scheduler/tests/common/executors.rs"]
mod executors;

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::terminal::terminal;
use common::{connection, each_worker_count, everywhere, on_each_mode, on_each_worker_count};
use executors::in_each_executor;
use roving::channel::after;
use roving::io::Watched;
use roving::{Cancelled, deadline, go, select, thread};

/// What a system call gives, if it gives no error.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// A descriptor that a system call has just made.
fn made(fd: libc::c_int) -> File {
    // SAFETY: it is new, and nobody else has it.
    unsafe { File::from_raw_fd(checked(fd).unwrap()) }
}

fn eventfd(flags: libc::c_int) -> File {
    // SAFETY: it takes no pointer.
    made(unsafe { libc::eventfd(0, flags | libc::EFD_CLOEXEC) })
}

fn add(events: &File, count: u64) {
    (&*events).write_all(&count.to_ne_bytes()).unwrap();
}

fn take(events: &Watched<File>) -> u64 {
    let mut count = [0; 8];
    assert_eq!(events.read_with(|mut it| it.read(&mut count)).unwrap(), 8);
    u64::from_ne_bytes(count)
}

fn timer(after: Duration) -> File {
    // SAFETY: it takes no pointer.
    let timer = made(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK) });
    let when = libc::itimerspec {
        it_interval: libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: libc::timespec {
            tv_sec: after.as_secs().try_into().unwrap(),
            tv_nsec: after.subsec_nanos().into(),
        },
    };
    // SAFETY: it reads one `itimerspec`.
    let set = unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &when, std::ptr::null_mut()) };
    checked(set).unwrap();
    timer
}

#[test]
fn events_in_both_modes() {
    for flags in [libc::EFD_NONBLOCK, 0] {
        everywhere(|| {
            let events = Watched::new(eventfd(flags)).unwrap();
            let tells = events.get_ref().try_clone().unwrap();
            let adds = std::thread::spawn(move || {
                for count in 1..=20 {
                    add(&tells, count);
                    std::thread::yield_now();
                }
            });
            let mut sum = 0;
            while sum < 210 {
                sum += take(&events);
            }
            adds.join().unwrap();
            assert_eq!(sum, 210);
        });
        // Nothing keeps a worker: the one that waits and the one that it waits for share it.
        on_each_worker_count(|| {
            let events = Arc::new(Watched::new(eventfd(flags)).unwrap());
            let waits = events.clone();
            let taker = go!(move || take(&waits));
            thread::yield_now();
            add(events.get_ref(), 7);
            assert_eq!(taker.join().unwrap(), 7);
            // No room to write.
            add(events.get_ref(), u64::MAX - 1);
            let waits = events.clone();
            let writer = go!(move || waits
                .write_with(|mut it| it.write(&1u64.to_ne_bytes()))
                .unwrap());
            thread::yield_now();
            assert_eq!(take(&events), u64::MAX - 1);
            assert_eq!(writer.join().unwrap(), 8);
            assert_eq!(take(&events), 1);
        });
    }
}

#[test]
fn timers() {
    everywhere(|| {
        let timer = Watched::new(timer(Duration::from_millis(2))).unwrap();
        timer.wait_readable().unwrap();
        assert_eq!(take(&timer), 1);
    });
}

#[test]
fn changes_of_a_folder() {
    let folder = std::env::temp_dir().join(format!("roving-watched-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    everywhere(|| {
        // SAFETY: it takes no pointer.
        let inotify = made(unsafe { libc::inotify_init1(libc::IN_NONBLOCK) });
        let path = std::ffi::CString::new(folder.as_os_str().as_encoded_bytes()).unwrap();
        // SAFETY: the path ends with a zero.
        let watch =
            unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), libc::IN_CREATE) };
        checked(watch).unwrap();
        let mut inotify = Watched::new(inotify).unwrap();
        let file = folder.join("new");
        let creates = std::thread::spawn({
            let file = file.clone();
            move || File::create(file).unwrap()
        });
        let mut event = [0; 300];
        let read = inotify.read(&mut event).unwrap();
        assert!(event[..read].windows(3).any(|name| name == b"new"));
        creates.join().unwrap();
        std::fs::remove_file(file).unwrap();
    });
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn netlink() {
    everywhere(|| {
        let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: it takes no pointer.
        let socket = made(unsafe { libc::socket(libc::AF_NETLINK, flags, libc::NETLINK_ROUTE) });
        let socket = Watched::new(socket).unwrap();
        // Length, kind (a dump of the links), flags (a request for a dump), number, from whom; the family, and no more.
        let mut request = Vec::new();
        request.extend(20u32.to_ne_bytes());
        request.extend(18u16.to_ne_bytes());
        request.extend(0x301u16.to_ne_bytes());
        request.extend([0; 12]);
        let waits = std::thread::scope(|scope| {
            let reads = scope.spawn(|| socket.read_with(|mut it| it.read(&mut [0; 1 << 16])));
            assert_eq!(socket.write_with(|mut it| it.write(&request)).unwrap(), 20);
            reads.join().unwrap()
        });
        assert!(waits.unwrap() >= 16);
    });
}

#[test]
fn a_terminal() {
    on_each_mode(|| {
        let (master, slave) = terminal();
        let mut master = Watched::new(master).unwrap();
        let mut slave = Watched::new(File::from(slave)).unwrap();
        let types = go!(move || {
            thread::yield_now();
            master.write_all(b"typed\n").unwrap();
            let mut shown = [0; 14];
            master.read_exact(&mut shown).unwrap();
            assert_eq!(&shown, b"typed\r\nsaid\r\n\r"[..].as_ref());
        });
        let mut typed = [0; 6];
        slave.read_exact(&mut typed).unwrap();
        assert_eq!(&typed, b"typed\n");
        slave.write_all(b"said\n\n").unwrap();
        types.join().unwrap();
    });
}

#[test]
fn another_epoll() {
    everywhere(|| {
        // SAFETY: it takes no pointer.
        let epoll = made(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) });
        let events = eventfd(libc::EFD_NONBLOCK);
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: 42,
        };
        // SAFETY: it reads one event.
        let added = unsafe {
            libc::epoll_ctl(
                epoll.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                events.as_raw_fd(),
                &mut event,
            )
        };
        checked(added).unwrap();
        let epoll = Watched::new(epoll).unwrap();
        let tells = std::thread::spawn(move || {
            std::thread::yield_now();
            add(&events, 1);
            events
        });
        let seen = epoll.read_with(|epoll| {
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            // SAFETY: it writes one event, and does not wait.
            match checked(unsafe { libc::epoll_wait(epoll.as_raw_fd(), &mut event, 1, 0) })? {
                0 => Err(ErrorKind::WouldBlock.into()),
                _ => Ok(event.u64),
            }
        });
        assert_eq!(seen.unwrap(), 42);
        tells.join().unwrap();
    });
}

fn send_urgent(socket: &impl AsRawFd) {
    // SAFETY: it reads one byte.
    let sent = unsafe { libc::send(socket.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
    assert_eq!(sent, 1);
}

#[test]
fn urgent_data_is_of_priority() {
    everywhere(|| {
        let (near, far) = connection();
        let near = Watched::new(near).unwrap();
        // Data that is not urgent does not end the wait.
        (&far).write_all(b"calm").unwrap();
        let idle = select! {
            ready(near.priority()) => false,
            recv(after(Duration::from_millis(1))) -> _ => true,
        };
        assert!(idle);
        let sends = std::thread::spawn(move || {
            std::thread::yield_now();
            send_urgent(&far);
            far
        });
        near.wait_priority().unwrap();
        select! { ready(near.priority()) => {} }
        sends.join().unwrap();
    });
}

#[test]
fn the_descriptor_is_closed_behind_its_back() {
    each_worker_count(|runtime| {
        let mut watched = Watched::new(eventfd(libc::EFD_NONBLOCK)).unwrap();
        let tells = watched.get_ref().try_clone().unwrap();
        // Registers it.
        let late = runtime.run(|| deadline(Duration::from_millis(1), || watched.wait_readable()));
        assert!(late.is_err() || late.is_ok_and(|result| result.is_err()));
        let number = watched.as_raw_fd();
        *watched.get_mut() = eventfd(libc::EFD_NONBLOCK);
        // Most probably it has the number of the one that is closed.
        let neighbour = Arc::new(Watched::new(eventfd(libc::EFD_NONBLOCK)).unwrap());
        let waits = neighbour.clone();
        let waits = runtime.spawn(move || take(&waits));
        runtime.run(thread::yield_now);
        // It still waits for what was watched, and takes nothing of the neighbour's along when it goes.
        add(&tells, 1);
        runtime.run(|| watched.wait_readable()).unwrap();
        drop(watched);
        add(neighbour.get_ref(), 5);
        assert_eq!(waits.join().unwrap(), 5, "{number}");
    });
}

#[test]
fn many_wait_for_one() {
    each_worker_count(|runtime| {
        let events =
            Arc::new(Watched::new(eventfd(libc::EFD_NONBLOCK | libc::EFD_SEMAPHORE)).unwrap());
        let green: Vec<_> = (0..20)
            .map(|_| {
                let events = events.clone();
                runtime.spawn(move || take(&events))
            })
            .collect();
        let waits = events.clone();
        let plain = std::thread::spawn(move || take(&waits));
        for _ in 0..3 {
            add(events.get_ref(), 7);
        }
        for handle in green {
            assert_eq!(handle.join().unwrap(), 1);
        }
        assert_eq!(plain.join().unwrap(), 1);
    });
}

#[test]
fn waits_end_early() {
    on_each_mode(|| {
        let events = Arc::new(Watched::new(eventfd(libc::EFD_NONBLOCK)).unwrap());
        let late = deadline(Duration::from_millis(1), || events.wait_readable());
        assert!(late.is_err() || late.is_ok_and(|result| result.is_err()));
        let waits = events.clone();
        let waits = go!(move || loop {
            let _ = waits.read_with(|mut events| events.read(&mut [0; 8]));
        });
        thread::yield_now();
        waits.cancel();
        assert!(waits.join().unwrap_err().is::<Cancelled>());
        let first = |patience| {
            select! {
                readable(events) => 'r',
                recv(after(patience)) -> _ => '-',
            }
        };
        assert_eq!(first(Duration::from_millis(1)), '-');
        select! { writable(events) => {} }
        add(events.get_ref(), 1);
        assert_eq!(first(Duration::from_secs(3600)), 'r');
        // A closure that fails otherwise is not called again.
        let calls = AtomicUsize::new(0);
        let failed = events.write_with(|_| {
            calls.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(io::Error::from(ErrorKind::NotFound))
        });
        assert_eq!(
            (failed.unwrap_err().kind(), calls.into_inner()),
            (ErrorKind::NotFound, 1)
        );
    });
}

#[test]
fn in_futures() {
    in_each_executor(|| async {
        let events = Watched::new(eventfd(libc::EFD_NONBLOCK)).unwrap();
        let reads = events.read_with_async(|mut events| {
            let mut count = [0; 8];
            events.read_exact(&mut count)?;
            Ok(u64::from_ne_bytes(count))
        });
        let writes = events.write_with_async(|mut events| events.write(&3u64.to_ne_bytes()));
        let (read, written) = futures::join!(reads, writes);
        assert_eq!((read.unwrap(), written.unwrap()), (3, 8));
    });
}

#[test]
fn futures_wait_and_take_nothing() {
    for flags in [libc::EFD_NONBLOCK, 0] {
        in_each_executor(|| async move {
            let events = Watched::new(eventfd(flags)).unwrap();
            // There is room, and then there is none.
            events.wait_writable_async().await.unwrap();
            add(events.get_ref(), u64::MAX - 1);
            events.wait_readable_async().await.unwrap();
            let has_room = AtomicUsize::new(0);
            let writes = async {
                events.wait_writable_async().await.unwrap();
                assert_eq!(has_room.load(Ordering::Relaxed), 1);
            };
            let reads = async {
                // It is still there.
                events.wait_readable_async().await.unwrap();
                has_room.store(1, Ordering::Relaxed);
                assert_eq!(take(&events), u64::MAX - 1);
            };
            futures::join!(writes, reads);

            let first = events.wait_readable_async();
            let others = futures::future::join_all((0..5).map(|_| events.wait_readable_async()));
            let adds = async { add(events.get_ref(), 1) };
            let (first, others, ()) = futures::join!(first, others, adds);
            first.unwrap();
            others.into_iter().for_each(|one| one.unwrap());
            assert_eq!(take(&events), 1);
        });
    }
}

#[test]
fn futures_wait_for_urgent_data() {
    in_each_executor(|| async {
        let (near, far) = connection();
        let near = Watched::new(OwnedFd::from(near)).unwrap();
        let waits = near.wait_priority_async();
        let sends = async {
            // What is not urgent ends no such wait.
            (&far).write_all(b"x").unwrap();
            near.wait_readable_async().await.unwrap();
            send_urgent(&far);
        };
        let (waited, ()) = futures::join!(waits, sends);
        waited.unwrap();
    });
}

/// Code that reads by reference what it is not told the type of is compiled as if there were no [`Watched`].
#[test]
fn a_reference_to_what_is_inferred_can_be_read() {
    fn read<S>(mut stream: &S) -> io::Result<usize>
    where
        for<'a> &'a S: Read,
    {
        stream.read(&mut [0; 8])
    }
    let read: fn(&File) -> io::Result<usize> = |file| read(file);
    assert_eq!(read(&File::open("/dev/null").unwrap()).unwrap(), 0);
}

/// Says that it has read more than there was room for.
struct Boasts(File);

impl Read for &Boasts {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(buf.len() + 1)
    }
}

impl AsFd for Boasts {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[test]
fn a_reader_that_boasts_is_not_believed() {
    use std::pin::Pin;
    use std::task::{Context, Waker};

    use roving::io::Async;
    use tokio::io::{AsyncRead, ReadBuf};

    everywhere(|| {
        let events = eventfd(libc::EFD_NONBLOCK);
        let mut boasts = Async::from(Watched::new(Boasts(events)).unwrap());
        let mut room = [0; 8];
        let mut room = ReadBuf::new(&mut room);
        let reads = panic::catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::from_waker(Waker::noop());
            let _ = Pin::new(&mut boasts).poll_read(&mut context, &mut room);
        }));
        let said = reads.unwrap_err();
        let said = said.downcast_ref::<String>().unwrap();
        assert!(said.contains("8 bytes gave 9"), "{said}");
        assert!(room.filled().is_empty());
    });
}

#[test]
fn sockets_of_others() {
    everywhere(|| {
        let (near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut near = Watched::new(near).unwrap();
        assert!(format!("{near:?}").starts_with("Watched(UnixStream"));
        let echoes = std::thread::spawn(move || {
            let mut all = [0; 5];
            far.read_exact(&mut all).unwrap();
            far.write_all(&all).unwrap();
        });
        near.write_all(b"hello").unwrap();
        let mut all = String::new();
        near.read_to_string(&mut all).unwrap();
        assert_eq!(all, "hello");
        echoes.join().unwrap();
        near.into_inner();
    });
}

#[test]
fn what_is_always_ready_cannot_be_watched() {
    let program = File::open(std::env::current_exe().unwrap()).unwrap();
    let folder = File::open(std::env::temp_dir()).unwrap();
    let null = File::open("/dev/null").unwrap();
    for file in [program, folder, null] {
        let error = Watched::new(file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("always ready"), "{error}");
    }
    // A file that is on no disk can be: it tells of changes. Others may make some, but not each time.
    let is_unchanged = |_| {
        let mounts = File::open("/proc/self/mounts").unwrap();
        let mounts = Watched::new(OwnedFd::from(mounts)).unwrap();
        assert!(mounts.as_fd().as_raw_fd() > 2);
        select! { ready(mounts.priority()) => false, default => true }
    };
    assert!((0..1000).any(is_unchanged));
}

/// Who looks whether the end has come sends nothing for that.
#[test]
fn who_waits_to_send_a_datagram_sends_no_other() {
    everywhere(|| {
        let (near, far) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let near = Watched::new(near).unwrap();
        // As large as half of what there is room for.
        let large = [1; 60_000];
        let mut sent = 0;
        let told = deadline(Duration::from_millis(20), || -> io::Result<()> {
            loop {
                near.write_with(|socket| socket.send(&large))?;
                sent += 1;
            }
        });
        assert!(told.is_err() || told.unwrap().is_err());
        far.set_nonblocking(true).unwrap();
        let mut buffer = [0; 70_000];
        let received: Vec<_> = std::iter::from_fn(|| far.recv(&mut buffer).ok()).collect();
        assert_eq!(received, vec![large.len(); sent]);
    });
}
