//! The report at the exit of the program, where `ROVING_ADOPT_REPORT` asks for it.
//!
//! It is that of one process: a child that it has forked has none. A process that is killed, or ends by `_exit`, exits without.
//!
//! Many programs close their standard error as they exit. So it goes to a [second descriptor](SecondError) of that, if the program has
//! let it be.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, process};

struct Asked {
    of: u32,
    goes_to: Goal,
}

enum Goal {
    Error(SecondError),
    File(PathBuf),
}

static ASKED: OnceLock<Asked> = OnceLock::new();

pub(crate) fn begin() {
    let Some(goes_to) = env::var_os("ROVING_ADOPT_REPORT") else {
        return;
    };
    let goes_to = if goes_to == "-" {
        SecondError::open().map(Goal::Error)
    } else {
        Some(Goal::File(goes_to.into()))
    };
    let of = process::id();
    if let Some(goes_to) = goes_to
        && ASKED.set(Asked { of, goes_to }).is_ok()
    {
        adopt::count();
        // SAFETY: it is a function of this library, which is not unloaded. If it is not taken, there is no report.
        unsafe { libc::atexit(end) };
    }
}

extern "C" fn end() {
    let Some(asked) = ASKED.get().filter(|asked| asked.of == process::id()) else {
        return;
    };
    // A thread that has been cancelled may call `exit`.
    adopt::aside(|| asked.report());
}

impl Asked {
    fn report(&self) {
        let program = env::current_exe().unwrap_or_default();
        let program = program.file_name().unwrap_or_default().display();
        let report = format!("roving: {program} ({})\n{}", self.of, adopt::Report);
        match &self.goes_to {
            Goal::Error(error) => error.write(&report),
            Goal::File(file) => {
                if let Err(error) = add(file, &report) {
                    let _ = writeln!(
                        io::stderr(),
                        "roving: no report in {}: {error}",
                        file.display()
                    );
                }
            }
        }
    }
}

fn add(file: &Path, report: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options
        .create(true)
        .append(true)
        .open(file)?
        .write_all(report.as_bytes())
}

/// Another descriptor of the standard error.
struct SecondError {
    descriptor: i32,
    /// What was there when it was opened: its device and its number there.
    is: (u64, u64),
}

impl SecondError {
    /// Its number is none that a program would be surprised to miss.
    const FROM: i32 = 500;

    fn open() -> Option<Self> {
        // SAFETY: it has no preconditions.
        let descriptor =
            unsafe { libc::fcntl(libc::STDERR_FILENO, libc::F_DUPFD_CLOEXEC, Self::FROM) };
        let is = Self::what_is(descriptor)?;
        Some(Self { descriptor, is })
    }

    fn what_is(descriptor: i32) -> Option<(u64, u64)> {
        let metadata = borrowed(descriptor)?.metadata().ok()?;
        Some((metadata.dev(), metadata.ino()))
    }

    /// Writes, if the program has not closed it and has no other there.
    fn write(&self, text: &str) {
        if Self::what_is(self.descriptor) == Some(self.is)
            && let Some(file) = borrowed(self.descriptor)
        {
            let _ = (&*file).write_all(text.as_bytes());
        }
    }
}

/// It is closed by nobody here.
fn borrowed(descriptor: i32) -> Option<ManuallyDrop<File>> {
    // SAFETY: what is there is asked about and written to, and not closed. If the program has closed it, that fails.
    (descriptor >= 0).then(|| ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) }))
}
