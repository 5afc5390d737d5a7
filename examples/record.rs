//! What the scheduler does, as a picture: a kitchen with two cooks and one oven, on two workers. It writes a trace to
//! the file that is named on the command line, which <https://ui.perfetto.dev> opens.
//!
//! `cargo run --release --example record -- kitchen.json`

use roving::channel::{Receiver, bounded};
use roving::sync::Mutex;
use roving::{Builder, go, record, thread};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, io};

fn main() -> io::Result<()> {
    let runtime = Builder::new().workers(2).record(4096).build()?;
    runtime.run(kitchen);
    let path = match env::args_os().nth(1) {
        Some(path) => PathBuf::from(path),
        None => env::temp_dir().join("roving-kitchen.trace.json"),
    };
    let record = record();
    record.write_trace(File::create(&path)?)?;
    println!("{} events are in {}", record.events(), path.display());
    Ok(())
}

fn kitchen() {
    let (orders, to_cook) = bounded(1);
    let oven = Arc::new(Mutex::new(()));
    let cook = |name| {
        let (to_cook, oven) = (to_cook.clone(), oven.clone());
        go!(name = name, move || cook(&to_cook, &oven))
    };
    let cooks = [cook("Ann"), cook("Bob")];
    let waiter = go!(name = "waiter", move || {
        for table in 0..8 {
            orders.send(table).unwrap();
            work(200);
            thread::sleep(Duration::from_micros(300));
        }
    });
    waiter.join().unwrap();
    cooks.into_iter().for_each(|cook| cook.join().unwrap());
}

fn cook(to_cook: &Receiver<u32>, oven: &Mutex<()>) {
    for _order in to_cook {
        work(800);
        let _hot = oven.lock().unwrap();
        work(600);
    }
}

fn work(micros: u64) {
    let end = Instant::now() + Duration::from_micros(micros);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}
