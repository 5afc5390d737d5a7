//! What is told when nothing is left that could wake anybody, and that nothing is told as long as something is.
//!
//! Each case is a process of its own, in whose `main` it runs: the test harness has an OS thread that waits
//! elsewhere, which might wake anybody.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus, Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use roving::net::{TcpListener, TcpStream};
use roving::signal::{SIGALRM, SIGHUP, SIGTERM, Signals};
use roving::sync::Mutex;
use roving::{
    AllAsleep, Builder, Deadlocks, Runtime, blocking, channel, go, process, select, thread,
};

const TOLD: &str = "roving: all green threads are asleep";
const CASE: &str = "ROVING_TEST_CASE";

/// Far longer than it takes until it is told.
const LONG: Duration = Duration::from_secs(4);

/// What ends a process that would wait for ever.
const ENDS: libc::c_int = libc::SIGTERM;

/// So many cases, most of which do nothing, run at the same time.
const AT_ONCE: usize = 16;

/// What must become of a case.
#[derive(Clone, Copy)]
enum End {
    /// All fall asleep, and what is told has these in it.
    Asleep(&'static [&'static str]),
    /// Somebody wakes in time, and nothing is told.
    Awake,
}

type Case = (&'static str, End, fn(&Runtime));

const CASES: &[Case] = &[
    (
        "a thread that waits for ever",
        End::Asleep(&[
            "and 1 OS thread with them",
            "\"forgotten\"",
            ": park, at tests/all_asleep.rs",
        ]),
        forgotten,
    ),
    (
        "two locks in the wrong order",
        End::Asleep(&[
            "roving: deadlock: ",
            "with them: each is in a deadlock that was told, or waits for one that is",
        ]),
        wrong_order,
    ),
    (
        "two locks in the wrong order, and another thread",
        End::Asleep(&["roving: deadlock: ", "3 parked", ": park, at "]),
        wrong_order_and_a_park,
    ),
    (
        "work, a timer and a call, and then silence",
        End::Asleep(&[]),
        in_the_end,
    ),
    (
        "an OS thread that waits too",
        End::Asleep(&["and 2 OS threads with them"]),
        os_thread_waits,
    ),
    ("two runtimes", End::Asleep(&["2 parked"]), two_runtimes),
    ("a runtime that does not end", End::Asleep(&[]), no_end),
    (
        "a socket for which nobody waits any more",
        End::Asleep(&[]),
        quiet_socket,
    ),
    (
        "signals to which nobody listens any more",
        End::Asleep(&[]),
        quiet_signals,
    ),
    (
        "signals for which nobody waits",
        End::Asleep(&[]),
        unheard_signals,
    ),
    (
        "a child that has ended, and one for which nobody waits",
        End::Asleep(&[": park, at "]),
        quiet_children,
    ),
    ("a timer", End::Awake, timer),
    ("an OS thread", End::Awake, os_thread),
    (
        "an OS thread that waits with a limit",
        End::Awake,
        limited_os_thread,
    ),
    ("a call that blocks", End::Awake, call),
    (
        "a deadlock of which somebody is to panic",
        End::Awake,
        broken_deadlock,
    ),
    ("one that computes", End::Awake, computes),
    ("a handler of a signal", End::Awake, signal),
    ("a socket", End::Awake, socket),
    (
        "a future that waits for a socket",
        End::Awake,
        polled_socket,
    ),
    ("one that listens to a signal", End::Awake, listens),
    (
        "an OS thread that listens to a signal",
        End::Awake,
        os_thread_listens,
    ),
    ("one that waits for a child", End::Awake, waits_for_child),
    (
        "an OS thread that waits for a child",
        End::Awake,
        os_thread_waits_for_child,
    ),
    ("a future that waits for a child", End::Awake, polled_child),
    (
        "one that waits for what a child writes",
        End::Awake,
        waits_for_output,
    ),
    (
        "a select over a signal and a child",
        End::Awake,
        selects_signal_or_child,
    ),
];

fn forgotten(runtime: &Runtime) {
    runtime.run(|| {
        let forgotten = go!(name = "forgotten", || thread::park());
        forgotten.join().unwrap();
    });
}

fn wrong_order(runtime: &Runtime) {
    runtime.run(|| {
        let locks = Arc::new((Mutex::new(()), Mutex::new(())));
        let (begin, begun) = channel::bounded(0);
        let theirs = locks.clone();
        let other = go!(move || {
            let _second = theirs.1.lock();
            begin.send(()).unwrap();
            let _first = theirs.0.lock();
        });
        let _first = locks.0.lock();
        begun.recv().unwrap();
        let _second = locks.1.lock();
        other.join().unwrap();
    });
}

fn wrong_order_and_a_park(runtime: &Runtime) {
    let _parked = runtime.spawn(thread::park);
    wrong_order(runtime);
}

/// It begins when the OS thread has waited for a while, so that this one is the first to look.
fn broken_deadlock(_: &Runtime) {
    let builder = Builder::new().deadlocks(Deadlocks::Panic);
    let runtime = builder.build().unwrap();
    let panics = runtime.spawn(|| {
        thread::sleep(Duration::from_millis(500));
        let mutex = Arc::new(Mutex::new(()));
        let _held = mutex.lock();
        let wants = mutex.clone();
        go!(move || drop(wants.lock())).join().unwrap();
    });
    panics.join().unwrap_err();
}

fn in_the_end(runtime: &Runtime) {
    runtime.run(|| {
        blocking(|| std::thread::sleep(Duration::from_millis(1500)));
        thread::sleep(Duration::from_millis(1500));
        (0..1000).for_each(|_| thread::yield_now());
        thread::park();
    });
}

fn os_thread_waits(runtime: &Runtime) {
    let (_sender, receiver) = channel::unbounded::<()>();
    let theirs = receiver.clone();
    std::thread::spawn(move || theirs.recv());
    let _parked = runtime.spawn(thread::park);
    receiver.recv().unwrap();
}

fn two_runtimes(runtime: &Runtime) {
    let other = Builder::new().workers(1).build().unwrap();
    let parked = other.spawn(thread::park);
    runtime.run(|| parked.join().unwrap());
}

fn no_end(_: &Runtime) {
    let runtime = Builder::new().workers(1).build().unwrap();
    let (entered, enters) = channel::bounded(1);
    drop(runtime.spawn(move || {
        roving::shield(|| {
            entered.send(()).unwrap();
            thread::park();
        });
    }));
    enters.recv().unwrap();
    runtime.shutdown();
}

fn quiet_socket(runtime: &Runtime) {
    runtime.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let timeout = Duration::from_millis(10);
        let accepted = roving::deadline(timeout, || listener.accept());
        assert!(accepted.is_ok_and(|accepted| accepted.is_err()));
        thread::park();
    });
}

