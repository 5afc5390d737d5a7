//! Standard streams, in processes of their own whose streams are pipes, sockets, terminals, files, or closed.
//!
//! - a full pipe, and an input in which nothing comes, stop one green thread and nobody else
//! - what was there before is as it was: no open file description is made non-blocking, and one that is, is waited for
//! - lines, locks that their holder may take again, what is left at the end
//! - cancellations, select, and another descriptor in the place of one

mod common;

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::terminal::terminal;
use common::{WORKER_COUNTS, child, is_child, runtime, watchdog};
use roving::io::{self, IsTerminal};
use roving::{Cancelled, go, select, thread};

/// Each child runs with a number of workers.
const WORKERS: &str = "ROVING_TEST_WORKERS";

/// In a child, calls `test` on a green thread of a runtime of each size. Elsewhere calls `parent` with a command for each of these.
fn with_child(name: &str, test: impl FnOnce() + Send, mut parent: impl FnMut(Command)) {
    let _watchdog = watchdog("");
    if is_child(name) {
        let workers = std::env::var(WORKERS).unwrap().parse().unwrap();
        runtime(workers).run(test);
        return;
    }
    for workers in WORKER_COUNTS {
        let mut command = child(name);
        command.env(WORKERS, workers.to_string());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        parent(command);
    }
}

/// No spare watches in it, who would open a file now and then, in the place of a stream or by the last descriptor.
fn nobody_watches(command: &mut Command) -> &mut Command {
    command.env("ROVING_STUCK_AFTER", "0")
}

/// What a child prints on both streams until its end, which is good.
fn ends_well(child: Child) -> (String, String) {
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) = (output.stdout, output.stderr);
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&stdout), text(&stderr));
    assert!(
        output.status.success(),
        "{}\n{stdout}\n{stderr}",
        output.status
    );
    (stdout, stderr)
}

/// The descriptor's flags, of which one is `O_NONBLOCK`.
fn flags(fd: impl AsFd) -> i32 {
    // SAFETY: a system call that takes no pointer, on a descriptor that is borrowed.
    unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFL) }
}

fn set_nonblocking(fd: impl AsFd) {
    // SAFETY: as above.
    let result = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(result, 0);
}

/// Whether others run: for some milliseconds, with nothing but yields and short sleeps.
fn others_run() {
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(1));
        thread::yield_now();
    }
}

/// Lets others run until this one waits.
fn until_it_waits<T>(one: &thread::JoinHandle<T>) {
    while !matches!(one.thread().state(), thread::State::Parked(_)) {
        thread::yield_now();
    }
}

const LINES: usize = 5000;

fn line(n: usize) -> String {
    format!("line {n} of a text that is longer than a pipe")
}

#[test]
fn a_full_pipe_stops_nobody_else() {
    with_child(
        "a_full_pipe_stops_nobody_else",
        || {
            let prints = go!(|| (0..LINES).for_each(|n| roving::println!("{}", line(n))));
            others_run();
            roving::eprintln!("the others run");
            prints.join().unwrap();
        },
        |mut command| {
            let (reader, writer) = std::io::pipe().unwrap();
            let kept = writer.try_clone().unwrap();
            let mut child = command.stdout(writer).spawn().unwrap();
            drop(command);
            let mut errors = BufReader::new(child.stderr.take().unwrap());
            let mut said = String::new();
            errors.read_line(&mut said).unwrap();
            assert_eq!(said, "the others run\n");
            assert_eq!(flags(&kept) & libc::O_NONBLOCK, 0);
            drop(kept);
            let text = std::io::read_to_string(reader).unwrap();
            let mut lines = text.lines().filter(|line| line.contains("of a text"));
            // What the harness of tests prints may be on the first line.
            assert!(lines.next().unwrap().ends_with(&line(0)));
            assert!(lines.eq((1..LINES).map(line)));
            ends_well(child);
        },
    );
}

/// Takes all descriptors that the process can have.
fn exhaust() -> Vec<File> {
    let limit = libc::rlimit {
        rlim_cur: 64,
        rlim_max: 64,
    };
    // SAFETY: the limit is read, and is there.
    let is_set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0;
    assert!(is_set);
    let open = || File::open("/dev/null");
    let taken = std::iter::from_fn(|| open().ok()).collect();
    assert_eq!(open().unwrap_err().raw_os_error(), Some(libc::EMFILE));
    taken
}

