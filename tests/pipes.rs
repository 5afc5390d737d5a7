//! Pipes, between threads of all kinds, and with other processes.
//!
//! - bytes come out in order and whole, from several writers and to several readers, by handles and clones
//! - the end, a reader that is gone, and both of them under those who wait
//! - the open file description stays as it was made, and one that others have made non-blocking is obeyed
//! - deadlines, cancellation, select, futures, too few descriptors

mod common;
#[path = "../scheduler/tests/common/executors.rs"]
mod executors;

use std::fs::OpenOptions;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{
    WORKER_COUNTS, child_with_few_descriptors, each_worker_count, everywhere, is_child,
    on_each_mode, on_each_worker_count, pattern, run, runtime, stacks_returned, watchdog,
};
use executors::in_each_executor;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use roving::channel::after;
use roving::io::{Async, PipeReader, PipeWriter, Watched, pipe};
use roving::{Cancelled, Runtime, deadline, go, select, thread};
use tokio::io::AsyncBufReadExt;

/// More than a pipe keeps.
const MUCH: usize = 1 << 20;

/// What must not come of a whole write that others write beside.
const PIECE: usize = 4096;

fn is_nonblocking(fd: impl AsFd) -> bool {
    // SAFETY: a system call that takes no pointer, on a descriptor that is borrowed.
    let flags = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFL) };
    assert_ne!(flags, -1);
    flags & libc::O_NONBLOCK != 0
}

fn set_nonblocking(fd: impl AsFd) {
    // SAFETY: a system call that takes no pointer, on a descriptor that is borrowed.
    let result = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(result, 0);
}

/// Writes until there is no more room.
fn fill(writer: &PipeWriter) {
    let full = || select! { writable(writer) => false, default => true };
    while !full() {
        (&*writer).write_all(&[0; PIECE]).unwrap();
    }
}

#[test]
fn all_comes_out() {
    everywhere(|| {
        let (mut reader, mut writer) = pipe().unwrap();
        let sent = Arc::new(pattern(3, MUCH));
        let data = sent.clone();
        let writes = std::thread::spawn(move || writer.write_all(&data).unwrap());
        let mut received = Vec::new();
        reader.read_to_end(&mut received).unwrap();
        assert!(received == *sent);
        writes.join().unwrap();
    });
    on_each_worker_count(|| {
        let (reader, mut writer) = pipe().unwrap();
        let sent = Arc::new(pattern(4, MUCH));
        let data = sent.clone();
        let writes = go!(move || writer.write_all(&data).unwrap());
        assert!(std::io::read_to_string(reader).is_err() == std::str::from_utf8(&sent).is_err());
        writes.join().unwrap();
    });
}

#[test]
fn pieces_stay_whole() {
    on_each_mode(|| {
        let (mut reader, writer) = pipe().unwrap();
        let writers: Vec<_> = (1..=8u8)
            .map(|n| {
                let mut writer = writer.try_clone().unwrap();
                go!(move || {
                    for _ in 0..20 {
                        // In parts, which are one write.
                        let half = [n; PIECE / 2];
                        let bufs = [IoSlice::new(&half), IoSlice::new(&[]), IoSlice::new(&half)];
                        assert_eq!(writer.write_vectored(&bufs).unwrap(), PIECE);
                    }
                })
            })
            .collect();
        drop(writer);
        let mut counts = [0; 9];
        let mut piece = [0; PIECE];
        while let Ok(()) = reader.read_exact(&mut piece) {
            assert!(piece.iter().all(|byte| *byte == piece[0]));
            counts[usize::from(piece[0])] += 1;
        }
        assert_eq!(counts, [0, 20, 20, 20, 20, 20, 20, 20, 20]);
        writers.into_iter().for_each(|w| w.join().unwrap());
    });
}

#[test]
fn readers_of_all_kinds_share_what_comes() {
    each_worker_count(|runtime| {
        let (reader, writer) = pipe().unwrap();
        let reader = Arc::new(reader);
        let other = common::runtime(2);
        let read = || {
            let clone = reader.try_clone().unwrap();
            let shared = reader.clone();
            move |is_clone: bool| {
                let mut reader = if is_clone { &clone } else { &*shared };
                let mut bytes = Vec::new();
                let mut byte = [0];
                while reader.read(&mut byte).unwrap() == 1 {
                    bytes.push(byte[0]);
                }
                bytes
            }
        };
        let green: Vec<_> = (0..6)
            .map(|n| {
                let read = read();
                let runtime: &Runtime = if n < 3 { runtime } else { &other };
                runtime.spawn(move || read(n % 2 == 0))
            })
            .collect();
        let plain = std::thread::spawn({
            let read = read();
            move || read(false)
        });
        for n in 0..=255u8 {
            (&writer).write_all(&[n]).unwrap();
            if n % 5 == 0 {
                std::thread::yield_now();
            }
        }
        drop(writer);
        let mut all = plain.join().unwrap();
        for handle in green {
            all.extend(handle.join().unwrap());
        }
        all.sort_unstable();
        assert!(all.into_iter().eq(0..=255));
    });
}

