//! The work, written once for std and Roving, whose files are used alike.
//!
//! A function does `count` operations and gives the nanoseconds of one.

use std::env;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use rustix::fs::{Advice, fadvise};

pub(crate) const PAGE: usize = 4096;
/// What is read again and again.
pub(crate) const CACHED_PAGES: usize = 1024;
/// What is not in the page cache.
pub(crate) const COLD_PAGES: usize = 32 << 10;
pub(crate) const MANY: usize = 64;
pub(crate) const COMMITTERS: usize = 32;
pub(crate) const CROWD: usize = 1000;
/// How long the heart that beats beside a crowd sleeps.
pub(crate) const BEAT: Duration = Duration::from_millis(1);

/// A folder for the files of a cell, which goes with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let path = env::temp_dir().join(format!("roving-bench-{}", process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A file of so many pages.
    pub(crate) fn file(&self, pages: usize) -> PathBuf {
        let path = self.0.join("file");
        let mut page = [0; PAGE];
        let pages = (0..pages).flat_map(|number| {
            page[..8].copy_from_slice(&number.to_le_bytes());
            page
        });
        fs::write(&path, pages.collect::<Vec<u8>>()).unwrap();
        path
    }

    pub(crate) fn path(&self, name: usize) -> PathBuf {
        self.0.join(name.to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Has the page cache forget a file.
pub(crate) fn forget(path: &Path) {
    let file = fs::File::open(path).unwrap();
    file.sync_all().unwrap();
    fadvise(file.as_fd(), 0, None, Advice::DontNeed).unwrap();
}

/// The `n`th of some places in a file that look random.
pub(crate) fn scattered(n: usize, pages: usize) -> u64 {
    let hash = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    hash % pages as u64 * PAGE as u64
}

macro_rules! files {
    ($thread:path, $fs:path) => {
        use super::*;
        use crate::sync::work::{each, quantile};
        use std::io::{Read, Seek, Write};
        use std::os::unix::fs::FileExt;
        use std::sync::Mutex;
        use std::sync::atomic::{AtomicBool, Ordering};
        use std::time::Instant;
        use $fs as fs;
        use $thread as thread;

        /// Does `count` operations on so many threads, each of which is made by `begin`.
        fn on_threads<F: FnMut()>(
            threads: usize,
            count: usize,
            begin: impl Fn(usize) -> F + Sync,
        ) -> f64 {
            let start = Instant::now();
            let begin = &begin;
            thread::scope(|scope| {
                for number in 0..threads {
                    scope.spawn(move || {
                        let mut operation = begin(number);
                        (0..count / threads).for_each(|_| operation());
                    });
                }
            });
            each(start, count)
        }

        /// Reads pages of a file that is cached, one after the other.
        fn cached_reads(threads: usize, count: usize) -> f64 {
            let folder = Folder::new();
            let path = &folder.file(CACHED_PAGES);
            on_threads(threads, count, |_| {
                let mut file = fs::File::open(path).unwrap();
                let mut page = [0; PAGE];
                move || {
                    if file.read(&mut page).unwrap() == 0 {
                        file.rewind().unwrap();
                    }
                }
            })
        }

        pub(crate) fn cached_reads_of_one(count: usize) -> f64 {
            cached_reads(1, count)
        }

        pub(crate) fn cached_reads_of_many(count: usize) -> f64 {
            cached_reads(MANY, count)
        }

        pub(crate) fn whole_files(count: usize) -> f64 {
            let folder = Folder::new();
            let path = &folder.file(1);
            on_threads(MANY, count, |_| {
                move || assert_eq!(fs::read(path).unwrap().len(), PAGE)
            })
        }

        pub(crate) fn looks(count: usize) -> f64 {
            let folder = Folder::new();
            let path = &folder.file(1);
            on_threads(MANY, count, |_| {
                move || assert_eq!(fs::metadata(path).unwrap().len(), PAGE as u64)
            })
        }

        fn writes(threads: usize, count: usize) -> f64 {
            let folder = &Folder::new();
            on_threads(threads, count, |number| {
                let mut file = fs::File::create(folder.path(number)).unwrap();
                let mut written = 0;
                move || {
                    if written == CACHED_PAGES {
                        file.rewind().unwrap();
                        written = 0;
                    }
                    assert_eq!(file.write(&[7; PAGE]).unwrap(), PAGE);
                    written += 1;
                }
            })
        }

        pub(crate) fn writes_of_one(count: usize) -> f64 {
            writes(1, count)
        }

        pub(crate) fn writes_of_many(count: usize) -> f64 {
            writes(MANY, count)
        }

        /// As small databases do: a page is written, and is on the disk.
        pub(crate) fn commits(count: usize) -> f64 {
            let folder = Folder::new();
            let path = &folder.file(CACHED_PAGES);
            on_threads(COMMITTERS, count, |number| {
                let file = fs::File::options().write(true).open(path).unwrap();
                let mut page = number;
                move || {
                    let offset = (page % CACHED_PAGES * PAGE) as u64;
                    file.write_all_at(&[7; PAGE], offset).unwrap();
                    file.sync_data().unwrap();
                    page += COMMITTERS;
                }
            })
        }

        /// A crowd reads scattered pages of a file that is not cached, while a heart beats. Gives what a read
        /// takes, and how late the heart is.
        fn crowd(count: usize) -> (f64, Vec<f64>) {
            let folder = Folder::new();
            let path = &folder.file(COLD_PAGES);
            forget(path);
            let file = &fs::File::open(path).unwrap();
            let (done, lateness) = (&AtomicBool::new(false), &Mutex::new(Vec::new()));
            let mut nanos = 0.0;
            thread::scope(|scope| {
                scope.spawn(move || {
                    let mut late = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        let due = Instant::now() + BEAT;
                        thread::sleep(BEAT);
                        late.push(due.elapsed().as_nanos() as f64);
                    }
                    *lateness.lock().unwrap() = late;
                });
                nanos = on_threads(CROWD, count, |number| {
                    let mut n = number;
                    move || {
                        let mut page = [0; PAGE];
                        let offset = scattered(n, COLD_PAGES);
                        file.read_exact_at(&mut page, offset).unwrap();
                        n += CROWD;
                    }
                });
                done.store(true, Ordering::Relaxed);
            });
            let late = std::mem::take(&mut *lateness.lock().unwrap());
            (nanos, late)
        }

        pub(crate) fn cold_reads(count: usize) -> f64 {
            crowd(count).0
        }

        pub(crate) fn heart_beside_cold_reads(count: usize) -> f64 {
            quantile(crowd(count).1, 0.99)
        }
    };
}

pub(crate) mod os_threads {
    files!(std::thread, std::fs);
}

pub(crate) mod green_threads {
    files!(roving::thread, roving::fs);
}
