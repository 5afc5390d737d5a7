//! The data layer's driver, over an async client of PostgreSQL; and a pool of connections.
//!
//! This is all there is between the two: `await_`. In what `greenly` runs, the task around it polls the future. On any
//! other thread, green or not, it blocks that thread.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use async_compat::CompatExt;
use roving::{await_, channel};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls};

use crate::orm::{Driver, Error, Row, Value};

pub(crate) struct Postgres {
    client: Client,
}

impl Postgres {
    pub(crate) fn connect(config: &Config) -> Result<Self, Error> {
        let connects = async {
            let (client, connection) = config.connect(NoTls).await?;
            // It carries what the client asks for, and ends with the client.
            tokio::spawn(connection);
            Ok(Self { client })
        };
        // A runtime of tokio is needed: that of the task around, if there is one, or else one that this starts.
        await_(connects.compat()).map_err(failed)
    }
}

fn failed(error: tokio_postgres::Error) -> Error {
    Error::Driver(error.into())
}

impl Driver for Postgres {
    fn query(&mut self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, Error> {
        let parameters: Vec<_> = parameters.iter().map(parameter).collect();
        let rows = await_(self.client.query(sql, &parameters)).map_err(failed)?;
        rows.iter().map(row).collect()
    }

    fn roll_back(&mut self) {
        // The first poll sends it, which is all: nobody waits for the answer.
        let rolls_back = pin!(self.client.batch_execute("ROLLBACK"));
        let _ = rolls_back.poll(&mut Context::from_waker(Waker::noop()));
    }
}

fn parameter(value: &Value) -> &(dyn ToSql + Sync) {
    match value {
        Value::Number(number) => number,
        Value::Text(text) => text,
    }
}

fn row(row: &tokio_postgres::Row) -> Result<Row, Error> {
    let value = |(n, column): (usize, &tokio_postgres::Column)| match *column.type_() {
        Type::INT8 => row.try_get(n).map(Value::Number),
        _ => row.try_get(n).map(Value::Text),
    };
    let values = row.columns().iter().enumerate().map(value);
    values.collect::<Result<_, _>>().map_err(failed)
}

/// Some connections. Whoever wants one when there is none waits, be it a green thread or a task.
pub(crate) struct Pool {
    idle: channel::Receiver<Postgres>,
    give_back: channel::Sender<Postgres>,
}

impl Pool {
    pub(crate) fn open(config: &Config, size: usize) -> Result<Self, Error> {
        let (give_back, idle) = channel::unbounded();
        for _ in 0..size {
            let _ = give_back.send(Postgres::connect(config)?);
        }
        Ok(Self { idle, give_back })
    }

    pub(crate) fn idle(&self) -> usize {
        self.idle.len()
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut dyn Driver) -> T) -> T {
        struct Lent<'a>(Option<Postgres>, &'a Pool);

        impl Drop for Lent<'_> {
            fn drop(&mut self) {
                let connection = self.0.take().expect("it is given back once");
                let _ = self.1.give_back.send(connection);
            }
        }

        let connection = self.idle.recv().expect("this has a sender");
        let mut lent = Lent(Some(connection), self);
        work(lent.0.as_mut().expect("it is not given back yet"))
    }
}
