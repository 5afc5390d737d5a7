//! `scheduler/gdb.py` in the real gdb: on processes, on core files, and where there is nothing to show.
//!
//! It depends on how types of this crate, of std and of others are laid out: these tests fail when that changes.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::env;
use std::fs;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::{child, compute_until, is_child, printed, runtime, watchdog};
use roving::channel;
use roving::coroutine::Generator;
use roving::net::TcpListener;
use roving::sync::Mutex;
use roving::thread::{self, JoinHandle, State};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scheduler/gdb.py");

/// Set where there must be a gdb that may look at other processes.
const EXPECTED: &str = "ROVING_EXPECT_GDB";

/// Says that nothing was tested, or fails if that must not be.
fn not_tested(why: &str) {
    let is_expected =
        env::var(EXPECTED).is_ok_and(|expected| !["", "0"].contains(&expected.trim()));
    assert!(!is_expected, "{EXPECTED} is set, but {why}");
    println!("not tested: {why}");
}

/// What gdb has printed, and what it has said went wrong.
struct Said {
    out: String,
    errors: String,
}

/// Has gdb, with the script, do so; `None` if there is no gdb that may look at other processes.
fn gdb(arguments: &[&str], commands: &[&str]) -> Option<Said> {
    gdb_with(&["-x", SCRIPT], arguments, commands)
}

fn gdb_with(script: &[&str], arguments: &[&str], commands: &[&str]) -> Option<Said> {
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-iex", "set debuginfod enabled off"])
        .args(script)
        .args(commands.iter().flat_map(|command| ["-ex", command]))
        .args(arguments)
        .env_remove("LD_PRELOAD")
        .stdin(Stdio::null());
    let output = match gdb.output() {
        Ok(output) => output,
        Err(error) => {
            not_tested(&format!("there is no gdb: {error}"));
            return None;
        }
    };
    let said = Said {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    let all = printed(&output);
    if all.contains("ptrace: Operation not permitted") {
        not_tested(&format!("gdb may not look at other processes here:\n{all}"));
        return None;
    }
    for complaint in [
        "Traceback",
        "Python Exception",
        "Error occurred in Python",
        "corrupt stack",
    ] {
        assert!(!all.contains(complaint), "{all}");
    }
    Some(said)
}

impl Said {
    /// The lines of `info green` and what follows, with single spaces.
    fn lines(&self) -> Vec<String> {
        let lines = self.out.lines().map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.join(" ")
        });
        lines
            .skip_while(|line| !line.starts_with("Id State"))
            .collect()
    }
}

/// What is told of all.
const ALL: [&str; 3] = ["info green", "green 1 bt", "green all bt"];

/// A process that hangs in all ways, until it is told to end.
struct Hangs {
    process: Child,
    /// What it says on its end of the pipe: when it has come to hang, and that it ends well.
    says: BufReader<ChildStdout>,
}

