//! What a runtime cannot be faster than: one OS thread, bare coroutines, a bare event loop.

mod event_loop;
mod work;

use std::process::ExitCode;

fn main() -> ExitCode {
    common::main(
        |name, count, _workers| work::work(name, count),
        |protocol, _workers| event_loop::start(protocol),
    )
}
