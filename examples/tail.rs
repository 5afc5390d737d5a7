//! `tail -f`: prints what is added to files, as it comes.
//!
//! ```text
//! cargo run --release --example tail
//! ```
//!
//! `tail FILE...` goes on until it is killed, or until it is told to end by a line of input. Without arguments it watches files that
//! it writes itself, and ends.
//!
//! The system tells of changes by inotify, of which this crate knows nothing: `Watched` waits for any descriptor.

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("inotify is there on Linux");
}

#[cfg(target_os = "linux")]
fn main() -> roving::io::Result<()> {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashMap;
    use std::env;
    use std::fs::{self, File};
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::path::PathBuf;
    use std::time::Duration;

    use roving::channel::Receiver;
    use roving::io::{self, Read, Seek, SeekFrom, Watched, Write};
    use roving::{blocking, channel, go, println, select, thread};
    use rustix::fs::inotify;

    struct Tail {
        path: PathBuf,
        file: File,
    }

    impl Tail {
        /// Prints what is there and has not been printed.
        fn print_new(&mut self) -> io::Result<()> {
            let mut new = String::new();
            blocking(|| self.file.read_to_string(&mut new))?;
            for line in new.lines() {
                println!("{}: {line}", self.path.display());
            }
            Ok(())
        }
    }

    /// Prints what is added to `paths` until there is a message.
    fn follow(paths: Vec<PathBuf>, ends: &Receiver<()>) -> io::Result<()> {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let changes = Watched::new(inotify::init(flags)?)?;
        let mut tails = HashMap::new();
        for path in paths {
            let mut file = blocking(|| File::open(&path))?;
            file.seek(SeekFrom::End(0))?;
            let watch = inotify::add_watch(&changes, &path, inotify::WatchFlags::MODIFY)?;
            let mut tail = Tail { path, file };
            // What has come in between.
            tail.print_new()?;
            tails.insert(watch, tail);
        }
        let mut buffer = [MaybeUninit::uninit(); 4096];
        loop {
            select! {
                readable(changes) => {}
                recv(ends) -> _ => return Ok(()),
            }
            let changed = changes.read_with(|fd| next_changed(fd, &mut buffer))?;
            if let Some(tail) = tails.get_mut(&changed) {
                tail.print_new()?;
            }
        }
    }

    fn next_changed(fd: &OwnedFd, buffer: &mut [MaybeUninit<u8>]) -> io::Result<i32> {
        Ok(inotify::Reader::new(fd, buffer).next()?.wd())
    }

    pub(super) fn main() -> io::Result<()> {
        let (end, ends) = channel::bounded(1);
        let paths: Vec<_> = env::args_os().skip(1).map(PathBuf::from).collect();
        if paths.is_empty() {
            return demonstrate(end, &ends);
        }
        go!(move || {
            // The end of the input is none of this.
            if io::stdin()
                .read_line(&mut String::new())
                .is_ok_and(|read| read > 0)
            {
                let _ = end.send(());
            } else {
                std::mem::forget(end);
            }
        });
        follow(paths, &ends)
    }

    /// Follows two files that somebody writes to.
    fn demonstrate(end: channel::Sender<()>, ends: &Receiver<()>) -> io::Result<()> {
        let folder = env::temp_dir().join(format!("roving-tail-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let paths = ["one", "other"].map(|name| folder.join(name));
        for path in &paths {
            fs::write(path, "not shown, since it is there before\n")?;
        }
        let written = paths.clone();
        let writes = go!(move || -> io::Result<()> {
            for n in 1..=3 {
                for path in &written {
                    thread::sleep(Duration::from_millis(5));
                    let mut file = fs::OpenOptions::new().append(true).open(path)?;
                    writeln!(file, "line {n}")?;
                }
            }
            thread::sleep(Duration::from_millis(50));
            end.send(()).map_err(io::Error::other)
        });
        follow(paths.into(), ends)?;
        writes.join().unwrap()?;
        fs::remove_dir_all(folder)
    }
}
