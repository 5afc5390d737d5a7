//! What the shop does: synchronous code that knows nothing but the data layer.

use crate::orm::{Columns, Driver, Error, Model, Reference, Row, Value, transaction};

pub(crate) struct Author {
    name: String,
}

pub(crate) struct Book {
    title: String,
    author: Reference<Author>,
    stock: i64,
}

pub(crate) struct Order {
    book: Reference<Book>,
    copies: i64,
}

impl Model for Author {
    const TABLE: &'static str = "authors";
    const COLUMNS: &'static [&'static str] = &["name"];

    fn to_row(&self) -> Row {
        vec![Value::Text(self.name.clone())]
    }

    fn from_row(row: &mut Columns) -> Result<Self, Error> {
        Ok(Self { name: row.text()? })
    }
}

impl Model for Book {
    const TABLE: &'static str = "books";
    const COLUMNS: &'static [&'static str] = &["title", "author", "stock"];

    fn to_row(&self) -> Row {
        vec![
            Value::Text(self.title.clone()),
            self.author.value(),
            Value::Number(self.stock),
        ]
    }

    fn from_row(row: &mut Columns) -> Result<Self, Error> {
        Ok(Self {
            title: row.text()?,
            author: row.reference()?,
            stock: row.number()?,
        })
    }
}

impl Model for Order {
    const TABLE: &'static str = "orders";
    const COLUMNS: &'static [&'static str] = &["book", "copies"];

    fn to_row(&self) -> Row {
        vec![self.book.value(), Value::Number(self.copies)]
    }

    fn from_row(row: &mut Columns) -> Result<Self, Error> {
        Ok(Self {
            book: row.reference()?,
            copies: row.number()?,
        })
    }
}

/// Makes a new shop that has so many copies of each of its books.
pub(crate) fn open(driver: &mut dyn Driver, stock: i64) -> Result<(), Error> {
    for table in [
        "authors (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name TEXT NOT NULL)",
        "books (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title TEXT NOT NULL,
                author BIGINT NOT NULL REFERENCES authors, stock BIGINT NOT NULL CHECK (stock >= 0))",
        "orders (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                 book BIGINT NOT NULL REFERENCES books, copies BIGINT NOT NULL)",
    ] {
        driver.query(&format!("CREATE TABLE {table}"), &[])?;
    }
    transaction(driver, |shop| {
        for (name, titles) in [
            ("Mary Shelley", &["Frankenstein", "The Last Man"][..]),
            ("Jules Verne", &["Michael Strogoff"]),
        ] {
            let name = name.to_owned();
            let author = shop.insert(&Author { name })?;
            for title in titles {
                let (title, author) = (title.to_string(), Reference::to(author));
                shop.insert(&Book {
                    title,
                    author,
                    stock,
                })?;
            }
        }
        Ok(())
    })
}

/// A line for each book. Its author is a row of another table, which is read on the way.
pub(crate) fn catalogue(driver: &mut dyn Driver) -> Result<String, Error> {
    transaction(driver, |shop| {
        let mut lines = String::new();
        for (id, book) in shop.all::<Book>()? {
            let (author, title, stock) = (book.author.load(shop)?.name, book.title, book.stock);
            lines += &format!("{id}: {author}, {title} ({stock} left)\n");
        }
        Ok(lines)
    })
}

/// Gives the order's number.
pub(crate) fn order(driver: &mut dyn Driver, book: i64, copies: i64) -> Result<i64, Error> {
    transaction(driver, |shop| {
        let mut ordered: Book = shop.lock(book)?;
        if !(1..=ordered.stock).contains(&copies) {
            return Err(Error::Refused("there are not so many copies left"));
        }
        ordered.stock -= copies;
        shop.update(book, &ordered)?;
        let book = Reference::to(book);
        shop.insert(&Order { book, copies })
    })
}

/// Keeps a book from being ordered while `meanwhile` runs.
pub(crate) fn hold<T>(
    driver: &mut dyn Driver,
    book: i64,
    meanwhile: impl FnOnce() -> T,
) -> Result<T, Error> {
    transaction(driver, |shop| {
        shop.lock::<Book>(book)?;
        Ok(meanwhile())
    })
}

/// How many copies are left of a book, and how many are ordered.
pub(crate) fn count(driver: &mut dyn Driver, book: i64) -> Result<(i64, i64), Error> {
    transaction(driver, |shop| {
        let orders = shop.all::<Order>()?;
        let of_book = orders
            .iter()
            .filter(|(_, order)| order.book.value() == Value::Number(book));
        let ordered = of_book.map(|(_, order)| order.copies).sum();
        Ok((shop.find::<Book>(book)?.stock, ordered))
    })
}
