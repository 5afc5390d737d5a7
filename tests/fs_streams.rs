//! Files that are streams: FIFOs, pipes, sockets and terminals, opened by path or come as descriptors.
//!
//! - a reader waits for a slow writer, and a writer for a slow reader, and everything arrives
//! - both wait with the driver, so cancellations and deadlines end that, and with one worker the others go on
//! - to open a FIFO waits for the other end, and others go on
//! - the end, and no readers, are told as by std
//! - nobody's description is made non-blocking, and one that is stays so

mod common;

use std::ffi::CString;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::folder::Folder;
use common::terminal::raw_terminal;
use common::{each_worker_count, everywhere, on_each_mode, on_each_that_moves, pattern};
use roving::fs::{self, File, OpenOptions};
use roving::sync::Barrier;
use roving::{Cancelled, deadline, go, thread};

fn make_fifo(folder: &Folder) -> PathBuf {
    let path = folder.join("fifo");
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: it is a string of C.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    path
}

/// Both ends of a FIFO, opened without a wait.
fn fifo(path: &Path) -> (File, File) {
    let mut options = OpenOptions::new();
    let reader = options.read(true).custom_flags(libc::O_NONBLOCK);
    let reader = reader.open(path).unwrap();
    let writer = OpenOptions::new().write(true).open(path).unwrap();
    set_nonblocking(&reader, false);
    (reader, writer)
}

/// Both ends of a pipe that was never at a path.
fn pipe() -> (File, File) {
    let (reader, writer) = io::pipe().unwrap();
    (OwnedFd::from(reader).into(), OwnedFd::from(writer).into())
}

fn sockets() -> (File, File) {
    let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
    (OwnedFd::from(one).into(), OwnedFd::from(other).into())
}

/// A terminal, and its other end.
fn terminal() -> (File, File) {
    let (master, slave) = raw_terminal();
    (slave.into(), master.into())
}

/// Calls `test` with the reading and the writing end of a stream of each kind.
fn of_each_kind(test: impl Fn(File, File)) {
    of_each_pipe(&test);
    let (reader, writer) = terminal();
    test(reader, writer);
}

/// The same, but for terminals: they say that they are ready when they have room for a byte, and then a write of more
/// waits in the system. Nothing ends that but a reader, who must not be bound to the same worker.
fn of_each_pipe(test: impl Fn(File, File)) {
    let folder = Folder::new();
    let path = make_fifo(&folder);
    for (reader, writer) in [fifo(&path), pipe(), sockets()] {
        test(reader, writer);
    }
}

/// Large writes to streams of each kind, wherever that can be done.
fn with_large_writes(test: impl Fn(File, File) + Send + Sync) {
    everywhere(|| of_each_pipe(&test));
    on_each_that_moves(|| {
        let (reader, writer) = terminal();
        test(reader, writer);
    });
}

fn set_nonblocking(file: &File, nonblocking: bool) {
    let flags = if nonblocking { libc::O_NONBLOCK } else { 0 };
    // SAFETY: it is open.
    let set = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags) };
    assert_eq!(set, 0);
}

fn is_nonblocking(file: &File) -> bool {
    // SAFETY: it is open.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    flags & libc::O_NONBLOCK != 0
}

#[test]
fn a_slow_writer() {
    everywhere(|| {
        of_each_kind(|mut reader, mut writer| {
            let writing = go_or_spawn(move || {
                for n in 0..20 {
                    thread::sleep(Duration::from_micros(300));
                    writer.write_all(&[n; 3]).unwrap();
                }
                // A terminal that is closed forgets what it has.
                writer
            });
            let mut received = [0; 60];
            reader.read_exact(&mut received).unwrap();
            let sent: Vec<u8> = (0..20).flat_map(|n| [n; 3]).collect();
            assert_eq!(received[..], sent);
            assert!(!is_nonblocking(&reader));
            drop(writing.join().unwrap());
        });
    });
}

#[test]
fn a_slow_reader() {
    with_large_writes(|mut reader, mut writer| {
        let sent = Arc::new(pattern(7, 300_000));
        let expected = sent.clone();
        let writing = go_or_spawn(move || {
            assert_eq!(writer.write(&sent).unwrap(), sent.len());
            assert!(!is_nonblocking(&writer));
            writer
        });
        let mut received = vec![0; expected.len()];
        for part in received.chunks_mut(50_000) {
            thread::sleep(Duration::from_micros(300));
            reader.read_exact(part).unwrap();
        }
        assert!(received == *expected);
        drop(writing.join().unwrap());
    });
}

