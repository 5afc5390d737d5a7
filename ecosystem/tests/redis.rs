//! redis: commands over one connection, to a server that knows two of them.

mod common;

use std::collections::HashMap;
use std::io::{self, BufReader, Write};

use async_compat::CompatExt;
use common::resp::command;
use common::{a_thousand_await, listen, on_each_mode};
use redis::{AsyncCommands, Client};
use roving::block_on;
use roving::net::TcpStream;

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
