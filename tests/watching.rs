//! What a dump tells of sockets, and what programs read of it.

mod common;

use std::io::Read;
use std::thread::yield_now;

use common::each_worker_count;
use roving::dump;
use roving::net::{TcpListener, TcpStream};
use roving::thread::{JoinHandle, State};
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
        let threads: Vec<_> = (0..200).map(|_| runtime.spawn(|| yield_now())).collect();
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
