//! What is answered: bodies that come back, by way of nothing, of the database or of another server; and how often each was asked for.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Condvar, Mutex};

use crate::AnyError;
use crate::http::{Answer, Request};
use crate::notes::Notes;
use crate::upstream::{CONNECTIONS, Client};

pub(crate) struct Application {
    counts: Mutex<HashMap<String, u64>>,
    notes: Mutex<Notes>,
    client: Client,
    /// How many more may use it, and who waits for that.
    free: (Mutex<usize>, Condvar),
}

impl Application {
    pub(crate) fn new(database: &Path, upstream: SocketAddr) -> Result<Self, AnyError> {
        Ok(Self {
            counts: Mutex::default(),
            notes: Mutex::new(Notes::open(database)?),
            client: Client::new(upstream),
            free: (Mutex::new(CONNECTIONS), Condvar::new()),
        })
    }

    pub(crate) fn answer(&self, request: &Request) -> Answer {
        let answer = match (&*request.method, &*request.path) {
            ("POST", "/echo") => Ok(request.body.clone()),
            ("POST", "/note") => self.note(&request.body),
            ("POST", "/pass") => self.pass_on(&request.body),
            ("GET", "/counts") => return Answer::ok(self.counts().into()),
            _ => return Answer::not_found(),
        };
        self.count(&request.path);
        answer.map_or_else(|error| Answer::failed(&error), Answer::ok)
    }

    fn count(&self, path: &str) {
        let mut counts = self.counts.lock().unwrap();
        match counts.get_mut(path) {
            Some(count) => *count += 1,
            None => drop(counts.insert(path.to_owned(), 1)),
        }
    }

    fn counts(&self) -> String {
        let counts = self.counts.lock().unwrap();
        let mut lines: Vec<_> = counts.iter().collect();
        lines.sort();
        lines.iter().fold(String::new(), |mut all, (path, count)| {
            let _ = writeln!(all, "{path} {count}");
            all
        })
    }

    fn note(&self, text: &[u8]) -> Result<Vec<u8>, AnyError> {
        Ok(self.notes.lock().unwrap().take(text)?)
    }

    fn pass_on(&self, body: &[u8]) -> Result<Vec<u8>, AnyError> {
        let (free, changed) = &self.free;
        let mut some = changed
            .wait_while(free.lock().unwrap(), |free| *free == 0)
            .unwrap();
        *some -= 1;
        drop(some);
        let answer = self.client.ask(body);
        *free.lock().unwrap() += 1;
        changed.notify_one();
        Ok(answer?)
    }
}
