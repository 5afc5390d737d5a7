//! How a runtime is built: as it is, and what else was thought of.

use serde::Serialize;

/// What is looked through for work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Looks {
    /// The queues, slots and timers of all workers, one after the other.
    AtAll,
    /// A word for each node, with a bit for each of its workers that has something for others, from the own node on; and a
    /// node's next timer. Who sleeps and who searches is known a node too. Who pushes wakes one of its own node; another one is woken
    /// by who has found work, and by who is busy each time that it looks around.
    AtNodes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Design {
    pub(crate) name: &'static str,
    /// Each green thread counts as a reference to the runtime, by one count for all.
    pub(crate) counts_references: bool,
    /// So many workers share a driver, each with its leader.
    pub(crate) workers_a_driver: usize,
    /// A descriptor follows its green thread to the driver of the worker that this runs on.
    pub(crate) hands_over: bool,
    pub(crate) looks: Looks,
    /// One worker of so many may search.
    pub(crate) search_share: usize,
    /// A thief takes one of so many; all but one are left where it is `usize::MAX`.
    pub(crate) steal_share: usize,
}

/// Workers of a node, of which a word tells.
pub(crate) const NODE: usize = 16;

/// As it is.
pub(crate) const TODAY: Design = Design {
    name: "today",
    counts_references: true,
    workers_a_driver: usize::MAX,
    hands_over: false,
    looks: Looks::AtAll,
    search_share: 2,
    steal_share: 2,
};

const NO_COUNT: Design = Design {
    name: "no count",
    counts_references: false,
    ..TODAY
};

/// What came of it.
pub(crate) const PROPOSED: Design = Design {
    name: "+ driver, words a node",
    workers_a_driver: NODE,
    looks: Looks::AtNodes,
    ..NO_COUNT
};

/// What is compared for all workloads.
pub(crate) const DESIGNS: [Design; 7] = [
    TODAY,
    NO_COUNT,
    Design {
        name: "+ driver a socket",
        workers_a_driver: 64,
        ..NO_COUNT
    },
    Design {
        name: "+ driver a node",
        workers_a_driver: NODE,
        ..NO_COUNT
    },
    Design {
        name: "+ words a node",
        looks: Looks::AtNodes,
        ..NO_COUNT
    },
    PROPOSED,
    Design {
        name: "+ driver a worker",
        workers_a_driver: 1,
        hands_over: true,
        looks: Looks::AtNodes,
        ..NO_COUNT
    },
];

/// The rules for who searches, and for how much is stolen, where nothing else stands in the way.
pub(crate) const RULES: [Design; 6] = [
    Design {
        name: "a half searches, a half is stolen",
        ..PROPOSED
    },
    Design {
        name: "an eighth searches",
        search_share: 8,
        ..PROPOSED
    },
    Design {
        name: "all may search",
        search_share: 1,
        ..PROPOSED
    },
    Design {
        name: "one of a node searches",
        search_share: NODE,
        ..PROPOSED
    },
    Design {
        name: "an eighth is stolen",
        steal_share: 8,
        ..PROPOSED
    },
    Design {
        name: "one is stolen",
        steal_share: usize::MAX,
        ..PROPOSED
    },
];
