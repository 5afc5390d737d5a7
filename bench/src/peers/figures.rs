//! What was measured: every figure of every round, and their medians.

use super::cell::Measured;
use super::rows::{Figure, Row};
use serde::Serialize;
use std::collections::BTreeMap;

/// A row, with what was measured of each program.
#[derive(Debug, Serialize)]
pub(super) struct RowResults {
    pub(super) name: String,
    #[serde(skip)]
    pub(super) figures: &'static [Figure],
    /// By program, and by figure, every round.
    pub(super) samples: Vec<BTreeMap<String, Vec<f64>>>,
    /// By program: why there are no figures.
    pub(super) notes: Vec<Option<String>>,
}

impl RowResults {
    pub(super) fn new(row: &Row, programs: usize) -> Self {
        Self {
            name: row.name.clone(),
            figures: row.figures,
            samples: vec![BTreeMap::new(); programs],
            notes: vec![None; programs],
        }
    }

    pub(super) fn add(&mut self, program: usize, measured: Measured) {
        match measured {
            Measured::Figures(figures) => {
                for (key, value) in figures {
                    self.samples[program].entry(key).or_default().push(value);
                }
            }
            Measured::Note(note) => self.notes[program] = Some(note),
        }
    }

    /// The median of a program's figure.
    pub(super) fn median(&self, program: usize, key: &str) -> Option<f64> {
        median(self.samples[program].get(key)?)
    }

    /// What was measured of a program last, for the log.
    pub(super) fn latest(&self, program: usize) -> String {
        if let Some(note) = &self.notes[program] {
            return note.clone();
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
    fn numbers_are_short() {
        let shown = [0.0, 0.1234, 1.234, 12.34, 123.4, 12_345.6].map(short);
        assert_eq!(shown, ["0", "0.123", "1.23", "12.3", "123", "12,346"]);
    }
}
