//! What clients of redis send.

use std::io::{self, BufRead};

/// What follows the sign of a line: a number of things, or of bytes.
fn number(reader: &mut impl BufRead) -> io::Result<usize> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let digits = line.get(1..).unwrap_or("").trim_end();
    digits.parse().map_err(io::Error::other)
}

/// The words of the next command.
pub(crate) fn command(reader: &mut impl BufRead) -> io::Result<Vec<Vec<u8>>> {
    let words = number(reader)?;
    let word = |_| {
        let mut word = vec![0; number(reader)? + 2];
        reader.read_exact(&mut word)?;
        word.truncate(word.len() - 2);
        Ok(word)
    };
    (0..words).map(word).collect()
}
