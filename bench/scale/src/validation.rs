//! Whether the simulation is right where that can be seen: what two workers take to what one takes, here and simulated.

use anyhow::Result;
use serde::Serialize;

use crate::costs::{Assumed, Costs, Range};
use crate::design::TODAY;
use crate::real::{self, Took};
use crate::simulation::{Plan, run};
use crate::workload::{Kind, Work};

const ROUNDS: usize = 7;

/// What the simulated cores can do, those here can too: nobody is from outside, nor are there clients.
const CASES: [(&str, Kind); 4] = [
    ("skynet, 100,000 leaves", Kind::Skynet { levels: 5 }),
    (
        "2 producers, tasks of 2 us",
        Kind::Producers {
            producers: 2,
            tasks: 20_000,
            ns: 2_000.0,
        },
    ),
    (
        "64 pairs that exchange messages",
        Kind::Pairs {
            pairs: 64,
            messages: 200,
        },
    ),
    (
        "400 sleepers, up to 10 ms",
        Kind::Sleepers {
            threads: 400,
            naps: 40,
            most_ns: 1e7,
            ns: 2_000.0,
        },
    ),
];

#[derive(Debug, Serialize)]
pub(crate) struct Validation {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// With one worker and with two.
    pub(crate) real: [Took; 2],
    pub(crate) simulated: [Took; 2],
    /// Two runtimes of one worker each at the same time: what the machine lets two have.
    pub(crate) apart: Took,
}

/// What two take to what one takes: by the clock, and of processors.
pub(crate) fn ratios([one, two]: [Took; 2]) -> [f64; 2] {
    [two.ns / one.ns, two.cpu_ns / one.cpu_ns]
}

pub(crate) fn validate(costs: Costs, tell: fn(&str)) -> Result<Vec<Validation>> {
    let cases = CASES.into_iter();
    cases
        .map(|(name, kind)| {
            tell(&format!("{name}, on this machine"));
            let pieces = Work::new(kind, 0).all().unwrap_or(0);
            let [one, two, apart] = real::run(kind, pieces, ROUNDS)?;
            let simulated = [1, 2].map(|workers| {
                Took::simulated(&run(&Plan {
                    kind,
                    workers,
                    design: TODAY,
                    costs,
                    assumed: Assumed::of(Range::Middle),
                    window: None,
                }))
            });
            Ok(Validation {
                name,
                kind,
                real: [one, two],
                simulated,
                apart,
            })
        })
        .collect()
}
