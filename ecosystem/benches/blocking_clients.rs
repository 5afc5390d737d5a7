//! Two hundred green threads on clients that block, each for 50 ms, beside as many OS threads: three clients, as
//! their authors have made them. What a runtime of two workers makes of it the first time, and again when the spares
//! are there; and how late another thread comes meanwhile that wants to run every 5 ms.
//!
//!     cargo bench -p roving-ecosystem --bench blocking_clients
//!
//! Of PostgreSQL twice: with a connection made for each question, for which the server starts a process, and with those of a pool.
//! That is left out where that is not installed.

#[path = "../tests/common/clients.rs"]
mod clients;
#[path = "../tests/common/resp.rs"]
mod resp;
#[path = "../../examples/bookshop/src/server.rs"]
mod server;

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use clients::{
    CLIENTS, ask_http, ask_postgres, ask_redis, connect_postgres, serve_http, serve_redis,
};
use roving::net::{TcpListener, TcpStream};
use server::Server;

const WORKERS: usize = 2;
const WAIT: Duration = Duration::from_millis(50);
const BEAT: Duration = Duration::from_millis(5);
const ROUNDS: usize = 7;

fn main() -> Result<(), Box<dyn Error>> {
    if env::args()
        .nth(1)
        .is_some_and(|argument| argument == "serve")
    {
        return serve();
    }
    let servers = Servers::start()?;
    let (http, redis) = (servers.http, servers.redis);
    println!(
        "{CLIENTS} clients that wait for 50 ms, {WORKERS} workers; medians of {ROUNDS} rounds, in ms\n"
    );
    println!(
        "            OS threads   green threads: first      again   worst beat: OS    first    again"
    );
    measure("ureq", &|| ask_http(http));
    measure("redis", &|| ask_redis(redis));
    match Server::start(CLIENTS)? {
        Some(postgres) => {
            let (folder, question) = (postgres.folder(), "select pg_sleep(0.05)");
            measure("postgres", &|| ask_postgres(folder, question));
            // To connect starts a process of the server.
            let connected = Pool::filled(|| connect_postgres(folder));
            measure("connected", &|| {
                let mut client = connected.take();
                assert_eq!(client.query(question, &[]).unwrap().len(), 1);
                connected.give_back(client);
            });
        }
        None => println!("postgres    not measured: not installed (apt-get install postgresql)"),
    }
    Ok(())
}

/// Clients that are connected.
struct Pool<C>(Mutex<Vec<C>>);

impl<C> Pool<C> {
    /// With one for each who asks.
    fn filled(connect: impl Fn() -> C) -> Self {
        Self(Mutex::new((0..CLIENTS).map(|_| connect()).collect()))
    }

    fn take(&self) -> C {
        let mut clients = self.0.lock().expect("nobody panics with it");
        clients.pop().expect("there is one for each")
    }

    fn give_back(&self, client: C) {
        let mut clients = self.0.lock().expect("nobody panics with it");
        clients.push(client);
    }
}

/// What one way to run all has taken, and by how much the beat was late at worst.
#[derive(Default)]
struct Taken {
    times: Vec<Duration>,
    late: Duration,
}

impl Taken {
    fn add(&mut self, (time, late): (Duration, Duration)) {
        self.times.push(time);
        self.late = self.late.max(late);
    }

    fn median(&mut self) -> f64 {
        self.times.sort();
        millis(self.times[self.times.len() / 2])
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn measure(name: &str, ask: &(dyn Fn() + Sync)) {
    let [mut os, mut first, mut again] = [(); 3].map(|()| Taken::default());
    for _ in 0..ROUNDS {
        os.add(on_os_threads(ask));
        let builder = roving::Builder::new().workers(WORKERS);
        let runtime = builder.build().expect("it is configured well");
        first.add(runtime.run(|| on_green_threads(ask)));
        again.add(runtime.run(|| on_green_threads(ask)));
        runtime.shutdown();
    }
    let base = os.median();
    let [first_time, again_time] = [first.median(), again.median()];
    let late = [os.late, first.late, again.late].map(millis);
    println!(
        "{name:<10} {base:>11.1} {first_time:>17.1} ({:.2}) {again_time:>6.1} ({:.2}) {:>15.1} {:>8.1} {:>8.1}",
        first_time / base,
        again_time / base,
        late[0],
        late[1],
        late[2],
    );
}

/// Counts by how much it comes late, until all have been served.
fn beat(ended: &AtomicBool, sleep: fn(Duration)) -> Duration {
    let mut late = Duration::ZERO;
    while !ended.load(Ordering::Acquire) {
        let due = Instant::now() + BEAT;
        sleep(BEAT);
        late = late.max(Instant::now() - due);
    }
    late
}

fn on_os_threads(ask: &(dyn Fn() + Sync)) -> (Duration, Duration) {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let beats = scope.spawn(|| beat(&ended, thread::sleep));
        let start = Instant::now();
        let asking = [(); CLIENTS].map(|()| scope.spawn(ask));
        for asks in asking {
            asks.join().expect("it is answered");
        }
        let time = start.elapsed();
        ended.store(true, Ordering::Release);
        (time, beats.join().expect("it does not panic"))
    })
}

fn on_green_threads(ask: &(dyn Fn() + Sync)) -> (Duration, Duration) {
    let ended = AtomicBool::new(false);
    roving::thread::scope(|scope| {
        let beats = scope.spawn(|| beat(&ended, roving::thread::sleep));
        let start = Instant::now();
        let asking = [(); CLIENTS].map(|()| scope.spawn(ask));
        for asks in asking {
            asks.join().expect("it is answered");
        }
        let time = start.elapsed();
        ended.store(true, Ordering::Release);
        (time, beats.join().expect("it does not panic"))
    })
}

/// Those that are made here, in another process.
struct Servers {
    process: Child,
    http: SocketAddr,
    redis: SocketAddr,
}

impl Servers {
    fn start() -> Result<Self, Box<dyn Error>> {
        let mut serves = Command::new(env::current_exe()?);
        serves.arg("serve");
        let mut process = serves
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut address = || -> Result<SocketAddr, Box<dyn Error>> {
            let mut line = String::new();
            said.read_line(&mut line)?;
            Ok(line.trim_end().parse()?)
        };
        Ok(Self {
            http: address()?,
            redis: address()?,
            process,
        })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Says where, and serves until the standard input ends.
fn serve() -> Result<(), Box<dyn Error>> {
    listen(|stream| serve_http(stream, || roving::thread::sleep(WAIT)))?;
    listen(|stream| serve_redis(stream, || roving::thread::sleep(WAIT)))?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn listen(serve: fn(&TcpStream) -> io::Result<()>) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    roving::go!(move || {
        for stream in listener.incoming() {
            // It may end with an error, when there is no next question.
            roving::go!(move || drop(stream.and_then(|stream| serve(&stream))));
        }
    });
    Ok(())
}
