//! A large synchronous code base, under an `async` server and over an `async` client, with no line of it changed.
//!
//! The shop (`shop.rs`) and its data layer (`orm.rs`) are synchronous. The client of their database is `async`, and so is the
//! server that calls them, axum on tokio. `greenly` and `await_` are between: in the handlers below, and in `postgres.rs`. The same shop
//! is called from a thousand green threads, as it is.
//!
//!     cargo run --release -p roving-example-bookshop                    # serves its own clients, and ends
//!     cargo run --release -p roving-example-bookshop 127.0.0.1:8080     # serves: curl http://127.0.0.1:8080/books
//!
//! It starts a PostgreSQL server of its own, in a temporary folder. Where there is none it says so, and exits with 77.

mod orm;
mod postgres;
mod server;
mod shop;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, fs};

use async_compat::CompatExt;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use roving::{Group, ThreadLocals, block_on, deadline, greenly, thread};

use crate::postgres::Pool;
use crate::server::Server;

type AnyError = Box<dyn Error + Send + Sync>;

const CONNECTIONS: usize = 8;
const STOCK: i64 = 60;

fn main() -> Result<ExitCode, AnyError> {
    let Some(database) = Server::start(CONNECTIONS).map_err(|error| error.to_string())? else {
        eprintln!("bookshop: NOT RUN: PostgreSQL is not installed (apt-get install postgresql)");
        return Ok(ExitCode::from(77));
    };
    let green = roving::Builder::new().build()?;
    let mut config = tokio_postgres::Config::new();
    config
        .host_path(database.folder())
        .user("roving")
        .dbname("postgres");
    let pool = Arc::new(Pool::open(&config, CONNECTIONS)?);
    pool.with(|driver| shop::open(driver, STOCK))?;
    let address = env::args().nth(1);
    if address.is_none() {
        green.run(|| call(&pool, green.workers()))?;
    }

    let tokio = tokio(green.thread_locals())?;
    let listens = tokio::net::TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0"));
    let listener = tokio.block_on(listens)?;
    let site = format!("http://{}", listener.local_addr()?);
    let serves = axum::serve(listener, application(pool.clone()));
    if address.is_some() {
        println!("{site}/books");
        tokio.block_on(async { serves.await })?;
        return Ok(ExitCode::SUCCESS);
    }
    tokio.spawn(async { serves.await });
    let customers = green.spawn(move || {
        buy(&site)?;
        give_up(&site, &pool)
    });
    let served = tokio.block_on(customers.into_future());
    served.map_err(|_| "a customer has panicked")??;
    Ok(ExitCode::SUCCESS)
}

/// A runtime of tokio. What `greenly` runs goes from one worker to another with its task, if it has its own thread-locals.
fn tokio(thread_locals: ThreadLocals) -> Result<tokio::runtime::Runtime, AnyError> {
    let workers = match thread_locals {
        ThreadLocals::Own => 2,
        _ => 1,
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(workers).enable_all().build()?)
}

/// Calls the shop from a thousand green threads at once: without `greenly`, since these can wait anywhere.
fn call(pool: &Pool, workers: usize) -> Result<(), AnyError> {
    let most = AtomicUsize::new(0);
    Group::new().map(0..1_000, |n| {
        if n % 20 == 0 {
            pool.with(|driver| shop::order(driver, 3, 1))?;
        }
        let list = pool.with(shop::catalogue)?;
        most.fetch_max(os_threads(), Ordering::Relaxed);
        expect(list.lines().count(), 3)
    })?;
    expect(
        pool.with(|driver| shop::count(driver, 3))?,
        (STOCK - 50, 50),
    )?;
    let most = most.into_inner();
    println!("a thousand green threads have read and ordered books, on {most} OS threads");
    // The main one, the workers, and that of tokio.
    expect(most, 1 + workers + 1)
}

// The server: `async` functions that call the shop.

fn application(pool: Arc<Pool>) -> Router {
    Router::new()
        .route("/books", get(books))
        .route("/books/{book}/order/{copies}", post(order))
        .with_state(pool)
}

async fn books(State(pool): State<Arc<Pool>>) -> Result<String, (StatusCode, String)> {
    let books = greenly(move || pool.with(shop::catalogue)).await;
    books.map_err(failed)
}

async fn order(
    State(pool): State<Arc<Pool>>,
    Path((book, copies)): Path<(i64, i64)>,
) -> Result<String, (StatusCode, String)> {
    let ordered = greenly(move || pool.with(|driver| shop::order(driver, book, copies))).await;
    ordered
        .map(|order| format!("order {order}\n"))
        .map_err(failed)
}

fn failed(error: orm::Error) -> (StatusCode, String) {
    let status = match error {
        orm::Error::NoRow { .. } => StatusCode::NOT_FOUND,
        orm::Error::Refused(_) => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, format!("{error}\n"))
}

// The clients: green threads that call an `async` client of HTTP.

/// Asks for more copies than there are, all at once.
fn buy(site: &str) -> Result<(), AnyError> {
    let client = reqwest::Client::new();
    let list = block_on(text(client.get(format!("{site}/books"))).compat())?.1;
    expect(list.lines().count(), 3)?;
    println!("{}", list.trim_end());
    let orders = Group::new().map(0..100, |_| {
        let request = client.post(format!("{site}/books/1/order/1"));
        let (status, text) = block_on(text(request).compat())?;
        match status.as_u16() {
            200 => Ok(1),
            409 => Ok(0),
            _ => Err(AnyError::from(text)),
        }
    })?;
    let sold = orders.iter().sum::<i64>();
    expect(sold, STOCK)?;
    println!("of 100 orders at once, {sold} are taken, for there are so many copies");
    Ok(())
}

/// Orders a book that somebody else keeps locked, and goes away: what the server has begun is undone.
fn give_up(site: &str, pool: &Pool) -> Result<(), AnyError> {
    let client = reqwest::Client::new();
    let others_are_idle = || pool.idle() == CONNECTIONS - 1;
    let held = pool.with(|driver| {
        shop::hold(driver, 2, || {
            let request = client.post(format!("{site}/books/2/order/1"));
            thread::scope(|scope| {
                let asks = scope.spawn(|| block_on(text(request).compat()).map(drop));
                let begun = wait_until(|| !others_are_idle());
                asks.cancel();
                let gone = asks.join().is_err();
                begun && gone && wait_until(others_are_idle)
            })
        })
    });
    expect(held?, true)?;
    expect(pool.with(|driver| shop::count(driver, 2))?, (STOCK, 0))?;
    println!("an order whose client goes away is undone");
    Ok(())
}

/// Gives whether it has become so.
fn wait_until(done: impl Fn() -> bool) -> bool {
    deadline(Duration::from_secs(60), || {
        while !done() {
            thread::sleep(Duration::from_millis(1));
        }
    })
    .is_ok()
}

async fn text(request: reqwest::RequestBuilder) -> reqwest::Result<(reqwest::StatusCode, String)> {
    let response = request.send().await?;
    Ok((response.status(), response.text().await?))
}

/// As many OS threads as there are in this process.
fn os_threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count())
}

fn expect<T: PartialEq + std::fmt::Debug>(got: T, expected: T) -> Result<(), AnyError> {
    if got == expected {
        Ok(())
    } else {
        Err(format!("expected {expected:?}, got {got:?}").into())
    }
}