#[test]
fn vectored_writes_are_whole() {
    with_large_writes(|mut reader, mut writer| {
        let parts = [pattern(1, 70_000), vec![], pattern(2, 90_000)];
        let expected = parts.concat();
        let writing = go_or_spawn(move || {
            let parts = parts.each_ref().map(|part| IoSlice::new(part));
            assert_eq!(writer.write_vectored(&parts).unwrap(), 160_000);
            writer
        });
        let mut received = vec![0; 160_000];
        reader.read_exact(&mut received).unwrap();
        assert!(received == expected);
        drop(writing.join().unwrap());
    });
}

#[test]
fn the_end_of_a_pipe_is_told() {
    everywhere(|| {
        let folder = Folder::new();
        let path = make_fifo(&folder);
        for (mut reader, mut writer) in [fifo(&path), pipe(), sockets()] {
            let reading = go_or_spawn(move || {
                let mut text = String::new();
                reader.read_to_string(&mut text).unwrap();
                assert_eq!(reader.read(&mut [0; 4]).unwrap(), 0);
                text
            });
            writer.write_all(b"all").unwrap();
            thread::sleep(Duration::from_millis(1));
            drop(writer);
            assert_eq!(reading.join().unwrap(), "all");
        }
    });
}

#[test]
fn nobody_reads_any_more() {
    everywhere(|| {
        let folder = Folder::new();
        let path = make_fifo(&folder);
        let told = [
            (fifo(&path), &[io::ErrorKind::BrokenPipe][..]),
            (pipe(), &[io::ErrorKind::BrokenPipe]),
            // The other end of a socket forgets what it has not read.
            (
                sockets(),
                &[io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset],
            ),
        ];
        for ((mut reader, mut writer), told) in told {
            // More than it has room for, so that it waits.
            let writing = go_or_spawn(move || {
                let mut written = 0;
                loop {
                    match writer.write(&[1; 50_000]) {
                        Ok(more) => written += more,
                        Err(error) => return (written, error.kind()),
                    }
                }
            });
            reader.read_exact(&mut [0]).unwrap();
            thread::sleep(Duration::from_millis(1));
            drop(reader);
            let (written, error) = writing.join().unwrap();
            assert!(told.contains(&error), "{error}");
            assert!(written > 0);
        }
    });
}

/// Without the global runtime: on an OS thread an OS thread.
enum Spawned<T> {
    Green(thread::JoinHandle<T>),
    Os(std::thread::JoinHandle<T>),
}

fn go_or_spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Spawned<T> {
    if roving::is_green() {
        Spawned::Green(go!(f))
    } else {
        Spawned::Os(std::thread::spawn(f))
    }
}

impl<T> Spawned<T> {
    fn join(self) -> std::thread::Result<T> {
        match self {
            Self::Green(handle) => handle.join(),
            Self::Os(handle) => handle.join(),
        }
    }
}

/// Who is overtaken waits in the system. That must not hold up the writer, as it does where both are bound to one worker.
#[test]
fn many_who_read_one() {
    const READERS: usize = 20;
    const EACH: usize = 10;

    on_each_that_moves(|| {
        of_each_kind(|reader, mut writer| {
            let reader = &reader;
            thread::scope(|scope| {
                let readers: Vec<_> = (0..READERS)
                    .map(|_| {
                        scope.spawn(move || {
                            let mut reader = reader;
                            let mut received = [0; EACH];
                            for place in &mut received {
                                reader.read_exact(std::slice::from_mut(place)).unwrap();
                            }
                            received
                        })
                    })
                    .collect();
                for n in 0..READERS * EACH {
                    writer.write_all(&[n as u8]).unwrap();
                    if n % 7 == 0 {
                        thread::yield_now();
                    }
                }
                let mut received: Vec<u8> = readers
                    .into_iter()
                    .flat_map(|reader| reader.join().unwrap())
                    .collect();
                received.sort();
                assert!((0..(READERS * EACH) as u8).eq(received));
            });
        });
    });
}

#[test]
fn a_wait_ends_with_a_deadline() {
    on_each_mode(|| {
        of_each_kind(|mut reader, mut writer| {
            let late = deadline(Duration::from_millis(2), || reader.read(&mut [0; 4]));
            match late {
                Err(_) => {}
                Ok(result) => assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut),
            }
            // Nothing of it is left.
            writer.write_all(b"word").unwrap();
            let mut word = [0; 4];
            reader.read_exact(&mut word).unwrap();
            assert_eq!(&word, b"word");
        });
    });
}

