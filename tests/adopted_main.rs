//! `adopt!` in `main`: what goes on as a green thread, what the process exits with, and what it says where it is refused.
//!
//! The cases are processes of their own, with 1, 2 and 8 workers.

use std::env;
use std::fmt;
use std::process::{Command, ExitCode, Output};
use std::thread;

const CASE: &str = "ROVING_TEST_CASE";

/// Not `Send`, like many an error.
struct Failed(std::rc::Rc<str>);

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn main() -> Result<ExitCode, Failed> {
    let Ok(case) = env::var(CASE) else {
        all();
        return Ok(ExitCode::SUCCESS);
    };
    if case == "only the threads" {
        roving::adopt!();
        assert!(!roving::is_green());
        assert!(thread::spawn(roving::is_green).join().unwrap());
        return Ok(ExitCode::SUCCESS);
    }
    roving::adopt!(main);
    roving::adopt!(main);
    assert!(roving::is_green());
    assert_eq!(thread::current().name(), Some("main"));
    match &*case {
        "returns" => Ok(ExitCode::from(7)),
        "fails" => Err(Failed("of main".into())),
        "panics" => panic!("in main"),
        "goes deep" => {
            assert_eq!(deep(1000), 1000);
            Ok(ExitCode::SUCCESS)
        }
        _ => unreachable!("{case}"),
    }
}

/// More stack than threads have unasked.
fn deep(levels: usize) -> usize {
    let frame = std::hint::black_box([1_usize; 512]);
    if levels == 0 {
        0
    } else {
        deep(levels - 1) + frame[levels % 512]
    }
}

fn all() {
    for workers in ["1", "2", "8"] {
        let run = |case| run(case, &[("ROVING_WORKERS", workers)]);
        assert_ended(&run("only the threads"), 0, "");
        assert_ended(&run("returns"), 7, "");
        assert_ended(&run("fails"), 1, "Error: of main");
        assert_ended(&run("panics"), 101, "thread 'main'");
        assert_ended(&run("goes deep"), 0, "");
    }
    for case in ["only the threads", "returns"] {
        let refused = run(case, &[("ROVING_THREAD_LOCALS", "pinned")]);
        assert_ended(&refused, 1, "roving: cannot adopt the program: ");
    }
    println!("all passed");
}

fn run(case: &str, environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(CASE, case).envs(environment.iter().copied());
    command.output().unwrap()
}

#[track_caller]
fn assert_ended(output: &Output, code: i32, says: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.contains(says), "{error}");
    assert_eq!(error.is_empty(), says.is_empty(), "{error}");
}
