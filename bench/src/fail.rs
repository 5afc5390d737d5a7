//! How the program fails: the two errors that have an exit code of their own, and the codes.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// A command that cannot be carried out as given. Nothing has been started.
#[derive(Debug)]
pub(crate) struct Nonsense(pub(crate) String);

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Nonsense {}

/// The user asked for the end (Ctrl-C, or a signal to terminate).
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// That a benchmark has no row whose name contains what was asked for, and which rows it has.
pub(crate) fn no_row<'a>(only: &str, rows: impl Iterator<Item = &'a str>) -> String {
    let rows: Vec<_> = rows.collect();
    let rows = rows.join("; ");
    format!("no row's name contains {only:?}; the rows are: {rows}")
}

/// Prints the error, if there is one, and says with which code to exit.
pub(crate) fn exit_code(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    // A standard error that nobody reads is no reason to exit with another code.
    let mut stderr = std::io::stderr();
    if error.is::<Interrupted>() {
        let _ = writeln!(stderr, "interrupted: everything that was started has ended");
        ExitCode::from(130)
    } else if error.is::<Nonsense>() {
        let _ = writeln!(stderr, "error: {error}");
        ExitCode::from(2)
    } else {
        let _ = writeln!(stderr, "error: {error:#}");
        ExitCode::from(1)
    }
}
