//! Finished programs do by `roving-run` what they do as ever, on few OS threads.

mod common;

use std::ffi::OsStr;
use std::path::Path;

use common::{as_ever, beside, compile, does_the_same, example, green, not_tested, os_threads};

/// More than there are workers and spares, of 200.
const MANY: usize = 100;

#[track_caller]
fn does_the_same_on_few(program: impl AsRef<OsStr>, arguments: &[&OsStr]) {
    for (workers, says) in does_the_same(program, arguments) {
        let os_threads = os_threads(&says);
        assert!(os_threads < MANY, "{os_threads} with {workers} workers");
    }
}

#[test]
fn threads_that_sleep() {
    if let Some(sleepers) = compile("sleepers.c", &[]) {
        does_the_same_on_few(sleepers.path(), &[]);
    }
}

#[test]
fn threads_that_wait_for_locks() {
    if let Some(locks) = compile("locks.cpp", &[]) {
        // No worker that blocks is replaced.
        let program = locks.path();
        does_the_same_on_few(
            "env",
            &[OsStr::new("ROVING_STUCK_AFTER=1000s"), program.as_os_str()],
        );
    }
}

#[test]
fn threads_that_take_turns() {
    if let Some(turns) = compile("turns.c", &[]) {
        does_the_same_on_few(turns.path(), &[]);
    }
}

#[test]
fn a_thread_for_each_connection() {
    if let Some(echo) = compile("echo.c", &[]) {
        does_the_same_on_few(echo.path(), &[]);
    }
}

#[test]
fn threads_that_go_deep() {
    if let Some(deep) = compile("deep.c", &[]) {
        does_the_same(deep.path(), &[]);
    }
}

#[test]
fn what_becomes_of_processes() {
    let Some(processes) = compile("processes.c", &[]) else {
        return;
    };
    for way in [
        "exits",
        "exits at once",
        "is killed",
        "aborts",
        "executes",
        "executes in a child",
        "goes on in a child",
        "forks first",
        "closes all",
        "daemon",
        "is told to end",
    ] {
        for (_, says) in does_the_same(processes.path(), &[OsStr::new(way)]) {
            assert_eq!(says, "", "{way}");
        }
    }
}

#[test]
fn the_process_ends_with_its_last_thread() {
    let Some(last) = compile("last.c", &[]) else {
        return;
    };
    does_the_same(last.path(), &[]);
}

#[test]
fn the_main_thread_is_joined() {
    let Some(joined) = compile("joined.c", &[]) else {
        return;
    };
    for microseconds in ["0", "20000"] {
        does_the_same(joined.path(), &[OsStr::new(microseconds)]);
    }
}

/// The program's calls go to the C library, be the library there for others or not.
#[test]
fn a_library_that_is_loaded_cannot_adopt() {
    let Some(asks) = compile("asks.c", &[]) else {
        return;
    };
    let library = example("library");
    for flags in [0, libc::RTLD_GLOBAL] {
        let flags = flags.to_string();
        let output = as_ever(asks.path(), &[library.as_os_str(), OsStr::new(&flags)]);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "cannot adopt the program: its calls of pthread_create go to libc.so.6: only the program itself, or a library that is \
             preloaded (LD_PRELOAD), can adopt\n"
        );
    }
    // Before it, it may.
    let mut before = std::ffi::OsString::from("LD_PRELOAD=");
    before.push(&library);
    let arguments = [
        &*before,
        asks.path().as_os_str(),
        library.as_os_str(),
        OsStr::new("0"),
    ]
    .map(OsStr::to_owned);
    let arguments: Vec<_> = arguments.iter().map(|argument| &**argument).collect();
    let output = as_ever("env", &arguments);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "adopted\n");
}

/// The loader has a lock, which it holds while the constructor of a library waits for a thread.
#[test]
fn libraries_that_start_threads() {
    let Some(library) = compile("starts.c", &["-shared", "-fPIC"]) else {
        return;
    };
    let library = library.path();
    let loads = compile("loads.c", &[]).unwrap();
    for when in ["first", "in threads"] {
        does_the_same(loads.path(), &[OsStr::new(when), library.as_os_str()]);
    }
    let linked = compile("loads.c", &[library.to_str().unwrap()]).unwrap();
    does_the_same(
        linked.path(),
        &[OsStr::new("in threads"), library.as_os_str()],
    );
}

/// Where the loader looks for a library depends on who calls it.
#[test]
fn libraries_that_are_searched_for() {
    let Some(library) = compile("starts.c", &["-shared", "-fPIC", "-DQUIET"]) else {
        return;
    };
    let path = library.path();
    let searched = format!("-Wl,-rpath,{}", path.parent().unwrap().display());
    for tags in ["-Wl,--enable-new-dtags", "-Wl,--disable-new-dtags"] {
        let loads = compile("loads.c", &[&searched, tags]).unwrap();
        let arguments = [OsStr::new("first"), path.file_name().unwrap()];
        let as_ever = as_ever(loads.path(), &arguments);
        assert_eq!(as_ever.status.code(), Some(4), "{as_ever:?}");
        does_the_same(loads.path(), &arguments);
    }
}

#[test]
fn a_program_that_executes_its_stacks_is_not_adopted() {
    if let Some(program) = compile("sleepers.c", &["-Wl,-z,execstack"]) {
        let output = green(2, &[], program.path(), &[]);
        let says = String::from_utf8_lossy(&output.stderr);
        let line = "cannot adopt the program: the program needs an executable stack";
        assert!(says.contains(line) && os_threads(&says) > MANY, "{says}");
    }
}

#[test]
fn a_program_with_functions_of_its_own_is_not_adopted() {
    let Some(defines) = compile("defines.c", &[]) else {
        return;
    };
    for (_, says) in does_the_same(defines.path(), &[]) {
        let (begin, end) = (
            "roving: cannot adopt the program: ",
            "; its threads are OS threads",
        );
        assert!(says.starts_with(begin) && says.contains(end), "{says}");
    }
}

#[test]
fn python() {
    let python = Path::new("/usr/bin/python3");
    if !python.exists() {
        return not_tested("there is no /usr/bin/python3");
    }
    does_the_same_on_few(python, &[beside("queues.py").as_os_str()]);
    does_the_same(python, &[beside("children.py").as_os_str()]);
}

#[test]
fn programs_without_threads() {
    let script = "echo one; echo two | cat; (exit 3); echo $?; cat </dev/null; exit 4";
    for (_, says) in does_the_same("sh", &["-c", script].map(OsStr::new)) {
        assert_eq!(says, "");
    }
    let this = beside("sleepers.c");
    does_the_same("cat", &[this.as_os_str()]);
    does_the_same("cat", &[OsStr::new("/no/such/file")]);
}