#[test]
fn without_descriptors_lines_are_read_and_printed_all_the_same() {
    with_child(
        "without_descriptors_lines_are_read_and_printed_all_the_same",
        || {
            let taken = exhaust();
            let prints = go!(|| (0..LINES).for_each(|n| roving::println!("{}", line(n))));
            let reads = go!(|| io::stdin().lines().next().unwrap().unwrap());
            others_run();
            roving::eprintln!("the others run");
            prints.join().unwrap();
            assert_eq!(reads.join().unwrap(), "the last");
            let waits = go!(|| io::stdin().lines().next());
            until_it_waits(&waits);
            others_run();
            waits.cancel();
            let error = waits.join().unwrap().unwrap().unwrap_err();
            assert!(error.get_ref().unwrap().is::<Cancelled>());
            drop(taken);
        },
        |mut command| {
            let (reader, writer) = std::io::pipe().unwrap();
            let mut child = nobody_watches(&mut command)
                .stdin(Stdio::piped())
                .stdout(writer)
                .spawn()
                .unwrap();
            drop(command);
            let mut errors = BufReader::new(child.stderr.take().unwrap());
            let mut said = String::new();
            errors.read_line(&mut said).unwrap();
            assert_eq!(said, "the others run\n");
            let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
            let mut lines = lines.by_ref().filter(|line| line.contains("of a text"));
            assert!(lines.next().unwrap().ends_with(&line(0)));
            assert!(lines.by_ref().take(LINES - 1).eq((1..LINES).map(line)));
            let mut input = child.stdin.take().unwrap();
            input.write_all(b"the last\n").unwrap();
            assert!(lines.next().is_none());
            child.stderr = None;
            assert!(child.wait().unwrap().success());
        },
    );
}

fn echo_lines() {
    let beats = Arc::new(AtomicBool::new(false));
    let stop = beats.clone();
    let others = go!(move || {
        while !stop.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(1));
        }
    });
    for line in io::stdin().lines() {
        roving::eprintln!("{}", line.unwrap());
    }
    beats.store(true, Ordering::Release);
    others.join().unwrap();
}

/// Says something to a child that echoes lines, and hears it.
fn talk(
    command: &mut Command,
    tell: &mut impl Write,
) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut child = command.spawn().unwrap();
    let mut hear = BufReader::new(child.stderr.take().unwrap());
    for said in ["one\n", "another\n", "\n", "and the last\n"] {
        tell.write_all(said.as_bytes()).unwrap();
        let mut heard = String::new();
        hear.read_line(&mut heard).unwrap();
        assert_eq!(heard, said);
    }
    (child, hear)
}

#[test]
fn input_comes_by_a_pipe() {
    with_child("input_comes_by_a_pipe", echo_lines, |mut command| {
        let (input, mut tell) = std::io::pipe().unwrap();
        let kept = input.try_clone().unwrap();
        let (child, _) = talk(command.stdin(input), &mut tell);
        assert_eq!(flags(&kept) & libc::O_NONBLOCK, 0);
        drop(tell);
        ends_well(child);
    });
}

#[test]
fn input_comes_by_a_socket() {
    with_child("input_comes_by_a_socket", echo_lines, |mut command| {
        let (input, mut tell) = UnixStream::pair().unwrap();
        let (child, _) = talk(command.stdin(OwnedFd::from(input)), &mut tell);
        drop(tell);
        ends_well(child);
    });
}

#[test]
fn input_comes_by_a_description_that_is_not_blocking() {
    let name = "input_comes_by_a_description_that_is_not_blocking";
    with_child(name, echo_lines, |mut command| {
        let (input, mut tell) = std::io::pipe().unwrap();
        set_nonblocking(&input);
        let (child, _) = talk(command.stdin(input), &mut tell);
        drop(tell);
        ends_well(child);
    });
}

#[test]
fn a_terminal() {
    with_child(
        "a_terminal",
        || {
            assert!(io::stdin().is_terminal() && io::stdout().is_terminal());
            assert!(!io::stderr().is_terminal());
            echo_lines();
            // More than it keeps.
            (0..LINES).for_each(|n| roving::println!("{}", line(n)));
        },
        |mut command| {
            let (mut master, slave) = terminal();
            let before = flags(&slave);
            command
                .stdin(slave.try_clone().unwrap())
                .stdout(slave.try_clone().unwrap());
            let (child, _) = talk(&mut command, &mut master);
            drop(command);
            assert_eq!(flags(&slave), before);
            drop(slave);
            master.write_all(&[4]).unwrap();
            let mut text = Vec::new();
            // A terminal in which nobody is any more gives an error.
            let _ = master.read_to_end(&mut text);
            let text = String::from_utf8(text).unwrap();
            let lines = text.lines().filter(|line| line.contains("of a text"));
            assert!(lines.eq((0..LINES).map(line)), "{text}");
            ends_well(child);
        },
    );
}