fn quiet_signals(runtime: &Runtime) {
    runtime.run(|| {
        let signals = Signals::new([SIGHUP, SIGTERM]).unwrap();
        let timeout = Duration::from_millis(10);
        let received = roving::deadline(timeout, || signals.recv());
        assert!(received.is_ok_and(|received| received.is_err()));
        drop(signals);
        thread::park();
    });
}

fn unheard_signals(runtime: &Runtime) {
    let _signals = Signals::new([SIGHUP, SIGTERM]).unwrap();
    runtime.run(thread::park);
}

fn quiet_children(runtime: &Runtime) {
    runtime.run(|| {
        assert!(process::Command::new("true").status().unwrap().success());
        // Until this process ends.
        let mut command = process::Command::new("cat");
        let _child = command.stdin(Stdio::piped()).spawn().unwrap();
        thread::park();
    });
}

fn timer(runtime: &Runtime) {
    let sleeps = runtime.spawn(|| thread::sleep(LONG));
    let waits = runtime.spawn(|| sleeps.join().unwrap());
    waits.join().unwrap();
}

/// One that is parked, and what unparks it.
fn parked(runtime: &Runtime) -> (thread::JoinHandle<()>, thread::Thread) {
    let parked = runtime.spawn(thread::park);
    let wakes = parked.thread().clone();
    (parked, wakes)
}

fn os_thread(runtime: &Runtime) {
    let (parked, wakes) = parked(runtime);
    std::thread::spawn(move || {
        std::thread::sleep(LONG);
        wakes.unpark();
    });
    parked.join().unwrap();
}

fn limited_os_thread(runtime: &Runtime) {
    let (parked, wakes) = parked(runtime);
    std::thread::spawn(move || {
        let (_sender, receiver) = channel::unbounded::<()>();
        receiver.recv_timeout(LONG).unwrap_err();
        wakes.unpark();
    });
    parked.join().unwrap();
}

