//! What has happened lately: [`record`].
//!
//! | file      | what it is                                              |
//! |-----------|---------------------------------------------------------|
//! | this one  | the record, and how people read it                      |
//! | `trace`   | how a viewer of traces reads it                         |

mod trace;

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use crate::protocol::word::By;
use crate::run::event::Ran;
use crate::run::recorder::{Kept, Note, What};
use crate::run::ticks;
use crate::runtime::dump;

/// How many events of each worker people are shown.
const SHOWN: usize = 20;

/// The last events of each worker of this process: see [`record`].
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Record {
    /// Since the process has started its first runtime.
    seconds: f64,
    tracks: Vec<Track>,
}

/// What is left of what one worker has done.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
struct Track {
    /// The number of its runtime, from 0.
    runtime: usize,
    /// `None` for all that are no workers of it.
    worker: Option<usize>,
    /// Whether it stands in for workers that are stuck.
    is_spare: bool,
    /// How many events came before these, and are gone.
    gone: u64,
    events: Vec<Event>,
}

/// What has happened, and when.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
struct Event {
    /// Since the process has started its first runtime.
    seconds: f64,
    #[cfg_attr(feature = "serde", serde(flatten))]
    what: Happened,
}

/// Threads are told of by their numbers, 0 for what is no green thread.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "event", rename_all = "snake_case"))]
enum Happened {
    Spawned {
        thread: u64,
        by: u64,
        spawned_at: Place,
    },
    Runs {
        thread: u64,
        name: Option<String>,
        spawned_at: Place,
        /// How many waits it has begun before.
        waits: u64,
    },
    Ran {
        thread: u64,
        ran: Ran,
    },
    Waits {
        thread: u64,
        why: &'static str,
        waits_at: Place,
    },
    Woken {
        thread: u64,
        /// Which of its waits, from 1.
        wait: u64,
        by: Waker,
    },
    Stolen {
        thread: u64,
        from: usize,
    },
    HandedOver {
        worker: usize,
    },
    IsBack {
        worker: usize,
    },
}

/// Who has ended a wait.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
enum Waker {
    /// A thread of this number, or 0.
    Thread(u64),
    Timer,
    Cancellation,
    /// Who looks for deadlocks, since it is to panic.
    Deadlock,
}

/// A place in the source.
#[derive(Debug, Clone, Copy)]
struct Place(&'static Location<'static>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Place {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Returns the last events of each worker of this process, of those runtimes that [keep](crate::Builder::record) them:
/// which green thread ran when, why it gave its worker back, who has woken it, what was stolen and handed over.
///
/// It can be printed, and with the feature `serde` be serialized; [`write_trace`](Record::write_trace) makes a
/// picture of it. To take it stops nobody. What is overwritten meanwhile is not in it.
///
/// # Examples
///
/// ```
/// use roving::{Builder, record, thread};
/// use std::time::Duration;
///
/// let runtime = Builder::new().record(1000).build()?;
/// runtime.run(|| thread::sleep(Duration::from_millis(1)));
/// let record = record().to_string();
/// assert!(record.contains("sleep"), "{record}");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn record() -> Record {
    let scale = ticks::scale();
    let seconds = |ticks| scale(ticks).as_secs_f64();
    let mut tracks = Vec::new();
    for (number, runtime) in dump::runtimes().iter().enumerate() {
        for (worker, kept) in runtime.recorder.iter().flat_map(|recorder| recorder.read()) {
            let is_spare = worker.is_some_and(|worker| worker >= runtime.workers.len());
            tracks.push(Track::of(number, worker, is_spare, kept, seconds));
        }
    }
    tracks.retain(|track| !track.events.is_empty());
    Record {
        seconds: seconds(ticks::now()),
        tracks,
    }
}

impl Record {
    /// Returns how many events it has.
    pub fn events(&self) -> usize {
        self.tracks.iter().map(|track| track.events.len()).sum()
    }

    /// Returns whether it has none: nothing is recorded, or nothing has happened.
    pub fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }
}

