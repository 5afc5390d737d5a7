//! Fetches pages, many at a time but never more than a limit.
//!
//! ```text
//! cargo run --release --example fetch http://example.com/ http://example.org/     fetches these
//! cargo run --release --example fetch                                             fetches from a server of its own
//! ```
//!
//! The limit needs no semaphore: there are as many green threads as fetches may be under way, and
//! each takes the next address when it has done its last.

use std::collections::HashSet;
use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roving::net::{TcpListener, TcpStream, ToSocketAddrs};
use roving::{go, thread};

/// Fetches under way at any time.
const LIMIT: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(10);
const LARGEST_ANSWER: u64 = 16 << 20;

fn main() -> io::Result<()> {
    let urls: Vec<String> = env::args().skip(1).collect();
    if urls.is_empty() {
        return try_it();
    }
    for (url, page) in fetch_all(urls) {
        match page {
            Ok(page) => println!("{url}: {}, {} bytes", page.status, page.body.len()),
            Err(error) => println!("{url}: {error}"),
        }
    }
    Ok(())
}

struct Page {
    status: u16,
    body: Vec<u8>,
}

/// Fetches all of them; gives them in the order in which they were done.
fn fetch_all(urls: Vec<String>) -> Vec<(String, io::Result<Page>)> {
    let urls: Arc<[String]> = urls.into();
    let next = Arc::new(AtomicUsize::new(0));
    let fetchers: Vec<_> = (0..LIMIT.min(urls.len()))
        .map(|_| {
            let (urls, next) = (urls.clone(), next.clone());
            go!(move || {
                let mut pages = Vec::new();
                while let Some(url) = urls.get(next.fetch_add(1, Ordering::Relaxed)) {
                    pages.push((url.clone(), fetch(url)));
                }
                pages
            })
        })
        .collect();
    fetchers
        .into_iter()
        .flat_map(|fetcher| fetcher.join().expect("a fetcher panicked"))
        .collect()
}

fn fetch(url: &str) -> io::Result<Page> {
    let (authority, path) = parse(url)?;
    let mut stream = connect(authority)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // In HTTP/1.0 the end of the connection is the end of the answer.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\nAccept: */*\r\n\r\n");
    stream.write_all(request.as_bytes())?;

    let mut answer = BufReader::new(stream.take(LARGEST_ANSWER));
    let mut line = String::new();
    answer.read_line(&mut line)?;
    let status = line
        .strip_prefix("HTTP/1.")
        .and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))?;
    let mut length = None;
    while !line.trim_end().is_empty() {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("Content-Length")
        {
            length = value.trim().parse().ok();
        }
        line.clear();
        answer.read_line(&mut line)?;
    }
    let mut body = Vec::new();
    answer.read_to_end(&mut body)?;
    if length.is_some_and(|length: usize| length != body.len()) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Page { status, body })
}

/// Cuts `http://authority/path` in two.
fn parse(url: &str) -> io::Result<(&str, &str)> {
    let rest = url
        .strip_prefix("http://")
        .filter(|rest| !rest.contains(|c: char| c.is_whitespace() || c.is_control()))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not an http:// address"))?;
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    Ok(match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    })
}

/// Connects to the first address of a host that answers.
fn connect(authority: &str) -> io::Result<TcpStream> {
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    let addresses = match port.map(str::parse::<u16>) {
        Some(Ok(_)) => authority.to_socket_addrs()?,
        _ => format!("{authority}:80").to_socket_addrs()?,
    };
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn try_it() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = listener.local_addr()?;
    go!(move || serve(&listener));

    let mut urls: Vec<_> = (0..100)
        .map(|number| format!("http://{server}/page/{number}"))
        .collect();
    urls.push("gopher://127.0.0.1/".to_owned());
    let mut left: HashSet<_> = urls.iter().cloned().collect();
    for (url, page) in fetch_all(urls) {
        assert!(left.remove(&url), "{url} was fetched twice");
        if url.starts_with("http://") {
            let page = page?;
            assert_eq!(page.status, 200);
            assert_eq!(page.body, parse(&url)?.1.as_bytes());
        } else {
            assert!(page.is_err());
        }
    }
    assert!(left.is_empty());
    let most = MOST_AT_ONCE.load(Ordering::Relaxed);
    assert!((1..=LIMIT).contains(&most), "{most} at once");
    println!("fetched 100 pages, at most {most} at once");
    Ok(())
}

/// Requests that the server of `try_it` is answering, and the most that it ever was at once.
static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
static MOST_AT_ONCE: AtomicUsize = AtomicUsize::new(0);

/// Answers each request with the path that it asks for. The example `http` is a server to copy.
fn serve(listener: &TcpListener) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream.inspect_err(|error| eprintln!("accept: {error}")) else {
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        go!(move || -> io::Result<()> {
            let at_once = AT_ONCE.fetch_add(1, Ordering::Relaxed) + 1;
            MOST_AT_ONCE.fetch_max(at_once, Ordering::Relaxed);
            let mut request = String::new();
            let mut input = BufReader::new(&stream);
            while !request.ends_with("\r\n\r\n") && input.read_line(&mut request)? > 0 {}
            // As if the page took some work to make.
            thread::sleep(Duration::from_millis(5));
            let path = request.split(' ').nth(1).unwrap_or_default();
            let length = path.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{path}");
            AT_ONCE.fetch_sub(1, Ordering::Relaxed);
            stream.write_all(answer.as_bytes())
        });
    }
}
