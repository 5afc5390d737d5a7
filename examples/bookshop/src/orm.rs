//! A data layer in synchronous code: types whose values are rows, references that are followed when they are needed, and
//! transactions that end with their scope. It knows nothing of futures, nor of Roving: only its driver waits.

use std::any::type_name;
use std::cell::RefCell;
use std::error;
use std::fmt;
use std::marker::PhantomData;

/// A connection to a database.
pub(crate) trait Driver {
    /// Runs a statement, and gives its rows.
    fn query(&mut self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, Error>;

    /// Undoes the transaction that is under way. Destructors call this, so it waits for nothing: what comes next on this
    /// connection comes after it.
    fn roll_back(&mut self);
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Number(i64),
    Text(String),
}

pub(crate) type Row = Vec<Value>;

#[derive(Debug)]
pub(crate) enum Error {
    /// The database, or the way to it, has failed.
    Driver(Box<dyn error::Error + Send + Sync>),
    NoRow {
        table: &'static str,
        id: i64,
    },
    /// A row that is no value of the type.
    NotOf(&'static str),
    /// Whoever made the transaction does not want it.
    Refused(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(error) => write!(f, "the database: {error}"),
            Self::NoRow { table, id } => write!(f, "{table} has no row {id}"),
            Self::NotOf(expected) => write!(f, "a row is not a {expected}"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl error::Error for Error {}

/// A type whose values are the rows of a table, beside the column `id`.
pub(crate) trait Model: Sized {
    const TABLE: &'static str;
    const COLUMNS: &'static [&'static str];

    fn to_row(&self) -> Row;

    /// Takes the columns in their order.
    fn from_row(row: &mut Columns) -> Result<Self, Error>;
}

/// What is left of a row that is read.
pub(crate) struct Columns {
    of: &'static str,
    rest: std::vec::IntoIter<Value>,
}

impl Columns {
    pub(crate) fn number(&mut self) -> Result<i64, Error> {
        match self.rest.next() {
            Some(Value::Number(number)) => Ok(number),
            _ => Err(Error::NotOf(self.of)),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, Error> {
        match self.rest.next() {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(Error::NotOf(self.of)),
        }
    }

    pub(crate) fn reference<M: Model>(&mut self) -> Result<Reference<M>, Error> {
        self.number().map(Reference::to)
    }
}

/// A row of another table, which is read when somebody asks for it.
pub(crate) struct Reference<M> {
    id: i64,
    to: PhantomData<fn() -> M>,
}

impl<M: Model> Reference<M> {
    pub(crate) fn to(id: i64) -> Self {
        Self {
            id,
            to: PhantomData,
        }
    }

    pub(crate) fn value(&self) -> Value {
        Value::Number(self.id)
    }

    pub(crate) fn load(&self, transaction: &Transaction<'_>) -> Result<M, Error> {
        transaction.find(self.id)
    }
}

/// What is done as a whole or not at all.
pub(crate) struct Transaction<'a> {
    driver: RefCell<&'a mut dyn Driver>,
    is_committed: bool,
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.is_committed {
            self.driver.get_mut().roll_back();
        }
    }
}

/// Calls `work` with a transaction. It is undone if `work` fails, panics, or is unwound because nobody wants its
/// result any longer.
pub(crate) fn transaction<T>(
    driver: &mut dyn Driver,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut transaction = Transaction {
        driver: RefCell::new(driver),
        is_committed: false,
    };
    transaction.query("BEGIN", &[])?;
    let result = work(&transaction)?;
    transaction.query("COMMIT", &[])?;
    transaction.is_committed = true;
    Ok(result)
}

impl Transaction<'_> {
    fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, Error> {
        self.driver.borrow_mut().query(sql, parameters)
    }

    /// All rows of a table, in the order of their numbers, with them.
    pub(crate) fn all<M: Model>(&self) -> Result<Vec<(i64, M)>, Error> {
        self.select("ORDER BY id", &[])
    }

    pub(crate) fn find<M: Model>(&self, id: i64) -> Result<M, Error> {
        self.one(id, "WHERE id = $1")
    }

    /// Finds a row, and keeps other transactions from changing it until this one ends.
    pub(crate) fn lock<M: Model>(&self, id: i64) -> Result<M, Error> {
        self.one(id, "WHERE id = $1 FOR UPDATE")
    }

    fn one<M: Model>(&self, id: i64, tail: &str) -> Result<M, Error> {
        let found = self.select(tail, &[Value::Number(id)])?.pop();
        let table = M::TABLE;
        found
            .map(|(_, model)| model)
            .ok_or(Error::NoRow { table, id })
    }

    fn select<M: Model>(&self, tail: &str, parameters: &[Value]) -> Result<Vec<(i64, M)>, Error> {
        let (table, columns) = (M::TABLE, M::COLUMNS.join(", "));
        let sql = format!("SELECT id, {columns} FROM {table} {tail}");
        let rows = self.query(&sql, parameters)?;
        let read = rows.into_iter().map(|row| {
            let mut columns = Columns {
                of: type_name::<M>(),
                rest: row.into_iter(),
            };
            Ok((columns.number()?, M::from_row(&mut columns)?))
        });
        read.collect()
    }

    /// Adds a row, and gives its number.
    pub(crate) fn insert<M: Model>(&self, model: &M) -> Result<i64, Error> {
        let (table, columns) = (M::TABLE, M::COLUMNS.join(", "));
        let places: Vec<_> = (1..=M::COLUMNS.len()).map(|n| format!("${n}")).collect();
        let places = places.join(", ");
        let sql = format!("INSERT INTO {table} ({columns}) VALUES ({places}) RETURNING id");
        match self.query(&sql, &model.to_row())?.concat()[..] {
            [Value::Number(id)] => Ok(id),
            _ => Err(Error::NotOf(type_name::<M>())),
        }
    }

    pub(crate) fn update<M: Model>(&self, id: i64, model: &M) -> Result<(), Error> {
        let table = M::TABLE;
        let sets: Vec<_> = M::COLUMNS
            .iter()
            .zip(2..)
            .map(|(column, n)| format!("{column} = ${n}"))
            .collect();
        let sets = sets.join(", ");
        let parameters = [vec![Value::Number(id)], model.to_row()].concat();
        self.query(
            &format!("UPDATE {table} SET {sets} WHERE id = $1"),
            &parameters,
        )?;
        Ok(())
    }
}
