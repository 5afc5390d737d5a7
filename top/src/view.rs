//! What is shown of what was seen: which threads in which order, which one is marked, and what has changed.

use std::cmp::Ordering;
use std::collections::HashMap;

use anyhow::Result;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::console::{Look, Stack, State, Thread};

/// By what threads are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Those that run first, and of those in one state the ones that have been in it for longest.
    State,
    Time,
    Seen,
    Number,
    Why,
    Site,
}

impl Sort {
    const ALL: [Self; 6] = [
        Self::State,
        Self::Time,
        Self::Seen,
        Self::Number,
        Self::Why,
        Self::Site,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Time => "time in it",
            Self::Seen => "seen running",
            Self::Number => "number",
            Self::Why => "reason",
            Self::Site => "spawn site",
        }
    }

    fn next(self) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self);
        Self::ALL[(at.unwrap_or(0) + 1) % Self::ALL.len()]
    }
}

/// In how many looks a thread was there, and how many of them have seen it run.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    looks: u32,
    running: u32,
    last_look: u64,
}

/// What a worker has done from the last look but one to the last.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Lately {
    /// From 0 to 1.
    pub(crate) busy: f64,
    pub(crate) runs_a_second: f64,
}

/// The stack of a thread, as far as it is known.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) id: u64,
    /// `None` while nobody has answered.
    pub(crate) stack: Option<Result<Stack, String>>,
    pub(crate) scrolled: usize,
}

/// What a key asks for that the view cannot do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Nothing,
    Stack(u64),
    End,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) look: Look,
    before: Option<Look>,
    looks: u64,
    seen: HashMap<u64, Seen>,
    pub(crate) sort: Sort,
    pub(crate) reversed: bool,
    pub(crate) paused: bool,
    /// The number of the thread that is marked, wherever it comes to stand; without one the first row is.
    marked: Option<u64>,
    /// The first row of the threads that was drawn, and how many there is room for.
    pub(crate) top: usize,
    pub(crate) rows: usize,
    pub(crate) shown: Option<Shown>,
}

impl View {
    pub(crate) fn new(look: Look) -> Self {
        let mut view = Self {
            look: Look::default(),
            before: None,
            looks: 0,
            seen: HashMap::new(),
            sort: Sort::State,
            reversed: false,
            paused: false,
            marked: None,
            top: 0,
            rows: 0,
            shown: None,
        };
        view.take(look);
        view.before = None;
        view
    }

    /// What was seen now, unless the screen stands still.
    pub(crate) fn update(&mut self, look: Look) {
        if !self.paused {
            self.take(look);
        }
    }

    fn take(&mut self, look: Look) {
        self.before = Some(std::mem::replace(&mut self.look, look));
        self.looks += 1;
        for thread in &self.look.threads {
            let seen = self.seen.entry(thread.id).or_default();
            seen.looks += 1;
            seen.running += u32::from(thread.state == State::Running);
            seen.last_look = self.looks;
        }
        self.seen.retain(|_, seen| seen.last_look == self.looks);
        self.arrange();
    }

    fn arrange(&mut self) {
        let (sort, reversed, seen) = (self.sort, self.reversed, &self.seen);
        self.look.threads.sort_by(|a, b| {
            let order = compare(sort, a, b, seen).then(a.id.cmp(&b.id));
            if reversed { order.reverse() } else { order }
        });
        // It may have ended.
        self.marked.take_if(|id| !self.seen.contains_key(id));
    }

    /// In which part of the looks the thread was seen running, from 0 to 1.
    pub(crate) fn seen_running(&self, thread: &Thread) -> f64 {
        share(&self.seen, thread)
    }

    /// What a worker has lately done; all that it has ever done after the first look.
    pub(crate) fn lately(&self, runtime: usize, worker: usize) -> Lately {
        let worker_in = |look: &Look| look.runtimes.get(runtime)?.workers.get(worker).cloned();
        let Some(now) = worker_in(&self.look) else {
            return Lately::default();
        };
        let before = self.before.as_ref().and_then(worker_in).unwrap_or_default();
        let (busy, idle) = (now.busy - before.busy, now.idle - before.idle);
        let passed = (busy + idle).max(1e-9);
        Lately {
            busy: (busy / passed).clamp(0.0, 1.0),
            runs_a_second: now.runs.saturating_sub(before.runs) as f64 / passed,
        }
    }

