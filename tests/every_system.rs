//! What holds wherever Roving runs, with nothing in it that only some systems have.
//!
//! - a thousand connections at once, and what they send
//! - timeouts, deadlines and cancellations end the waits of sockets
//! - sockets that come from std, go back and are shared keep the mode that their user has set
//! - ends and refusals are told; select, futures, names
//! - datagrams, files, pipes and children

mod common;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::time::Duration;

use common::folder::Folder;
use common::{closed_address, connection, on_each_worker_count, pattern, runtime, stacks_returned};
use roving::channel::after;
use roving::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use roving::process::{Command, Stdio};
use roving::sync::Barrier;
use roving::{Cancelled, block_on, deadline, fs, go, select, thread};

const SHORT: Duration = Duration::from_millis(5);

/// A process may have few descriptors at first, and more if it asks.
fn with_room_for_many() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};

        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).unwrap();
    }
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 64];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}

#[test]
fn a_thousand_connections_are_served_at_once() {
    const CONNECTIONS: usize = 1000;
    with_room_for_many();
    let _stacks = stacks_returned();
    let runtime = runtime(2);
    runtime.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = go!(move || {
            let serve = |stream: io::Result<TcpStream>| go!(move || echo(stream.unwrap()).unwrap());
            let served: Vec<_> = listener.incoming().take(CONNECTIONS).map(serve).collect();
            served.into_iter().for_each(|each| each.join().unwrap());
        });
        let all_are_there = Arc::new(Barrier::new(CONNECTIONS));
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                let all_are_there = all_are_there.clone();
                go!(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.set_nodelay(true).unwrap();
                    all_are_there.wait();
                    for round in 0..3 {
                        let message = pattern(number + round, 1 + number % 60);
                        stream.write_all(&message).unwrap();
                        let mut answer = vec![0; message.len()];
                        stream.read_exact(&mut answer).unwrap();
                        assert_eq!(answer, message);
                    }
                })
            })
            .collect();
        clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
        server.join().unwrap();
    });
    runtime.shutdown();
}

#[test]
fn much_is_written_at_once_and_read_in_parts() {
    on_each_worker_count(|| {
        let (mut near, mut far) = connection();
        let all = pattern(3, 3 << 20);
        let sent = all.clone();
        let writes = go!(move || {
            let (one, other) = sent.split_at(1 << 20);
            let written = far
                .write_vectored(&[IoSlice::new(one), IoSlice::new(other)])
                .unwrap();
            assert_eq!(written, sent.len());
            far.shutdown(Shutdown::Write).unwrap();
        });
        let mut read = Vec::new();
        loop {
            let (mut one, mut other) = ([0; 1000], [0; 3000]);
            let bufs = &mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
            let count = near.read_vectored(bufs).unwrap();
            let (first, second) = (count.min(one.len()), count.saturating_sub(one.len()));
            read.extend_from_slice(&one[..first]);
            read.extend_from_slice(&other[..second]);
            if count == 0 {
                break;
            }
        }
        assert_eq!(read, all);
        writes.join().unwrap();
    });
}

