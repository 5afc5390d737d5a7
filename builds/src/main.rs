//! A program that uses everything, or ends as its argument says.

use std::hint::black_box;

use roving::go;

fn main() {
    match std::env::args().nth(1).as_deref() {
        None => {
            roving_builds::everything();
            println!("{}: works", roving_builds::what());
        }
        Some("panic") => {
            let ended = go!(name = "unlucky", || assert!(black_box(false), "on purpose")).join();
            println!("{}", ended.is_err());
        }
        Some("overflow") => go!(name = "deep", || println!("{}", depth(1)))
            .join()
            .unwrap(),
        Some(other) => panic!("{other:?} is none of panic and overflow"),
    }
}

/// Goes on calling itself until there is no stack left.
fn depth(above: u64) -> u64 {
    let frame = black_box([above; 64]);
    if frame[0] == 0 {
        0
    } else {
        depth(above + 1) + black_box(&frame)[1]
    }
}
