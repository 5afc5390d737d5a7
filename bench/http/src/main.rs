//! The HTTP server of the benchmarks, `roving-bench-http serve KIND WORKERS`: with an OS thread for each connection, with that adopted,
//! or with a green thread for each.
//!
//! The first two are one program, that of the example `adopted_server`, with `roving::adopt!()` and without. The third is what one
//! would write for Roving: `green` has what differs, and that is all.

#[path = "../../../examples/adopted_server/src/application.rs"]
mod application;
mod green;
#[path = "../../../examples/adopted_server/src/http.rs"]
mod http;
#[allow(dead_code)]
#[path = "../../src/limits.rs"]
mod limits;
#[path = "../../../examples/adopted_server/src/notes.rs"]
mod notes;
#[allow(dead_code)]
#[path = "../../src/protocol.rs"]
mod protocol;
#[path = "../../../examples/adopted_server/src/server.rs"]
mod server;
#[allow(dead_code)]
#[path = "../../src/system.rs"]
mod system;
#[path = "../../../examples/adopted_server/src/upstream.rs"]
mod upstream;

use std::env;
use std::error::Error;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::process;
use std::thread;

use application::Application;
use limits::Readings;
use protocol::{Refusal, ServerCommand, ServerReport, say};
use server::Server;

type AnyError = Box<dyn Error + Send + Sync>;

/// Tells how many connections there are.
type Open = Box<dyn Fn() -> u64>;

fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("notes.sqlite");
    limits::raise_descriptor_limit();
    let open = match arguments[..] {
        ["serve", kind @ ("adopted" | "threads"), workers] => {
            if kind == "adopted" {
                workers_of_all(workers)?;
                roving::adopt!();
            }
            serve(&database)?
        }
        ["serve", "roving", workers] => {
            workers_of_all(workers)?;
            green::serve(&database)?
        }
        _ => return Err("usage: roving-bench-http serve adopted|roving|threads WORKERS".into()),
    };
    for line in io::stdin().lines() {
        match serde_json::from_str(&line?)? {
            ServerCommand::Count => say(&ServerReport::Count {
                open: open(),
                failed_accepts: 0,
            }),
        }
    }
    drop(folder);
    process::exit(0);
}

fn workers_of_all(number: &str) -> Result<(), AnyError> {
    let workers = number.parse()?;
    roving::Builder::new().workers(workers).build_global()?;
    Ok(())
}

/// Starts to serve with threads of std, and reports the address.
fn serve(database: &Path) -> Result<Open, AnyError> {
    let application = Application::new(database, upstream::start()?)?;
    let server = Server::new(move |request| application.answer(request));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let serving = server.clone();
    thread::Builder::new().spawn(move || {
        let error = serving.serve(&listener);
        refuse(&error);
    })?;
    say(&ServerReport::Listening(address));
    Ok(Box::new(move || server.open()))
}

fn refuse(error: &io::Error) {
    say(&ServerReport::Refused(Box::new(Refusal {
        action: "serve a connection".into(),
        errno: error.raw_os_error(),
        error: error.to_string(),
        readings: Readings::take(),
    })));
}
