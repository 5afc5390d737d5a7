//! Latencies: the histogram that every load process fills and that is merged from all of them.

use hdrhistogram::Histogram;

/// Nanoseconds of the longest latency that is told apart from longer ones: ten minutes, longer than
/// anything is awaited.
const LONGEST_NS: u64 = 600_000_000_000;

/// Latencies in nanoseconds, to three digits.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Latencies {
        Latencies(
            Histogram::new_with_bounds(1, LONGEST_NS, 3)
                .expect("the bounds are constant and in order"),
        )
    }

    /// Adds one latency, `times` times.
    pub(crate) fn add(&mut self, nanoseconds: u64, times: u64) {
        self.0.saturating_record_n(nanoseconds, times);
    }

    /// The distinct latencies, and how often each was met.
    pub(crate) fn counts(&self) -> Vec<(u64, u64)> {
        self.0
            .iter_recorded()
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
            .collect()
    }

    /// The microseconds that the fraction `quantile` of all latencies do not exceed; `None` when
    /// there are none.
    pub(crate) fn microseconds_at(&self, quantile: f64) -> Option<f64> {
        if self.0.is_empty() {
            return None;
        }
        Some(self.0.value_at_quantile(quantile) as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_survive_the_way_between_processes() {
        let (mut first, mut second) = (Latencies::new(), Latencies::new());
        for i in 1..=1_000u64 {
            first.add(i * 1_000, 1);
            second.add(i * 1_000_000, 1);
        }
        let mut merged = Latencies::new();
        for (nanoseconds, times) in first.counts().into_iter().chain(second.counts()) {
            merged.add(nanoseconds, times);
        }
        let near = |quantile, expected: f64| {
            let found = merged.microseconds_at(quantile).unwrap();
            assert!(
                (found / expected - 1.0).abs() < 0.003,
                "{quantile}: {found} and not {expected}"
            );
        };
        near(0.25, 500.0);
        near(0.5, 1_000.0);
        near(0.75, 500_000.0);
        near(1.0, 1_000_000.0);
    }

    #[test]
    fn seconds_are_kept_and_hours_are_not_lost() {
        let mut latencies = Latencies::new();
        latencies.add(25_000_000_000, 1);
        assert!((latencies.microseconds_at(0.5).unwrap() / 25e6 - 1.0).abs() < 0.001);
        latencies.add(u64::MAX, 1);
        assert!(latencies.microseconds_at(1.0).unwrap() >= 600e6);
        assert_eq!(
            latencies
                .counts()
                .iter()
                .map(|(_, times)| times)
                .sum::<u64>(),
            2
        );
    }

    #[test]
    fn no_latency_has_no_quantile() {
        assert_eq!(Latencies::new().microseconds_at(0.99), None);
    }
}
