//! What was measured: every figure of every round, and their medians.

use super::cell::Measured;
use super::rows::{Figure, Row};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A row, with what was measured of each program.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RowResults {
    pub(super) name: String,
    /// Those of the row of that name.
    #[serde(skip)]
    pub(super) figures: &'static [Figure],
    /// By program, and by figure, every round.
    pub(super) samples: Vec<BTreeMap<String, Vec<f64>>>,
    /// By program: why there are no figures, or what they are of.
    pub(super) notes: Vec<Option<String>>,
    /// Programs whose figures are of other work.
    #[serde(default)]
    pub(super) others: BTreeSet<usize>,
}

impl RowResults {
    pub(super) fn new(row: &Row, programs: usize) -> Self {
        Self {
            name: row.name.clone(),
            figures: row.figures,
            samples: vec![BTreeMap::new(); programs],
            notes: vec![None; programs],
            others: BTreeSet::new(),
        }
    }

    pub(super) fn add(&mut self, program: usize, measured: Measured) {
        // Where nothing was answered there is no time an answer, and a file of results has none.
        let figures = measured.figures.into_iter();
        for (key, value) in figures.filter(|(_, value)| value.is_finite()) {
            self.samples[program].entry(key).or_default().push(value);
        }
        if measured.is_other {
            self.others.insert(program);
        }
        // Why it is less was found out in the first round.
        if self.notes[program].is_none() {
            self.notes[program] = measured.note;
        }
    }

    /// Whether a program was measured, or tried.
    pub(super) fn has(&self, program: usize) -> bool {
        !self.samples[program].is_empty() || self.notes[program].is_some()
    }

    /// Whether a program could not do it at all.
    pub(super) fn is_impossible(&self, program: usize) -> bool {
        self.samples[program].is_empty() && self.notes[program].is_some()
    }

    /// The median of a program's figure.
    pub(super) fn median(&self, program: usize, key: &str) -> Option<f64> {
        median(self.samples[program].get(key)?)
    }

    /// The same, if it is of the same work as those of the others.
    pub(super) fn comparable(&self, program: usize, key: &str) -> Option<f64> {
        let median = self.median(program, key);
        median.filter(|_| !self.others.contains(&program))
    }

    /// What was measured of a program last, for the log.
    pub(super) fn latest(&self, program: usize) -> String {
        if self.is_impossible(program) {
            return self.notes[program].clone().unwrap_or_default();
        }
        let samples = self.samples[program].iter();
        let last = samples.filter_map(|(key, all)| Some(format!("{key} {}", short(*all.last()?))));
        last.collect::<Vec<_>>().join(", ")
    }
}

pub(super) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        _ if sorted.is_empty() => None,
        0 => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        _ => Some(sorted[middle]),
    }
}

/// A number in three or four digits.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size < 1.0 => format!("{value:.3}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => crate::connections::progress::grouped(value.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn what_is_kept_can_be_read() {
        let row = &crate::peers::rows::rows(true)[0];
        let mut results = RowResults::new(row, 2);
        let figures = [("ns", 1.5), ("cpu_us", f64::INFINITY), ("p50_us", f64::NAN)];
        results.add(
            1,
            Measured {
                figures: figures.map(|(key, value)| (key.to_owned(), value)).into(),
                note: Some("less".into()),
                is_other: true,
            },
        );
        let json = serde_json::to_string(&results).unwrap();
        let read: RowResults = serde_json::from_str(&json).unwrap();
        assert_eq!(read.median(1, "ns"), Some(1.5));
        assert_eq!(read.comparable(1, "ns"), None);
        assert_eq!(read.median(1, "cpu_us"), None);
        assert!(read.has(1) && !read.has(0) && !read.is_impossible(1));
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.1234, 1.234, 12.34, 123.4, 12_345.6].map(short);
        assert_eq!(shown, ["0", "0.123", "1.23", "12.3", "123", "12,346"]);
    }
}
