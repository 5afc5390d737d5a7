//! A server of PostgreSQL for this program alone, in a temporary folder, which it is asked for by a Unix socket there, and by what else
//! its settings say.

use std::error::Error;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, process, thread};

/// What the server keeps for itself, and some.
const RESERVED: usize = 10;
/// That of PostgreSQL, of which its socket is named.
const PORT: u16 = 5432;

/// It ends, and the folder is removed, when this is dropped; and it ends if this process does.
pub(crate) struct Server {
    process: Child,
    folder: Folder,
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

impl Server {
    /// For so many clients at a time, who come as the user `roving`. `None` if PostgreSQL is not installed.
    pub(crate) fn start(clients: usize) -> Result<Option<Self>, Box<dyn Error>> {
        Self::start_as("roving", clients, PORT, &[])
    }

    /// One whose first user, who may do everything, has that name, with settings as `NAME=VALUE`.
    pub(crate) fn start_as(
        user_of_database: &str,
        clients: usize,
        port: u16,
        settings: &[&str],
    ) -> Result<Option<Self>, Box<dyn Error>> {
        let Some(programs) = programs() else {
            return Ok(None);
        };
        let folder = env::temp_dir().join(format!("roving-postgres-{}", process::id()));
        fs::create_dir(&folder)?;
        let folder = Folder(folder);
        let user = User::of_server()?;
        if let Some(user) = &user {
            chown(&folder.0, Some(user.user), Some(user.group))?;
        }
        let data = folder.0.join("data");
        let log = || fs::File::create(folder.0.join("log"));

        let mut initdb = command(&programs.join("initdb"), user.as_ref());
        initdb
            .arg(format!("--username={user_of_database}"))
            .args(["--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(log()?);
        if !initdb.status()?.success() {
            return Err(said(&folder.0));
        }
        let mut postgres = command(&programs.join("postgres"), user.as_ref());
        postgres.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c"]);
        postgres.arg(format!("max_connections={}", clients + RESERVED));
        for setting in settings {
            postgres.args(["-c", setting]);
        }
        postgres.args(["-p", &port.to_string(), "-k"]);
        postgres.arg(&folder.0).arg("-D").arg(&data).stderr(log()?);
        let mut server = Self {
            process: postgres.spawn()?,
            folder,
        };
        let is_ready = || {
            let mut asks = Command::new(programs.join("pg_isready"));
            asks.args(["-q", "-p", &port.to_string(), "-h"]);
            asks.arg(&server.folder.0);
            asks.status().map(|status| status.success())
        };
        while !is_ready()? {
            if server.process.try_wait()?.is_some() {
                return Err(said(&server.folder.0));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Some(server))
    }

    /// Where its socket is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let process = self.process.id().to_string();
        // Which it takes as a request to end at once.
        let asked = Command::new("kill").args(["-INT", &process]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

/// Where the programs of the server are.
fn programs() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = env::split_paths(&path).collect();
    // Debian does not have them in the path.
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    folders.into_iter().find(|folder| {
        let programs = ["initdb", "pg_isready", "postgres"];
        programs.iter().all(|program| folder.join(program).exists())
    })
}

/// An error with what a program of the server has said.
fn said(folder: &Path) -> Box<dyn Error> {
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    format!("PostgreSQL does not start: {log}").into()
}

/// A user who is not root, whom the server refuses.
struct User {
    user: u32,
    group: u32,
}

impl User {
    /// `None` if whoever runs this program will do.
    fn of_server() -> Result<Option<Self>, Box<dyn Error>> {
        if fs::metadata("/proc/self")?.uid() != 0 {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd")?;
        let line = users.lines().find(|line| line.starts_with("postgres:"));
        let numbers: Vec<u32> = line
            .into_iter()
            .flat_map(|line| line.split(':').skip(2).take(2))
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        match numbers[..] {
            [user, group] => Ok(Some(Self { user, group })),
            _ => Err("there is no user `postgres`, and root cannot run PostgreSQL".into()),
        }
    }
}

/// A command that is run by `user`, and ends if this process does.
fn command(program: &Path, user: Option<&User>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]).current_dir("/");
    if let Some(User { user, group }) = user {
        command.arg(format!("--reuid={user}"));
        command.arg(format!("--regid={group}"));
        command.arg("--clear-groups");
    }
    command.arg("--").arg(program);
    command
}
