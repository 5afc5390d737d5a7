//! A [`Record`] as the JSON that Perfetto and Chrome's `about:tracing` open.
//!
//! A runtime is a process of it and a worker a thread, whose *slices* are the runs of green threads. From whoever
//! wakes or spawns a thread an arrow leads to the run that follows. What else happens is an *instant*.
//!
//! A wake-up that no run encloses, since a timer or an event of the driver or another OS thread has made it, gets
//! a slice of its own, so that its arrow has a beginning.
//!
//! A run whose beginning is gone is left out, and one that has not ended ends with the record. An arrow is drawn
//! where no track has forgotten what came later than its beginning: else it might lead to a later run than
//! the first. Within a track times never fall, also if a machine's counter should.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io;

use super::{Happened, Record, Track, Waker};
use crate::run::event::Ran;

/// In microseconds: how long the slice of a wake-up is that no run encloses.
const WAKE: f64 = 1.0;

impl Record {
    /// Writes it in the JSON format of Chrome's traces, which <https://ui.perfetto.dev> and `about:tracing` open: a
    /// track for each worker, what it has run and when, and arrows from whoever has woken somebody to what
    /// that one has done then.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    ///
    /// # Examples
    ///
    /// ```
    /// use roving::{Builder, record};
    ///
    /// let runtime = Builder::new().record(1000).build()?;
    /// runtime.run(|| ());
    /// let mut trace = Vec::new();
    /// record().write_trace(&mut trace)?;
    /// assert!(trace.starts_with(b"{\"traceEvents\":["));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_trace(&self, to: impl io::Write) -> io::Result<()> {
        let mut trace = Trace {
            to: io::BufWriter::new(to),
            is_first: true,
            runs: Runs::of(self),
            arrows: 0,
        };
        trace.text(format_args!("{{\"traceEvents\":["))?;
        for track in &self.tracks {
            trace.track(track, micros(self.seconds))?;
        }
        trace.text(format_args!("\n],\"displayTimeUnit\":\"ns\"}}\n"))?;
        io::Write::flush(&mut trace.to)
    }
}

fn micros(seconds: f64) -> f64 {
    seconds * 1e6
}

/// Where arrows lead to.
struct Runs {
    /// The runtime, the thread and the wait that it has been in last lead to the run after that: its track, and
    /// when it begins.
    after: HashMap<(usize, u64, u64), (u64, f64)>,
    /// What came before this, some track has forgotten.
    complete_from: f64,
}

impl Runs {
    fn of(record: &Record) -> Self {
        let mut after = HashMap::new();
        let mut complete_from = 0.0_f64;
        for track in &record.tracks {
            let first = track.events.first().filter(|_| track.gone > 0);
            complete_from = complete_from.max(first.map_or(0.0, |first| micros(first.seconds)));
            for event in &track.events {
                if let Happened::Runs { thread, waits, .. } = event.what {
                    let run = (track.number(), micros(event.seconds));
                    let earliest = after.entry((track.runtime, thread, waits)).or_insert(run);
                    if run.1 < earliest.1 {
                        *earliest = run;
                    }
                }
            }
        }
        Self {
            after,
            complete_from,
        }
    }
}

impl Track {
    /// Its number among the threads of a trace, from 1.
    fn number(&self) -> u64 {
        self.worker.map_or(1, |worker| worker as u64 + 2)
    }
}

struct Trace<W: io::Write> {
    to: io::BufWriter<W>,
    is_first: bool,
    runs: Runs,
    arrows: u64,
}

/// A run that has begun.
struct Run<'a> {
    begin: f64,
    thread: u64,
    name: &'a Option<String>,
    spawned_at: String,
    /// Why it is about to wait.
    waits: Option<String>,
}

impl<W: io::Write> Trace<W> {
    fn text(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        io::Write::write_fmt(&mut self.to, text)
    }

    /// An event of a track, with the rest of its fields.
    fn event(&mut self, track: &Track, kind: char, rest: fmt::Arguments<'_>) -> io::Result<()> {
        let comma = if self.is_first { "" } else { "," };
        self.is_first = false;
        let (pid, tid) = (track.runtime + 1, track.number());
        self.text(format_args!(
            "{comma}\n{{\"ph\":\"{kind}\",\"pid\":{pid},\"tid\":{tid},{rest}}}"
        ))
    }

