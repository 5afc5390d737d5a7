//! Sockets beside calls that block: whoever has stood in for a worker meanwhile, somebody waits for the sockets in the end.

mod common;

use std::io::{Read, Write};

use common::{connection, on_each_mode};
use roving::blocking;

#[test]
fn a_read_follows_a_call() {
    for _ in 0..20 {
        on_each_mode(|| {
            let (mut near, mut far) = connection();
            let writes = std::thread::spawn(move || {
                for byte in 0..20 {
                    far.write_all(&[byte]).unwrap();
                    std::thread::yield_now();
                }
            });
            for byte in 0..20 {
                blocking(|| ());
                let mut read = [0];
                near.read_exact(&mut read).unwrap();
                assert_eq!(read, [byte]);
            }
            blocking(|| writes.join().unwrap());
        });
    }
}