#[test]
fn files() {
    with_child(
        "files",
        || {
            let mut input = String::new();
            let mut count = 0;
            while io::stdin().read_line(&mut input).unwrap() > 0 {
                count += 1;
            }
            assert_eq!(
                (count, input.len()),
                (LINES, (0..LINES).map(|n| line(n).len() + 1).sum())
            );
            roving::print!("{input}");
        },
        |mut command| {
            let folder = std::env::temp_dir().join(format!("roving-stdio-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let (input, output) = (folder.join("in"), folder.join("out"));
            let text: String = (0..LINES).map(|n| line(n) + "\n").collect();
            std::fs::write(&input, &text).unwrap();
            command.stdin(File::open(&input).unwrap());
            command.stdout(File::create(&output).unwrap());
            ends_well(command.spawn().unwrap());
            assert!(std::fs::read_to_string(&output).unwrap().contains(&text));
            std::fs::remove_dir_all(&folder).unwrap();
        },
    );
}

#[test]
fn closed_streams() {
    with_child(
        "closed_streams",
        || {
            for fd in 0..3 {
                // SAFETY: it may be closed by now; nobody here relies on it.
                unsafe { libc::close(fd) };
            }
            let mut all = String::new();
            assert_eq!(io::stdin().read_to_string(&mut all).unwrap(), 0);
            roving::println!("to nobody");
            roving::eprintln!("to nobody");
            assert!(!io::stdin().is_terminal());
            // What the harness says goes nowhere too.
            std::process::exit(0);
        },
        |mut command| {
            ends_well(nobody_watches(&mut command).spawn().unwrap());
        },
    );
}

/// Something that prints while it is printed.
struct Talks;

impl fmt::Display for Talks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        roving::eprintln!("(on the side)");
        roving::println!("(on the side)");
        f.write_str("in the end")
    }
}

/// The same expressions in each macro. All of it has the place at which this is used.
macro_rules! debugged {
    ($(($($dbg:tt)*))*) => {
        $(
            roving::eprintln!("--");
            $($dbg)*!();
            assert_eq!($($dbg)*!(2 + 3), 5);
            let _: () = $($dbg)*!((), );
            let owned = vec!["{}".to_owned(), "\"".to_owned()];
            let (owned, two) = $($dbg)*!(owned, 1 + 1);
            assert_eq!((owned.len(), two), (2, 2));
            // What is borrowed lives on.
            assert_eq!($($dbg)*!(String::from("temporary").as_str()).len(), 9);
            let (one,) = $($dbg)*!((7,));
            assert_eq!(one, 7);
            assert_eq!($($dbg)*!({ 1 }, { 2 },), (1, 2));
        )*
        roving::eprintln!("--");
    };
}

#[test]
fn expressions_are_shown_as_by_std() {
    with_child(
        "expressions_are_shown_as_by_std",
        || {
            debugged! { (std::dbg) (roving::dbg) }
        },
        |mut command| {
            let (_, stderr) = ends_well(command.spawn().unwrap());
            let parts: Vec<_> = stderr.split("--\n").collect();
            assert_eq!(parts.len(), 4, "{stderr}");
            assert_eq!(parts[1], parts[2]);
            let place = format!("[{}:", file!());
            assert_eq!(parts[2].matches(&place).count(), 9, "{stderr}");
            assert!(parts[2].contains("] 2 + 3 = 5\n"), "{stderr}");
        },
    );
}

#[test]
fn lines_stay_together() {
    with_child(
        "lines_stay_together",
        || {
            let writers: Vec<_> = (0..10)
                .map(|n| {
                    go!(move || {
                        for _ in 0..10 {
                            let mut lock = io::stdout().lock();
                            for part in ["a", "b", "c"] {
                                write!(lock, "<{n}{part}").unwrap();
                                thread::yield_now();
                                // By the same thread again.
                                roving::print!(">");
                            }
                            writeln!(lock).unwrap();
                        }
                    })
                })
                .collect();
            writers.into_iter().for_each(|w| w.join().unwrap());
            roving::println!("{} {}", Talks, "really");
            roving::eprintln!("{Talks}");
            io::stderr().write_all(b"by hand\n").unwrap();
            let panics = thread::spawn(|| {
                let _locks = (io::stdin().lock(), io::stdout().lock(), io::stderr().lock());
                std::panic::resume_unwind(Box::new(()));
            });
            panics.join().unwrap_err();
            let _locks = (io::stdin().lock(), io::stdout().lock(), io::stderr().lock());
        },
        |mut command| {
            let (stdout, stderr) = ends_well(command.spawn().unwrap());
            for n in 0..10 {
                let whole = format!("<{n}a><{n}b><{n}c>\n");
                assert_eq!(stdout.matches(&whole).count(), 10, "{stdout}");
            }
            assert!(
                stdout.contains("(on the side)\nin the end really\n"),
                "{stdout}"
            );
            assert!(stderr.contains("in the end\nby hand\n"), "{stderr}");
        },
    );
}

