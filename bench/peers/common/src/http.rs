//! The HTTP of the servers: requests without a body, answered in the order in which they came.

use super::BUFFER;
use std::ops::Range;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n\r\nHello, world!";

/// What one connection has received, and its answers.
#[derive(Debug)]
pub struct Responder {
    received: Box<[u8; BUFFER]>,
    filled: usize,
    answers: Vec<u8>,
}

impl Responder {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            received: Box::new([0; BUFFER]),
            filled: 0,
            answers: Vec::new(),
        }
    }

    /// Where more is to be received.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.received[self.filled..]
    }

    /// Takes `got` bytes that were put there, and gives the answers to all requests that are
    /// complete. `None` if the peer does not speak HTTP or the request does not fit.
    pub fn answers(&mut self, got: usize) -> Option<&[u8]> {
        self.answers.clear();
        self.filled += got;
        let mut rest: Range<usize> = 0..self.filled;
        while !rest.is_empty() {
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut request = httparse::Request::new(&mut headers);
            match request.parse(&self.received[rest.clone()]).ok()? {
                httparse::Status::Complete(length) => {
                    rest.start += length;
                    self.answers.extend_from_slice(ANSWER);
                }
                httparse::Status::Partial => break,
            }
        }
        self.filled = rest.len();
        self.received.copy_within(rest, 0);
        (self.filled < BUFFER).then_some(&self.answers)
    }
}