impl Hangs {
    fn start(test: &str, parked: usize, setting: &[(&str, &str)]) -> Self {
        let mut process = child(test)
            .env(PARKED, parked.to_string())
            // Nobody looks at threads meanwhile, who would have them for himself for a moment.
            .env("ROVING_DEADLOCKS", "off")
            .env("ROVING_RECLAIM_SECONDS", "0")
            .envs(setting.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut hangs = Self {
            says: BufReader::new(process.stdout.take().unwrap()),
            process,
        };
        hangs.wait_for("it hangs");
        hangs
    }

    fn wait_for(&mut self, what: &str) {
        let mut line = String::new();
        while !line.contains(what) {
            line.clear();
            assert_ne!(
                self.says.read_line(&mut line).unwrap(),
                0,
                "the child ended"
            );
        }
    }

    fn id(&self) -> String {
        self.process.id().to_string()
    }

    /// Lets it go on: it must end as if nobody had looked.
    fn ends_well(mut self) {
        drop(self.process.stdin.take());
        self.wait_for("it goes on");
        let mut rest = String::new();
        self.says.read_to_string(&mut rest).unwrap();
        assert!(self.process.wait().unwrap().success(), "{rest}");
    }
}

/// How many are parked in the same way.
const PARKED: &str = "ROVING_TEST_PARKED";

/// What such a process does.
fn hang() {
    // SAFETY: lets any process look at this one, which is a test.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
    let runtime = runtime(2);
    let stop: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    let (release, held_up) = mpsc::channel::<()>();
    let parked: usize = env::var(PARKED).unwrap().parse().unwrap();
    let mut threads = runtime.run(|| wait_in_all_ways(parked));
    // Those with names have the first numbers.
    threads.iter().take(NAMED).for_each(|thread| {
        black_box(thread.thread().id());
    });
    while !threads
        .iter()
        .all(|thread| matches!(thread.thread().state(), State::Parked(_)))
    {
        std::thread::yield_now();
    }
    let running = runtime.run(|| {
        [
            named("computes", move || compute_until(stop)),
            named("blocks", move || {
                let _ = held_up.recv();
            }),
        ]
    });
    while !running
        .iter()
        .all(|thread| matches!(thread.thread().state(), State::Running(..)))
    {
        std::thread::yield_now();
    }
    threads.extend(running);
    say("it hangs");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    stop.store(true, Ordering::Release);
    drop(release);
    say("it goes on");
    threads.iter().for_each(JoinHandle::cancel);
    for thread in threads {
        let _ = thread.join();
    }
    runtime.shutdown();
}

const NAMED: usize = 9;

/// Tells the test, if that is still there.
fn say(what: &str) {
    let _ = writeln!(io::stdout(), "\n{what}");
}

fn named(name: &str, f: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(f)
        .unwrap()
}

fn wait_in_all_ways(parked: usize) -> Vec<JoinHandle<()>> {
    let accounts = Arc::new((Mutex::new(0), Mutex::new(0)));
    let others = accounts.clone();
    let (taken, both) = mpsc::channel();
    let has_taken = taken.clone();
    let takes = move |first: &Mutex<i32>, second: &Mutex<i32>, taken: mpsc::Sender<()>| {
        let _first = first.lock().unwrap();
        taken.send(()).unwrap();
        // Until the other one has its own.
        thread::park();
        drop(second.lock());
    };
    let pays = named("pays", move || takes(&accounts.0, &accounts.1, taken));
    let refunds = named("refunds", move || takes(&others.1, &others.0, has_taken));
    (0..2).for_each(|_| roving::blocking(|| both.recv()).unwrap());
    pays.thread().unpark();
    refunds.thread().unpark();
    let (sender, receiver) = channel::unbounded::<u8>();
    let mut threads = vec![
        pays,
        refunds,
        named("receives", move || {
            let _sender = sender;
            let _ = receiver.recv();
        }),
        named("accepts", || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            drop(listener.accept());
        }),
        named("generates", || {
            Generator::new(|yields| yields.yield_(in_steps(3))).next();
        }),
        named("\"quoted\"", || thread::sleep(Duration::MAX)),
    ];
    let last = thread::spawn(thread::park);
    threads.push(named("joins", move || drop(last.join())));
    threads.push(named("waits", || {
        // It ends with this process at the latest.
        let (input, _holds) = roving::io::pipe().unwrap();
        let mut command = roving::process::Command::new("cat");
        command.stdin(input).status().unwrap_err();
    }));
    threads.push(named("listens", || {
        let signals = roving::signal::Signals::new([roving::signal::SIGHUP]).unwrap();
        signals.recv().unwrap_err();
    }));
    threads.extend((0..parked).map(|_| {
        thread::spawn(|| {
            in_steps(3);
        })
    }));
    threads
}

#[inline(never)]
fn in_steps(steps: u32) -> u32 {
    match steps {
        0 => {
            thread::park();
            0
        }
        _ => in_steps(steps - 1) + black_box(1),
    }
}

