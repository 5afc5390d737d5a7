//! What a dump tells of sockets, pipes, terminals, children and signals, and what programs read of it.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::yield_now;
use std::time::Duration;

use common::{Place, child, each_worker_count, is_child, run};
use roving::net::{TcpListener, TcpStream};
use roving::os::unix::net::{UnixListener, UnixStream};
use roving::process::Command;
use roving::signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR2, Signals};
use roving::thread::{self, JoinHandle, State};
use roving::{block_on, blocking, dump, go, greenly};
use serde_json::Value;

/// Why a thread waits that does nothing else.
fn why<T>(thread: &JoinHandle<T>) -> String {
    loop {
        match thread.thread().state() {
            State::Parked(parked) => {
                assert!(
                    parked.place().unwrap().file().ends_with("watching.rs"),
                    "{parked}"
                );
                return parked.why().to_owned();
            }
            _ => yield_now(),
        }
    }
}

/// What the system calls what lies behind a descriptor.
fn what(fd: &impl AsRawFd) -> String {
    if !cfg!(target_os = "linux") {
        return "socket".to_owned();
    }
    let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    link.unwrap().display().to_string()
}

#[test]
fn who_waits_for_a_socket_tells_its_addresses() {
    each_worker_count(|runtime| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepts = runtime.spawn(move || listener.accept().unwrap());
        assert_eq!(why(&accepts), format!("accept on {address}"));
        let mut stream = TcpStream::connect(address).unwrap();
        let own = stream.local_addr().unwrap();
        let (accepted, _) = accepts.join().unwrap();
        let reads = runtime.spawn(move || stream.read(&mut [0]).unwrap());
        assert_eq!(why(&reads), format!("read on {own} -> {address}"));
        let text = dump().to_string();
        assert!(
            text.contains(&format!("read on {own} -> {address}, at ")),
            "{text}"
        );
        drop(accepted);
        assert_eq!(reads.join().unwrap(), 0);
    });
}

#[test]
fn who_waits_for_a_unix_socket_tells_its_path() {
    each_worker_count(|runtime| {
        let place = Arc::new(Place::new());
        let path = place.as_ref().as_ref().display().to_string();
        let listener = UnixListener::bind(&*place).unwrap();
        let accepts = runtime.spawn(move || (listener.accept().unwrap().0, listener));
        assert_eq!(why(&accepts), format!("accept on {path}"));
        let mut stream = UnixStream::connect(&*place).unwrap();
        let (mut accepted, listener) = accepts.join().unwrap();
        let (descriptor, what) = (stream.as_raw_fd(), what(&stream));
        let reads = runtime.spawn(move || (stream.read(&mut [0]).unwrap(), stream));
        assert_eq!(
            why(&reads),
            format!("read on descriptor {descriptor} ({what}) -> {path}")
        );
        let writes = runtime.spawn(move || accepted.write(&vec![0; 1 << 20]).unwrap());
        let (count, stream) = reads.join().unwrap();
        assert_eq!(count, 1);
        assert_eq!(why(&writes), format!("write on {path}"));
        drop(stream);
        assert!(writes.join().unwrap() < 1 << 20);

        // SAFETY: the call takes a descriptor that is open, and a number.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let _client = UnixStream::connect(&*place).unwrap();
        let there = place.clone();
        let connects = runtime.spawn(move || UnixStream::connect(&*there).map(drop));
        assert_eq!(why(&connects), "connect to a Unix socket");
        drop(listener);
        connects.join().unwrap().unwrap_err();
    });
}