    /// The row of the thread that is marked.
    pub(crate) fn marked_row(&self) -> usize {
        let is_marked = |thread: &Thread| Some(thread.id) == self.marked;
        self.look.threads.iter().position(is_marked).unwrap_or(0)
    }

    fn mark(&mut self, row: usize) {
        let last = self.look.threads.len().saturating_sub(1);
        self.marked = self.look.threads.get(row.min(last)).map(|thread| thread.id);
    }

    /// The stack of a thread has come, if that is still wanted.
    pub(crate) fn show_stack(&mut self, id: u64, stack: Result<Stack>) {
        if let Some(shown) = self.shown.as_mut().filter(|shown| shown.id == id) {
            shown.stack = Some(stack.map_err(|error| format!("{error:#}")));
        }
    }

    /// Does what a key is for.
    pub(crate) fn press(&mut self, key: KeyEvent) -> Asked {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if key.code == KeyCode::Char('q') || key.code == KeyCode::Char('c') && is_control {
            return Asked::End;
        }
        if let Some(shown) = &mut self.shown {
            match key.code {
                KeyCode::Esc | KeyCode::Enter => self.shown = None,
                KeyCode::Up | KeyCode::Char('k') => {
                    shown.scrolled = shown.scrolled.saturating_sub(1)
                }
                KeyCode::Down | KeyCode::Char('j') => shown.scrolled += 1,
                KeyCode::PageUp => shown.scrolled = shown.scrolled.saturating_sub(10),
                KeyCode::PageDown => shown.scrolled += 10,
                _ => {}
            }
            return Asked::Nothing;
        }
        let (row, page) = (self.marked_row(), self.rows.max(1));
        match key.code {
            KeyCode::Esc => return Asked::End,
            KeyCode::Up | KeyCode::Char('k') => self.mark(row.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.mark(row + 1),
            KeyCode::PageUp => self.mark(row.saturating_sub(page)),
            KeyCode::PageDown => self.mark(row + page),
            KeyCode::Home => self.marked = None,
            KeyCode::End => self.mark(usize::MAX),
            KeyCode::Char('s') => {
                self.sort = self.sort.next();
                self.arrange();
            }
            KeyCode::Char('r') => {
                self.reversed = !self.reversed;
                self.arrange();
            }
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Enter => {
                if let Some(id) = self.look.threads.get(row).map(|thread| thread.id) {
                    self.shown = Some(Shown {
                        id,
                        stack: None,
                        scrolled: 0,
                    });
                    return Asked::Stack(id);
                }
            }
            _ => {}
        }
        Asked::Nothing
    }
}

fn share(seen: &HashMap<u64, Seen>, thread: &Thread) -> f64 {
    seen.get(&thread.id)
        .map_or(0.0, |seen| f64::from(seen.running) / f64::from(seen.looks))
}

fn compare(sort: Sort, a: &Thread, b: &Thread, seen: &HashMap<u64, Seen>) -> Ordering {
    let time = |thread: &Thread| thread.seconds.unwrap_or(0.0);
    let longer = || time(b).total_cmp(&time(a));
    match sort {
        Sort::State => a.state.cmp(&b.state).then_with(longer),
        Sort::Time => longer(),
        Sort::Seen => share(seen, b).total_cmp(&share(seen, a)),
        Sort::Number => Ordering::Equal,
        Sort::Why => a.why.cmp(&b.why).then_with(longer),
        Sort::Site => a.spawned_at.cmp(&b.spawned_at).then_with(longer),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::console::{Runtime, Worker};

    pub(crate) fn thread(id: u64, state: State, seconds: f64) -> Thread {
        Thread {
            id,
            state,
            seconds: Some(seconds),
            spawned_at: format!("src/main.rs:{id}:1"),
            worker: (state == State::Running).then_some(0),
            why: (state == State::Parked).then(|| "park".to_owned()),
            ..Thread::default()
        }
    }

    pub(crate) fn look(threads: Vec<Thread>, busy: f64) -> Look {
        let worker = Worker {
            busy,
            idle: 1.0,
            runs: (busy * 100.0) as u64,
            ..Worker::default()
        };
        Look {
            pid: 17,
            runtimes: vec![Runtime {
                uptime: 12.3,
                alive: threads.len(),
                workers: vec![worker],
                ..Runtime::default()
            }],
            threads,
            left_out: 0,
        }
    }

    fn some() -> Vec<Thread> {
        vec![
            thread(1, State::Parked, 5.0),
            thread(2, State::Runnable, 0.1),
            thread(3, State::Parked, 7.0),
            thread(4, State::Running, 1.0),
        ]
    }

    fn order(view: &View) -> Vec<u64> {
        view.look.threads.iter().map(|thread| thread.id).collect()
    }

    #[test]
    fn threads_are_sorted_as_it_is_asked_for() {
        let mut view = View::new(look(some(), 1.0));
        let mut orders = vec![order(&view)];
        for _ in 0..3 {
            view.press(KeyCode::Char('s').into());
            orders.push(order(&view));
        }
        let by = [[4, 2, 3, 1], [3, 1, 4, 2], [4, 1, 2, 3], [1, 2, 3, 4]];
        assert_eq!(orders, by);
        view.press(KeyCode::Char('r').into());
        assert_eq!(order(&view), [4, 3, 2, 1]);
    }

    #[test]
    fn the_mark_stays_with_its_thread() {
        let mut view = View::new(look(some(), 1.0));
        view.press(KeyCode::Down.into());
        assert_eq!((view.marked, view.marked_row()), (Some(2), 1));
        view.press(KeyCode::Char('s').into());
        assert_eq!((view.marked, view.marked_row()), (Some(2), 3));
        assert_eq!(view.press(KeyCode::Enter.into()), Asked::Stack(2));
        view.show_stack(3, Ok(Stack::default()));
        assert!(
            view.shown.as_ref().unwrap().stack.is_none(),
            "that of another"
        );
        view.show_stack(2, Ok(Stack::default()));
        assert!(view.shown.as_ref().unwrap().stack.is_some());
        assert_eq!(view.press(KeyCode::Esc.into()), Asked::Nothing);
        assert_eq!(view.press(KeyCode::Esc.into()), Asked::End);
        view.update(look(vec![thread(9, State::Parked, 1.0)], 1.0));
        assert_eq!(
            (view.marked, view.marked_row()),
            (None, 0),
            "its thread has ended"
        );
        assert_eq!(view.press(KeyCode::Enter.into()), Asked::Stack(9));
        view.press(KeyCode::Enter.into());
        view.update(look(Vec::new(), 1.0));
        assert_eq!(view.press(KeyCode::Enter.into()), Asked::Nothing);
    }

    #[test]
    fn what_was_done_lately_is_the_difference_of_two_looks() {
        let mut view = View::new(look(some(), 1.0));
        assert_eq!(view.lately(0, 0).busy, 0.5);
        let mut later = look(some(), 4.0);
        later.runtimes[0].workers[0].idle = 2.0;
        view.update(later);
        let lately = view.lately(0, 0);
        assert_eq!((lately.busy, lately.runs_a_second), (0.75, 75.0));
        assert_eq!(view.lately(7, 7), Lately::default());
        view.press(KeyCode::Char('p').into());
        view.update(look(Vec::new(), 9.0));
        assert_eq!(order(&view).len(), 4, "the screen stands still");
    }

    #[test]
    fn who_is_seen_running_is_counted() {
        let mut view = View::new(look(some(), 1.0));
        view.update(look(vec![thread(4, State::Parked, 0.0)], 1.0));
        assert_eq!(view.seen_running(&view.look.threads[0]), 0.5);
        assert_eq!(view.seen.len(), 1, "the others have ended");
    }
}
