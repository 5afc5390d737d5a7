//! Cores, and the lines of their caches.
//!
//! A line is had by the core that has written it last, and by those that have read it since. Reading it is free for
//! these, and writing it for the only one. Else it comes from whoever is farthest, and while it comes to one that writes no other
//! gets it: that is what a lock, a counter and a queue's end are to many cores. To readers it goes one after the other, a little faster.

use std::cell::Cell;

use crate::clock::Time;

pub(crate) const CORES_A_COMPLEX: usize = 8;
pub(crate) const CORES_A_SOCKET: usize = 64;
/// Four sockets.
pub(crate) const MOST_CORES: usize = 256;

/// While a line goes to one that reads, no other gets it for so long.
const READ_OCCUPIES: Time = 10;

/// What it takes a line to come from one core to another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Distances(pub(crate) [Time; 3]);

impl Distances {
    pub(crate) fn between(&self, one: usize, other: usize) -> Time {
        let [complex, socket, sockets] = self.0;
        if one == other {
            0
        } else if one / CORES_A_COMPLEX == other / CORES_A_COMPLEX {
            complex
        } else if one / CORES_A_SOCKET == other / CORES_A_SOCKET {
            socket
        } else {
            sockets
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

#[derive(Debug, Default)]
pub(crate) struct Line {
    owner: Cell<usize>,
    holders: Cell<[u64; MOST_CORES / CORES_A_SOCKET]>,
    free_at: Cell<Time>,
}

impl Line {
    /// Whether the core has it as it needs it.
    pub(crate) fn is_at(&self, core: usize, access: Access) -> bool {
        let holders = self.holders.get();
        let mut alone = [0; _];
        alone[core / CORES_A_SOCKET] = 1 << (core % CORES_A_SOCKET);
        match access {
            Access::Read => holders[core / CORES_A_SOCKET] & alone[core / CORES_A_SOCKET] != 0,
            Access::Write => holders == alone,
        }
    }

    /// The core asks for it now; when it has it.
    pub(crate) fn fetch(
        &self,
        core: usize,
        access: Access,
        now: Time,
        distances: &Distances,
    ) -> Time {
        if self.is_at(core, access) {
            return now;
        }
        let (socket, bit) = (core / CORES_A_SOCKET, 1 << (core % CORES_A_SOCKET));
        let mut holders = self.holders.get();
        let begin = now.max(self.free_at.get());
        let cost = match access {
            Access::Read => distances
                .between(self.owner.get(), core)
                .max(distances.0[0]),
            Access::Write => self.farthest(core, distances),
        };
        match access {
            Access::Read => holders[socket] |= bit,
            Access::Write => {
                holders = [0; _];
                holders[socket] = bit;
                self.owner.set(core);
            }
        }
        self.holders.set(holders);
        let occupied = match access {
            Access::Read => READ_OCCUPIES,
            Access::Write => cost,
        };
        self.free_at.set(begin + occupied);
        begin + cost
    }

    /// What it takes to take it from all who have it.
    fn farthest(&self, core: usize, distances: &Distances) -> Time {
        let holders = self.holders.get();
        let socket = core / CORES_A_SOCKET;
        let complex = 0xff << (core % CORES_A_SOCKET / CORES_A_COMPLEX * CORES_A_COMPLEX);
        let of_others = |(index, word): (usize, &u64)| index != socket && *word != 0;
        if holders.iter().enumerate().any(of_others) {
            distances.0[2]
        } else if holders[socket] & !complex != 0 {
            distances.0[1]
        } else {
            distances.0[0]
        }
    }
}
