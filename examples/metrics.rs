//! The numbers of the runtime for Prometheus: `GET /metrics` in its text format.
//!
//! ```text
//! cargo run --release --example metrics 9100     serves on 127.0.0.1:9100 for ever
//! cargo run --release --example metrics          works a little, asks itself, prints what it got, and ends
//! ```
//!
//! Counts of Roving are counters there, and what there is now are gauges. Copy what you need: the text is made in
//! [`render`], from public fields alone.

use std::convert::Infallible;
use std::env;
use std::fmt::{self, Write as _};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Duration;

use roving::net::{Shutdown, TcpListener, TcpStream};
use roving::{Handle, Histogram, Metrics, go, thread};

/// How long a client may be silent, and how long its request may be.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_REQUEST: u64 = 16 << 10;

fn main() -> io::Result<()> {
    let port = env::args().nth(1).unwrap_or_else(|| "0".to_owned());
    let port: u16 = port.parse().map_err(io::Error::other)?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let address = listener.local_addr()?;
    let server = go!(name = "metrics", move || serve(&listener));
    if port > 0 {
        println!("serving http://{address}/metrics");
        match server.join().expect("the server panicked")? {}
    }
    work();
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    print!("{body}");
    let spawned = body
        .lines()
        .find_map(|line| line.strip_prefix("roving_spawned_total "));
    assert!(spawned.is_some_and(|count| count.parse::<u64>().is_ok_and(|count| count >= 101)));
    server.cancel();
    Ok(())
}

/// Something to be counted.
fn work() {
    let threads: Vec<_> = (0..100)
        .map(|_| {
            go!(|| {
                thread::sleep(Duration::from_millis(10));
                (0..100).for_each(|_| thread::yield_now());
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("it panicked"));
}

/// Accepts connections for ever. The example `echo` says what the errors are.
fn serve(listener: &TcpListener) -> io::Result<Infallible> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                // A client that goes away is no concern of others.
                let answer = move || answer(&stream).unwrap_or_default();
                if let Err(error) = thread::Builder::new().spawn(answer) {
                    eprintln!("spawn: {error}");
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Answers one request, and closes.
fn answer(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = BufReader::new(stream.take(MAX_REQUEST));
    let mut line = String::new();
    request.read_line(&mut line)?;
    let mut header = String::new();
    while request.read_line(&mut header)? > 2 {
        header.clear();
    }
    let (status, body) = match line.split_ascii_whitespace().take(2).collect::<Vec<_>>()[..] {
        ["GET", "/metrics"] => ("200 OK", render(&Handle::current()?.metrics())),
        ["GET", _] => ("404 Not Found", "it is /metrics\n".to_owned()),
        _ => ("400 Bad Request", "it is GET /metrics\n".to_owned()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.shutdown(Shutdown::Write)
}

fn render(metrics: &Metrics) -> String {
    let mut text = Text::default();
    text.gauge("uptime_seconds", metrics.uptime.as_secs_f64());
    text.counter("spawned_total", metrics.spawned);
    text.counter("ended_total", metrics.ended);
    text.kind("threads", "gauge");
    text.labelled("threads", "state", "running", metrics.running);
    text.labelled("threads", "state", "runnable", metrics.runnable);
    text.labelled("threads", "state", "parked", metrics.parked);
    text.counter("runs_total", metrics.runs);
    text.counter("parks_total", metrics.parks);
    text.counter("yields_total", metrics.yields);
    text.counter("wake_ups_total", metrics.wake_ups);
    text.counter("from_outside_total", metrics.from_outside);
    text.counter("driver_waits_total", metrics.driver_waits);
    text.counter("events_total", metrics.events);
    text.gauge("timers", metrics.timers);
    text.counter("armed_timers_total", metrics.armed_timers);
    text.counter("expired_timers_total", metrics.expired_timers);
    text.counter("hand_overs_total", metrics.hand_overs);
    text.gauge("stuck_workers", metrics.stuck);
    text.gauge("spares", metrics.spares);
    text.gauge("injected", metrics.injected);
    text.gauge("stacks_in_use", metrics.stacks_in_use);
    text.gauge("stack_bytes_in_use", metrics.stack_bytes_in_use);
    text.gauge("stacks_pooled", metrics.stacks_pooled);
    text.gauge("stack_bytes_pooled", metrics.stack_bytes_pooled);
    text.histogram("run_length_seconds", &metrics.run_lengths);
    text.histogram("scheduling_delay_seconds", &metrics.delays);
    text.of_workers(metrics);
    text.0
}

/// What Prometheus reads: a line for each number, below what kind it is of.
#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a String takes everything");
    }

    fn kind(&mut self, name: &str, kind: &str) {
        self.line(format_args!("# TYPE roving_{name} {kind}"));
    }

    fn counter(&mut self, name: &str, value: u64) {
        self.kind(name, "counter");
        self.line(format_args!("roving_{name} {value}"));
    }

    fn gauge(&mut self, name: &str, value: impl fmt::Display) {
        self.kind(name, "gauge");
        self.line(format_args!("roving_{name} {value}"));
    }

    fn labelled(
        &mut self,
        name: &str,
        label: &str,
        of: impl fmt::Display,
        value: impl fmt::Display,
    ) {
        self.line(format_args!("roving_{name}{{{label}=\"{of}\"}} {value}"));
    }

    fn histogram(&mut self, name: &str, histogram: &Histogram) {
        self.kind(name, "histogram");
        let mut below_or_equal = 0;
        for (below, count) in histogram.buckets() {
            below_or_equal += count;
            let bound = match below {
                Duration::MAX => "+Inf".to_owned(),
                below => below.as_secs_f64().to_string(),
            };
            self.labelled(&format!("{name}_bucket"), "le", bound, below_or_equal);
        }
        let sum = histogram.sum().as_secs_f64();
        self.line(format_args!("roving_{name}_sum {sum}"));
        self.line(format_args!("roving_{name}_count {below_or_equal}"));
    }

    fn of_workers(&mut self, metrics: &Metrics) {
        let workers = || metrics.workers.iter().enumerate();
        self.kind("worker_busy_seconds_total", "counter");
        for (number, worker) in workers() {
            let busy = worker.busy.as_secs_f64();
            self.labelled("worker_busy_seconds_total", "worker", number, busy);
        }
        self.kind("worker_idle_seconds_total", "counter");
        for (number, worker) in workers() {
            let idle = worker.idle.as_secs_f64();
            self.labelled("worker_idle_seconds_total", "worker", number, idle);
        }
        self.kind("worker_steals_total", "counter");
        for (number, worker) in workers() {
            self.labelled("worker_steals_total", "worker", number, worker.steals);
        }
        self.kind("worker_queue_length", "gauge");
        for (number, worker) in workers() {
            self.labelled("worker_queue_length", "worker", number, worker.queued);
        }
    }
}
