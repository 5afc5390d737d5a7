//! Bytes from one descriptor to another, by the system.
//!
//! - between sockets, pipes and files, all that come, in order, with and without a limit
//! - a slow receiver stops one green thread and nobody else, and so does a slow sender
//! - the end, errors, cancellations and timeouts

mod common;

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use common::terminal::raw_terminal;
use common::{connection, everywhere, on_each_mode, pattern, stacks_returned, watchdog};
use roving::io::{self, PipeReader, PipeWriter, pipe, splice, splice_up_to};
use roving::net::{Shutdown, TcpStream};
use roving::{Builder, Cancelled, deadline, go, thread};

/// More than any of them keeps.
const MUCH: usize = 2 << 20;

/// A file that is gone with its last descriptor.
fn file() -> File {
    let name = format!(
        "roving-splice-{}-{:?}",
        std::process::id(),
        thread::current().id()
    );
    let path = std::env::temp_dir().join(name);
    let mut options = std::fs::OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

/// Writes `data` and ends.
fn send(mut stream: TcpStream, data: &[u8]) {
    stream.write_all(data).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    drop(io::copy(&mut stream, &mut io::sink()));
}

fn receive(mut stream: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn between_sockets() {
    on_each_mode(|| {
        let ((source, from), (to, sink)) = (connection(), connection());
        let data = Arc::new(pattern(1, MUCH));
        let sent = data.clone();
        let sends = go!(move || send(source, &sent));
        let receives = go!(move || receive(sink));
        assert_eq!(splice(&from, &to).unwrap(), MUCH as u64);
        drop((from, to));
        assert!(receives.join().unwrap() == *data);
        sends.join().unwrap();
    });
}

#[test]
fn on_os_threads() {
    let ((source, from), (to, sink)) = (connection(), connection());
    let data = pattern(2, MUCH);
    std::thread::scope(|scope| {
        scope.spawn(|| send(source, &data));
        let receives = scope.spawn(|| receive(sink));
        scope.spawn(move || assert_eq!(splice(&from, &to).unwrap(), MUCH as u64));
        assert!(receives.join().unwrap() == data);
    });
}

#[test]
fn between_sockets_and_pipes() {
    on_each_mode(|| {
        let ((source, from), (to, sink)) = (connection(), connection());
        let (reader, writer) = pipe().unwrap();
        let (last_reader, last_writer) = pipe().unwrap();
        let data = Arc::new(pattern(3, MUCH));
        let sent = data.clone();
        let sends = go!(move || send(source, &sent));
        let first = go!(move || splice(&from, &writer).unwrap());
        let second = go!(move || splice(&reader, &last_writer).unwrap());
        let third = go!(move || splice(&last_reader, &to).unwrap());
        assert!(receive(sink) == *data);
        for step in [first, second, third] {
            assert_eq!(step.join().unwrap(), MUCH as u64);
        }
        sends.join().unwrap();
    });
}

#[test]
fn from_and_to_files() {
    on_each_mode(|| {
        let data = pattern(4, MUCH / 4);
        let (mut from, mut to) = (file(), file());
        from.write_all(&data).unwrap();
        from.seek(std::io::SeekFrom::Start(10)).unwrap();
        let (near, far) = connection();
        let sends = go!(move || {
            let moved = splice(&from, &near).unwrap();
            near.shutdown(Shutdown::Write).unwrap();
            (moved, from, near)
        });
        assert_eq!(splice(&far, &to).unwrap(), data.len() as u64 - 10);
        let (moved, mut from, _near) = sends.join().unwrap();
        assert_eq!(moved, data.len() as u64 - 10);
        to.rewind().unwrap();
        assert!(receive(&to) == data[10..]);
        // From file to file, with a limit; and to a file that takes no pages.
        from.rewind().unwrap();
        let mut from = roving::fs::File::from(from);
        let other = file();
        assert_eq!(splice_up_to(&from, &other, 100_000).unwrap(), 100_000);
        assert_eq!(from.stream_position().unwrap(), 100_000);
        let path = std::env::temp_dir().join(format!("roving-append-{}", std::process::id()));
        let mut appends = std::fs::OpenOptions::new();
        let appends = appends.append(true).create(true).open(&path).unwrap();
        assert_eq!(splice_up_to(&from, &appends, 100_000).unwrap(), 100_000);
        assert!(std::fs::read(&path).unwrap() == data[100_000..200_000]);
        std::fs::remove_file(path).unwrap();
    });
}

/// A pipe as a file, which nobody can wait for.
#[test]
fn a_pipe_that_comes_as_a_file() {
    everywhere(|| {
        let as_file = |end: OwnedFd| File::from(end);
        let (reader, writer) = pipe().unwrap();
        let (last_reader, last_writer) = pipe().unwrap();
        let writes = std::thread::spawn(move || {
            std::thread::yield_now();
            (&writer).write_all(b"through two pipes").unwrap();
        });
        let moved = splice(&as_file(reader.into()), &as_file(last_writer.into()));
        assert_eq!(moved.unwrap(), 17);
        writes.join().unwrap();
        let (far, near) = connection();
        assert_eq!(splice(&last_reader, &far).unwrap(), 17);
        let mut all = [0; 17];
        (&near).read_exact(&mut all).unwrap();
        assert_eq!(&all, b"through two pipes");
        // A full one.
        let (reader, writer) = pipe().unwrap();
        let (from, source) = pipe().unwrap();
        let data = pattern(6, 200_000);
        std::thread::scope(|scope| {
            scope.spawn(|| (&source).write_all(&data));
            let reads = scope.spawn(|| {
                let mut all = vec![0; 200_000];
                (&reader).read_exact(&mut all).map(|()| all)
            });
            let moved = splice_up_to(&from, &as_file(writer.into()), 200_000);
            assert_eq!(moved.unwrap(), 200_000);
            assert!(reads.join().unwrap().unwrap() == data);
        });
    });
}

/// A terminal as a pipe: nobody can tell how much it takes. Whoever reads is on the same worker, which has no spare.
#[test]
fn a_terminal_that_comes_as_a_pipe() {
    const SENT: usize = 100_000;
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    let builder = Builder::new().workers(1).max_spares(0);
    builder.build().unwrap().run(|| {
        let (master, slave) = raw_terminal();
        let (from, source) = pipe().unwrap();
        let sends = go!(move || (&source).write_all(&pattern(7, SENT)));
        let splices = go!(move || splice(&from, &PipeWriter::from(slave)));
        thread::yield_now();
        let mut all = vec![0; SENT];
        PipeReader::from(OwnedFd::from(master))
            .read_exact(&mut all)
            .unwrap();
        assert!(all == pattern(7, SENT));
        sends.join().unwrap().unwrap();
        assert_eq!(splices.join().unwrap().unwrap(), SENT as u64);
    });
}

#[test]
fn with_a_limit() {
    everywhere(|| {
        let ((mut source, from), (to, mut sink)) = (connection(), connection());
        source.write_all(b"head and the body").unwrap();
        assert_eq!(splice_up_to(&from, &to, 4).unwrap(), 4);
        assert_eq!(splice_up_to(&from, &to, 0).unwrap(), 0);
        let mut head = [0; 4];
        sink.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"head");
        drop(source);
        assert_eq!(splice_up_to(&from, &to, 100).unwrap(), 13);
        assert_eq!(splice(&from, &to).unwrap(), 0);
    });
}

/// With one worker too, others run while nothing is received, of more than sockets keep.
#[test]
fn who_waits_stops_nobody_else() {
    on_each_mode(|| {
        let ((source, from), (to, sink)) = (connection(), connection());
        let sends = go!(move || {
            let sent = (&source).write(&vec![1; 32 << 20]);
            drop(source);
            sent
        });
        let splices = go!(move || splice(&from, &to));
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(!splices.is_finished());
        let received = receive(sink).len() as u64;
        assert_eq!(splices.join().unwrap().unwrap(), received);
        assert_eq!(sends.join().unwrap().unwrap() as u64, received);
    });
}

#[test]
fn it_ends_early() {
    on_each_mode(|| {
        let ((_source, from), (to, sink)) = (connection(), connection());
        let late = deadline(Duration::from_millis(1), || splice(&from, &to));
        assert!(late.is_err() || late.is_ok_and(|result| result.is_err()));
        from.set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        assert_eq!(
            splice(&from, &to).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        from.set_read_timeout(None).unwrap();
        let splices = go!(move || loop {
            let _ = splice(&from, &to);
        });
        thread::yield_now();
        splices.cancel();
        assert!(splices.join().unwrap_err().is::<Cancelled>());
        drop(sink);
    });
}

#[test]
fn the_other_side_is_gone() {
    on_each_mode(|| {
        let ((mut source, from), (to, sink)) = (connection(), connection());
        drop(sink);
        let sends = go!(move || while source.write_all(&[0; 10_000]).is_ok() {});
        let error = splice(&from, &to).unwrap_err();
        assert!(
            [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&error.kind()),
            "{error}"
        );
        drop(from);
        sends.join().unwrap();
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let (mut source, from) = connection();
        source.write_all(b"x").unwrap();
        assert_eq!(
            splice(&from, &writer).unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
    });
}