fn call(runtime: &Runtime) {
    let (parked, wakes) = parked(runtime);
    let _blocks = runtime.spawn(move || {
        blocking(|| std::thread::sleep(LONG));
        wakes.unpark();
    });
    parked.join().unwrap();
}

fn computes(runtime: &Runtime) {
    let (parked, wakes) = parked(runtime);
    let _computes = runtime.spawn(move || {
        let begun = Instant::now();
        while begun.elapsed() < LONG {
            std::hint::spin_loop();
        }
        wakes.unpark();
    });
    parked.join().unwrap();
}

fn signal(runtime: &Runtime) {
    static WAKES: OnceLock<thread::Thread> = OnceLock::new();
    extern "C" fn handle(_: libc::c_int) {
        // In a process in which all else sleeps.
        WAKES.get().unwrap().unpark();
    }
    let (parked, wakes) = parked(runtime);
    WAKES.set(wakes).unwrap();
    let handler: extern "C" fn(libc::c_int) = handle;
    // SAFETY: the handler interrupts threads that sleep.
    unsafe {
        libc::signal(libc::SIGALRM, handler as libc::sighandler_t);
        libc::alarm(u32::try_from(LONG.as_secs()).unwrap());
    }
    parked.join().unwrap();
}

/// The address of a server in another process that ends its only connection late.
fn late_server() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // SAFETY: the child calls only what may be called there.
    match unsafe { libc::fork() } {
        0 => {
            let accepted = listener.accept();
            std::thread::sleep(LONG);
            drop(accepted);
            // SAFETY: as above.
            unsafe { libc::_exit(0) }
        }
        _ => address,
    }
}

fn socket(runtime: &Runtime) {
    let address = late_server();
    runtime.run(|| {
        let mut stream = TcpStream::connect(address).unwrap();
        assert_eq!(std::io::Read::read(&mut stream, &mut [0]).unwrap(), 0);
    });
}

fn polled_socket(runtime: &Runtime) {
    let address = late_server();
    let stream = runtime.run(|| TcpStream::connect(address).unwrap());
    let read = roving::block_on(async { stream.read_async(&mut [0]).await.unwrap() });
    assert_eq!(read, 0);
}

/// Signals of which one comes late.
fn late_signal() -> Signals {
    let signals = Signals::new([SIGHUP, SIGALRM]).unwrap();
    // SAFETY: the signal has a handler.
    unsafe { libc::alarm(u32::try_from(LONG.as_secs()).unwrap()) };
    signals
}

fn listens(runtime: &Runtime) {
    let signals = late_signal();
    runtime.run(|| assert_eq!(signals.recv().unwrap(), SIGALRM));
}

fn os_thread_listens(runtime: &Runtime) {
    let signals = late_signal();
    let _parked = runtime.spawn(thread::park);
    assert_eq!(signals.recv().unwrap(), SIGALRM);
}

/// One that ends late.
fn late_child() -> process::Command {
    let mut child = process::Command::new("sleep");
    child.arg(LONG.as_secs().to_string());
    child
}

fn waits_for_child(runtime: &Runtime) {
    runtime.run(|| assert!(late_child().status().unwrap().success()));
}

fn os_thread_waits_for_child(runtime: &Runtime) {
    let _parked = runtime.spawn(thread::park);
    assert!(late_child().status().unwrap().success());
}

fn polled_child(runtime: &Runtime) {
    let _parked = runtime.spawn(thread::park);
    let status = roving::block_on(async { late_child().status_async().await });
    assert!(status.unwrap().success());
}

fn waits_for_output(runtime: &Runtime) {
    runtime.run(|| assert!(late_child().output().unwrap().status.success()));
}

fn selects_signal_or_child(runtime: &Runtime) {
    runtime.run(|| {
        let signals = Signals::new([SIGHUP]).unwrap();
        let mut child = late_child().spawn().unwrap();
        select! {
            ready(signals) => unreachable!("nobody has sent any"),
            ready(child) => assert!(child.wait().unwrap().success()),
        }
    });
}

/// Runs this program for a case.
fn child(case: &str) -> Command {
    let mut child = Command::new(env::current_exe().unwrap());
    child.env(CASE, case).env_remove("ROVING_ALL_ASLEEP");
    child
}

