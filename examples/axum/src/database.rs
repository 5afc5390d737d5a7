//! Notes in SQLite: plain blocking code, which knows neither futures nor green threads.

use std::sync::Mutex;

use rusqlite::{Connection, Result};

/// A table of notes. A connection is used by one thread at a time.
pub(crate) struct Notes(Mutex<Connection>);

impl Notes {
    /// Opens a file, or what SQLite takes for one.
    pub(crate) fn open(path: &str) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute("CREATE TABLE IF NOT EXISTS notes (text TEXT NOT NULL)", ())?;
        Ok(Self(Mutex::new(connection)))
    }

    pub(crate) fn add(&self, text: &str) -> Result<()> {
        let connection = self.0.lock().unwrap();
        connection.execute("INSERT INTO notes VALUES (?1)", (text,))?;
        Ok(())
    }

    /// All of them, the oldest first.
    pub(crate) fn all(&self) -> Result<Vec<String>> {
        let connection = self.0.lock().unwrap();
        let mut query = connection.prepare("SELECT text FROM notes ORDER BY rowid")?;
        query.query_map((), |row| row.get(0))?.collect()
    }
}
