//! A server of PostgreSQL as the tests of its clients expect it: at the port 5433 of this machine, with users of whom each has to show
//! in another way who it is.

#[expect(
    dead_code,
    reason = "others want a server with nothing to be said of it"
)]
#[path = "../../../examples/bookshop/src/server.rs"]
mod postgres;

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};

use self::postgres::Server;

const PORT: u16 = 5433;
/// The tests of two programs, each with more than one connection.
const CLIENTS: usize = 200;

/// Which user is let in how.
const USERS: &str = "\
local all postgres trust
host all postgres samehost trust
host all pass_user samehost password
host all md5_user samehost md5
host all scram_user samehost scram-sha-256
";

/// What there is, one statement a line.
const SETUP: [&str; 9] = [
    "create role pass_user password 'password' login",
    "set password_encryption to 'md5'",
    "create role md5_user password 'password' login",
    "set password_encryption to 'scram-sha-256'",
    "create role scram_user password 'password' login",
    "create extension hstore",
    "create extension citext",
    "create extension ltree",
    "select pg_reload_conf()",
];

/// It ends when what it gives is dropped, or this process ends.
pub(crate) fn start() -> Result<impl Sized> {
    let server = Server::start_as("postgres", CLIENTS, PORT, &["listen_addresses=localhost"])
        .map_err(|error| anyhow!("{error}"))?
        .context("this machine lacks PostgreSQL: apt install postgresql")?;
    fs::write(server.folder().join("data/pg_hba.conf"), USERS)?;
    let mut psql = Command::new("psql");
    psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"])
        .args(["--output=/dev/null", "--username=postgres"])
        .arg(format!("--port={PORT}"))
        .arg("--host")
        .arg(server.folder());
    for statement in SETUP {
        psql.args(["--command", statement]);
    }
    let ended = psql
        .status()
        .context("this machine lacks psql: apt install postgresql-client")?;
    ensure!(ended.success(), "psql cannot set up the server: {ended}");
    Ok(server)
}