/// What a child has said.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn check((case, end, _): Case, workers: &str) {
    let mut child = child(case);
    child
        .env("ROVING_ALL_ASLEEP", "abort")
        .env("ROVING_WORKERS", workers);
    let output = child.output().unwrap();
    let said = said(&output);
    let told = said.matches(TOLD).count();
    let context = format!("{case}, with {workers} workers: {}\n{said}", output.status);
    match end {
        End::Asleep(has) => {
            assert!(told == 1 && !output.status.success(), "{context}");
            for text in has.iter().chain(&["the process aborts, as it is set to ("]) {
                assert!(said.contains(text), "{text:?} is not told: {context}");
            }
        }
        End::Awake => assert!(told == 0 && output.status.success(), "{context}"),
    }
}

/// How a child has ended that is ended by [`ENDS`] if it does not end by itself, some time after it has told, or some time if it is not to tell.
fn outlived(mut child: Command, is_to_tell: bool) -> (ExitStatus, String) {
    let mut child = child.stderr(Stdio::piped()).spawn().unwrap();
    let mut tells = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while is_to_tell && !said.contains(TOLD) && tells.read_line(&mut said).unwrap() != 0 {}
    std::thread::sleep(LONG);
    // SAFETY: nobody has waited for it.
    unsafe { libc::kill(child.id().try_into().unwrap(), ENDS) };
    tells.read_to_string(&mut said).unwrap();
    (child.wait().unwrap(), said)
}

/// What the variable asks for happens.
fn check_variable(variable: Option<&str>, told: usize, ended_by: libc::c_int) {
    let mut child = child("variable");
    variable.map(|variable| child.env("ROVING_ALL_ASLEEP", variable));
    let (status, said) = if ended_by == ENDS {
        outlived(child, told != 0)
    } else {
        let output = child.output().unwrap();
        (output.status, said(&output))
    };
    let context = format!("{variable:?}: {status}\n{said}");
    assert_eq!(said.matches(TOLD).count(), told, "{context}");
    assert_eq!(status.signal(), Some(ended_by), "{context}");
    let complains = "roving: ROVING_ALL_ASLEEP=nonsense: expected one of off, report, abort; ";
    assert_eq!(
        said.contains(complains),
        variable == Some("nonsense"),
        "{context}"
    );
}

/// What the builder asks for goes before that.
fn check_builder() {
    let mut child = child("builder");
    child.env("ROVING_ALL_ASLEEP", "off");
    let (_, said) = outlived(child, true);
    assert!(said.contains(TOLD), "{said}");
}

/// Waits until a signal ends the process.
fn wait_in(builder: Builder) {
    // SAFETY: it has no handler.
    unsafe { libc::alarm(300) };
    builder.build().unwrap().run(thread::park);
}

fn main() -> ExitCode {
    if !cfg!(target_os = "linux") {
        return ExitCode::SUCCESS;
    }
    match env::var(CASE).as_deref() {
        Err(_) => {}
        Ok("variable") => wait_in(Builder::new()),
        Ok("builder") => wait_in(
            Builder::new()
                .all_asleep(AllAsleep::Report)
                .dump_on_signal(None),
        ),
        Ok(name) => {
            let (_, _, body) = CASES.iter().find(|(case, _, _)| *case == name).unwrap();
            body(&Builder::new().build().unwrap());
            return ExitCode::SUCCESS;
        }
    }
    let cases = CASES
        .iter()
        .flat_map(|case| ["1", "2", "8"].map(|workers| (case, workers)));
    let left = std::sync::Mutex::new(cases);
    std::thread::scope(|scope| {
        for (variable, told, ended_by) in [
            (None, 1, ENDS),
            (Some("report"), 1, ENDS),
            (Some("nonsense"), 1, ENDS),
            (Some("off"), 0, ENDS),
            (Some("abort"), 1, libc::SIGABRT),
        ] {
            scope.spawn(move || check_variable(variable, told, ended_by));
        }
        scope.spawn(check_builder);
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let next = || left.lock().unwrap().next();
                while let Some((case, workers)) = next() {
                    check(*case, workers);
                }
            });
        }
    });
    println!("{} cases", CASES.len());
    ExitCode::SUCCESS
}
