//! An HTTP server as one writes it with `std` alone: a thread for each connection, a map behind a mutex, a database in a file, and a
//! client that blocks. But for `roving::adopt!()` it knows nothing of green threads.
//!
//! ```text
//! cargo run --release -p roving-example-adopted-server                               tries itself with 300 clients, and ends
//! cargo run --release -p roving-example-adopted-server 127.0.0.1:8080 notes.sqlite   serves until it is ended
//! curl -d 'good morning' http://127.0.0.1:8080/note
//! ```
//!
//! Beside the same without the line, and beside one that is written for green threads, it is measured by `make bench-http`.
//!
//! | file          | what it is                                          |
//! |---------------|-----------------------------------------------------|
//! | `server`      | connections, and a thread for each                   |
//! | `http`        | requests and answers                                |
//! | `application` | what is answered                                    |
//! | `notes`       | the database                                        |
//! | `upstream`    | another server, and the client for it               |
//! | `clients`     | those who try it                                    |

mod application;
mod clients;
mod http;
mod notes;
mod server;
mod upstream;

use std::env;
use std::error::Error;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use self::application::Application;
use self::server::Server;

type AnyError = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), AnyError> {
    roving::adopt!();
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => clients::try_it(),
        [address, database] => {
            let listener = TcpListener::bind(address)?;
            println!("serving http://{}/counts", listener.local_addr()?);
            let server = server(database.as_ref())?;
            Err(server.serve(&listener).into())
        }
        _ => Err("usage: roving-example-adopted-server [ADDRESS DATABASE]".into()),
    }
}

/// The application, and beside it the server that it asks in turn.
fn server(database: &Path) -> Result<Arc<Server>, AnyError> {
    let upstream = upstream::start()?;
    let application = Application::new(database, upstream)?;
    Ok(Server::new(move |request| application.answer(request)))
}