#[test]
fn scattered_reads() {
    everywhere(|| {
        let (mut reader, mut writer) = pipe().unwrap();
        writer.write_all(b"hello world").unwrap();
        let (mut one, mut other) = ([0; 5], [0; 10]);
        let bufs = &mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
        assert_eq!(reader.read_vectored(bufs).unwrap(), 11);
        assert_eq!((&one, &other[..6]), (b"hello", &b" world"[..]));
        // There is nothing to wait for.
        assert_eq!(reader.read(&mut []).unwrap(), 0);
        assert_eq!(writer.write(&[]).unwrap(), 0);
        assert_eq!(writer.write_vectored(&[]).unwrap(), 0);
    });
}

#[test]
fn the_end_comes_to_all_who_wait() {
    each_worker_count(|runtime| {
        let (reader, writer) = pipe().unwrap();
        let clone = writer.try_clone().unwrap();
        let reader = Arc::new(reader);
        let waiting = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = (0..10)
            .map(|_| {
                let (reader, waiting) = (reader.clone(), waiting.clone());
                runtime.spawn(move || {
                    waiting.fetch_add(1, Ordering::AcqRel);
                    (&*reader).read(&mut [0]).unwrap()
                })
            })
            .collect();
        while waiting.load(Ordering::Acquire) < 10 {
            std::thread::yield_now();
        }
        drop(writer);
        std::thread::yield_now();
        assert!(!readers.iter().any(|reader| reader.is_finished()));
        runtime.run(|| drop(clone));
        for reader in readers {
            assert_eq!(reader.join().unwrap(), 0);
        }
    });
}

#[test]
fn a_reader_that_is_gone() {
    everywhere(|| {
        let (reader, mut writer) = pipe().unwrap();
        drop(reader);
        for _ in 0..3 {
            let error = writer.write(b"x").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        }
    });
    on_each_mode(|| {
        // A part is written, and then there is nobody to read the rest.
        let (reader, mut writer) = pipe().unwrap();
        let writes = go!(move || {
            let written = writer.write(&vec![1; MUCH]).unwrap();
            let error = loop {
                if let Err(error) = writer.write(b"x") {
                    break error;
                }
            };
            (written, error.kind())
        });
        (&reader).read_exact(&mut [0; 100]).unwrap();
        drop(reader);
        let (written, error) = writes.join().unwrap();
        assert!((100..MUCH).contains(&written), "{written}");
        assert_eq!(error, ErrorKind::BrokenPipe);
    });
}

/// Pipes that have a name, and for whose calls Linux has no flag.
fn named_pipe() -> (PipeReader, PipeWriter) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("roving-pipes-{}-{count}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: the name ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    // Does not wait for a writer.
    let mut options = OpenOptions::new();
    let reader = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&path)
        .unwrap();
    let writer = OpenOptions::new().write(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    // SAFETY: a system call that takes no pointer, on a descriptor that is borrowed.
    let cleared = unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, 0) };
    assert_eq!(cleared, 0);
    (OwnedFd::from(reader).into(), OwnedFd::from(writer).into())
}

