//! An HTTP/1.1 server: one green thread a connection, requests parsed by `httparse`.
//!
//! ```text
//! cargo run --release --example http 8080      serves on 127.0.0.1:8080 for ever
//! cargo run --release --example http           tries itself, and ends
//! ```
//!
//! `GET /` says hello, `POST /echo` sends the body back. Connections are kept alive, pipelined
//! requests are answered in order, and their answers are written together: bytes gather in the
//! outbox until the server has to wait for more input.
//!
//! What a client can make the server hold is bounded: the head and the body of a request by size, a
//! silent client by time.

use std::convert::Infallible;
use std::env;
use std::io::{self, Read, Write};
use std::time::Duration;

use roving::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use roving::{go, thread};

const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
const MAX_BODY: usize = 1 << 20;
/// Answers that gather before they are written even though more requests are at hand.
const MAX_OUTBOX: usize = 64 << 10;
/// How long a client may neither send nor take anything.
const PATIENCE: Duration = Duration::from_secs(30);

const CLIENTS: usize = 100;
const REQUESTS: usize = 20;

fn main() -> io::Result<()> {
    match env::args().nth(1) {
        Some(port) => {
            let port: u16 = port.parse().map_err(io::Error::other)?;
            let listener = TcpListener::bind(("127.0.0.1", port))?;
            println!("serving http://{}/", listener.local_addr()?);
            let server = go!(move || serve(&listener));
            match server.join().expect("the server panicked")? {}
        }
        None => try_it(),
    }
}

/// Accepts connections for ever. The example `echo` says what the errors are.
fn serve(listener: &TcpListener) -> io::Result<Infallible> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                // An error is the end of one connection: its client has gone, or is silent.
                let serve = move || Connection::new(stream)?.serve();
                if let Err(error) = thread::Builder::new().spawn(serve) {
                    eprintln!("spawn: {error}");
                }
            }
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionAborted => {}
                io::ErrorKind::InvalidInput => return Err(error),
                _ => {
                    eprintln!("accept: {error}");
                    thread::sleep(Duration::from_millis(50));
                }
            },
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// What was read; the first `taken` bytes of it have been dealt with.
    inbox: Vec<u8>,
    taken: usize,
    /// Answers that are not written yet.
    outbox: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            inbox: Vec::new(),
            taken: 0,
            outbox: Vec::new(),
        })
    }

    /// Answers requests until one side has had enough.
    fn serve(&mut self) -> io::Result<()> {
        loop {
            let unread = &self.inbox[self.taken..];
            let keep_alive = match Head::parse(&unread[..unread.len().min(MAX_HEAD)]) {
                Ok(Some(head)) => self.answer(&head)?,
                Ok(None) if unread.len() >= MAX_HEAD => {
                    return self.refuse("431 Request Header Fields Too Large");
                }
                Ok(None) => self.fill()?,
                Err(status) => return self.refuse(status),
            };
            if !keep_alive {
                return self.flush();
            }
        }
    }

    /// Answers one request; gives whether more may follow.
    fn answer(&mut self, head: &Head) -> io::Result<bool> {
        let end = head.bytes + head.body_bytes;
        if head.expects_continue && self.inbox.len() - self.taken < end {
            self.outbox.extend(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        while self.inbox.len() - self.taken < end {
            if !self.fill()? {
                return Ok(false);
            }
        }
        let body = &self.inbox[self.taken + head.bytes..self.taken + end];
        let (status, content) = match head.route {
            Route::Hello => ("200 OK", &b"Hello, world!\n"[..]),
            Route::Echo => ("200 OK", body),
            Route::Unknown => ("404 Not Found", &b"There is nothing here.\n"[..]),
        };
        let connection = match (head.keep_alive, head.is_http_1_0) {
            (true, false) => "",
            (true, true) => "Connection: keep-alive\r\n",
            (false, _) => "Connection: close\r\n",
        };
        write!(
            self.outbox,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{connection}\r\n",
            content.len()
        )?;
        if !head.without_content {
            self.outbox.extend_from_slice(content);
        }
        self.taken += end;
        if self.outbox.len() >= MAX_OUTBOX {
            self.flush()?;
        }
        Ok(head.keep_alive)
    }

    /// Answers what cannot be understood, or is too large, and ends the connection.
    ///
    /// What the client still sends is read and thrown away for a while: to close with unread bytes
    /// would reset the connection, and the answer might be lost with it.
    fn refuse(&mut self, status: &str) -> io::Result<()> {
        write!(
            self.outbox,
            "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?;
        self.flush()?;
        self.stream.shutdown(Shutdown::Write)?;
        self.stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut rest = (&self.stream).take(2 * MAX_BODY as u64);
        io::copy(&mut rest, &mut io::sink())?;
        Ok(())
    }

    /// Writes what is to be written and reads more; gives `false` when the client has sent all that
    /// it will.
    fn fill(&mut self) -> io::Result<bool> {
        self.flush()?;
        self.inbox.drain(..self.taken);
        self.taken = 0;
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer)?;
        self.inbox.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.outbox)?;
        self.outbox.clear();
        Ok(())
    }
}

