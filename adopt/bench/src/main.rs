//! An adopted program that does the work of one row of `roving-bench adopt` and prints what one of it takes.
//!
//! `roving-adopt-bench ROW COUNT green` does so on a thread that it makes, which is green, and with `os` on that of `main`,
//! which is none. The work is the benchmark's own source, and knows nothing of green threads.

#[path = "../../../bench/src/adopt/std_threads.rs"]
mod std_threads;
#[path = "../../../bench/src/adopt/work.rs"]
mod work;

use std::process::exit;
use std::{env, thread};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [what, count, kind] = arguments.as_slice() else {
        eprintln!("usage: roving-adopt-bench ROW COUNT green|os");
        exit(2);
    };
    let (Some(work), Ok(count)) = (std_threads::find(what), count.parse()) else {
        eprintln!("there is no row {what}, or {count} is no number");
        exit(2);
    };
    if let Err(error) = roving_adopt::adopt() {
        eprintln!("roving-adopt-bench: {error}");
        exit(1);
    }
    let figure = if kind == "os" {
        work(count)
    } else {
        thread::spawn(move || work(count))
            .join()
            .unwrap_or_else(|_| exit(1))
    };
    println!("{figure}");
    // Those who wait have nothing to wait for.
    exit(0);
}
