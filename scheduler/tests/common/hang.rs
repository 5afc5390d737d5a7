//! What is told of a test that hangs: what its green threads do, and where its OS threads wait.

use std::fs;
use std::io::Write;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Telling may hang as well.
const PATIENCE: Duration = Duration::from_secs(20);

/// Writes it to standard error, and not by `eprintln`, whose output is captured and would die with the process.
pub(super) fn tell(what: &str) {
    write(what);
    write(&os_threads());
    let (told, waits) = mpsc::channel();
    let tells = thread::Builder::new().spawn(move || {
        write(&roving_scheduler::dump().to_string());
        told.send(())
    });
    if tells.is_err() || waits.recv_timeout(PATIENCE).is_err() {
        write("no dump could be taken");
    }
}

fn write(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Each with its name, and the call into the system that it is in; nothing where the system does not tell.
fn os_threads() -> String {
    let tasks = fs::read_dir("/proc/self/task");
    let tasks = tasks.into_iter().flatten().flatten();
    let of_task = |task: fs::DirEntry| {
        let read = |what| fs::read_to_string(task.path().join(what)).unwrap_or_default();
        let (name, call, place) = (read("comm"), read("syscall"), read("wchan"));
        format!("{}: {} {place}\n", name.trim_end(), call.trim_end())
    };
    tasks.map(of_task).collect()
}
