//! The suites, and in which of their tests adoption is known to be seen.

use std::fmt::{self, Display};

/// The tests of one package, or of one that Debian has.
pub(crate) struct Suite {
    /// That of the package.
    pub(crate) name: &'static str,
    pub(crate) source: Source,
    /// What cargo is given to build it.
    pub(crate) cargo: &'static [&'static str],
    /// What is in the environment, as it is built and run.
    pub(crate) variables: &'static [(&'static str, &'static str)],
    /// Programs that it starts, and which package of Debian has each.
    pub(crate) starts: &'static [(&'static str, &'static str)],
    /// Whether each test wants a process of its own.
    pub(crate) apart: bool,
    /// Whether it asks a server of PostgreSQL.
    pub(crate) asks_postgres: bool,
    /// Tests that are not run at all, and why.
    pub(crate) left_out: &'static [(&'static str, &'static str)],
    /// Tests, as `PROGRAM::TEST`, that pass on OS threads and need not when they are adopted, and why.
    pub(crate) differs: &'static [(&'static str, &'static str)],
}

/// Where a suite is.
pub(crate) enum Source {
    /// With cargo, in this version.
    Package(&'static str),
    /// In a repository, since what cargo has of it lacks its tests.
    Repository {
        url: &'static str,
        tag: &'static str,
        /// Where in it the package is.
        folder: &'static str,
    },
    /// With the toolchain.
    Std,
    /// With Debian's Python: these of its modules of tests.
    Python(&'static [&'static str]),
    /// With Debian's source of the C library: the programs in these folders whose names begin with `tst-`.
    Glibc(&'static [&'static str]),
}

impl Suite {
    /// Why a test may differ.
    pub(crate) fn why(&self, test: &str) -> Option<&'static str> {
        let known = self.differs.iter().find(|(known, _)| *known == test);
        known.map(|&(_, why)| why)
    }
}

impl Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Source::Package(version) => writeln!(f, "{} {version}", self.name)?,
            Source::Repository { tag, .. } => {
                writeln!(f, "{}, its repository at {tag}", self.name)?
            }
            Source::Std => writeln!(f, "{}, of the toolchain", self.name)?,
            Source::Python(modules) => {
                writeln!(f, "{}, of Debian: {}", self.name, modules.join(", "))?;
            }
            Source::Glibc(folders) => {
                writeln!(f, "{}, of Debian: {}", self.name, folders.join(", "))?;
            }
        }
        for (program, _) in self.starts {
            writeln!(f, "    starts {program}")?;
        }
        if self.asks_postgres {
            writeln!(f, "    asks a server of PostgreSQL")?;
        }
        for (test, why) in self.left_out {
            writeln!(f, "    {test} is left out: {why}")?;
        }
        for (test, why) in self.differs {
            writeln!(f, "    {test} may differ: {why}")?;
        }
        Ok(())
    }
}

/// A suite of which nothing is to be said.
const fn package(name: &'static str, version: &'static str) -> Suite {
    Suite {
        name,
        source: Source::Package(version),
        cargo: &[],
        variables: &[],
        starts: &[],
        apart: false,
        asks_postgres: false,
        left_out: &[],
        differs: &[],
    }
}

const WITHIN_MILLISECONDS: &str =
    "on OS threads it fails too, if the machine is busy: a wait is to end within 5 ms";

const CANCELLED_ANYWHERE: &str =
    "a green thread that may be cancelled anywhere is cancelled at its next point of cancellation";
const IN_A_STREAM: &str =
    "a green thread in a function of streams is cancelled at its next point of cancellation";
const IN_A_HANDLER: &str = "a green thread is not cancelled in the handler of a signal";
const TO_THE_PROCESS: &str =
    "the handler of a signal to the process runs on a worker, with its thread-locals";
const FOR_NOTHING: &str =
    "a signal that a green thread has blocked ends its wait for a condition for nothing, as it may";
const NO_PREFERENCE: &str =
    "a green thread that waits to write has no preference, whatever the attributes of the lock say";
const SHOWS_WORKERS: &str =
    "it waits until the system shows no thread but the first, and the runtime has some of its own";
const JOINS_AN_OS_THREAD: &str =
    "a green thread that joins an OS thread is cancelled when that has ended";
const HAS_ALL_KEYS: &str =
    "the program has all keys of thread-locals, and the runtime ends it when it needs one";