#[test]
fn what_ends_a_wait_is_told_and_nothing_is_lost() {
    on_each_worker_count(|| {
        let (mut near, mut far) = connection();
        near.set_read_timeout(Some(SHORT)).unwrap();
        let error = near.read(&mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        near.set_read_timeout(None).unwrap();
        let error = deadline(SHORT, || near.read(&mut [0; 4]))
            .unwrap()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let mut shared = near.try_clone().unwrap();
        let waits = go!(move || shared.read(&mut [0; 4]));
        waits.cancel();
        match waits.join() {
            Ok(told) => assert!(told.unwrap_err().get_ref().unwrap().is::<Cancelled>()),
            // It had not begun.
            Err(payload) => assert!(payload.is::<Cancelled>()),
        }
        far.write_all(b"all").unwrap();
        let mut buffer = [0; 4];
        assert_eq!(near.read(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"all");
    });
}

#[test]
fn the_mode_goes_with_a_socket() {
    on_each_worker_count(|| {
        for nonblocking in [false, true] {
            let (near, mut far) = connection();
            near.set_nonblocking(nonblocking).unwrap();
            let told = std::net::TcpStream::from(near);
            // One in blocking mode waits for so long.
            told.set_read_timeout(Some(Duration::from_millis(50)))
                .unwrap();
            let begun = std::time::Instant::now();
            (&told).read(&mut [0]).unwrap_err();
            assert!(nonblocking || begun.elapsed() >= Duration::from_millis(40));
            told.set_read_timeout(None).unwrap();
            told.set_nonblocking(false).unwrap();
            let mut near = TcpStream::from(told);
            let reads = go!(move || {
                let mut buffer = [0; 4];
                near.read_exact(&mut buffer).unwrap();
                buffer
            });
            thread::yield_now();
            far.write_all(b"back").unwrap();
            assert_eq!(&reads.join().unwrap(), b"back");
        }
        let (near, _far) = connection();
        near.set_nonblocking(true).unwrap();
        let mut clone = near.try_clone().unwrap();
        assert_eq!(
            clone.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn ends_and_refusals_are_told() {
    on_each_worker_count(|| {
        let (address, _keeps_it) = closed_address();
        let error = TcpStream::connect(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let (near, far) = connection();
        far.shutdown(Shutdown::Read).unwrap();
        assert_eq!((&far).read(&mut [0]).unwrap(), 0);
        assert_eq!(far.peek(&mut [0]).unwrap(), 0);
        let ends = go!(move || drop(far));
        assert_eq!((&near).read(&mut [0]).unwrap(), 0);
        ends.join().unwrap();
        // Its port is of this machine, and of nobody else while it is there.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = TcpListener::bind(listener.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn selects_and_futures_wait_for_sockets() {
    on_each_worker_count(|| {
        let (near, mut far) = connection();
        let waits = select! {
            readable(near) => false,
            recv(after(SHORT)) -> _ => true,
        };
        assert!(waits);
        far.write_all(b"x").unwrap();
        select! {
            readable(near) => assert_eq!(near.peek(&mut [0; 4]).unwrap(), 1),
            recv(after(Duration::from_secs(60))) -> _ => unreachable!("it has come long ago"),
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connects = go!(move || {
            block_on(async {
                let stream = TcpStream::connect_async(&address).await?;
                stream.write_async(b"hello").await?;
                Ok::<_, io::Error>(stream)
            })
        });
        let received = block_on(async {
            let (stream, _) = listener.accept_async().await?;
            let mut buffer = [0; 16];
            let count = stream.read_async(&mut buffer).await?;
            Ok::<_, io::Error>(buffer[..count].to_vec())
        });
        assert_eq!(received.unwrap(), b"hello");
        connects.join().unwrap().unwrap();
    });
}

#[test]
fn names_are_looked_up() {
    on_each_worker_count(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = TcpStream::connect(("localhost", port)).unwrap();
        assert_eq!(stream.peer_addr().unwrap().port(), port);
    });
}

#[test]
fn datagrams_go_to_and_fro() {
    on_each_worker_count(|| {
        let one = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = one.local_addr().unwrap();
        let answers = go!(move || {
            let mut buffer = [0; 64];
            for _ in 0..100 {
                let (count, from) = one.recv_from(&mut buffer).unwrap();
                one.send_to(&buffer[..count], from).unwrap();
            }
            one
        });
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        other.connect(address).unwrap();
        let mut buffer = [0; 64];
        for number in 0..100 {
            let message = pattern(number, 1 + number % 60);
            assert_eq!(other.send(&message).unwrap(), message.len());
            assert_eq!(other.peek(&mut buffer).unwrap(), message.len());
            let count = other.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..count], message);
        }
        other.set_read_timeout(Some(SHORT)).unwrap();
        let error = other.recv(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let one = answers.join().unwrap();
        let error = deadline(SHORT, || one.recv(&mut buffer))
            .unwrap()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn files_are_written_and_read() {
    on_each_worker_count(|| {
        let folder = Folder::new();
        thread::scope(|scope| {
            for number in 0..20 {
                let path = folder.join(number.to_string());
                scope.spawn(move || fs::write(path, pattern(number, number * 1000)).unwrap());
            }
        });
        for entry in fs::read_dir(&*folder).unwrap() {
            let entry = entry.unwrap();
            let number: usize = entry.file_name().to_str().unwrap().parse().unwrap();
            assert_eq!(entry.metadata().unwrap().len(), number as u64 * 1000);
            assert_eq!(
                fs::read(entry.path()).unwrap(),
                pattern(number, number * 1000)
            );
        }
        let path = folder.join("text");
        let mut file = fs::File::create_new(&path).unwrap();
        file.write_all(b"some text").unwrap();
        file.seek(SeekFrom::Start(5)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        assert_eq!(
            fs::File::create_new(&path).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
    });
}

#[test]
fn files_are_locked() {
    on_each_worker_count(|| {
        let folder = Folder::new();
        let open = || fs::File::create(folder.join("locked")).unwrap();
        let (mine, its) = (open(), open());
        mine.lock().unwrap();
        assert!(matches!(its.try_lock(), Err(fs::TryLockError::WouldBlock)));
        // A green thread would keep its worker, and where threads stay on theirs, the one that holds the lock.
        let waits = std::thread::spawn(move || its.lock().unwrap());
        thread::sleep(SHORT);
        mine.unlock().unwrap();
        waits.join().unwrap();
    });
}

#[test]
fn what_is_written_into_a_pipe_comes_out() {
    on_each_worker_count(|| {
        let (mut reader, mut writer) = roving::io::pipe().unwrap();
        let writes = go!(move || writer.write_all(&pattern(5, 300_000)).unwrap());
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all, pattern(5, 300_000));
        writes.join().unwrap();
    });
}

/// Has the system's shell run a line.
fn shell(line: &str) -> Command {
    let (shell, option) = if cfg!(windows) {
        ("cmd", "/C")
    } else {
        ("sh", "-c")
    };
    let mut command = Command::new(shell);
    command.args([option, line]);
    command
}

#[test]
fn children_are_waited_for_and_what_they_write_is_read() {
    on_each_worker_count(|| {
        let waits = go!(|| shell("exit 7").status().unwrap());
        let output = shell("echo hello").output().unwrap();
        assert_eq!(output.stdout.trim_ascii_end(), b"hello");
        assert!(output.status.success());
        assert_eq!(waits.join().unwrap().code(), Some(7));
        let mut child = shell("echo there")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut text = String::new();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_to_string(&mut text).unwrap();
        assert_eq!(text.trim_end(), "there");
        assert!(child.wait().unwrap().success());
        assert!(child.try_wait().unwrap().unwrap().success());
    });
}
