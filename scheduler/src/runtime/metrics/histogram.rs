//! Times by their length: [`Histogram`].

use std::fmt;
use std::iter;
use std::time::Duration;

use crate::run::counts::Times;
use crate::run::ticks;

/// How many times of each length there were: a part of [`Metrics`](super::Metrics).
///
/// The lengths are those of its buckets, each twice as long as the one before, from some dozens of nanoseconds to some
/// minute; the last one is for all that is longer. Where they begin depends on the processor's counter, by which the
/// times are taken; on one machine it is always the same. What goes into a histogram is a sample.
///
/// # Examples
///
/// ```
/// use roving::{Handle, thread};
///
/// thread::spawn(|| (0..1000).for_each(|_| thread::yield_now())).join().unwrap();
/// let runs = Handle::current()?.metrics().run_lengths;
/// for (below, count) in runs.buckets().filter(|(_, count)| *count > 0) {
///     println!("{count} runs took less than {below:?}");
/// }
/// assert!(runs.count() > 0);
/// assert!(runs.quantile(0.5) <= runs.quantile(0.99));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Histogram {
    buckets: Vec<Bucket>,
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    sum: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
struct Bucket {
    /// All in it are shorter; in the last one, whatever there is.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    below: Duration,
    count: u64,
}

/// As JSON and most others have times.
#[cfg(feature = "serde")]
pub(super) fn seconds<S: serde::Serializer>(
    time: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

impl Histogram {
    /// All that has been measured by these.
    pub(super) fn of<'a>(all: impl Iterator<Item = &'a Times>) -> Self {
        let (mut counts, mut sum) = ([0; Times::LENGTHS], 0_u64);
        for times in all {
            iter::zip(&mut counts, times.counts()).for_each(|(sum, count)| *sum += count);
            sum = sum.saturating_add(times.sum());
        }
        let bucket = |(place, count)| Bucket {
            below: if place + 1 < Times::LENGTHS {
                ticks::time(Times::bound(place))
            } else {
                Duration::MAX
            },
            count,
        };
        Self {
            buckets: counts.into_iter().enumerate().map(bucket).collect(),
            sum: ticks::time(sum),
        }
    }

    /// Returns how many times it has.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.count).sum()
    }

    /// Returns all its times together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Returns the buckets, from the shortest on: what times in it are shorter than, and how many there are. The last one has
    /// all that are longer, below [`Duration::MAX`].
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        self.buckets
            .iter()
            .map(|bucket| (bucket.below, bucket.count))
    }

    /// Returns what such a share of the times, from 0 to 1, are shorter than, as exactly as the buckets tell; `None` if it has
    /// none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = (self.count() as f64 * share.clamp(0.0, 1.0)).max(1.0);
        let mut seen = 0;
        let mut buckets = self.buckets();
        let found = buckets.find(|(_, count)| {
            seen += count;
            seen as f64 >= wanted
        });
        found.map(|(below, _)| below)
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quantiles = [0.5, 0.99, 1.0].map(|share| self.quantile(share));
        match quantiles {
            [Some(half), Some(most), Some(all)] => write!(
                f,
                "half below {half:.1?}, 99 % below {most:.1?}, all below {all:.1?} (of {} that were timed)",
                self.count()
            ),
            _ => f.write_str("none was timed"),
        }
    }
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_bound_of_the_bucket_that_it_is_in() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        let histogram = Histogram {
            buckets: [(1, 98), (2, 0), (4, 1), (8, 1)]
                .map(|(below, count)| Bucket {
                    below: Duration::from_secs(below),
                    count,
                })
                .into(),
            sum: Duration::ZERO,
        };
        let told = [0.0, 0.5, 0.98, 0.99, 1.0].map(|share| histogram.quantile(share).unwrap());
        assert_eq!(told.map(|time| time.as_secs()), [1, 1, 1, 4, 8]);
        assert_eq!(histogram.count(), 100);
    }
}
