//! redis: commands over one connection, to a server that knows two of them.

mod common;

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};

use async_compat::CompatExt;
use common::{a_thousand_await, listen, on_each_mode};
use redis::{AsyncCommands, Client};
use roving::block_on;
use roving::net::TcpStream;

/// What follows the sign of a line: a number of things, or of bytes.
fn number(reader: &mut impl BufRead) -> io::Result<usize> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let digits = line.get(1..).unwrap_or("").trim_end();
    digits.parse().map_err(io::Error::other)
}

fn command(reader: &mut impl BufRead) -> io::Result<Vec<Vec<u8>>> {
    let words = number(reader)?;
    let word = |_| {
        let mut word = vec![0; number(reader)? + 2];
        reader.read_exact(&mut word)?;
        word.truncate(word.len() - 2);
        Ok(word)
    };
    (0..words).map(word).collect()
}

/// Serves a connection to its end.
fn serve(stream: &TcpStream) -> io::Result<()> {
    let (mut reader, mut values) = (BufReader::new(stream), HashMap::new());
    loop {
        let mut command = command(&mut reader)?;
        let answer = match &mut command[..] {
            [name, key, value] if name == b"SET" => {
                values.insert(std::mem::take(key), std::mem::take(value));
                b"+OK\r\n".to_vec()
            }
            [name, key] if name == b"GET" => match values.get(key) {
                Some(value) => {
                    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
                }
                None => b"$-1\r\n".to_vec(),
            },
            _ => b"+OK\r\n".to_vec(),
        };
        (&*stream).write_all(&answer)?;
    }
}

#[test]
fn a_thousand_green_threads_await_commands_of_redis() {
    on_each_mode(|| {
        let address = listen(|stream| {
            // It ends with an error, when there is no next command.
            let _ = serve(&stream);
        });
        let client = Client::open(format!("redis://{address}")).unwrap();
        let connects = client.get_multiplexed_async_connection().compat();
        let connection = block_on(connects).unwrap();
        a_thousand_await(async |number| {
            let mut connection = connection.clone();
            let () = connection.set(number, number * 7).await.unwrap();
            let found: Option<usize> = connection.get(number).await.unwrap();
            assert_eq!(found, Some(number * 7));
            let found: Option<usize> = connection.get("nothing").await.unwrap();
            assert_eq!(found, None);
        });
    });
}
