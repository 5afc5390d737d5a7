//! Three clients that block, as their authors have made them, and what they ask: one question on a connection
//! of its own, which is answered when whoever serves has waited.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;

use postgres::NoTls;

/// So many ask at once.
pub(crate) const CLIENTS: usize = 200;

pub(crate) fn ask_http(address: SocketAddr) {
    let mut response = ureq::get(format!("http://{address}/")).call().unwrap();
    assert_eq!(response.body_mut().read_to_string().unwrap(), "ok");
}

/// Serves one request.
pub(crate) fn serve_http<S>(stream: &S, wait: impl FnOnce()) -> io::Result<()>
where
    for<'a> &'a S: Read + Write,
{
    let mut line = String::new();
    let mut reader = BufReader::new(stream);
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    wait();
    let mut stream = stream;
    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
}

pub(crate) fn ask_redis(address: SocketAddr) {
    let client = redis::Client::open(format!("redis://{address}")).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut pops = redis::cmd("BLPOP");
    let popped: Option<String> = pops.arg("queue").arg(0).query(&mut connection).unwrap();
    assert_eq!(popped, None);
}

/// Serves a connection to its end. In the queue that is asked for there is nothing when the time is up.
pub(crate) fn serve_redis<S>(stream: &S, wait: impl Fn()) -> io::Result<()>
where
    for<'a> &'a S: Read + Write,
{
    let mut reader = BufReader::new(stream);
    loop {
        let command = super::resp::command(&mut reader)?;
        let answer: &[u8] = if command.first().is_some_and(|name| name == b"BLPOP") {
            wait();
            b"*-1\r\n"
        } else {
            b"+OK\r\n"
        };
        let mut stream = stream;
        stream.write_all(answer)?;
    }
}

/// By the socket in that folder.
pub(crate) fn connect_postgres(folder: &Path) -> postgres::Client {
    let mut config = postgres::Config::new();
    config.host_path(folder).user("roving").dbname("postgres");
    config.connect(NoTls).unwrap()
}

pub(crate) fn ask_postgres(folder: &Path, question: &str) {
    let mut client = connect_postgres(folder);
    assert_eq!(client.query(question, &[]).unwrap().len(), 1);
}
