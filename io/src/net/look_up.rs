//! Names are looked up by the C library, and nothing ends that. So whoever may be interrupted meanwhile has another
//! green thread ask, and waits for that.

use std::fmt;
use std::io;
use std::mem;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::vec;

use roving_scheduler::lock::Mutex;
use roving_scheduler::wait::{self, Interrupt, Ticket, Why};
use roving_scheduler::{blocking, deep, thread};

/// The addresses of a host, with that port.
#[track_caller]
pub(super) fn look_up(host: &str, port: u16) -> io::Result<vec::IntoIter<SocketAddr>> {
    if !wait::may_be_interrupted() {
        return ask(host, port);
    }
    let question = Question {
        host: host.to_owned(),
        port,
    };
    let host = question.host.clone();
    have_asked(&question, move || ask(&host, port))
}

fn ask(host: &str, port: u16) -> io::Result<vec::IntoIter<SocketAddr>> {
    // The C library uses up to some ten KiB of the stack, and what it asks may use more.
    blocking::run_deep(|| (host, port).to_socket_addrs())?
}

/// Waits for what another green thread gets from `ask`, unless this one is interrupted. If no other can, as when the runtime
/// ends, this one asks.
#[track_caller]
fn have_asked<T: Send + 'static>(
    question: &Question,
    ask: impl Fn() -> io::Result<T> + Clone + Send + 'static,
) -> io::Result<T> {
    let answer = Arc::new(Mutex::new(Answer::Expected(None)));
    let (its_answer, its_ask) = (Asks(answer.clone()), ask.clone());
    // To begin one goes deep as well, in what is built without optimisation.
    let spawned = deep::call(|| {
        thread::Builder::new().spawn(move || {
            let told = its_ask();
            its_answer.end(Answer::Told(told));
        })
    });
    if !matches!(spawned, Ok(Ok(_))) {
        return ask();
    }
    let wait = wait::begin_interruptible().why(question);
    let is_expected = match &mut *answer.lock() {
        Answer::Expected(waiter) => {
            *waiter = Some(wait.ticket());
            true
        }
        Answer::Told(_) | Answer::None => false,
    };
    if is_expected {
        wait.try_block(None).map_err(Interrupt::into_error)?;
    } else {
        drop(wait);
    }
    let told = mem::replace(&mut *answer.lock(), Answer::None);
    match told {
        Answer::Told(told) => told,
        Answer::Expected(_) | Answer::None => ask(),
    }
}

/// What has become of a question that another thread asks.
enum Answer<T> {
    /// Whom to tell.
    Expected(Option<Ticket>),
    Told(io::Result<T>),
    /// Nobody asks any more.
    None,
}

/// The one who asks, or is to.
struct Asks<T>(Arc<Mutex<Answer<T>>>);

impl<T> Asks<T> {
    fn end(&self, answer: Answer<T>) {
        let mut current = self.0.lock();
        if let Answer::Expected(_) = &*current
            && let Answer::Expected(Some(waiter)) = mem::replace(&mut *current, answer)
        {
            drop(current);
            waiter.fire();
        }
    }
}

impl<T> Drop for Asks<T> {
    fn drop(&mut self) {
        self.end(Answer::None);
    }
}

struct Question {
    host: String,
    port: u16,
}

impl Why for Question {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "look-up of {}:{}", self.host, self.port)
    }

    fn in_short(&self) -> &'static str {
        "look-up"
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use roving_scheduler::sync;
    use roving_scheduler::wait::Cancelled;
    use roving_scheduler::{Builder, ThreadLocals, deadline};

    fn question() -> Question {
        Question {
            host: "slow.example".to_owned(),
            port: 7,
        }
    }

    /// But where those that have begun on a worker wait for a call that blocks there.
    fn everywhere(test: impl Fn() + Sync) {
        for workers in [1, 2, 8] {
            let runtime = Builder::new().workers(workers).build().unwrap();
            if runtime.thread_locals() != ThreadLocals::Pinned {
                runtime.run(&test);
                test();
            }
        }
    }

    #[test]
    fn it_ends_with_a_deadline_and_the_answer_goes_nowhere() {
        everywhere(|| {
            let (answer, name_server) = mpsc::channel();
            let name_server = Arc::new(sync::Mutex::new(name_server));
            let (asked, was_asked) = sync::mpsc::channel();
            let in_time = deadline(Duration::from_millis(2), || {
                have_asked(&question(), move || {
                    asked.send(()).unwrap();
                    let name_server = name_server.lock().unwrap();
                    blocking::run(|| name_server.recv()).map_err(io::Error::other)
                })
            });
            let error = in_time.unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            was_asked.recv().unwrap();
            answer.send(5).unwrap();
            // It ends all the same.
            assert!(was_asked.recv().is_err());
        });
    }

    #[test]
    fn it_ends_with_a_cancellation() {
        everywhere(|| {
            let (answer, name_server) = mpsc::channel::<()>();
            let name_server = Arc::new(sync::Mutex::new(name_server));
            let looks_up = thread::spawn(move || {
                have_asked(&question(), move || {
                    let name_server = name_server.lock().unwrap();
                    blocking::run(|| name_server.recv()).map_err(io::Error::other)
                })
            });
            looks_up.cancel();
            match looks_up.join() {
                Ok(error) => {
                    let error = error.unwrap_err();
                    assert!(error.get_ref().unwrap().is::<Cancelled>());
                }
                // It had not begun.
                Err(payload) => assert!(payload.is::<Cancelled>()),
            }
            drop(answer);
        });
    }

    #[test]
    fn an_answer_and_an_error_come_back() {
        everywhere(|| {
            assert_eq!(have_asked(&question(), || Ok(5)).unwrap(), 5);
            let error = have_asked(&question(), || Err::<(), _>(io::Error::other("unknown")));
            assert_eq!(error.unwrap_err().to_string(), "unknown");
        });
    }
}