#[test]
fn a_wait_ends_with_a_cancellation() {
    each_worker_count(|runtime| {
        runtime.run(|| {
            of_each_kind(|reader, _writer| {
                let reader = Arc::new(reader);
                let waits = {
                    let reader = reader.clone();
                    go!(move || (&*reader).read(&mut [0; 4]).map(drop))
                };
                thread::sleep(Duration::from_millis(1));
                waits.cancel();
                match waits.join() {
                    Ok(result) => assert!(result.is_err()),
                    Err(payload) => assert!(payload.is::<Cancelled>()),
                }
            });
            of_each_pipe(|_reader, mut writer| {
                let fills = go!(move || {
                    let all = writer.write_all(&vec![1; 10_000_000]);
                    (all, writer)
                });
                thread::sleep(Duration::from_millis(1));
                fills.cancel();
                match fills.join() {
                    Ok((result, _)) => assert!(result.is_err()),
                    Err(payload) => assert!(payload.is::<Cancelled>()),
                }
            });
        });
    });
}

#[test]
fn to_open_a_fifo_waits_for_the_other_end() {
    on_each_that_moves(|| {
        let folder = Folder::new();
        let path = make_fifo(&folder);
        let (met, opened) = (Arc::new(Barrier::new(2)), path.clone());
        let reader = go!({
            let met = met.clone();
            move || {
                met.wait();
                fs::read_to_string(opened).unwrap()
            }
        });
        met.wait();
        // Others have their turn while it waits, and it has its own.
        for _ in 0..100 {
            thread::yield_now();
        }
        assert!(!reader.is_finished());
        fs::write(&path, "through the FIFO").unwrap();
        assert_eq!(reader.join().unwrap(), "through the FIFO");
    });
}

#[test]
fn more_wait_than_there_are_workers() {
    on_each_mode(|| {
        let pairs: Vec<_> = (0..50).map(|_| terminal()).collect();
        thread::scope(|scope| {
            for (reader, _) in &pairs {
                scope.spawn(move || {
                    let mut reader = reader;
                    let mut byte = [0];
                    reader.read_exact(&mut byte).unwrap();
                    assert_eq!(byte, [9]);
                });
            }
            thread::sleep(Duration::from_millis(1));
            for (_, writer) in &pairs {
                let mut writer = writer;
                writer.write_all(&[9]).unwrap();
            }
        });
    });
}

#[test]
fn who_does_not_want_to_wait_does_not() {
    everywhere(|| {
        let folder = Folder::new();
        let path = make_fifo(&folder);
        let options = || {
            let mut options = OpenOptions::new();
            options.custom_flags(libc::O_NONBLOCK);
            options
        };
        let would_block = |result: io::Result<usize>| {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        };
        // As std says: nobody reads it.
        let error = options().write(true).open(&path).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
        let mut reader = options().read(true).open(&path).unwrap();
        // Nobody has ever written: the end.
        assert_eq!(reader.read(&mut [0; 4]).unwrap(), 0);
        let mut writer = options().write(true).open(&path).unwrap();
        would_block(reader.read(&mut [0; 4]));
        let mut written = 0;
        let error = loop {
            match writer.write(&[3; 100_000]) {
                Ok(more) => written += more,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let mut received = vec![0; written];
        reader.read_exact(&mut received).unwrap();
        would_block(reader.read(&mut [0; 4]));
        assert!(is_nonblocking(&reader) && is_nonblocking(&writer));

        for (reader, mut other) in [pipe(), sockets()] {
            set_nonblocking(&reader, true);
            would_block((&reader).read(&mut [0; 4]));
            other.write_all(b"x").unwrap();
            assert_eq!((&reader).read(&mut [0; 4]).unwrap(), 1);
        }
    });
}

/// The first interrupt is told by an error, the next one unwinds.
#[test]
fn what_the_caller_has_stays_when_a_read_unwinds() {
    everywhere(|| {
        of_each_pipe(|mut reader, _writer| {
            let mut text = "kept".to_owned();
            let ended = deadline(Duration::from_millis(1), || {
                let first = reader.read_to_string(&mut text);
                assert_eq!(first.unwrap_err().kind(), io::ErrorKind::TimedOut);
                reader.read_to_string(&mut text)
            });
            assert!(ended.is_err());
            assert_eq!(text, "kept");
        });
    });
}
