//! What is printed when a green thread panics, each time in a process of its own.
//!
//! - its name, and where it was spawned, once and next to std's message; nothing of OS threads
//! - nothing where the program has its own hook, be it set before or after
//! - nobody waits for who holds the lock of standard error over a suspension

mod common;

use std::io;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{child, is_child, on_each_mode, run};
use roving_scheduler::thread;

const SAYS: &str = "green thread '";

/// Spawns a green thread that panics with `text`, and gives the line of its spawn.
fn panics(name: Option<&str>, text: &'static str) -> u32 {
    let mut builder = thread::Builder::new();
    if let Some(name) = name {
        builder = builder.name(name.to_owned());
    }
    let handle = builder.spawn(move || panic!("{text}"));
    assert!(handle.unwrap().join().is_err());
    line!() - 2
}

/// What a child prints that runs `test`. `None` in that child.
fn printed(name: &str, test: impl FnOnce()) -> Option<String> {
    if is_child(name) {
        test();
        return None;
    }
    let mut child = child(name);
    child.env("RUST_BACKTRACE", "0");
    Some(run(child))
}

#[test]
fn it_names_the_green_thread_and_where_it_was_spawned() {
    let name = "it_names_the_green_thread_and_where_it_was_spawned";
    let printed = printed(name, || {
        on_each_mode(|| {
            let line = panics(Some("job-8"), "named");
            println!("spawned in line {line}");
            panics(None, "unnamed");
        });
        let of_system = std::thread::Builder::new().name("system".to_owned());
        let joined = of_system.spawn(|| panic!("of the system")).unwrap().join();
        assert!(joined.is_err());
    });
    let Some(printed) = printed else { return };
    let spawned = printed
        .lines()
        .find_map(|l| l.strip_prefix("spawned in line "));
    let site = format!("spawned at {}:{}:", file!(), spawned.unwrap());
    let lines: Vec<_> = printed.lines().collect();
    for (name, text) in [("job-8", "named"), ("<unnamed>", "unnamed")] {
        let said: Vec<_> = lines.windows(3).filter(|lines| lines[2] == text).collect();
        assert!(!said.is_empty(), "{printed}");
        for lines in said {
            assert!(lines[0].starts_with(&format!("{SAYS}{name}'")), "{printed}");
            assert!(lines[0].contains(&site), "{site} in {printed}");
            assert!(lines[1].contains(" panicked at "), "{printed}");
        }
    }
    let told = lines.iter().filter(|line| line.starts_with(SAYS)).count();
    let panicked = printed.matches(" panicked at ").count();
    assert_eq!(told + 1, panicked, "{printed}");
}

#[test]
fn a_hook_of_the_programs_own_is_left_alone() {
    let name = "a_hook_of_the_programs_own_is_left_alone";
    let printed = printed(name, || {
        panic::set_hook(Box::new(|_| println!("hook before")));
        on_each_mode(|| {
            panics(None, "before");
        });
        panic::set_hook(Box::new(|info| {
            let name = thread::current().name().map(str::to_owned);
            println!("hook after: {name:?} {}", info.location().is_some());
        }));
        on_each_mode(|| {
            panics(Some("job-9"), "after");
        });
        drop(panic::take_hook());
    });
    let Some(printed) = printed else { return };
    assert!(printed.contains("hook before"), "{printed}");
    assert!(
        printed.contains(r#"hook after: Some("job-9") true"#),
        "{printed}"
    );
    assert!(!printed.contains(SAYS), "{printed}");
    assert!(!printed.contains(" panicked at "), "{printed}");
}

#[test]
fn a_hook_that_calls_the_one_before_has_both() {
    let name = "a_hook_that_calls_the_one_before_has_both";
    let printed = printed(name, || {
        on_each_mode(|| ());
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            println!("hook around");
            before(info);
        }));
        on_each_mode(|| {
            panics(Some("job-10"), "around");
        });
    });
    let Some(printed) = printed else { return };
    let count = |text| printed.matches(text).count();
    assert!(count("hook around") > 0, "{printed}");
    assert_eq!(count("hook around"), count(" panicked at "), "{printed}");
    assert_eq!(
        count("hook around"),
        count("green thread 'job-10'"),
        "{printed}"
    );
}

#[test]
fn it_waits_for_no_lock_of_standard_error() {
    let name = "it_waits_for_no_lock_of_standard_error";
    let printed = printed(name, || {
        on_each_mode(|| {
            let (locked, ended) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
            let ended = Arc::new(ended);
            let (lock, end) = (locked.clone(), ended.clone());
            let holds = thread::spawn(move || {
                let _lock = io::stderr().lock();
                lock.store(true, Ordering::Release);
                while !end.load(Ordering::Acquire) {
                    thread::sleep(Duration::from_millis(1));
                }
            });
            while !locked.load(Ordering::Acquire) {
                thread::yield_now();
            }
            panics(Some("job-11"), "beside");
            ended.store(true, Ordering::Release);
            holds.join().unwrap();
        });
    });
    let Some(printed) = printed else { return };
    assert!(printed.contains("green thread 'job-11'"), "{printed}");
}
