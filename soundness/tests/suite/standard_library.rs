//! The parts of std that keep something in thread-locals, used by threads that move.

use std::collections::HashMap;
use std::io::Write;
use std::net::ToSocketAddrs;
use std::process::Command;
use std::sync::mpsc::{self, TryRecvError};

use roving_soundness::{ROUNDS, THREADS, many_moving_threads, migrate, on_moving_threads};

#[test]
fn hash_maps_are_made_and_used() {
    many_moving_threads(|number| {
        for round in 0..ROUNDS / 10 {
            let mut map = HashMap::new();
            for key in 0..20 {
                map.insert(key, number);
                migrate(key + round);
            }
            assert_eq!(map.values().sum::<usize>(), 20 * number);
        }
    });
}

#[test]
fn channels_of_std_pass_messages_between_green_threads() {
    on_moving_threads(|runtime| {
        let (sender, receiver) = mpsc::channel();
        for number in 0..THREADS {
            let sender = sender.clone();
            runtime.spawn(move || {
                for round in 0..ROUNDS {
                    sender.send(number * ROUNDS + round).unwrap();
                    migrate(round);
                }
            });
        }
        drop(sender);
        let received = runtime.spawn(move || {
            let mut received = Vec::new();
            loop {
                match receiver.try_recv() {
                    Ok(message) => received.push(message),
                    Err(TryRecvError::Empty) => migrate(0),
                    Err(TryRecvError::Disconnected) => return received,
                }
            }
        });
        let mut received = received.join().unwrap();
        received.sort_unstable();
        assert!(received.into_iter().eq(0..THREADS * ROUNDS));
    });
}

#[test]
fn processes_are_started_and_waited_for() {
    many_moving_threads(|number| {
        migrate(number);
        let output = Command::new("sh")
            .args(["-c", "echo from $0", &number.to_string()])
            .output()
            .unwrap();
        migrate(number);
        assert_eq!(output.stdout, format!("from {number}\n").into_bytes());
    });
}

#[test]
fn a_fork_in_a_green_thread_execs() {
    many_moving_threads(|number| {
        migrate(number);
        // SAFETY: the child calls nothing but exec and _exit.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                let shell = [
                    c"sh".as_ptr(),
                    c"-c".as_ptr(),
                    c"exit 7".as_ptr(),
                    std::ptr::null(),
                ];
                libc::execv(c"/bin/sh".as_ptr(), shell.as_ptr());
                libc::_exit(1);
            }
            assert!(child > 0);
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            assert_eq!(libc::WEXITSTATUS(status), 7);
        }
        migrate(number);
    });
}

#[test]
fn os_threads_are_started_and_scoped() {
    many_moving_threads(|number| {
        let local = number;
        let sum: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|n| scope.spawn(move || n + local)).collect();
            migrate(number);
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(sum, 3 + 3 * number);
        migrate(number);
    });
}

#[test]
fn names_are_resolved() {
    many_moving_threads(|number| {
        for _ in 0..3 {
            let addresses: Vec<_> = ("localhost", 80).to_socket_addrs().unwrap().collect();
            migrate(number);
            assert!(addresses.iter().all(|address| address.ip().is_loopback()));
            assert!(!addresses.is_empty());
        }
    });
}

/// The lock of standard output belongs to a thread and is re-entrant: a neighbour must wait for it,
/// the owner must not, wherever it has moved. The output is that of this test in a process of its
/// own.
#[test]
fn the_lock_of_standard_output_is_the_green_threads_own() {
    const CHILD: &str = "ROVING_SOUNDNESS_PRINTS";
    if std::env::var_os(CHILD).is_some() {
        print_lines();
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "standard_library::the_lock_of_standard_output_is_the_green_threads_own",
            "--exact",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("part"))
        .collect();
    assert!(lines.len().is_multiple_of(3));
    for three in lines.chunks(3) {
        assert!(three.iter().all(|line| *line == three[0]), "{three:?}");
    }
}

fn print_lines() {
    on_moving_threads(|runtime| {
        // One at a time holds the lock over its migrations, since those who wait for it would block
        // the workers that it has to move to.
        for number in 0..THREADS {
            let prints = runtime.spawn(move || {
                let mut locked = std::io::stdout().lock();
                for round in 0..3 {
                    migrate(round);
                    writeln!(locked, "part {number}").unwrap();
                    migrate(round);
                    // Re-entrant, for it is one thread.
                    std::io::stdout().lock().flush().unwrap();
                }
            });
            prints.join().unwrap();
        }
    });
}