impl Track {
    fn of(
        runtime: usize,
        worker: Option<usize>,
        is_spare: bool,
        kept: Kept,
        seconds: impl Fn(u64) -> f64,
    ) -> Self {
        let mut notes = kept.notes;
        // Others may have taken their numbers in another order than the time.
        notes.sort_by_key(|note| note.at);
        // Whom a thread wakes by its end, its worker wakes on its behalf.
        let mut running = 0;
        let event = |mut note: Note| {
            match &mut note.what {
                What::Runs { .. } => running = note.thread,
                What::Ran(_) => running = 0,
                What::Woken { waker, .. } if *waker == 0 => *waker = running,
                _ => {}
            }
            Event {
                seconds: seconds(note.at),
                what: Happened::of(note),
            }
        };
        Self {
            runtime,
            worker,
            is_spare,
            gone: kept.gone,
            events: notes.into_iter().map(event).collect(),
        }
    }
}

impl Happened {
    fn of(Note { thread, what, .. }: Note) -> Self {
        match what {
            What::Spawned { by, site } => Self::Spawned {
                thread,
                by,
                spawned_at: Place(site),
            },
            What::Runs { wait, site, name } => Self::Runs {
                thread,
                name: (!name.is_empty()).then_some(name),
                spawned_at: Place(site),
                waits: wait,
            },
            What::Ran(ran) => Self::Ran { thread, ran },
            What::Waits { why, place } => Self::Waits {
                thread,
                why,
                waits_at: Place(place),
            },
            What::Woken { wait, waker, by } => Self::Woken {
                thread,
                wait,
                by: match by {
                    By::Ticket => Waker::Thread(waker),
                    By::Timer => Waker::Timer,
                    By::Cancel => Waker::Cancellation,
                    By::Deadlock => Waker::Deadlock,
                },
            },
            What::Stolen { from } => Self::Stolen { thread, from },
            What::HandedOver(worker) => Self::HandedOver { worker },
            What::IsBack(worker) => Self::IsBack { worker },
        }
    }
}

impl fmt::Display for Track {
    /// What it is called.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.worker {
            None => f.write_str("no worker"),
            Some(worker) if self.is_spare => write!(f, "spare {worker}"),
            Some(worker) => write!(f, "worker {worker}"),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = self.tracks.iter().any(|track| track.runtime > 0);
        for track in &self.tracks {
            let shown = track.events.len().min(SHOWN);
            if several {
                write!(f, "runtime {} ", track.runtime)?;
            }
            let noted = track.gone + track.events.len() as u64;
            writeln!(f, "{track}, the last {shown} of {noted} events")?;
            for event in &track.events[track.events.len() - shown..] {
                let ago = (self.seconds - event.seconds).max(0.0);
                let ago = Duration::try_from_secs_f64(ago).unwrap_or_default();
                writeln!(f, "  {:>9} ago  {}", format!("{ago:.1?}"), event.what)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spawned {
                thread,
                by: 0,
                spawned_at,
            } => write!(f, "thread {thread} is spawned at {spawned_at}"),
            Self::Spawned {
                thread,
                by,
                spawned_at,
            } => write!(f, "thread {by} spawns thread {thread} at {spawned_at}"),
            Self::Runs {
                thread,
                name: Some(name),
                ..
            } => write!(f, "thread {thread} {name:?} runs"),
            Self::Runs {
                thread, spawned_at, ..
            } => write!(f, "thread {thread} runs, spawned at {spawned_at}"),
            Self::Ran { thread, ran } => match ran {
                Ran::Yields => write!(f, "thread {thread} yields"),
                Ran::Waits => write!(f, "thread {thread} is parked"),
                Ran::Ends => write!(f, "thread {thread} ends"),
            },
            Self::Waits {
                thread,
                why,
                waits_at,
                ..
            } => write!(f, "thread {thread} waits: {why}, at {waits_at}"),
            Self::Woken { thread, by, .. } => match by {
                Waker::Thread(0) => write!(f, "thread {thread} is woken"),
                Waker::Thread(waker) => write!(f, "thread {waker} wakes thread {thread}"),
                Waker::Timer => write!(f, "thread {thread} is woken by the time"),
                Waker::Cancellation => write!(f, "thread {thread} is cancelled"),
                Waker::Deadlock => write!(f, "thread {thread} is woken from a deadlock"),
            },
            Self::Stolen { thread, from } => {
                write!(f, "thread {thread} is taken from worker {from}")
            }
            Self::HandedOver { worker } => {
                write!(f, "the place of worker {worker} is handed over")
            }
            Self::IsBack { worker } => write!(f, "worker {worker} is back"),
        }
    }
}
