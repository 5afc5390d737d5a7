//! Spawns green threads and joins them.
//!
//! ```text
//! cargo run --release --example hello
//! ```

use roving::go;

fn main() {
    let greetings: Vec<_> = ["world", "threads", "roving"]
        .into_iter()
        .map(|name| go!(move || format!("Hello, {name}!")))
        .collect();
    for greeting in greetings {
        println!("{}", greeting.join().expect("a greeting panicked"));
    }
}