/// That what there is to tell is told.
fn assert_all_is_told(lines: &[String], parked: usize) {
    let all = lines.join("\n");
    let line_of = |name: &str| {
        let is_it = |line: &&String| line.contains(name) && !line.starts_with("thread");
        lines
            .iter()
            .find(is_it)
            .unwrap_or_else(|| panic!("{name} is missing:\n{all}"))
    };
    let here = concat!(" at ", file!(), ":");
    for (name, told) in [
        (
            "1 parked \"pays\"",
            [
                "lock of Mutex at 0x",
                ", held by thread 2 \"refunds\", taken at tests/gdb.rs:",
            ],
        ),
        (
            "2 parked \"refunds\"",
            [
                "lock of Mutex at 0x",
                ", held by thread 1 \"pays\", taken at tests/gdb.rs:",
            ],
        ),
        (
            "3 parked \"receives\"",
            ["recv on a channel with 1 sender", here],
        ),
        ("4 parked \"accepts\"", ["read on descriptor ", here]),
        ("5 parked \"generates\"", [" park, at ", here]),
        ("6 parked \"\\\"quoted\\\"\"", [" sleep, at ", here]),
        ("7 parked \"joins\"", ["join of thread ", here]),
        ("8 parked \"waits\"", ["end of child ", here]),
        ("9 parked \"listens\"", ["signal, at ", here]),
        ("running \"computes\"", ["worker ", ", OS thread "]),
        ("running \"blocks\"", ["worker ", ", OS thread "]),
    ] {
        let line = line_of(name);
        assert!(
            line.contains("tests/gdb.rs:"),
            "where it was spawned: {line}"
        );
        assert!(told.iter().all(|told| line.contains(told)), "{line}");
    }
    assert!(!all.contains("that cannot be read"), "{all}");
    assert!(!all.contains("that have not begun"), "{all}");

    let stack_of = |head: &str| {
        let head = |line: &String| line.starts_with(head);
        let from = lines
            .iter()
            .position(head)
            .unwrap_or_else(|| panic!("a stack is missing:\n{all}"));
        let frames = lines[from + 1..]
            .iter()
            .skip_while(|line| !line.starts_with('#'));
        frames
            .take_while(|line| line.starts_with('#'))
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    };
    let assert_stack = |head: &str, functions: &[&str], count| {
        let stack = stack_of(head);
        for function in functions {
            assert!(
                stack.contains(function),
                "{function} is missing in that of {head}:\n{stack}"
            );
        }
        for of_runtime in ["Suspender", "::run::", "thread::spawn", "??"] {
            assert!(
                !stack.contains(of_runtime),
                "{of_runtime} in that of {head}:\n{stack}"
            );
        }
        assert!(stack.lines().count() < count, "that of {head}:\n{stack}");
    };
    assert_stack(
        "thread 1 \"pays\" parked: lock of Mutex",
        &["lock", "tests/gdb.rs"],
        12,
    );
    let of_parked = format!("{parked} threads parked, spawned at tests/gdb.rs");
    assert_stack(&of_parked, &["park_until", "in_steps", "tests/gdb.rs"], 12);
    assert_eq!(stack_of(&of_parked).matches("in_steps").count(), 4, "{all}");
    if option_env!("CARGO_PROFILE_DEV_DEBUG") == Some("full") {
        assert_stack(&of_parked, &["(steps=0)", "(steps=3)"], 12);
    }
    assert_stack("thread 5 \"generates\"", &["in_steps", "coroutine"], 40);
    assert_stack("thread 4 \"accepts\"", &["accept", "wait"], 20);
    let last = lines
        .iter()
        .filter(|line| line.contains(" running, spawned at "))
        .count();
    assert_eq!(last, 2, "{all}");
    assert!(all.contains("compute_until"), "{all}");
    assert!(all.contains("recv"), "{all}");
}

/// What a thread waits for is a value of one of these types, as the script has them.
#[test]
fn all_reasons_are_known_to_the_script() {
    let script = fs::read_to_string(SCRIPT).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for sources in ["scheduler/src", "io/src"].map(|sources| root.join(sources)) {
        for file in files_below(&sources) {
            let module = file.strip_prefix(&sources).unwrap().with_extension("");
            let module = module.to_str().unwrap().replace('/', "::");
            let module = module.trim_end_matches("::mod");
            for line in fs::read_to_string(&file).unwrap().lines() {
                let Some(of) = line.strip_prefix("impl Why for ") else {
                    continue;
                };
                let name = match of.trim_end_matches([' ', '{']) {
                    "&'static str" => "&str".to_owned(),
                    of => format!("{module}::{}", of.split('<').next().unwrap()),
                };
                assert!(
                    script.contains(&format!("\"{name}\": ")),
                    "gdb.py has no words for {name}"
                );
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count} reasons");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let below = entries.flat_map(|entry| match entry.unwrap().path() {
        folder if folder.is_dir() => files_below(&folder),
        file if file.extension().is_some_and(|extension| extension == "rs") => vec![file],
        _ => Vec::new(),
    });
    below.collect()
}

#[test]
fn a_process_is_shown_and_goes_on() {
    const NAME: &str = "a_process_is_shown_and_goes_on";
    if is_child(NAME) {
        return hang();
    }
    let _watchdog = watchdog("");
    let hangs = Hangs::start(NAME, 1000, &[]);
    let Some(said) = gdb(&["-p", &hangs.id()], &ALL) else {
        return;
    };
    assert_all_is_told(&said.lines(), 1000);
    hangs.ends_well();
}

