//! What must be so of every simulation.

use crate::clock::Time;
use crate::costs::{Assumed, Costs, Range, STORED};
use crate::design::{DESIGNS, RULES, TODAY};
use crate::simulation::{Outcome, Plan, run};
use crate::workload::{Kind, Work};
use crate::world::On;

const KINDS: [Kind; 6] = [
    Kind::Skynet { levels: 3 },
    Kind::Producers {
        producers: 2,
        tasks: 500,
        ns: 2_000.0,
    },
    Kind::Injected {
        producers: 3,
        tasks: 400,
        ns: 2_000.0,
    },
    Kind::Echo {
        connections: 100,
        requests: 20,
        think_ns: 50_000.0,
        ns: 1_000.0,
    },
    Kind::Pairs {
        pairs: 20,
        messages: 30,
    },
    Kind::Sleepers {
        threads: 100,
        naps: 20,
        most_ns: 300_000.0,
        ns: 2_000.0,
    },
];

fn costs() -> Costs {
    serde_json::from_str(STORED).expect("it is what `--measure` writes")
}

fn plan(kind: Kind, workers: usize) -> Plan {
    Plan {
        kind,
        workers,
        design: TODAY,
        costs: costs(),
        assumed: Assumed::of(Range::Middle),
        window: None,
    }
}

/// Those that end.
fn all() -> impl Iterator<Item = Plan> {
    let of_kind = |kind| {
        let sizes = [1, 2, 7, 40, 200].into_iter();
        let of_size = move |workers| {
            let plan = plan(kind, workers);
            DESIGNS.map(|design| Plan { design, ..plan })
        };
        let rules = RULES.map(|design| Plan {
            design,
            ..plan(kind, 30)
        });
        sizes.flat_map(of_size).chain(rules)
    };
    KINDS.into_iter().flat_map(of_kind)
}

#[test]
fn nothing_is_lost_or_done_twice_and_all_time_is_spent_or_slept() {
    for plan in all() {
        let outcome = run(&plan);
        let all = Work::new(plan.kind, 0).all();
        assert_eq!(Some(outcome.done), all, "{plan:?}");
        assert_eq!(outcome.unaccounted, 0, "{plan:?}");
        let work = outcome.shares[On::Work as usize];
        assert!(work <= 1.0, "{work} of what all cores can do: {plan:?}");
    }
}

#[test]
fn the_same_plan_gives_the_same() {
    let of = |outcome: Outcome| serde_json::to_string(&outcome).expect("it can be written");
    for kind in KINDS {
        assert_eq!(of(run(&plan(kind, 16))), of(run(&plan(kind, 16))));
    }
}

/// What is done is worth as much everywhere: the work itself takes the same time with any number of cores.
#[test]
fn the_work_is_the_same_with_any_number_of_cores() {
    for kind in KINDS {
        let work = |workers| {
            let outcome = run(&plan(kind, workers));
            outcome.shares[On::Work as usize] * outcome.ns as f64 * workers as f64
        };
        let (one, many) = (work(1), work(64));
        assert!(
            (one - many).abs() <= one * 1e-6,
            "{kind:?}: {one} and {many}"
        );
    }
}

/// Nobody else has a line that one core touches, and nothing comes from elsewhere.
#[test]
fn one_core_takes_the_sum_of_what_is_done() {
    let costs = costs();
    let tasks = 2_000;
    let outcome = run(&plan(
        Kind::Producers {
            producers: 1,
            tasks,
            ns: 5_000.0,
        },
        1,
    ));
    // Each: spawned, pushed, popped, switched to, run, ended; its queue's line and what shows that it runs.
    let each =
        costs.spawn + costs.push_pop + costs.switch + 5_000.0 + costs.end + 3.0 * costs.locked;
    let sum = each * tasks as f64;
    let ns = outcome.ns as f64;
    assert!(ns >= sum && ns <= sum * 1.02, "{ns} for {sum}");
    let moving = outcome.shares[On::Moving as usize];
    assert!(moving == 0.0, "{moving} of the time for what is here");
}

#[test]
fn who_wakes_is_not_before_the_time() {
    let plan = plan(
        Kind::Sleepers {
            threads: 1,
            naps: 50,
            most_ns: 1e6,
            ns: 0.0,
        },
        4,
    );
    let outcome = run(&plan);
    let lateness: Time = outcome.p50_ns.expect("it has slept");
    assert!(
        lateness as f64 >= plan.costs.wake_up,
        "nobody wakes at once"
    );
}
