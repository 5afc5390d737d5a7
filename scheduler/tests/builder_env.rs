//! How runtimes are configured: by builders, and by the environment, in processes of their own.
//!
//! - numbers of workers that cannot be are errors that say what is wrong
//! - what the environment has in it that cannot be read is told once, and is as if it were not there
//! - the environment is the default, and a builder overrides it
//! - `build_global` configures what everybody uses

mod common;

use std::env;
use std::hint::black_box;
use std::io;
use std::time::Duration;

use common::{
    child, is_child, lone_worker, os_thread_name, run, runtime, stacks_returned, watchdog,
};
use roving_scheduler::Builder;
use roving_scheduler::thread;

#[test]
fn numbers_of_workers_that_cannot_be() {
    let _stacks = stacks_returned();
    for workers in [0, 1025, 5000, usize::MAX] {
        let error = Builder::new().workers(workers).build().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let message = error.to_string();
        assert!(message.contains(&workers.to_string()), "{message}");
        assert!(message.contains("1024"), "{message}");
    }
}

#[test]
fn numbers_of_spares_that_cannot_be() {
    for spares in [65_537, usize::MAX] {
        let error = Builder::new()
            .workers(1)
            .max_spares(spares)
            .build()
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let message = error.to_string();
        assert!(message.contains(&spares.to_string()), "{message}");
    }
}

#[test]
fn limits_of_runs_that_cannot_be() {
    for micros in [1, 999, 3_600_000_001, 365 * 24 * 3_600_000_000] {
        let time = Duration::from_micros(micros);
        let builder = Builder::new().workers(1).stuck_after(time);
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let message = error.to_string();
        assert!(message.contains("stuck_after"), "{message}");
        assert!(message.contains("1 h"), "{message}");
    }
}

#[test]
fn numbers_of_events_that_cannot_be() {
    for events in [(1 << 20) + 1, usize::MAX] {
        let builder = Builder::new().workers(1).record(events);
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let message = error.to_string();
        assert!(message.contains(&events.to_string()), "{message}");
        assert!(message.contains("1048576"), "{message}");
    }
}

#[test]
fn a_number_of_events_in_the_environment() {
    const NAME: &str = "a_number_of_events_in_the_environment";
    if is_child(NAME) {
        let runtime = Builder::new().workers(1).build().unwrap();
        runtime.run(thread::yield_now);
        let is_recorded = !roving_scheduler::record().is_empty();
        println!("recorded: {is_recorded}");
        return;
    }
    for (number, is_recorded) in [("many", false), ("0", false), ("8", true)] {
        let mut with = child(NAME);
        with.env("ROVING_RECORD", number);
        let printed = run(with);
        let told = format!("recorded: {is_recorded}");
        assert!(printed.contains(&told), "{printed}");
    }
}

/// With the feature there is one: see the tests of the facade.
#[cfg(not(feature = "console"))]
#[test]
fn a_console_that_was_not_built_in_is_told_once_and_is_not_there() {
    const NAME: &str = "a_console_that_was_not_built_in_is_told_once_and_is_not_there";
    if is_child(NAME) {
        runtime(1).run(|| ());
        return runtime(1).run(|| ());
    }
    let path = env::temp_dir().join(format!("roving-no-console-{}", std::process::id()));
    let mut with = child(NAME);
    with.env("ROVING_CONSOLE", &path);
    let printed = run(with);
    assert_eq!(
        printed.matches("roving: there is no console").count(),
        1,
        "{printed}"
    );
    assert!(
        printed.contains("without the feature `console`"),
        "{printed}"
    );
    assert!(!path.exists());
}