#[test]
fn named_pipes() {
    on_each_mode(|| {
        let (reader, writer) = named_pipe();
        let late = deadline(Duration::from_millis(1), || (&reader).read(&mut [0]));
        assert!(late.is_err() || late.is_ok_and(|result| result.is_err()));
        let writers: Vec<_> = (0..4u8)
            .map(|n| {
                let mut writer = writer.try_clone().unwrap();
                go!(move || {
                    for _ in 0..20 {
                        writer.write_all(&[n; PIECE]).unwrap();
                    }
                })
            })
            .collect();
        let mut piece = [0; PIECE];
        for _ in 0..80 {
            (&reader).read_exact(&mut piece).unwrap();
            assert!(piece.iter().all(|byte| *byte == piece[0]));
        }
        writers.into_iter().for_each(|w| w.join().unwrap());
        let sent = Arc::new(pattern(5, MUCH));
        let data = sent.clone();
        let writes = go!(move || (&writer).write(&data).unwrap());
        let mut received = Vec::new();
        (&reader).read_to_end(&mut received).unwrap();
        assert!(received == *sent);
        assert_eq!(writes.join().unwrap(), MUCH);
        let (reader, writer) = named_pipe();
        fill(&writer);
        drop(reader);
        let error = (&writer).write(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn the_mode_is_left_alone() {
    everywhere(|| {
        let (mut reader, mut writer) = pipe().unwrap();
        let (clone, mut data) = (writer.try_clone().unwrap(), [0; 2]);
        let writes = std::thread::spawn(move || {
            std::thread::yield_now();
            writer.write_all(b"ab").unwrap();
            writer
        });
        reader.read_exact(&mut data).unwrap();
        let writer = writes.join().unwrap();
        for is_nonblocking in [
            is_nonblocking(&reader),
            is_nonblocking(&writer),
            is_nonblocking(&clone),
        ] {
            assert!(!is_nonblocking);
        }
        // Somebody else, who has the other end's description too, wants it otherwise.
        set_nonblocking(&clone);
        fill(&writer);
        let error = (&writer).write(&[0; PIECE]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        set_nonblocking(&reader);
        while (&reader).read(&mut [0; 1 << 16]).is_ok() {}
        let error = (&reader).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn ends_go_to_std_and_come_back() {
    everywhere(|| {
        let (reader, writer) = pipe().unwrap();
        let (reader, writer) = (std::io::PipeReader::from(reader), OwnedFd::from(writer));
        let (mut reader, writer) = (PipeReader::from(reader), PipeWriter::from(writer));
        let fd = writer.into_raw_fd();
        // SAFETY: the descriptor has just been given away, to here.
        let mut writer = unsafe { PipeWriter::from_raw_fd(fd) };
        assert_eq!(writer.as_raw_fd(), fd);
        writer.write_all(b"there and back").unwrap();
        assert_eq!(format!("{writer:?}"), format!("PipeWriter {{ fd: {fd} }}"));
        drop(writer);
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        assert_eq!(all, "there and back");
    });
    on_each_worker_count(|| {
        // One that has waited, and is known to a driver, is given away.
        let (reader, mut writer) = pipe().unwrap();
        let waits = go!(move || {
            (&reader).read_exact(&mut [0]).unwrap();
            std::io::PipeReader::from(reader)
        });
        thread::yield_now();
        writer.write_all(b"x").unwrap();
        let reader = waits.join().unwrap();
        let mut reader = PipeReader::from(reader);
        let waits = go!(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        thread::yield_now();
        writer.write_all(b"yz").unwrap();
        drop(writer);
        assert_eq!(waits.join().unwrap(), b"yz");
    });
}

/// What this process has made neither blocks another one nor tells it to try again.
#[test]
fn other_processes_have_ends() {
    on_each_worker_count(|| {
        let (input, mut tell) = pipe().unwrap();
        let (mut hear, output) = pipe().unwrap();
        let kept = output.try_clone().unwrap();
        let mut command = Command::new("cat");
        command.stdin(input).stdout(Stdio::from(output));
        let mut child = command.spawn().unwrap();
        // With it, the ends that the child has got are closed here.
        drop((command, kept));
        let sent = Arc::new(pattern(8, MUCH));
        let data = sent.clone();
        let tells = go!(move || tell.write_all(&data).unwrap());
        let mut heard = Vec::new();
        hear.read_to_end(&mut heard).unwrap();
        assert!(heard == *sent);
        tells.join().unwrap();
        assert!(roving::blocking(|| child.wait()).unwrap().success());
    });
}

#[test]
fn waits_end_early() {
    on_each_mode(|| {
        let (reader, writer) = pipe().unwrap();
        fill(&writer);
        let full = Arc::new(writer);
        let (empty, _kept) = pipe().unwrap();
        let empty = Arc::new(empty);
        for reads in [true, false] {
            let (full, empty) = (full.clone(), empty.clone());
            let block = move || match reads {
                true => (&*empty).read(&mut [0]),
                false => (&*full).write(&[0; PIECE]),
            };
            let late = deadline(Duration::from_millis(1), &block);
            assert!(late.is_err() || late.is_ok_and(|result| result.is_err()));
            let blocked = go!(move || loop {
                let _ = block();
            });
            thread::yield_now();
            blocked.cancel();
            assert!(blocked.join().unwrap_err().is::<Cancelled>());
        }
        drop(reader);
    });
}

#[test]
fn a_runtime_ends_under_those_who_wait() {
    let _stacks = stacks_returned();
    for workers in WORKER_COUNTS {
        let _watchdog = watchdog(workers);
        let runtime = runtime(workers);
        let (reader, mut writer) = pipe().unwrap();
        let reader = Arc::new(reader);
        let blocked: Vec<_> = (0..10)
            .map(|_| {
                let reader = reader.clone();
                runtime.spawn(move || (&*reader).read(&mut [0]).map(drop))
            })
            .collect();
        runtime.run(thread::yield_now);
        runtime.shutdown();
        for handle in blocked {
            assert!(handle.join().unwrap_err().is::<Cancelled>());
        }
        writer.write_all(b"x").unwrap();
        assert_eq!((&*reader).read(&mut [0]).unwrap(), 1);
    }
}

#[test]
fn a_select_waits_for_both_directions() {
    on_each_mode(|| {
        let (mut reader, writer) = pipe().unwrap();
        let first = |patience| {
            select! {
                readable(reader) => 'r',
                recv(after(patience)) -> _ => '-',
            }
        };
        assert_eq!(first(Duration::from_millis(1)), '-');
        fill(&writer);
        assert_eq!(first(Duration::from_secs(3600)), 'r');
        let drains = go!(move || {
            thread::yield_now();
            reader.read_exact(&mut [0; 2 * PIECE]).unwrap();
            reader
        });
        select! { writable(writer) => {} }
        let reader = drains.join().unwrap();
        drop(writer);
        select! { readable(reader) => {} }
    });
}

#[test]
fn ends_in_futures() {
    in_each_executor(|| async {
        let (reader, writer) = pipe().unwrap();
        let sent = pattern(9, MUCH);
        let writes = async {
            let mut rest = &sent[..];
            while !rest.is_empty() {
                rest = &rest[writer.write_async(rest).await.unwrap()..];
            }
            drop(writer);
        };
        let reads = async {
            let (mut all, mut some) = (Vec::<u8>::new(), [0; 10_000]);
            loop {
                match reader.read_async(&mut some).await.unwrap() {
                    0 => return all,
                    n => all.extend(&some[..n]),
                }
            }
        };
        let ((), received) = futures::join!(writes, reads);
        assert!(received == sent);
    });
}

#[test]
fn ends_by_the_traits_of_futures() {
    in_each_executor(|| async {
        let (reader, writer) = pipe().unwrap();
        let (mut reader, mut writer) = (Async::from(reader), Async::new(Arc::new(writer)));
        let sent = pattern(10, MUCH);
        let writes = async {
            writer.write_all(&sent).await.unwrap();
            writer.close().await.unwrap();
            drop(writer);
        };
        let mut received = Vec::new();
        let ((), read) = futures::join!(writes, reader.read_to_end(&mut received));
        assert_eq!(read.unwrap(), MUCH);
        assert!(received == sent);
    });
    in_each_executor(|| async {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut near = tokio::io::BufReader::new(Async::from(Watched::new(near).unwrap()));
        (&far).write_all(b"a line\nand more").unwrap();
        drop(far);
        let mut line = String::new();
        near.read_line(&mut line).await.unwrap();
        assert_eq!(line, "a line\n");
    });
}

#[test]
fn descriptors_run_out() {
    let _watchdog = watchdog("");
    let name = "descriptors_run_out";
    if !is_child(name) {
        run(child_with_few_descriptors(name));
        return;
    }
    for workers in WORKER_COUNTS {
        runtime(workers).run(|| {
            let mut pipes = Vec::new();
            let error = loop {
                match pipe() {
                    Ok(ends) => pipes.push(ends),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            let (reader, writer) = pipes.pop().unwrap();
            let clones: Vec<_> = std::iter::from_fn(|| reader.try_clone().ok()).collect();
            let error = writer.try_clone().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            drop((clones, pipes));
            (&writer).write_all(b"x").unwrap();
            (&reader).read_exact(&mut [0]).unwrap();
        });
    }
}

/// A counter of events comes as an end, as standard input may be one: it is waited for, and not blocked in.
#[cfg(target_os = "linux")]
#[test]
fn events_come_as_an_end() {
    on_each_mode(|| {
        // SAFETY: it takes numbers.
        let events = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        assert!(events >= 0);
        // SAFETY: nobody else has it.
        let mut reader = PipeReader::from(unsafe { OwnedFd::from_raw_fd(events) });
        let mut writer = PipeWriter::from(reader.as_fd().try_clone_to_owned().unwrap());
        let late = deadline(Duration::from_millis(1), || reader.read(&mut [0; 8]));
        assert!(!matches!(late, Ok(Ok(_))));
        let counts = go!(move || {
            let mut count = [0; 8];
            reader.read_exact(&mut count).unwrap();
            u64::from_ne_bytes(count)
        });
        thread::yield_now();
        writer.write_all(&3_u64.to_ne_bytes()).unwrap();
        assert_eq!(counts.join().unwrap(), 3);
    });
}