/// What the head of a request says, as far as it matters here.
struct Head {
    /// The length of the head itself.
    bytes: usize,
    body_bytes: usize,
    route: Route,
    is_http_1_0: bool,
    keep_alive: bool,
    expects_continue: bool,
    /// The answer is to have no content (HEAD).
    without_content: bool,
}

enum Route {
    Hello,
    Echo,
    Unknown,
}

impl Head {
    /// Gives `None` if the head is not complete yet, and the status to refuse the request with if
    /// there is no understanding it.
    fn parse(input: &[u8]) -> Result<Option<Self>, &'static str> {
        const BAD_REQUEST: &str = "400 Bad Request";
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let bytes = match request.parse(input) {
            Ok(httparse::Status::Complete(bytes)) => bytes,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => {
                return Err("431 Request Header Fields Too Large");
            }
            Err(_) => return Err(BAD_REQUEST),
        };
        let method = request.method.unwrap_or_default();
        let path = request.path.unwrap_or_default();
        let path = path.split_once('?').map_or(path, |(path, _query)| path);
        let is_http_1_0 = request.version == Some(0);
        let mut head = Self {
            bytes,
            body_bytes: 0,
            route: match (method, path) {
                ("GET" | "HEAD", "/") => Route::Hello,
                ("POST", "/echo") => Route::Echo,
                _ => Route::Unknown,
            },
            is_http_1_0,
            keep_alive: !is_http_1_0,
            expects_continue: false,
            without_content: method == "HEAD",
        };

        let mut length = None;
        let mut hosts = 0;
        for header in request.headers.iter() {
            let value = header.value.trim_ascii();
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("Content-Length") {
                let digits = str::from_utf8(value).map_err(|_| BAD_REQUEST)?;
                // Two lengths, or a length that two parties might read in two ways, could smuggle a
                // request past a proxy.
                if length.is_some() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
                    return Err(BAD_REQUEST);
                }
                let bytes: u64 = digits.parse().map_err(|_| BAD_REQUEST)?;
                length = Some(bytes);
            } else if is("Transfer-Encoding") {
                return Err("501 Not Implemented");
            } else if is("Host") {
                hosts += 1;
            } else if is("Expect") {
                head.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
            } else if is("Connection") {
                for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    if option.eq_ignore_ascii_case(b"close") {
                        head.keep_alive = false;
                    } else if option.eq_ignore_ascii_case(b"keep-alive") {
                        head.keep_alive = true;
                    }
                }
            }
        }
        if hosts > 1 || (hosts == 0 && !is_http_1_0) {
            return Err(BAD_REQUEST);
        }
        head.body_bytes = match length {
            Some(length) if length > MAX_BODY as u64 => return Err("413 Content Too Large"),
            Some(length) => length as usize,
            None => 0,
        };
        Ok(Some(head))
    }
}

fn try_it() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    go!(move || serve(&listener));

    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| go!(move || keep_asking(address)))
        .collect();
    for client in clients {
        client.join().expect("a client panicked")?;
    }
    println!("{CLIENTS} clients had {REQUESTS} answers each, over connections kept alive");

    let hello = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nHello, world!\n";
    let nothing = "HTTP/1.1 404 Not Found\r\nContent-Length: 23\r\n\r\nThere is nothing here.\n";
    let refusal = |status: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    };
    let cases = [
        (
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /?query HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            hello.repeat(2),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n".to_owned(),
            hello.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1),
        ),
        (
            "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            hello.replacen("Hello, world!\n", "", 1),
        ),
        (
            "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyGET / HTTP/1.1\r\nHost: a\r\n\r\n"
                .to_owned(),
            format!("{nothing}{hello}"),
        ),
        ("GET nonsense\r\n\r\n".to_owned(), refusal("400 Bad Request")),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nbody".to_owned(),
            refusal("400 Bad Request"),
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n".to_owned(),
            refusal("413 Content Too Large"),
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nLong: {:20000}\r\n\r\n", ""),
            refusal("431 Request Header Fields Too Large"),
        ),
    ];
    for (requests, answers) in &cases {
        assert_eq!(&ask(address, requests)?, answers, "asked {requests:?}");
    }
    println!(
        "{} special cases were answered as they should be",
        cases.len()
    );
    Ok(())
}

/// Sends request after request over one connection, and checks each answer.
fn keep_asking(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    for request in 0..REQUESTS {
        let body = format!("request {request}");
        let rest = format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let question = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{rest}");
        let expected = format!("HTTP/1.1 200 OK\r\n{rest}");
        stream.write_all(question.as_bytes())?;
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer)?;
        assert_eq!(answer, expected.as_bytes());
    }
    Ok(())
}

/// Sends all of `requests` at once and gives all that comes back.
fn ask(address: SocketAddr, requests: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(requests.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answers = String::new();
    stream.read_to_string(&mut answers)?;
    Ok(answers)
}
