//! As much of HTTP/1.1 as the server speaks: requests whose body has a length, one after the other on a connection.

use std::io::{self, BufRead, Read, Write};

/// The longest head of a request.
const LONGEST_HEAD: u64 = 8 << 10;
/// The longest body.
const LONGEST_BODY: usize = 1 << 20;

/// What is asked.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
    /// Whether there may be another one after it.
    pub(crate) keep_alive: bool,
}

/// What is answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn ok(body: Vec<u8>) -> Self {
        let status = "200 OK";
        Self { status, body }
    }

    pub(crate) fn not_found() -> Self {
        let (status, body) = ("404 Not Found", Vec::new());
        Self { status, body }
    }

    /// Of what has failed.
    pub(crate) fn failed(why: &dyn std::fmt::Display) -> Self {
        let (status, body) = ("500 Internal Server Error", why.to_string().into());
        Self { status, body }
    }
}

/// The next request. `None` if there is none after the last.
pub(crate) fn read(stream: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut head = stream.take(LONGEST_HEAD);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let (mut length, mut keep_alive) = (0, true);
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().map_err(io::Error::other)?;
        } else if name.eq_ignore_ascii_case("connection") {
            keep_alive = !value.eq_ignore_ascii_case("close");
        }
    }
    if length > LONGEST_BODY {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some(Request {
        method,
        path,
        body,
        keep_alive,
    }))
}

pub(crate) fn write(stream: &mut impl Write, answer: &Answer) -> io::Result<()> {
    let Answer { status, body } = answer;
    let mut bytes = Vec::with_capacity(80 + body.len());
    write!(
        bytes,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    bytes.extend_from_slice(body);
    stream.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_follow_each_other_until_there_are_no_more() {
        let bytes = b"POST /a HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nConnection: Close\r\n\r\n";
        let mut stream = &bytes[..];
        let first = read(&mut stream).unwrap().unwrap();
        assert_eq!(
            (&*first.method, &*first.path, &*first.body, first.keep_alive),
            ("POST", "/a", &b"abc"[..], true)
        );
        let second = read(&mut stream).unwrap().unwrap();
        assert_eq!(
            (&*second.path, second.body.len(), second.keep_alive),
            ("/b", 0, false)
        );
        assert!(read(&mut stream).unwrap().is_none());
    }

    #[test]
    fn what_is_no_request_or_too_long_is_an_error() {
        for bytes in [
            "nonsense\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 9\r\n\r\nfewer",
            "GET / HTTP/1.1\r\n",
        ] {
            assert!(read(&mut bytes.as_bytes()).is_err(), "{bytes}");
        }
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(9_000));
        assert!(read(&mut long.as_bytes()).is_err());
    }

    #[test]
    fn answers_say_how_long_they_are() {
        let mut bytes = Vec::new();
        write(&mut bytes, &Answer::ok(b"yes".to_vec())).unwrap();
        assert_eq!(bytes, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes");
    }
}