    fn track(&mut self, track: &Track, end: f64) -> io::Result<()> {
        let runtime = format!("runtime {}", track.runtime);
        let name = Quoted(&track.to_string()).to_string();
        for (what, name) in [
            ("process_name", Quoted(&runtime).to_string()),
            ("thread_name", name),
        ] {
            self.event(
                track,
                'M',
                format_args!("\"name\":\"{what}\",\"args\":{{\"name\":{name}}}"),
            )?;
        }
        let mut run: Option<Run<'_>> = None;
        let mut now = 0.0_f64;
        for (index, event) in track.events.iter().enumerate() {
            now = now.max(micros(event.seconds));
            match &event.what {
                Happened::Runs {
                    thread,
                    name,
                    spawned_at,
                    ..
                } => {
                    let run = run.replace(Run {
                        begin: now,
                        thread: *thread,
                        name,
                        spawned_at: spawned_at.to_string(),
                        waits: None,
                    });
                    self.slice(track, run.as_ref(), now, "unknown")?;
                }
                Happened::Waits {
                    thread,
                    why,
                    waits_at,
                    ..
                } => {
                    if let Some(run) = run.as_mut().filter(|run| run.thread == *thread) {
                        run.waits = Some(format!("{why}, at {waits_at}"));
                    }
                }
                Happened::Ran { thread, ran } => {
                    let ended = run.take();
                    let ends = match (ran, ended.as_ref().and_then(|run| run.waits.as_deref())) {
                        _ if ended.as_ref().is_some_and(|run| run.thread != *thread) => "unknown",
                        (Ran::Yields, _) => "yield",
                        (Ran::Ends, _) => "end",
                        (Ran::Waits, why) => why.unwrap_or("a wait"),
                    };
                    self.slice(track, ended.as_ref(), now, ends)?;
                }
                Happened::Spawned { thread, .. } => {
                    self.leads_on(track, index, now, run.is_some(), ("spawn", *thread, 0))?;
                }
                Happened::Woken { thread, wait, by } => {
                    let how = match by {
                        Waker::Thread(_) => "wake",
                        Waker::Timer => "timer",
                        Waker::Cancellation => "cancel",
                        Waker::Deadlock => "deadlock",
                    };
                    self.leads_on(track, index, now, run.is_some(), (how, *thread, *wait))?;
                }
                Happened::Stolen { .. } | Happened::HandedOver { .. } | Happened::IsBack { .. } => {
                    let what = event.what.to_string();
                    let name = Quoted(&what);
                    self.event(
                        track,
                        'i',
                        format_args!("\"ts\":{now:.3},\"s\":\"t\",\"name\":{name}"),
                    )?;
                }
            }
        }
        self.slice(track, run.as_ref(), end.max(now), "it runs")
    }

    /// A run that has ended, if there is one.
    fn slice(
        &mut self,
        track: &Track,
        run: Option<&Run<'_>>,
        end: f64,
        ends: &str,
    ) -> io::Result<()> {
        let Some(run) = run else {
            return Ok(());
        };
        let thread = run.thread;
        let name = match run.name {
            Some(name) => Quoted(name).to_string(),
            None => format!("\"thread {thread}\""),
        };
        let (site, ends) = (Quoted(&run.spawned_at), Quoted(ends));
        let (begin, length) = (run.begin, end - run.begin);
        self.event(
            track,
            'X',
            format_args!(
                "\"ts\":{begin:.3},\"dur\":{length:.3},\"cat\":\"run\",\"name\":{name},\
                 \"args\":{{\"thread\":{thread},\"spawned at\":{site},\"ends with\":{ends}}}"
            ),
        )
    }

    /// What happens to a thread here and now leads to its next run: how, which thread, and the wait that it has been in last.
    fn leads_on(
        &mut self,
        track: &Track,
        index: usize,
        now: f64,
        is_in_run: bool,
        (how, thread, wait): (&str, u64, u64),
    ) -> io::Result<()> {
        if !is_in_run {
            let next = track.events.get(index + 1);
            let room = next.map_or(WAKE, |next| micros(next.seconds) - now);
            let length = room.clamp(0.0, WAKE);
            self.event(
                track,
                'X',
                format_args!(
                    "\"ts\":{now:.3},\"dur\":{length:.3},\"cat\":\"{how}\",\"name\":\"{how}\",\
                     \"args\":{{\"thread\":{thread}}}"
                ),
            )?;
        }
        let target = self.runs.after.get(&(track.runtime, thread, wait)).copied();
        let Some((tid, begin)) = target.filter(|_| now >= self.runs.complete_from) else {
            return Ok(());
        };
        self.arrows += 1;
        let id = self.arrows;
        let same = format!("\"id\":{id},\"cat\":\"{how}\",\"name\":\"{how}\"");
        self.event(track, 's', format_args!("\"ts\":{now:.3},{same}"))?;
        let pid = track.runtime + 1;
        // Two clocks may differ by a little.
        let begin = begin.max(now);
        self.text(format_args!(
            ",\n{{\"ph\":\"f\",\"bp\":\"e\",\"pid\":{pid},\"tid\":{tid},\"ts\":{begin:.3},{same}}}"
        ))
    }
}

/// A text as JSON has it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                '\0'..='\x1f' => write!(f, "\\u{:04x}", u32::from(character))?,
                _ => f.write_char(character)?,
            }
        }
        f.write_char('"')
    }
}
