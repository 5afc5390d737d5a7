//! What a program of tests leaves behind: processes that it has begun, in groups and sessions of their own too.
//!
//! Those whose parent ends become children of this process, as it [adopts](adopt) them. So when a program has ended, all that it has left is among
//! the children that were not there [before](Before), or below them. As these are ended, what is below them comes up.

use std::collections::BTreeSet;
use std::fs;
use std::process;

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};

/// This process becomes the parent of all that those leave who descend from it.
pub(crate) fn adopt() -> Result<()> {
    set_child_subreaper(Some(getpid())).context("cannot become the parent of what tests leave")
}

/// The children that there were at some time.
pub(crate) struct Before(BTreeSet<i32>);

impl Before {
    pub(crate) fn note() -> Result<Self> {
        Ok(Self(children()?))
    }

    /// Ends all that has come since, and what comes up meanwhile, but for what this process may not end.
    pub(crate) fn end_others(&self) -> Result<()> {
        let mut spared = self.0.clone();
        loop {
            let others: Vec<_> = children()?.difference(&spared).copied().collect();
            if others.is_empty() {
                return Ok(());
            }
            for other in others {
                let pid = Pid::from_raw(other).context("a process has a number")?;
                match kill_process(pid, Signal::KILL) {
                    Ok(()) => {
                        // Somebody may have waited for it.
                        let _ = waitpid(Some(pid), WaitOptions::empty());
                    }
                    Err(Errno::SRCH) => {}
                    Err(_) => {
                        spared.insert(other);
                    }
                }
            }
        }
    }
}

/// The children of this process, those too that have ended and that nobody has waited for.
fn children() -> Result<BTreeSet<i32>> {
    let own = process::id().to_string();
    let is_child = |status: &str| {
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        parent.is_some_and(|parent| parent.trim() == own)
    };
    let mut children = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(number) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // One that has gone meanwhile is none.
        if fs::read_to_string(entry.path().join("status")).is_ok_and(|status| is_child(&status)) {
            children.insert(number);
        }
    }
    Ok(children)
}