const LITTLE_MEMORY: &str = "with 8 workers the allocator takes so much of the 800 MB of addresses \
    that are allowed that no stack of 16 MB is left: with MALLOC_ARENA_MAX=1 it passes";
const WHAT_A_SHELL_HAS_BEGUN: &str = "on OS threads it fails as well, if what the shell has begun is quick: \
    the shell ends, and leaves it";
const INHERITS: &str =
    "a green thread is refused a mutex that is robust and inherits priority, with ENOTSUP";

const OF_GLIBC: &[(&str, &str)] = &[
    ("tst-cancel1::tst-cancel1", CANCELLED_ANYWHERE),
    ("tst-cancelx1::tst-cancelx1", CANCELLED_ANYWHERE),
    ("tst-cancel30::tst-cancel30", CANCELLED_ANYWHERE),
    ("tst-cancel6::tst-cancel6", IN_A_STREAM),
    ("tst-cancelx6::tst-cancelx6", IN_A_STREAM),
    ("tst-cancel9::tst-cancel9", IN_A_STREAM),
    ("tst-cancelx9::tst-cancelx9", IN_A_STREAM),
    ("tst-cancel7::tst-cancel7", WHAT_A_SHELL_HAS_BEGUN),
    ("tst-cancelx7::tst-cancelx7", WHAT_A_SHELL_HAS_BEGUN),
    ("tst-cancel20::tst-cancel20", IN_A_HANDLER),
    ("tst-cancelx20::tst-cancelx20", IN_A_HANDLER),
    (
        "tst-pthread_cancel-exited::tst-pthread_cancel-exited",
        SHOWS_WORKERS,
    ),
    ("tst-join5::tst-join5", JOINS_AN_OS_THREAD),
    ("tst-key4::tst-key4", HAS_ALL_KEYS),
    ("tst-create-detached::tst-create-detached", LITTLE_MEMORY),
    ("tst-pt-tls2::tst-pt-tls2", TO_THE_PROCESS),
    ("tst-signal6::tst-signal6", TO_THE_PROCESS),
    ("tst-kill2::tst-kill2", FOR_NOTHING),
    ("tst-kill3::tst-kill3", FOR_NOTHING),
    ("tst-rwlock15::tst-rwlock15", NO_PREFERENCE),
    ("tst-robustpi1::tst-robustpi1", INHERITS),
    ("tst-robustpi2::tst-robustpi2", INHERITS),
    ("tst-robustpi3::tst-robustpi3", INHERITS),
    ("tst-robustpi4::tst-robustpi4", INHERITS),
    ("tst-robustpi5::tst-robustpi5", INHERITS),
    ("tst-robustpi6::tst-robustpi6", INHERITS),
    ("tst-robustpi7::tst-robustpi7", INHERITS),
    ("tst-robustpi9::tst-robustpi9", INHERITS),
];

const ALL_FEATURES: &[&str] = &["--all-features"];

/// What of CPython has to do with threads, and with what they wait for.
const OF_PYTHON: &[&str] = &[
    "test_thread",
    "test_threading",
    "test_threadedtempfile",
    "test_threading_local",
    "test_threadsignals",
    "test_queue",
    "test_select",
    "test_poll",
    "test_selectors",
    "test_socket",
    "test_ssl",
    "test_signal",
    "test_fork1",
    "test_wait4",
    "test_subprocess",
    "test_logging",
    "test_httpservers",
    "test_httplib",
    "test_ftplib",
    "test_smtplib",
    "test_os",
];