/// The system takes fewer in one call.
#[test]
fn very_many_buffers() {
    with_child(
        "very_many_buffers",
        || {
            let bytes = [IoSlice::new(b"x"); 3000];
            assert_eq!(io::stderr().write_vectored(&bytes).unwrap(), 1024);
            let mut room = [[0; 10]; 3000];
            let mut bufs: Vec<_> = room.iter_mut().map(|it| IoSliceMut::new(it)).collect();
            assert_eq!(io::stdin().lock().read_vectored(&mut bufs).unwrap(), 5);
        },
        |mut command| {
            let (input, mut tell) = std::io::pipe().unwrap();
            tell.write_all(b"hello").unwrap();
            let (_, errors) = ends_well(command.stdin(input).spawn().unwrap());
            assert_eq!(errors, "x".repeat(1024));
        },
    );
}

#[test]
fn what_is_left_is_written_at_the_end() {
    with_child(
        "what_is_left_is_written_at_the_end",
        || roving::print!("no end of line"),
        |mut command| {
            let (stdout, _) = ends_well(command.spawn().unwrap());
            assert!(stdout.ends_with("no end of line"), "{stdout}");
        },
    );
}

#[test]
fn what_is_left_is_written_when_a_green_thread_ends_the_process() {
    with_child(
        "what_is_left_is_written_when_a_green_thread_ends_the_process",
        || {
            roving::print!("no end of line");
            std::process::exit(0);
        },
        |mut command| {
            let (stdout, _) = ends_well(command.spawn().unwrap());
            assert!(stdout.ends_with("no end of line"), "{stdout}");
        },
    );
}

#[test]
fn who_waits_is_cancelled() {
    with_child(
        "who_waits_is_cancelled",
        || {
            let prints = go!(|| loop {
                roving::println!("{}", line(0));
            });
            let reads = go!(|| io::stdin().read_line(&mut String::new()));
            until_it_waits(&reads);
            others_run();
            prints.cancel();
            reads.cancel();
            assert!(prints.join().unwrap_err().is::<Cancelled>());
            let error = reads.join().unwrap().unwrap_err();
            assert!(error.get_ref().unwrap().is::<Cancelled>());
            roving::eprintln!("well");
        },
        |mut command| {
            let (input, _kept) = std::io::pipe().unwrap();
            let mut child = command.stdin(input).spawn().unwrap();
            let mut said = String::new();
            let mut errors = BufReader::new(child.stderr.take().unwrap());
            errors.read_line(&mut said).unwrap();
            assert_eq!(said, "well\n");
            ends_well(child);
        },
    );
}

#[test]
fn another_descriptor_takes_the_place_of_one() {
    with_child(
        "another_descriptor_takes_the_place_of_one",
        || {
            roving::println!("to the first");
            let (mut reader, writer) = io::pipe().unwrap();
            // SAFETY: system calls that take no pointer; nobody here relies on what is in that place.
            let put = |fd| unsafe { libc::dup2(fd, 1) };
            // SAFETY: as above.
            let before = unsafe { libc::dup(1) };
            assert_eq!(put(writer.as_raw_fd()), 1);
            drop(writer);
            roving::println!("to the second");
            assert_eq!(put(before), 1);
            let mut said = String::new();
            reader.read_to_string(&mut said).unwrap();
            assert_eq!(said, "to the second\n");
            roving::println!("to the first again");
        },
        |mut command| {
            let (stdout, _) = ends_well(command.spawn().unwrap());
            assert!(
                stdout.contains("to the first\nto the first again\n"),
                "{stdout}"
            );
        },
    );
}

#[test]
fn a_select_waits_for_input() {
    with_child(
        "a_select_waits_for_input",
        || {
            let (stop, stopped) = roving::channel::bounded::<()>(1);
            let stdin = io::stdin();
            let mut heard = 0;
            loop {
                select! {
                    readable(stdin) => {}
                    recv(stopped) -> _ => break,
                }
                let mut lock = stdin.lock();
                let read = lock.fill_buf().unwrap().len();
                lock.consume(read);
                heard += read;
                roving::eprintln!("{heard}");
                if heard == 10 {
                    stop.send(()).unwrap();
                }
            }
        },
        |mut command| {
            let (input, mut tell) = std::io::pipe().unwrap();
            let mut child = command.stdin(input).spawn().unwrap();
            let mut hear = BufReader::new(child.stderr.take().unwrap());
            for said in 1..=10 {
                tell.write_all(b"x").unwrap();
                let mut heard = String::new();
                hear.read_line(&mut heard).unwrap();
                assert_eq!(heard, format!("{said}\n"));
            }
            ends_well(child);
        },
    );
}
