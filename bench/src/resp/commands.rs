//! What the servers understand of RESP, the protocol of Redis: commands as arrays of bulk strings, as clients send them; of them
//! `PING`, `GET`, `SET` and `INCR`, and what `redis-benchmark` asks for before it begins.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Mutex;

type Map = HashMap<Vec<u8>, Vec<u8>>;

/// Keys and values. It is locked for a look into the map, and never while anything waits.
#[derive(Debug, Default)]
pub(super) struct Store(Mutex<Map>);

/// What is not RESP.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Store {
    /// Carries out the commands that are complete, and adds their answers to `answers`. Gives how many bytes they took.
    pub(super) fn carry_out(
        &self,
        received: &[u8],
        answers: &mut Vec<u8>,
    ) -> Result<usize, Malformed> {
        let mut taken = 0;
        while let Some((command, length)) = parse(&received[taken..])? {
            self.answer(&command, answers);
            taken += length;
        }
        Ok(taken)
    }

    fn answer(&self, command: &[&[u8]], answers: &mut Vec<u8>) {
        let name = command.first().map(|name| name.to_ascii_uppercase());
        match (name.as_deref(), command.get(1..).unwrap_or_default()) {
            (Some(b"PING"), []) => answers.extend_from_slice(b"+PONG\r\n"),
            (Some(b"GET"), [key]) => match self.lock().get(*key) {
                Some(value) => bulk(value, answers),
                None => answers.extend_from_slice(b"$-1\r\n"),
            },
            (Some(b"SET"), [key, value]) => {
                self.lock().insert(key.to_vec(), value.to_vec());
                answers.extend_from_slice(b"+OK\r\n");
            }
            (Some(b"INCR"), [key]) => {
                let mut map = self.lock();
                let value = map.entry(key.to_vec()).or_insert_with(|| b"0".to_vec());
                match number(value).and_then(|number| number.checked_add(1)) {
                    Some(number) => {
                        *value = number.to_string().into_bytes();
                        write!(answers, ":{number}\r\n").expect("there is always room");
                    }
                    None => answers
                        .extend_from_slice(b"-ERR value is not an integer or out of range\r\n"),
                }
            }
            // What the benchmark shows of a server's configuration: nothing.
            (Some(b"CONFIG"), _) => answers.extend_from_slice(b"*0\r\n"),
            _ => answers.extend_from_slice(b"-ERR unknown command or number of arguments\r\n"),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Map> {
        self.0.lock().expect("nobody panics with the lock held")
    }
}

fn bulk(value: &[u8], answers: &mut Vec<u8>) {
    write!(answers, "${}\r\n", value.len()).expect("there is always room");
    answers.extend_from_slice(value);
    answers.extend_from_slice(b"\r\n");
}

/// The most that a command may have of arguments, and an argument of bytes.
const MOST: i64 = 1 << 20;

/// The first command, and how many bytes it takes; none if there is more to come.
#[allow(clippy::type_complexity)]
fn parse(received: &[u8]) -> Result<Option<(Vec<&[u8]>, usize)>, Malformed> {
    let Some((count, mut at)) = prefixed(received, b'*')? else {
        return Ok(None);
    };
    let mut command = Vec::with_capacity(count.min(8));
    for _ in 0..count {
        let Some((length, head)) = prefixed(&received[at..], b'$')? else {
            return Ok(None);
        };
        let begin = at + head;
        let Some(argument) = received.get(begin..begin + length + 2) else {
            return Ok(None);
        };
        let argument = argument.strip_suffix(b"\r\n").ok_or(Malformed)?;
        command.push(argument);
        at = begin + length + 2;
    }
    Ok(Some((command, at)))
}

/// The number of a line that begins with `prefix`, and the line's length; none if it is not whole.
fn prefixed(received: &[u8], prefix: u8) -> Result<Option<(usize, usize)>, Malformed> {
    if received.first().is_some_and(|first| *first != prefix) {
        return Err(Malformed);
    }
    let Some(end) = received.windows(2).position(|two| two == b"\r\n") else {
        // No number of that many digits is right.
        return if received.len() > 32 {
            Err(Malformed)
        } else {
            Ok(None)
        };
    };
    let number = number(&received[1..end]).filter(|number| (0..=MOST).contains(number));
    let number = number.ok_or(Malformed)?;
    Ok(Some((number as usize, end + 2)))
}

fn number(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMANDS: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n41\r\n*2\r\n$4\r\nincr\r\n$1\r\nk\r\n\
        *2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2\r\n$3\r\nGET\r\n$1\r\nn\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nWHAT\r\n";
    const ANSWERS: &[u8] =
        b"+OK\r\n:42\r\n$2\r\n42\r\n$-1\r\n+PONG\r\n-ERR unknown command or number of arguments\r\n";

    #[test]
    fn commands_are_answered_in_turn() {
        let mut answers = Vec::new();
        let taken = Store::default().carry_out(COMMANDS, &mut answers);
        assert_eq!(taken, Ok(COMMANDS.len()));
        assert_eq!(answers, ANSWERS);
    }

    #[test]
    fn commands_may_come_in_pieces() {
        let store = Store::default();
        let (mut received, mut answers) = (Vec::new(), Vec::new());
        for byte in COMMANDS {
            received.push(*byte);
            let taken = store.carry_out(&received, &mut answers).unwrap();
            received.drain(..taken);
        }
        assert_eq!(answers, ANSWERS);
        assert!(received.is_empty());
    }

    #[test]
    fn what_is_not_right_is_told() {
        let refused: &[&[u8]] = &[
            b"GET k\r\n",
            b"*1\r\n+PING\r\n",
            b"*-1\r\n",
            b"*x\r\n",
            b"*1\r\n$9999999999\r\n",
            b"*1\r\n$4\r\nPING..",
            b"*1111111111111111111111111111111111111",
        ];
        for received in refused {
            let answer = Store::default().carry_out(received, &mut Vec::new());
            assert_eq!(answer, Err(Malformed), "{}", received.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_number_is_not_counted() {
        let mut answers = Vec::new();
        let commands = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nx\r\n*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n";
        Store::default().carry_out(commands, &mut answers).unwrap();
        assert!(answers.ends_with(b"-ERR value is not an integer or out of range\r\n"));
    }
}
