//! The process that programs run in, one after the other. What goes wrong there, goes wrong there: a
//! program that hangs, or takes its process along, is told from outside by what this one has said last.
//!
//! It prints a line before each program, the seed. It exits with a code that says what it found, and
//! with a report on standard error.

use std::io::Write;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::execute::{execute, install_hook};
use crate::oracle::Oracle;
use crate::program::Program;

/// A program left something that is not as it must be.
pub(crate) const VIOLATION: i32 = 85;
/// A program has not ended.
pub(crate) const HANG: i32 = 86;

/// The program that runs, and since when.
type Current = Arc<Mutex<Option<(Instant, Arc<Program>, Arc<Oracle>)>>>;

/// Runs programs until the time is over, or one fails, which ends the process.
pub(crate) fn run(
    programs: impl Iterator<Item = Program>,
    until: Instant,
    limit: Duration,
) -> Result<(), std::io::Error> {
    install_hook();
    let current = Current::default();
    watch(current.clone(), limit);
    let mut stdout = std::io::stdout().lock();
    for program in programs {
        if Instant::now() >= until {
            break;
        }
        let program = Arc::new(program);
        let oracle = Arc::new(Oracle::default());
        writeln!(stdout, "{}", program.seed)?;
        stdout.flush()?;
        set(
            &current,
            Some((Instant::now(), program.clone(), oracle.clone())),
        );
        let violations = execute(&program, &oracle);
        set(&current, None);
        if !violations.is_empty() {
            for violation in violations {
                eprintln!("{violation}");
            }
            process::exit(VIOLATION);
        }
    }
    Ok(())
}

fn set(current: &Current, to: Option<(Instant, Arc<Program>, Arc<Oracle>)>) {
    *current.lock().unwrap_or_else(PoisonError::into_inner) = to;
}

/// Ends the process when a program takes longer than the limit, and tells what its threads do.
fn watch(current: Current, limit: Duration) {
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(50));
            let current = current.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((since, program, oracle)) = &*current
                && since.elapsed() > limit
            {
                eprintln!("it has not ended after {limit:?}");
                for line in oracle.alive(program) {
                    eprintln!("  {line}");
                }
                for violation in oracle.violations() {
                    eprintln!("  {violation}");
                }
                process::exit(HANG);
            }
        }
    });
}
