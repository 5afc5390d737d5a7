//! What a request and its answer are wrapped in: a message as it is, or HTTP/1.1 with the message as its body.
//!
//! Heads have the same length for all requests of a run, so that each request and each answer has as many bytes as any other.

use super::pattern;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Of so many requests by HTTP, one is stored and read again, and one is passed on to another server.
const ONE_OF: u32 = 256;

/// A kind of exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ExchangeKind {
    /// Messages that come back
    #[default]
    Echo,
    /// HTTP/1.1: bodies that come back, one of 256 from a database, one of 256 from another server
    Http,
}

impl ExchangeKind {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ExchangeKind::Echo => "echo",
            ExchangeKind::Http => "http",
        }
    }
}

/// Makes requests and the answers that they are to have.
#[derive(Debug)]
pub(super) struct Exchange {
    /// What comes before the message, in most requests.
    plain: Vec<u8>,
    stored: Vec<u8>,
    passed_on: Vec<u8>,
    /// What comes before the message in an answer.
    answer: Vec<u8>,
    message: usize,
}

impl Exchange {
    /// For messages of so many bytes.
    pub(super) fn new(kind: ExchangeKind, message: usize) -> Exchange {
        let request = |path: &str| match kind {
            ExchangeKind::Echo => Vec::new(),
            ExchangeKind::Http => {
                format!("POST /{path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {message}\r\n\r\n")
                    .into_bytes()
            }
        };
        let answer = match kind {
            ExchangeKind::Echo => String::new(),
            ExchangeKind::Http => format!("HTTP/1.1 200 OK\r\nContent-Length: {message}\r\n\r\n"),
        };
        Exchange {
            plain: request("echo"),
            stored: request("note"),
            passed_on: request("pass"),
            answer: answer.into_bytes(),
            message,
        }
    }

    /// Bytes of a request.
    pub(super) fn request_len(&self) -> usize {
        self.plain.len() + self.message
    }

    /// Bytes of an answer.
    pub(super) fn answer_len(&self) -> usize {
        self.answer.len() + self.message
    }

    /// Writes request `sequence` of connection `id`.
    pub(super) fn request(&self, id: u32, sequence: u32, out: &mut [u8]) {
        let head = match id.wrapping_add(sequence) % ONE_OF {
            0 => &self.stored,
            n if n == ONE_OF / 2 => &self.passed_on,
            _ => &self.plain,
        };
        put(head, id, sequence, out);
    }

    /// Writes what is to be answered to it.
    pub(super) fn answer(&self, id: u32, sequence: u32, out: &mut [u8]) {
        put(&self.answer, id, sequence, out);
    }
}

fn put(head: &[u8], id: u32, sequence: u32, out: &mut [u8]) {
    let (before, message) = out.split_at_mut(head.len());
    before.copy_from_slice(head);
    pattern::fill(id, sequence, message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_the_message_itself() {
        let exchange = Exchange::new(ExchangeKind::Echo, 64);
        let [mut request, mut answer] = [[0; 64]; 2];
        assert_eq!((exchange.request_len(), exchange.answer_len()), (64, 64));
        exchange.request(3, 7, &mut request);
        exchange.answer(3, 7, &mut answer);
        assert_eq!(request, answer);
    }

    #[test]
    fn http_has_heads_of_one_length_and_all_kinds_of_requests() {
        let exchange = Exchange::new(ExchangeKind::Http, 10);
        let mut request = vec![0; exchange.request_len()];
        let mut paths = std::collections::BTreeMap::<Vec<u8>, u32>::new();
        for sequence in 0..512 {
            exchange.request(1, sequence, &mut request);
            assert_eq!(request[request.len() - 14..][..4], *b"\r\n\r\n");
            *paths.entry(request[5..10].to_vec()).or_default() += 1;
        }
        let counts: Vec<_> = paths
            .iter()
            .map(|(path, &times)| (&path[..], times))
            .collect();
        assert_eq!(
            counts,
            [(&b"/echo"[..], 508), (&b"/note"[..], 2), (&b"/pass"[..], 2)]
        );
        let mut answer = vec![0; exchange.answer_len()];
        exchange.answer(1, 511, &mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"));
        assert_eq!(answer[answer.len() - 10..], request[request.len() - 10..]);
    }
}