/// In the order in which they run.
pub(crate) const SUITES: &[Suite] = &[
    package("parking_lot", "0.12.5"),
    package("parking_lot_core", "0.9.12"),
    package("crossbeam", "0.8.5"),
    package("crossbeam-channel", "0.5.17"),
    package("crossbeam-deque", "0.8.8"),
    package("crossbeam-epoch", "0.9.21"),
    package("crossbeam-queue", "0.3.14"),
    Suite {
        // It has what a newer compiler denies.
        variables: &[("RUSTFLAGS", "--cap-lints=warn")],
        ..package("crossbeam-skiplist", "0.1.3")
    },
    package("crossbeam-utils", "0.8.23"),
    Suite {
        source: Source::Std,
        variables: &[("RUSTC_BOOTSTRAP", "1")],
        ..package("std", "")
    },
    package("rayon-core", "1.13.0"),
    package("rayon", "1.12.0"),
    Suite {
        cargo: &["--features", "full,test-util"],
        ..package("tokio", "1.54.1")
    },
    Suite {
        cargo: ALL_FEATURES,
        ..package("mio", "1.2.5")
    },
    package("polling", "3.11.0"),
    package("async-io", "2.6.0"),
    package("async-executor", "1.14.1"),
    package("async-process", "2.5.0"),
    package("blocking", "1.7.0"),
    package("async-channel", "2.5.0"),
    package("event-listener", "5.4.2"),
    package("concurrent-queue", "2.5.0"),
    package("futures-executor", "0.3.34"),
    Suite {
        differs: &[
            ("basic::recv_timeout", WITHIN_MILLISECONDS),
            ("basic::recv_deadline", WITHIN_MILLISECONDS),
            ("basic::send_timeout", WITHIN_MILLISECONDS),
        ],
        ..package("flume", "0.11.1")
    },
    package("kanal", "0.1.1"),
    package("bus", "2.4.1"),
    package("arc-swap", "1.9.5"),
    package("once_cell", "1.21.4"),
    package("thread_local", "1.1.10"),
    package("spin", "0.9.9"),
    package("dashmap", "6.2.1"),
    package("threadpool", "1.8.1"),
    package("scoped_threadpool", "0.1.9"),
    package("scheduled-thread-pool", "0.2.8"),
    package("r2d2", "0.8.10"),
    Suite {
        cargo: &["--features", "sync"],
        ..package("moka", "0.12.16")
    },
    Suite {
        cargo: ALL_FEATURES,
        ..package("socket2", "0.6.5")
    },
    package("signal-hook", "0.3.18"),
    package("ctrlc", "3.5.3"),
    package("tempfile", "3.27.0"),
    package("os_pipe", "1.2.3"),
    package("subprocess", "0.2.15"),
    package("duct", "1.1.2"),
    package("tiny_http", "0.12.0"),
    Suite {
        // Without, they ask servers in the Internet.
        cargo: &["--features", "_test"],
        ..package("ureq", "3.5.2")
    },
    Suite {
        source: Source::Repository {
            url: "https://github.com/rustls/rustls",
            tag: "v/0.23.43",
            folder: "rustls",
        },
        cargo: &["--features", "ring"],
        ..package("rustls", "")
    },
    Suite {
        source: Source::Repository {
            url: "https://github.com/rustls/rustls",
            tag: "v/0.23.43",
            folder: "openssl-tests",
        },
        starts: &[("openssl", "openssl")],
        ..package("rustls-openssl-tests", "")
    },
    Suite {
        source: Source::Repository {
            url: "https://github.com/seanmonstar/reqwest",
            tag: "v0.12.28",
            folder: ".",
        },
        cargo: &[
            "--features",
            "blocking,cookies,gzip,brotli,zstd,deflate,json,multipart,stream,socks",
        ],
        ..package("reqwest", "")
    },
    package("tungstenite", "0.26.2"),
    Suite {
        cargo: &["--features", "bundled-full"],
        ..package("rusqlite", "0.37.0")
    },
    Suite {
        source: Source::Repository {
            url: "https://github.com/redis-rs/redis-rs",
            tag: "redis-1.6.0",
            folder: "redis",
        },
        // Not what wants modules that Debian does not have.
        cargo: &[
            "--features",
            "tokio-comp,smol-comp,connection-manager,cache-aio,cluster-async,sentinel,r2d2",
        ],
        starts: &[
            ("redis-server", "redis-server"),
            ("redis-cli", "redis-tools"),
        ],
        apart: true,
        ..package("redis", "")
    },
    Suite {
        asks_postgres: true,
        differs: &[(
            "postgres::test::is_closed",
            "on OS threads it fails as often: that the server ends the connection may be told before the connection has ended",
        )],
        ..package("postgres", "0.19.14")
    },
    Suite {
        cargo: &["--features", "array-impls,with-serde_json-1,with-uuid-1"],
        asks_postgres: true,
        ..package("tokio-postgres", "0.7.18")
    },
    Suite {
        source: Source::Glibc(&["nptl", "sysdeps/pthread"]),
        differs: OF_GLIBC,
        ..package("glibc", "")
    },
    Suite {
        source: Source::Python(OF_PYTHON),
        left_out: &[(
            "*VSOCK*",
            "waits for ever on OS threads, too, in some virtual machines",
        )],
        ..package("cpython", "")
    },
];