#[test]
fn stack_sizes_that_cannot_be() {
    let error = Builder::new()
        .workers(1)
        .stack_size((1 << 30) + 1)
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_name_that_cannot_be() {
    let error = Builder::new()
        .workers(1)
        .thread_name("nu\0ll")
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn workers_are_named_and_numbered() {
    let _stacks = stacks_returned();
    let runtime = Builder::new()
        .workers(2)
        .thread_name("loom")
        .stuck_after(Duration::ZERO)
        .build()
        .unwrap();
    let name = runtime.run(os_thread_name);
    assert!(["loom-0", "loom-1"].contains(&&*name), "{name}");
    assert_eq!(lone_worker().run(os_thread_name), "roving-0");
}

/// Whatever else bounds them, as quotas do.
#[cfg(target_os = "linux")]
#[test]
fn by_default_there_are_no_more_workers_than_cpus_that_one_may_use() {
    let name = "by_default_there_are_no_more_workers_than_cpus_that_one_may_use";
    if !is_child(name) {
        run(child(name));
        return;
    }
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: zeroes are an empty set; the calls stay within it.
    unsafe {
        let mut mask: libc::cpu_set_t = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(0, size, &raw mut mask), 0);
        let allowed = (0..libc::CPU_SETSIZE as usize).find(|&cpu| libc::CPU_ISSET(cpu, &mask));
        libc::CPU_ZERO(&mut mask);
        libc::CPU_SET(allowed.expect("it runs on one"), &mut mask);
        assert_eq!(libc::sched_setaffinity(0, size, &raw const mask), 0);
    }
    assert_eq!(Builder::new().build().unwrap().workers(), 1);
    assert_eq!(Builder::new().workers(3).build().unwrap().workers(), 3);
}

#[test]
fn very_many_workers() {
    let _stacks = stacks_returned();
    let _watchdog = watchdog("");
    let runtime = runtime(200);
    assert_eq!(runtime.workers(), 200);
    let sum: usize = runtime.run(|| {
        let handles: Vec<_> = (0..1000).map(|n| thread::spawn(move || n)).collect();
        handles.into_iter().map(|h| h.join().unwrap()).sum()
    });
    assert_eq!(sum, 499_500);
}

/// Whether a thread of the default size has room for `bytes` on its stack; the process aborts
/// otherwise.
fn default_stack_holds(bytes: usize) {
    #[inline(never)]
    fn descend(top: usize, bytes: usize) {
        let frame = black_box([1u8; 256]);
        if top - frame.as_ptr().addr() < bytes {
            descend(top, bytes);
        }
        black_box(&frame);
    }
    thread::spawn(move || {
        let top = black_box(0u8);
        descend((&raw const top).addr(), bytes);
    })
    .join()
    .unwrap();
}

/// Runs the test `name` in a child with `variable` set to each of `values`; the child calls `check`
/// with the value.
fn with_variable(name: &str, variable: &str, values: &[&str], check: impl FnOnce(&str)) {
    let _watchdog = watchdog("");
    if is_child(name) {
        check(&env::var(variable).unwrap());
        return;
    }
    for value in values {
        let mut child = child(name);
        child.env(variable, value);
        run(child);
    }
}

#[test]
fn a_number_of_workers_in_the_environment() {
    with_variable(
        "a_number_of_workers_in_the_environment",
        "ROVING_WORKERS",
        &["1", "3", " 7 ", "1024"],
        |value| {
            let workers: usize = value.trim().parse().unwrap();
            assert_eq!(Builder::new().build().unwrap().workers(), workers);
            assert_eq!(Builder::new().workers(2).build().unwrap().workers(), 2);
            let global = thread::spawn(|| thread::available_parallelism().unwrap().get());
            assert_eq!(global.join().unwrap(), workers);
        },
    );
}

/// Two runtimes and the global one, with nonsense in the environment.
#[test]
fn nonsense_in_the_environment_is_told_once_and_is_as_if_it_were_not_there() {
    const NAME: &str = "nonsense_in_the_environment_is_told_once_and_is_as_if_it_were_not_there";
    const TOO_MANY: &str = "99999999999999999999999";
    let _watchdog = watchdog("");
    if is_child(NAME) {
        let workers = runtime_of_defaults();
        assert_eq!(runtime_of_defaults(), workers);
        let global = thread::spawn(|| thread::available_parallelism().unwrap().get());
        assert_eq!(global.join().unwrap(), workers);
        println!("{workers} workers");
        return;
    }
    let workers = Builder::new().build().unwrap().workers();
    let nonsense: [(&str, &[&str], &str); 13] = [
        (
            "WORKERS",
            &["0", "1025", "-1", "two", "", "2.5", TOO_MANY],
            "1024 workers|number",
        ),
        (
            "MAX_SPARES",
            &["", "-1", "65537", "many"],
            "65536 spares|number",
        ),
        (
            "STUCK_AFTER",
            &[
                "", "10", "soon", "-1s", "ms", "1h", "3601s", "1e99s", "1e-30s", "nans",
            ],
            "1 h|10ms",
        ),
        (
            "WARN_STUCK",
            &["", "soon", "-1s", "1e-9s", "31536000s", "1us", "7", "3601s"],
            "1 h|10ms",
        ),
        ("THREAD_LOCALS", &["", "mine", "Own"], "own, pinned"),
        (
            "STACK_SIZE",
            &[
                "64k",
                "-5",
                "",
                "1e6",
                "1073741825",
                "18446744073709551615",
                TOO_MANY,
            ],
            "too large|number",
        ),
        (
            "STACK_GUARDS",
            &["", "none", "Memfd", "madvise poison"],
            "mprotect",
        ),
        (
            "RECLAIM_SECONDS",
            &["", "never", "-1", "5s", "inf", "NaN", "1e20"],
            "seconds",
        ),
        (
            "RECORD",
            &["many", "-1", "", "1048577", "1e3"],
            "1048576 events|number",
        ),
        ("ALL_ASLEEP", &["", "panic"], "off, report, abort"),
        ("DEADLOCKS", &["", "maybe"], "off, report, panic, abort"),
        ("MIGRATE_ALWAYS", &["", "yes"], "number"),
        ("STACK_REPORT", &["", "yes"], "number"),
    ];
    for (variable, values, expected) in nonsense {
        for value in values {
            let variable = format!("ROVING_{variable}");
            let mut with = child(NAME);
            with.env(&variable, value);
            let printed = run(with);
            let told: Vec<_> = printed
                .lines()
                .filter(|line| line.contains("roving: "))
                .collect();
            let [told] = told[..] else {
                panic!("{printed}");
            };
            assert!(told.contains(&format!("{variable}={value}: ")), "{told}");
            assert!(
                expected.split('|').any(|part| told.contains(part)),
                "{told}"
            );
            assert!(printed.contains(&format!("{workers} workers")), "{printed}");
        }
    }
}

/// How many workers it had. It has worked.
fn runtime_of_defaults() -> usize {
    let runtime = Builder::new().build().unwrap();
    assert_eq!(runtime.run(|| thread::spawn(|| 4).join().unwrap()), 4);
    runtime.workers()
}

#[cfg(unix)]
#[test]
fn what_is_no_text_is_told_too() {
    use std::os::unix::ffi::OsStringExt;
    const NAME: &str = "what_is_no_text_is_told_too";
    if is_child(NAME) {
        runtime_of_defaults();
        return;
    }
    let mut with = child(NAME);
    with.env(
        "ROVING_WORKERS",
        std::ffi::OsString::from_vec(vec![b'1', 0xff]),
    );
    let printed = run(with);
    assert!(printed.contains("roving: ROVING_WORKERS=1"), "{printed}");
    assert!(printed.contains("not UTF-8"), "{printed}");
}

#[test]
fn a_limit_of_runs_in_the_environment() {
    with_variable(
        "a_limit_of_runs_in_the_environment",
        "ROVING_STUCK_AFTER",
        &["10ms", " 1s ", "0", "0s", "1.5 s", "3600s", "1ms"],
        |_| assert_eq!(runtime(1).run(|| 4), 4),
    );
}

#[test]
fn a_stack_size_in_the_environment() {
    with_variable(
        "a_stack_size_in_the_environment",
        "ROVING_STACK_SIZE",
        &["1048576", "5000000"],
        |value| default_stack_holds(value.parse::<usize>().unwrap() * 7 / 8),
    );
}

#[test]
fn a_period_of_reclaim_in_the_environment() {
    with_variable(
        "a_period_of_reclaim_in_the_environment",
        "ROVING_RECLAIM_SECONDS",
        &["0", "0.5", " 7 ", "1e-12", "1e19"],
        |_| {
            let runtime = runtime(2);
            for _ in 0..3 {
                // The workers go to sleep, and set when they wake for a scan.
                runtime.run(|| thread::sleep(Duration::from_millis(1)));
            }
        },
    );
}

#[test]
fn the_global_runtime_is_configured_once() {
    let name = "the_global_runtime_is_configured_once";
    let _watchdog = watchdog("");
    if !is_child(name) {
        run(child(name));
        return;
    }
    Builder::new()
        .workers(3)
        .stack_size(2 << 20)
        .thread_name("mine")
        .build_global()
        .unwrap();
    let again = Builder::new().workers(4).build_global().unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    let found = thread::spawn(|| {
        (
            thread::available_parallelism().unwrap().get(),
            os_thread_name(),
        )
    });
    let (workers, name) = found.join().unwrap();
    assert_eq!(workers, 3);
    assert!(name.starts_with("mine-"), "{name}");
    default_stack_holds(1 << 20);
}
