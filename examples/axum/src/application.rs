//! What is served. The handlers block where they have to wait.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use roving::sync::Semaphore;
use roving::{blocking, channel, deadline, go, thread};
use tower_http::catch_panic::CatchPanicLayer;

use crate::AnyError;
use crate::database::Notes;

/// How long a request waits for primes.
const PATIENCE: Duration = Duration::from_secs(10);

struct Application {
    notes: Notes,
    /// Who has a permit may call the database. It has one connection.
    calls: Semaphore,
    primes: channel::Sender<Question>,
}

/// How many primes are below a number, and who wants to know.
struct Question {
    below: u16,
    answer: channel::Sender<usize>,
}

impl Application {
    /// Calls the database. Requests wait for their turn as green threads, and not in there, where each would take a
    /// worker's place.
    fn with_notes<T>(&self, f: impl FnOnce(&Notes) -> rusqlite::Result<T>) -> Result<T, Failure> {
        let _call = self.calls.acquire();
        Ok(blocking(|| f(&self.notes))?)
    }
}

pub(crate) fn application(notes: Notes) -> Router {
    let (primes, questions) = channel::bounded(0);
    go!(move || answer(&questions));
    let application = Application {
        notes,
        calls: Semaphore::new(1),
        primes,
    };
    Router::new()
        .route("/hello/{name}", get(hello))
        .route("/later", get(later))
        .route("/primes/{below}", get(count_primes))
        .route("/notes", get(read_notes).post(add_note))
        // What panics is a 500, and the connection goes on.
        .layer(CatchPanicLayer::new())
        .with_state(Arc::new(application))
}

async fn hello(Path(name): Path<String>) -> String {
    format!("hello, {name}\n")
}

async fn later() -> &'static str {
    thread::sleep(Duration::from_millis(20));
    "late\n"
}

async fn count_primes(
    State(application): State<Arc<Application>>,
    Path(below): Path<u16>,
) -> Result<String, Failure> {
    // Whatever blocks in there ends with it.
    let count = deadline(PATIENCE, || {
        let (answer, count) = channel::bounded(1);
        application.primes.send(Question { below, answer })?;
        Ok::<_, Failure>(count.recv()?)
    })??;
    Ok(format!("{count}\n"))
}

async fn add_note(
    State(application): State<Arc<Application>>,
    note: String,
) -> Result<StatusCode, Failure> {
    application.with_notes(|notes| notes.add(&note))?;
    Ok(StatusCode::CREATED)
}

async fn read_notes(State(application): State<Arc<Application>>) -> Result<String, Failure> {
    Ok(application.with_notes(Notes::all)?.join("\n"))
}

/// Answers one question after the other, until nobody can ask any more.
fn answer(questions: &channel::Receiver<Question>) {
    for Question { below, answer } in questions {
        let is_prime = |n: &u32| {
            (2..*n)
                .take_while(|divisor| divisor * divisor <= *n)
                .all(|divisor| !n.is_multiple_of(divisor))
        };
        // Whoever has asked may be gone.
        let _ = answer.send((2..below.into()).filter(is_prime).count());
    }
}

/// Why a handler has no answer: told here, and to the client by a 500.
struct Failure(AnyError);

impl<E: Into<AnyError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        eprintln!("a request fails: {}", self.0);
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}
