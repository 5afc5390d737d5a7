//! What a dump tells of sockets, and what programs read of it.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::yield_now;
use std::time::Duration;

use common::{Place, child, each_worker_count, is_child, run};
use roving::net::{TcpListener, TcpStream};
use roving::os::unix::net::{UnixListener, UnixStream};
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
        let descriptor = stream.as_raw_fd();
        let reads = runtime.spawn(move || (stream.read(&mut [0]).unwrap(), stream));
        assert_eq!(
            why(&reads),
            format!("read on descriptor {descriptor} -> {path}")
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
