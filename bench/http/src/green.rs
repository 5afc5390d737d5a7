//! The same server, written for green threads: with Roving's sockets, locks and threads, and with what blocks in the system in
//! `blocking`.

use std::collections::HashMap;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roving::net::{TcpListener, TcpStream};
use roving::sync::{Mutex, Semaphore};
use roving::{blocking, thread};

use crate::http::{self, Answer, Request};
use crate::notes::Notes;
use crate::protocol::{ServerReport, say};
use crate::upstream::{CONNECTIONS, Client};
use crate::{AnyError, Open, refuse};

/// Those of the server of std's threads.
const STACK_SIZE: usize = 128 << 10;
const BUFFER: usize = 512;

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

struct Application {
    counts: Mutex<HashMap<String, u64>>,
    notes: Mutex<Notes>,
    client: Client,
    free: Semaphore,
}

impl Application {
    fn answer(&self, request: &Request) -> Answer {
        let answer = match (&*request.method, &*request.path) {
            ("POST", "/echo") => Ok(request.body.clone()),
            ("POST", "/note") => self
                .notes
                .lock()
                .unwrap()
                .take(&request.body)
                .map_err(Into::into),
            ("POST", "/pass") => self.pass_on(&request.body),
            _ => return Answer::not_found(),
        };
        let mut counts = self.counts.lock().unwrap();
        match counts.get_mut(&request.path) {
            Some(count) => *count += 1,
            None => drop(counts.insert(request.path.clone(), 1)),
        }
        drop(counts);
        answer.map_or_else(|error: AnyError| Answer::failed(&error), Answer::ok)
    }

    fn pass_on(&self, body: &[u8]) -> Result<Vec<u8>, AnyError> {
        let _free = self.free.acquire();
        Ok(blocking(|| self.client.ask(body))?)
    }
}

/// Starts to serve, and reports the address.
pub(crate) fn serve(database: &Path) -> Result<Open, AnyError> {
    let upstream = TcpListener::bind("127.0.0.1:0")?;
    let application = Application {
        counts: Mutex::default(),
        notes: Mutex::new(Notes::open(database)?),
        client: Client::new(upstream.local_addr()?),
        free: Semaphore::new(CONNECTIONS),
    };
    thread::spawn(move || accept(&upstream, &Arc::default(), &echo()));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let open = Arc::<AtomicU64>::default();
    let counting = open.clone();
    thread::spawn(move || {
        let handler: Arc<Handler> = Arc::new(move |request| application.answer(request));
        let error = accept(&listener, &counting, &handler);
        refuse(&error);
    });
    say(&ServerReport::Listening(address));
    Ok(Box::new(move || open.load(Ordering::Relaxed)))
}

fn echo() -> Arc<Handler> {
    Arc::new(|request| Answer::ok(request.body.clone()))
}

/// Serves until no connection can be accepted, or given a thread, and gives the reason.
fn accept(listener: &TcpListener, open: &Arc<AtomicU64>, handler: &Arc<Handler>) -> io::Error {
    loop {
        let served = listener.accept().and_then(|(stream, _)| {
            let (counted, handler) = (Counted::new(open), handler.clone());
            let thread = thread::Builder::new().stack_size(STACK_SIZE);
            let serves = move || {
                let _counted = counted;
                let _ = converse(&stream, &*handler);
            };
            thread.spawn(serves).map(drop)
        });
        match served {
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return error,
            Ok(()) => {}
        }
    }
}

/// One connection more, until it is dropped.
struct Counted(Arc<AtomicU64>);

impl Counted {
    fn new(open: &Arc<AtomicU64>) -> Counted {
        open.fetch_add(1, Ordering::Relaxed);
        Counted(open.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn converse(mut stream: &TcpStream, handler: &Handler) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(BUFFER, stream);
    while let Some(request) = http::read(&mut reader)? {
        http::write(&mut stream, &handler(&request))?;
        if !request.keep_alive {
            break;
        }
    }
    Ok(())
}
