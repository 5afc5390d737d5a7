//! A dump whenever SIGQUIT comes, as Ctrl-\ and `kill -QUIT` send it.
//!
//! The handler writes a byte to a pipe, which may be done in a handler, and an OS thread that waits
//! for it takes the dump. So it comes also if all workers are stuck. A handler that was there before is called
//! too; where there was none the signal would have ended the process, and does not any more.

use std::fs::OpenOptions;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{self, Path, PathBuf};
use std::sync::OnceLock;

use super::trace_file;
use crate::protocol::process::PerProcess;
use crate::protocol::say::say;
use crate::run::os_thread;
use crate::run::signal_handler::{self, Action, Left};
use crate::run::silence::Bystander;

/// Where dumps go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runtime) enum Target {
    StandardError,
    File(PathBuf),
}

/// Where the handler writes to.
static BELL: PerProcess<PipeWriter> = PerProcess::new();
static PREVIOUS: OnceLock<Action> = OnceLock::new();

/// Takes dumps from now on, if nobody does in this process.
pub(in crate::runtime) fn watch(target: Target) -> io::Result<()> {
    if BELL.get().is_some() {
        return Ok(());
    }
    let target = target.checked();
    let (reader, writer) = io::pipe()?;
    // SAFETY: it sets a flag of a descriptor that is there.
    unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    if BELL.set(writer).is_err() {
        return Ok(());
    }
    os_thread::start("roving-dump".to_owned(), move || serve(reader, &target))?;
    PREVIOUS.get_or_init(|| signal_handler::install(libc::SIGQUIT, handle, libc::SA_RESTART));
    Ok(())
}

fn serve(mut bell: PipeReader, target: &Target) {
    let _bystander = Bystander::new();
    let mut rings = [0; 64];
    loop {
        match bell.read(&mut rings) {
            Ok(0) => return,
            Ok(_) => target.take(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

impl Target {
    /// This one if it can be written to. Else that is said, and standard error is taken instead.
    fn checked(self) -> Self {
        match &self {
            Self::StandardError => self,
            Self::File(path) => match append(path, "").and_then(|()| path::absolute(path)) {
                // The program may go to another folder.
                Ok(path) => Self::File(path),
                Err(error) => {
                    complain(path, &error);
                    Self::StandardError
                }
            },
        }
    }

    fn take(&self) {
        let dump = super::dump();
        self.write(&dump.to_string());
        let file = match self {
            Self::StandardError => None,
            Self::File(path) => Some(&**path),
        };
        trace_file::write(dump.record(), file);
    }

    fn write(&self, text: &str) {
        match self {
            Self::StandardError => say(text),
            Self::File(path) => {
                if let Err(error) = append(path, &format!("{text}\n")) {
                    complain(path, &error);
                    say(text);
                }
            }
        }
    }
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    // A pipe that nobody reads is refused, and not waited for.
    options.custom_flags(libc::O_NONBLOCK);
    let mut file = options.open(path)?;
    // SAFETY: it sets flags of a descriptor that is there.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_APPEND) };
    file.write_all(text.as_bytes())
}

fn complain(path: &Path, error: &io::Error) {
    let path = path.display();
    say(&format!(
        "roving: dumps cannot be written to {path} and go to standard error: {error}\n"
    ));
}

/// Only what may be done in a handler: it leaves `errno` as it was.
extern "C-unwind" fn handle(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let bell = BELL.get();
    if let Some(bell) = bell {
        signal_handler::keep_errno(|| {
            // SAFETY: it writes a byte, and does not block: if the pipe is full there will be a dump anyhow.
            unsafe { libc::write(bell.as_raw_fd(), [1_u8].as_ptr().cast(), 1) };
        });
    }
    let Some(previous) = PREVIOUS.get() else {
        return;
    };
    // A forked child that takes no dumps ends, as it would without us.
    if previous.call(signal, info, context) == Left::Default && bell.is_none() {
        // SAFETY: both may be called in a handler; it is delivered when this one returns.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
}
