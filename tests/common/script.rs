//! What one and the same script did with std's types and with ours, to be compared step by step, down to the
//! numbers and texts of the errors.

use std::fmt::Debug;
use std::io;
use std::time::Duration;

/// What happened, a line a step. Numbers that differ from run to run (ports, descriptors) are left
/// out.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) lines: Vec<String>,
}

impl Script {
    pub(crate) fn step<T: Debug>(&mut self, what: &str, result: io::Result<T>) -> Option<T> {
        let (line, value) = match result {
            Ok(value) => (format!("{value:?}"), Some(value)),
            Err(error) => {
                let line = format!("{:?} {:?} {error}", error.kind(), error.raw_os_error());
                (line, None)
            }
        };
        self.lines.push(format!("{what}: {line}"));
        value
    }

    pub(crate) fn note(&mut self, what: &str, value: impl Debug) {
        self.lines.push(format!("{what}: {value:?}"));
    }
}

/// Timeouts of all kinds.
pub(crate) const TIMEOUTS: [Option<Duration>; 8] = [
    None,
    Some(Duration::from_secs(5)),
    Some(Duration::from_millis(1234)),
    Some(Duration::from_nanos(1)),
    Some(Duration::ZERO),
    Some(Duration::from_secs(1 << 33)),
    Some(Duration::MAX),
    None,
];

/// `text` with each number replaced by `#`.
pub(crate) fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            c => out.push(c),
        }
    }
    out
}

pub(crate) fn assert_same(ours: &[String], theirs: &[String]) {
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
}
