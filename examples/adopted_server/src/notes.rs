//! The last notes, in SQLite.

use std::path::Path;

use rusqlite::{Connection, Result};

/// So many are kept.
const KEPT: u64 = 1_000;

pub(crate) struct Notes {
    connection: Connection,
    taken: u64,
}

impl Notes {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = NORMAL;
             CREATE TABLE IF NOT EXISTS notes (number INTEGER PRIMARY KEY, text BLOB NOT NULL);",
        )?;
        Ok(Self {
            connection,
            taken: 0,
        })
    }

    /// Takes a note, and gives what it reads of it.
    pub(crate) fn take(&mut self, text: &[u8]) -> Result<Vec<u8>> {
        let number = self.taken % KEPT;
        self.taken += 1;
        let put = "INSERT OR REPLACE INTO notes VALUES (?1, ?2)";
        self.connection.execute(put, (number as i64, text))?;
        let get = "SELECT text FROM notes WHERE number = ?1";
        self.connection
            .query_row(get, (number as i64,), |row| row.get(0))
    }
}
