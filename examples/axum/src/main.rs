//! An axum application on green threads: HTTP/1.1 and HTTP/2, over TLS, with a database, without tokio's runtime.
//!
//! ```text
//! cargo run --release -p roving-example-axum                                  tries itself with twenty clients, and ends
//! cargo run --release -p roving-example-axum 127.0.0.1:8443 notes.sqlite      serves until Ctrl-C
//! curl -k https://127.0.0.1:8443/hello/you
//! ```
//!
//! Each connection is a green thread, and with HTTP/2 each request is one too. So a handler is an `async fn`, as
//! axum wants it, and may block as it likes: on a channel, on a lock, on a sleep. That holds up its own connection,
//! or its request, and nobody else. What blocks in the system, such as a database, it calls in `roving::blocking`.
//!
//! | file          | what it is                                                  |
//! |---------------|-------------------------------------------------------------|
//! | `application` | the handlers                                                |
//! | `database`    | blocking code that knows nothing of who calls it            |
//! | `server`      | connections: TLS, HTTP, silent clients, the end             |
//! | `clients`     | those who try it                                            |

mod application;
mod clients;
mod database;
mod server;

use std::env;
use std::error::Error;

use roving::net::TcpListener;
use roving::{CancelToken, blocking, go};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use self::database::Notes;
use self::server::Identity;

type AnyError = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => try_it(),
        [address, database] => serve(address, database),
        _ => Err("usage: roving-example-axum [ADDRESS DATABASE]".into()),
    }
}

fn serve(address: &str, database: &str) -> Result<(), AnyError> {
    let listener = TcpListener::bind(address)?;
    let application = application::application(Notes::open(database)?);
    let identity = Identity::make_up()?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    println!("serving https://{}/hello/you", listener.local_addr()?);

    let stop = CancelToken::new();
    let stops = stop.clone();
    go!(move || {
        blocking(|| signals.forever().next());
        stops.cancel();
    });
    let server = go!(move || server::serve(&listener, &identity.acceptor, &application, &stop));
    server.join().map_err(|_| "the server has panicked")?
}

fn try_it() -> Result<(), AnyError> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let application = application::application(Notes::open(":memory:")?);
    let Identity {
        acceptor,
        certificate,
    } = Identity::make_up()?;

    let stop = CancelToken::new();
    let stops = stop.clone();
    let server = go!(move || server::serve(&listener, &acceptor, &application, &stop));
    let result = clients::run(address, &certificate);
    stops.cancel();
    server.join().map_err(|_| "the server has panicked")??;
    result
}
