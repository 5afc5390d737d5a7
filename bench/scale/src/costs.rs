//! What everything costs, in nanoseconds, and where the figures are from.

use serde::{Deserialize, Serialize};

/// Costs on one core with warm caches, but for what is said of them. What a line costs that is elsewhere comes on top.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Costs {
    /// A locked instruction on a line that this core has.
    pub(crate) locked: f64,
    /// A fence that orders stores and loads.
    pub(crate) fence: f64,
    /// Another core's queue is looked at, whose line this core has.
    pub(crate) look: f64,
    /// A green thread is pushed to the own queue, and popped.
    pub(crate) push_pop: f64,
    /// A batch is stolen; and each thread in it.
    pub(crate) steal: f64,
    pub(crate) steal_each: f64,
    /// A green thread is pushed to the injector, and is taken from it.
    pub(crate) inject: f64,
    pub(crate) take_injected: f64,
    /// A switch to a green thread and back.
    pub(crate) switch: f64,
    /// A green thread is spawned, and ends; without push, pop and switch.
    pub(crate) spawn: f64,
    pub(crate) end: f64,
    /// A wait ends: the ticket is taken and fired.
    pub(crate) fire: f64,
    /// A timer is armed, and expires, among some hundred.
    pub(crate) timer: f64,
    /// A green thread receives a request and answers it on a loopback connection: both system calls, and what its wait takes apart
    /// from the event, the queue and the switch.
    pub(crate) request: f64,
    /// `epoll_wait`, and each event of it.
    pub(crate) epoll_wait: f64,
    pub(crate) epoll_event: f64,
    /// A descriptor is taken out of one epoll instance and put into another.
    pub(crate) hand_over: f64,
    /// A sleeping OS thread is woken: what it costs the one who wakes, and how long until the other runs.
    pub(crate) unpark: f64,
    pub(crate) wake_up: f64,
    /// To fall asleep, and to be awake again, apart from that.
    pub(crate) park: f64,
    /// A line comes from the other core here.
    pub(crate) transfer: f64,
}

/// Those that `docs/performance.md` was written with, of this program's `--measure`.
pub(crate) const STORED: &str = include_str!("../costs.json");

/// What cannot be measured on two cores. How many lines there are was chosen by what two cores take for the same work.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Assumed {
    /// A line comes from a core of the same complex (8 cores), of the same socket (64), of another socket.
    pub(crate) transfer: [f64; 3],
    /// What it costs to wake an OS thread, how long until it runs, what its falling asleep costs. Here these are several times as much,
    /// since each interrupt of another core and each timer leaves a virtual machine that is itself in one.
    pub(crate) sleep: [f64; 3],
    /// So many lines come to whoever takes an event: of the socket, its entry in the epoll instance, its registration, the green thread.
    pub(crate) lines_an_event: f64,
    /// So many lines follow a green thread that runs on another core than before: stack, control block, socket.
    pub(crate) lines_a_move: f64,
    /// So many come from the core that a message came on: of the socket, and the message.
    pub(crate) lines_a_message: f64,
    /// So many of the lines that follow come at the same time.
    pub(crate) overlap: f64,
}

/// The range in which the assumed may lie. Published figures of latency from core to core lie within it for the
/// server processors of these years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Range {
    Low,
    Middle,
    High,
}

impl Assumed {
    pub(crate) fn of(range: Range) -> Self {
        let of = |transfer, sleep, lines: [f64; 3]| Self {
            transfer,
            sleep,
            lines_an_event: lines[0],
            lines_a_move: lines[1],
            lines_a_message: lines[2],
            overlap: 2.0,
        };
        match range {
            Range::Low => of(
                [25.0, 60.0, 130.0],
                [1_000.0, 3_000.0, 1_500.0],
                [4.0, 16.0, 32.0],
            ),
            Range::Middle => of(
                [40.0, 100.0, 220.0],
                [2_000.0, 6_000.0, 3_000.0],
                [8.0, 32.0, 64.0],
            ),
            Range::High => of(
                [60.0, 160.0, 400.0],
                [12_000.0, 22_000.0, 22_000.0],
                [16.0, 64.0, 128.0],
            ),
        }
    }
}

impl Costs {
    /// With what it costs to sleep on a machine that is none in another one.
    pub(crate) fn elsewhere(self, assumed: &Assumed) -> Self {
        let [unpark, wake_up, park] = assumed.sleep;
        Self {
            unpark,
            wake_up,
            park,
            ..self
        }
    }
}
