//! Two hundred green threads on clients that block, each for 50 ms, beside as many OS threads: three clients, as
//! their authors have made them. What a runtime of two workers makes of it the first time, and again when the spares
//! are there; and how late another thread comes meanwhile that wants to run every 5 ms. And the OS threads once more, in this program
//! adopted by `roving-run`, where they are green and their clients' waits park them.
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
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
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
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve"] => return serve(),
        ["adopted", client, place] => return measure_adopted(client, place),
        _ => {}
    }
    let launcher = build_launcher()?;
    let servers = Servers::start()?;
    let (http, redis) = (servers.http, servers.redis);
    println!(
        "{CLIENTS} clients that wait for 50 ms, {WORKERS} workers; medians of {ROUNDS} rounds, in ms\n"
    );
    println!(
        "            OS threads   green threads: first      again       adopted   worst beat: OS    first    again  adopted"
    );
    let measure = |client: &str, place: &str| -> Result<(), Box<dyn Error>> {
        let mut adopted = Adopted::start(&launcher, client, place)?;
        measure(client, &*asking(client, place)?, &mut adopted)
    };
    measure("ureq", &http.to_string())?;
    measure("redis", &redis.to_string())?;
    // So many are connected here, and as many adopted.
    match Server::start(2 * CLIENTS)? {
        Some(postgres) => {
            let folder = postgres.folder().to_str().ok_or("it is no text")?;
            measure("postgres", folder)?;
            measure("connected", folder)?;
        }
        None => println!("postgres    not measured: not installed (apt-get install postgresql)"),
    }
    Ok(())
}

/// What is done with a client of that name, and a server that is at that place.
fn asking(client: &str, place: &str) -> Result<Box<dyn Fn() + Sync>, Box<dyn Error>> {
    const QUESTION: &str = "select pg_sleep(0.05)";
    let folder = PathBuf::from(place);
    Ok(match client {
        "ureq" => {
            let address = place.parse()?;
            Box::new(move || ask_http(address))
        }
        "redis" => {
            let address = place.parse()?;
            Box::new(move || ask_redis(address))
        }
        "postgres" => Box::new(move || ask_postgres(&folder, QUESTION)),
        "connected" => {
            // To connect starts a process of the server.
            let connected = Pool::filled(|| connect_postgres(&folder));
            Box::new(move || {
                let mut client = connected.take();
                assert_eq!(client.query(QUESTION, &[]).unwrap().len(), 1);
                connected.give_back(client);
            })
        }
        _ => return Err(format!("there is no client {client}").into()),
    })
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

fn measure(
    name: &str,
    ask: &(dyn Fn() + Sync),
    adopted: &mut Adopted,
) -> Result<(), Box<dyn Error>> {
    let [mut os, mut first, mut again, mut green] = [(); 4].map(|()| Taken::default());
    for _ in 0..ROUNDS {
        os.add(on_os_threads(ask));
        let builder = roving::Builder::new().workers(WORKERS);
        let runtime = builder.build().expect("it is configured well");
        first.add(runtime.run(|| on_green_threads(ask)));
        again.add(runtime.run(|| on_green_threads(ask)));
        runtime.shutdown();
        green.add(adopted.round()?);
    }
    let base = os.median();
    let [first_time, again_time, green_time] =
        [&mut first, &mut again, &mut green].map(Taken::median);
    let late = [os.late, first.late, again.late, green.late].map(millis);
    println!(
        "{name:<10} {base:>11.1} {first_time:>17.1} ({:.2}) {again_time:>6.1} ({:.2}) {green_time:>6.1} ({:.2}) {:>15.1} {:>8.1} {:>8.1} {:>8.1}",
        first_time / base,
        again_time / base,
        green_time / base,
        late[0],
        late[1],
        late[2],
        late[3],
    );
    Ok(())
}

/// This program once more, adopted: it makes a round whenever it is asked for one.
struct Adopted {
    process: Child,
    asked: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

impl Adopted {
    fn start(launcher: &Path, client: &str, place: &str) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(launcher)
            .arg(env::current_exe()?)
            .args(["adopted", client, place])
            .env("ROVING_WORKERS", WORKERS.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self {
            asked: process.stdin.take(),
            said: BufReader::new(process.stdout.take().expect("it is piped")),
            process,
        })
    }

    fn round(&mut self) -> Result<(Duration, Duration), Box<dyn Error>> {
        writeln!(self.asked.as_ref().expect("it is piped"))?;
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        let (time, late) = line.trim_end().split_once(' ').ok_or("it has ended")?;
        let duration = |nanos: &str| nanos.parse().map(Duration::from_nanos);
        Ok((duration(time)?, duration(late)?))
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        drop(self.asked.take());
        let _ = self.process.wait();
    }
}

/// Says for each line of the standard input what a round has taken, in nanoseconds.
fn measure_adopted(client: &str, place: &str) -> Result<(), Box<dyn Error>> {
    let ask = asking(client, place)?;
    for line in io::stdin().lines() {
        line?;
        let (time, late) = on_os_threads(&*ask);
        println!("{} {}", time.as_nanos(), late.as_nanos());
    }
    Ok(())
}

/// Builds `roving-run` and what it has loaded, and tells where it is.
fn build_launcher() -> Result<PathBuf, Box<dyn Error>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let packages = ["-p", "roving-run", "-p", "roving-preload"];
    let built = Command::new(cargo)
        .args(["build", "--release", "--locked", "--quiet"])
        .args(packages)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .status()?;
    if !built.success() {
        return Err(format!("cargo build {}: {built}", packages.join(" ")).into());
    }
    // This program is in the folder `deps` of where those are.
    let this = env::current_exe()?;
    let folder = this.ancestors().nth(2).ok_or("it is nowhere")?;
    Ok(folder.join("roving-run"))
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
