//! What is ready to be read from when a child has ended.
//!
//! On Linux that is a pidfd. Elsewhere, and where the kernel has none or a sandbox refuses it, it is the one end of a
//! pipe whose other an OS thread keeps while it waits for the child, which it leaves to be waited for by others.
//!
//! Either is made for a child that has not been waited for to its end yet, so that its number is its own. It is
//! looked at again before anybody waits.

use std::io::{self, PipeWriter};
use std::sync::OnceLock;

use roving_scheduler::start_os_thread;
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::source::Source;

/// See the [module](self). It is made when somebody first waits.
#[derive(Debug, Default)]
pub(super) struct Ended(OnceLock<Source>);

impl Ended {
    /// That of the child with this number.
    ///
    /// # Errors
    ///
    /// There is no descriptor for it, or no OS thread. There is no such child.
    pub(super) fn source(&self, child: u32) -> io::Result<&Source> {
        if let Some(source) = self.0.get() {
            return Ok(source);
        }
        let pid = i32::try_from(child).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(Errno::SRCH)?;
        let source = match by_descriptor(pid) {
            Err(Errno::NOSYS | Errno::PERM) => by_os_thread(pid)?,
            source => source?,
        };
        Ok(self.0.get_or_init(|| source))
    }
}

#[cfg(target_os = "linux")]
fn by_descriptor(child: Pid) -> Result<Source, Errno> {
    use rustix::process::{PidfdFlags, pidfd_open};

    pidfd_open(child, PidfdFlags::empty()).map(Source::new)
}

#[cfg(not(target_os = "linux"))]
fn by_descriptor(_: Pid) -> Result<Source, Errno> {
    Err(Errno::NOSYS)
}

fn by_os_thread(child: Pid) -> io::Result<Source> {
    let (ended, alive) = io::pipe()?;
    let wait = move || await_end(child, alive);
    start_os_thread("roving-child".to_owned(), wait)?;
    Ok(Source::new(ended.into()))
}

/// Closes `alive` when the child has ended, which somebody else may have been told already.
fn await_end(child: Pid, alive: PipeWriter) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(Errno::INTR) = waitid(WaitId::Pid(child), options) {}
    drop(alive);
}

#[cfg(test)]
mod tests {
    use super::super::child::attempt;
    use super::*;
    use crate::readiness::Direction;
    use crate::source::Patience;
    use std::process::{Child, Command, Stdio};

    /// Both ways lead to the same.
    #[test]
    fn it_is_ready_when_the_child_has_ended() {
        for source_of in [|pid| Ok(by_descriptor(pid)?), by_os_thread] {
            let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
            let pid = Pid::from_child(&child);
            let source: Source = match source_of(pid) {
                Ok(source) => source,
                Err(error) if error.kind() == io::ErrorKind::Unsupported => continue,
                Err(error) => panic!("{error}"),
            };
            let has_ended = |child: &mut Child, patience| {
                let patience = || Ok(patience);
                source.operate(Direction::Read, patience, |_| attempt(child))
            };
            let early = has_ended(&mut child, Patience::None).unwrap_err();
            assert_eq!(early.kind(), io::ErrorKind::WouldBlock);
            drop(child.stdin.take());
            assert!(has_ended(&mut child, Patience::Forever).unwrap().success());
        }
    }
}
