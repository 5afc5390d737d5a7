//! Clients that are all there at once, and ask for all that there is.

use std::fs;
use std::net::TcpListener;
use std::sync::Barrier;
use std::sync::mpsc::{self, Sender};
use std::thread;

use ureq::Agent;

use crate::AnyError;

const CLIENTS: u64 = 300;
const ROUNDS: u64 = 5;
/// So many connect at once: fewer than std lets wait to be accepted.
const AT_ONCE: usize = 100;

pub(crate) fn try_it() -> Result<(), AnyError> {
    let folder = tempfile::tempdir()?;
    let server = crate::server(&folder.path().join("notes.sqlite"))?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let serving = server.clone();
    thread::Builder::new().spawn(move || serving.serve(&listener))?;

    let (connected, connections) = mpsc::channel();
    let all_there = Barrier::new(CLIENTS as usize + 1);
    let (open, os_threads) = thread::scope(|scope| -> Result<_, AnyError> {
        let (url, all_there) = (&url, &all_there);
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let connected = connected.clone();
            clients.push(scope.spawn(move || talk(url, number, connected, all_there)));
            if clients.len() % AT_ONCE == 0 {
                connections.iter().take(AT_ONCE).for_each(drop);
            }
        }
        let held = (server.open(), os_threads());
        all_there.wait();
        for client in clients {
            client.join().expect("it does not panic")?;
        }
        Ok(held)
    })?;

    assert_eq!(open, CLIENTS);
    let counts = ask_for_counts(&url)?;
    let times = CLIENTS * ROUNDS;
    assert_eq!(
        counts,
        format!("/echo {}\n/note {times}\n/pass {times}\n", times + CLIENTS)
    );
    print!("{counts}");
    println!("{CLIENTS} clients at once, and as many connections: {os_threads} OS threads");
    Ok(())
}

/// Asks on one connection. A client that fails does not leave the others waiting.
fn talk(
    url: &str,
    number: u64,
    connected: Sender<()>,
    all_there: &Barrier,
) -> Result<(), AnyError> {
    let agent = Agent::new_with_defaults();
    let ask = |path: &str, round| -> Result<(), AnyError> {
        let said = format!("client {number}, round {round}");
        let mut answer = agent.post(format!("{url}{path}")).send(&said)?;
        let heard = answer.body_mut().read_to_string()?;
        match heard == said {
            true => Ok(()),
            false => Err(format!("{path}: {heard:?} instead of {said:?}").into()),
        }
    };
    let first = ask("/echo", 0);
    connected.send(())?;
    all_there.wait();
    first?;
    for round in 1..=ROUNDS {
        for path in ["/echo", "/note", "/pass"] {
            ask(path, round)?;
        }
    }
    Ok(())
}

fn ask_for_counts(url: &str) -> Result<String, AnyError> {
    let mut answer = ureq::get(format!("{url}/counts")).call()?;
    Ok(answer.body_mut().read_to_string()?)
}

/// How many the kernel knows of this process, where it tells.
fn os_threads() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let threads = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:"));
    threads.map_or_else(|| "unknown".to_owned(), |number| number.trim().to_owned())
}