#[cfg(target_os = "linux")]
#[test]
fn who_waits_for_a_pipe_tells_which() {
    each_worker_count(|runtime| {
        let (mut reader, mut writer) = roving::io::pipe().unwrap();
        let pipe = what(&writer);
        let descriptor = reader.as_raw_fd();
        let reads = runtime.spawn(move || (reader.read(&mut [0]).unwrap(), reader));
        assert_eq!(
            why(&reads),
            format!("read on descriptor {descriptor} ({pipe})")
        );
        let descriptor = writer.as_raw_fd();
        let writes = runtime.spawn(move || writer.write(&vec![0; 1 << 20]));
        let (read, reader) = reads.join().unwrap();
        assert_eq!(read, 1);
        assert_eq!(
            why(&writes),
            format!("write on descriptor {descriptor} ({pipe})")
        );
        drop(reader);
        assert!(writes.join().unwrap().unwrap() < 1 << 20);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn who_waits_for_what_has_a_path_tells_it() {
    use roving::io::Watched;
    use std::os::unix::ffi::OsStrExt;

    each_worker_count(|runtime| {
        let (mut sits_there, terminal) = common::terminal::terminal();
        let path = what(&terminal);
        let mut terminal = Watched::new(fs::File::from(terminal)).unwrap();
        let reads = runtime.spawn(move || (terminal.read(&mut [0; 8]).unwrap(), terminal));
        assert_eq!(why(&reads), format!("read on {path}"));
        sits_there.write_all(b"x\n").unwrap();
        assert_eq!(reads.join().unwrap().0, 2);

        let place = Place::new();
        let path = std::ffi::CString::new(place.as_ref().as_os_str().as_bytes()).unwrap();
        // SAFETY: it reads a path that ends with zero.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        let mut options = roving::fs::OpenOptions::new();
        let mut fifo = options.read(true).write(true).open(&place).unwrap();
        let mut writer = fs::OpenOptions::new().write(true).open(&place).unwrap();
        let reads = runtime.spawn(move || fifo.read(&mut [0; 8]).unwrap());
        let path = place.as_ref().display().to_string();
        assert_eq!(why(&reads), format!("read on {path}"));
        writer.write_all(b"x").unwrap();
        assert_eq!(reads.join().unwrap(), 1);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn who_waits_for_any_descriptor_tells_what_it_is() {
    use roving::io::Watched;

    each_worker_count(|runtime| {
        // SAFETY: the descriptor is new, and nobody else has it.
        let events = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_NONBLOCK)) };
        let events = Arc::new(Watched::new(events).unwrap());
        let watched = events.clone();
        let waits = runtime.spawn(move || watched.wait_readable());
        let told = why(&waits);
        assert!(told.starts_with("read on descriptor "), "{told}");
        assert!(told.ends_with(" (eventfd)"), "{told}");
        waits.cancel();
        waits.join().unwrap().unwrap_err();
        let waits = runtime.spawn(move || events.wait_priority());
        let told = why(&waits);
        assert!(told.starts_with("priority on descriptor "), "{told}");
        waits.cancel();
        waits.join().unwrap().unwrap_err();

        // A socket without a name.
        let (mut near, far) = UnixStream::pair().unwrap();
        let (descriptor, what) = (near.as_raw_fd(), what(&near));
        let reads = runtime.spawn(move || near.read(&mut [0]).unwrap());
        assert_eq!(
            why(&reads),
            format!("read on descriptor {descriptor} ({what})")
        );
        drop(far);
        assert_eq!(reads.join().unwrap(), 0);
    });
}

#[test]
fn who_waits_for_a_child_tells_which() {
    each_worker_count(|runtime| {
        let (input, holds) = roving::io::pipe().unwrap();
        let mut child = Command::new("cat").stdin(input).spawn().unwrap();
        let id = child.id();
        let waits = runtime.spawn(move || (child.wait(), child));
        assert_eq!(why(&waits), format!("end of child {id}"));
        let text = dump().to_string();
        assert!(text.contains(&format!("end of child {id}, at ")), "{text}");
        waits.cancel();
        let (waited, mut child) = waits.join().unwrap();
        waited.unwrap_err();
        drop(holds);
        assert!(child.wait().unwrap().success());

        let (input, holds) = roving::io::pipe().unwrap();
        let mut command = Command::new("cat");
        command.stdin(input);
        let waits = runtime.spawn(move || command.status().unwrap());
        assert!(why(&waits).starts_with("end of child "));
        drop(holds);
        assert!(waits.join().unwrap().success());
    });
}

#[test]
fn who_waits_for_signals_tells_which() {
    each_worker_count(|runtime| {
        for (signals, told) in [
            (&[] as &[i32], "no signal"),
            (&[SIGUSR2], "signal SIGUSR2"),
            (&[SIGTERM, SIGINT], "signal SIGTERM or SIGINT"),
            (
                &[SIGHUP, libc::SIGPROF, SIGINT],
                &format!("signal SIGHUP, {} or SIGINT", libc::SIGPROF),
            ),
        ] {
            let signals = Signals::new(signals).unwrap();
            let waits = runtime.spawn(move || signals.recv().is_err());
            assert_eq!(why(&waits), told);
            waits.cancel();
            assert!(waits.join().unwrap());
        }
        let waits = runtime.spawn(|| roving::signal::ctrl_c().is_err());
        assert_eq!(why(&waits), "signal SIGINT");
        waits.cancel();
        assert!(waits.join().unwrap());
    });
}

#[test]
fn who_waits_for_a_standard_stream_tells_which() {
    const NAME: &str = "who_waits_for_a_standard_stream_tells_which";
    if !is_child(NAME) {
        let mut process = child(NAME);
        process.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = process.spawn().unwrap();
        // Until it has an end of the input to see.
        let mut output = process.stdout.take().unwrap();
        let mut told = String::new();
        let mut buffer = [0; 1000];
        while !told.contains("waits\n") {
            let len = output.read(&mut buffer).unwrap();
            assert_ne!(len, 0, "{told}");
            told += std::str::from_utf8(&buffer[..len]).unwrap();
        }
        drop(process.stdin.take());
        output.read_to_string(&mut told).unwrap();
        assert!(process.wait().unwrap().success(), "{told}");
        return;
    }
    let reads = go!(|| roving::io::stdin().read_line(&mut String::new()).unwrap());
    // Where it waits is in std, which has the buffer.
    let why = loop {
        if let State::Parked(parked) = reads.thread().state() {
            break parked.why().to_owned();
        }
        yield_now();
    };
    assert_eq!(why, "read standard input");
    println!("\nwaits");
    assert_eq!(reads.join().unwrap(), 0);
}

/// Every OS thread of the process gets the signal again and again, whatever it does, and a dump is taken each time.
#[test]
fn a_storm_of_signals_changes_nothing() {
    const NAME: &str = "a_storm_of_signals_changes_nothing";
    if !is_child(NAME) {
        for mode in ["own", "pinned"] {
            let mut process = child(NAME);
            process.env("ROVING_DUMP", "/dev/null");
            process.env("ROVING_THREAD_LOCALS", mode);
            run(process);
        }
        return;
    }
    each_worker_count(|runtime| {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let storm = std::thread::spawn(move || {
            let this = std::process::id();
            while !seen.load(Ordering::Acquire) {
                for task in fs::read_dir("/proc/self/task").unwrap() {
                    let name = task.unwrap().file_name();
                    let task: libc::pid_t = name.to_str().unwrap().parse().unwrap();
                    // SAFETY: a signal to a thread of this process, or to none.
                    unsafe { libc::syscall(libc::SYS_tgkill, this, task, libc::SIGQUIT) };
                }
            }
        });
        runtime.run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let serves = go!(move || {
                for stream in listener.incoming().take(8) {
                    let mut stream = stream.unwrap();
                    go!(move || {
                        let mut bytes = [0; 4];
                        while stream.read_exact(&mut bytes).is_ok() {
                            stream.write_all(&bytes).unwrap();
                        }
                    });
                }
            });
            let asks = move |number: u32| {
                let mut stream = TcpStream::connect(address).unwrap();
                for round in 0..50 {
                    let sent = (number * 1000 + round).to_le_bytes();
                    stream.write_all(&sent).unwrap();
                    let mut bytes = [0; 4];
                    stream.read_exact(&mut bytes).unwrap();
                    assert_eq!(bytes, sent);
                    thread::sleep(Duration::from_micros(100));
                    assert_eq!(go!(move || round).join().unwrap(), round);
                    blocking(|| std::thread::sleep(Duration::from_micros(100)));
                    assert_eq!(block_on(greenly(move || round)), round);
                }
            };
            let asking = [0, 1, 2, 3, 4, 5, 6, 7].map(|number| go!(move || asks(number)));
            asking.into_iter().for_each(|asks| asks.join().unwrap());
            serves.join().unwrap();
        });
        stop.store(true, Ordering::Release);
        storm.join().unwrap();
    });
}

#[test]
fn programs_read_a_dump() {
    each_worker_count(|runtime| {
        let parks = || {
            let builder = roving::thread::Builder::new().name("reader".to_owned());
            builder.spawn(|| roving::thread::park()).unwrap()
        };
        let parked = runtime.run(parks);
        why(&parked);
        let dump: Value = serde_json::from_str(&serde_json::to_string(&dump()).unwrap()).unwrap();
        let groups = dump["groups"].as_array().unwrap();
        let mut threads = groups
            .iter()
            .flat_map(|group| group["threads"].as_array().unwrap());
        let reader = threads.find(|thread| thread["name"] == "reader").unwrap();
        assert_eq!(reader["why"], "park");
        assert!(
            reader["spawned_at"]
                .as_str()
                .unwrap()
                .contains("watching.rs")
        );
        let group = groups
            .iter()
            .find(|group| group["state"] == "parked")
            .unwrap();
        assert!(
            group["stack"]
                .as_array()
                .unwrap()
                .iter()
                .any(|frame| frame["function"].is_string())
        );
        parked.thread().unpark();
        parked.join().unwrap();
    });
}

#[test]
fn programs_can_read_the_numbers() {
    each_worker_count(|runtime| {
        let threads: Vec<_> = (0..200).map(|_| runtime.spawn(yield_now)).collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        let metrics = serde_json::to_string(&runtime.metrics()).unwrap();
        let metrics: Value = serde_json::from_str(&metrics).unwrap();
        assert_eq!(metrics["spawned"], 200);
        assert_eq!(metrics["alive"], 0);
        assert!(metrics["uptime"].as_f64().unwrap() > 0.0);
        assert!(metrics["run_lengths"]["sum"].is_f64());
        let worker = &metrics["workers"][0];
        assert!(
            worker["busy"].is_f64() && worker["is_spare"] == false,
            "{metrics}"
        );
    });
}