/// Of the kinds of guards it takes that which gdb's own core files have what lies beside.
#[test]
fn a_core_file_is_shown_as_the_process_was() {
    const NAME: &str = "a_core_file_is_shown_as_the_process_was";
    if is_child(NAME) {
        return hang();
    }
    let _watchdog = watchdog("");
    let hangs = Hangs::start(NAME, 3, &[("ROVING_STACK_GUARDS", "mprotect")]);
    let core = env::temp_dir().join(format!("roving-core-{}", std::process::id()));
    let core = core.to_str().unwrap();
    let save = format!("gcore {core}");
    let commands = [ALL[0], ALL[1], ALL[2], &save];
    let Some(live) = gdb(&["-p", &hangs.id()], &commands) else {
        return;
    };
    hangs.ends_well();
    let executable = env::current_exe().unwrap();
    let executable = executable.to_str().unwrap();
    // The script comes with the executable.
    let trust = format!("add-auto-load-safe-path {executable}");
    let after = gdb_with(&["-iex", &trust], &[executable, core], &ALL).unwrap();
    fs::remove_file(core).unwrap();
    // The threads of gdb have other numbers in it.
    let told = |said: &Said| {
        let lines = said
            .lines()
            .into_iter()
            .take_while(|line| !line.starts_with("Saved corefile"));
        lines
            .map(|line| line.split(" (gdb thread").next().unwrap().to_owned())
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
    };
    assert_all_is_told(&after.lines(), 3);
    assert_eq!(told(&live), told(&after));
}

/// What is said where there is nothing to show: a line, and nothing else.
#[test]
fn where_there_is_nothing_to_show_that_is_said() {
    let _watchdog = watchdog("");
    let with = |arguments: &[&str], commands: &[&str], line: &str| {
        let Some(said) = gdb(arguments, commands) else {
            return;
        };
        let count = said
            .errors
            .lines()
            .filter(|said| said.contains(line))
            .count();
        let asked = commands
            .iter()
            .filter(|command| command.contains("green"))
            .count();
        assert_eq!(count, asked, "{line}: {}{}", said.out, said.errors);
    };
    with(&[], &ALL, "there is no process");
    let mut other = Command::new("sleep").arg("300").spawn().unwrap();
    let id = other.id().to_string();
    with(&["-p", &id], &ALL, "there is no Roving in this process");
    other.kill().unwrap();
    other.wait().unwrap();
    let executable = env::current_exe().unwrap();
    let executable = executable.to_str().unwrap();
    let commands = ["starti", "info green", "green all bt", "kill"];
    with(&[executable], &commands, "no runtime of Roving has started");
}

/// Of a program without symbols the threads are told, if not the names of what they do.
#[test]
fn a_stripped_program_is_shown_without_names() {
    const NAME: &str = "a_stripped_program_is_shown_without_names";
    if is_child(NAME) {
        return hang();
    }
    let _watchdog = watchdog("");
    let stripped = env::temp_dir().join(format!("roving-stripped-{}", std::process::id()));
    let mut strip = Command::new("strip");
    strip
        .arg("-o")
        .arg(&stripped)
        .arg(env::current_exe().unwrap());
    if !strip.status().is_ok_and(|status| status.success()) {
        return println!("not tested: there is no strip");
    }
    let hangs = Hangs::start(NAME, 3, &[]);
    let said = gdb(&["-p", &hangs.id(), stripped.to_str().unwrap()], &ALL);
    fs::remove_file(stripped).unwrap();
    hangs.ends_well();
    let Some(said) = said else { return };
    let all = said.lines().join("\n");
    assert!(
        all.contains("1 parked \"pays\" tests/gdb.rs:"),
        "{all}{}",
        said.errors
    );
    assert!(all.contains("symbol"), "{all}");
    assert!(!all.contains("in_steps"), "{all}");
}

/// Wherever a process is stopped, be it in the middle of the runtime, what can be told is told.
#[test]
fn a_process_may_be_stopped_anywhere() {
    const NAME: &str = "a_process_may_be_stopped_anywhere";
    if is_child(NAME) {
        return be_busy();
    }
    let _watchdog = watchdog("");
    let hangs = Hangs::start(NAME, 20, &[]);
    let attach = format!("attach {}", hangs.id());
    let once = [&attach[..], "info green", "green all bt", "detach"];
    let Some(said) = gdb(&[], &once.repeat(10)) else {
        return;
    };
    assert_eq!(said.out.matches("Spawned at").count(), 10, "{}", said.out);
    assert!(
        !said.errors.contains("cannot be made out"),
        "{}",
        said.errors
    );
    hangs.ends_well();
}

/// Threads that wake one another, begin and end, until this process is told to end.
fn be_busy() {
    // SAFETY: as in `hang`.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
    let runtime = runtime(2);
    let stop = Arc::new(AtomicBool::new(false));
    let parked: usize = env::var(PARKED).unwrap().parse().unwrap();
    let busy: Vec<_> = (0..parked)
        .map(|_| {
            let stop = stop.clone();
            runtime.spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    thread::spawn(thread::yield_now).join().unwrap();
                    thread::sleep(Duration::from_micros(10));
                }
            })
        })
        .collect();
    say("it hangs");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    stop.store(true, Ordering::Release);
    say("it goes on");
    busy.into_iter().for_each(|busy| busy.join().unwrap());
    runtime.shutdown();
}
