//! For how long: a clock that is cheap enough to be read whenever a green thread is switched out.
//!
//! It is the processor's counter, which takes an instruction where the system's clock takes dozens. How fast
//! it goes is found out when somebody asks, from what [`both`] have shown since [`begin`]. If a machine's
//! counter stops, or jumps, what is told is wrong for once, and never more than the age of the process.

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::protocol::process::PerProcess;

/// By then the two clocks can be compared to a hundred thousandth.
const SETTLED_AFTER: Duration = Duration::from_millis(10);

/// The two clocks are read so often, for whoever reads them may be kept from it between the one and the other.
const READINGS: usize = 4;

static BEGIN: OnceLock<(Instant, u64)> = OnceLock::new();

/// Begins to compare the two clocks.
pub(crate) fn begin() {
    BEGIN.get_or_init(both);
}

/// What both clocks show at one moment: of some readings, that which took the shortest.
fn both() -> (Instant, u64) {
    let read = || {
        let before = now();
        let time = Instant::now();
        (now().saturating_sub(before), (time, before))
    };
    let mut shortest = read();
    for _ in 1..READINGS {
        let again = read();
        if again.0 < shortest.0 {
            shortest = again;
        }
    }
    shortest.1
}

/// The counter.
#[inline]
pub(crate) fn now() -> u64 {
    counter::read()
}

/// How long ago the counter was at `ticks`; `None` for 0, which is never.
pub(crate) fn elapsed_since(ticks: u64) -> Option<Duration> {
    let (begin, at_begin) = BEGIN.get()?;
    let (end, at_end) = both();
    let age = end.saturating_duration_since(*begin);
    let passed = at_end.saturating_sub(*at_begin).max(1);
    let ago = at_end.saturating_sub(ticks).min(passed);
    (ticks != 0).then(|| age.mul_f64(ago as f64 / passed as f64))
}

/// What a tick takes, as far as is known by now.
fn seconds_a_tick() -> f64 {
    let (begin, at_begin) = *BEGIN.get_or_init(both);
    let (end, at_end) = both();
    let age = end.saturating_duration_since(begin);
    age.as_secs_f64() / at_end.saturating_sub(at_begin).max(1) as f64
}

/// What turns the counter into the time since [`begin`]: later for more ticks, whoever has read them.
pub(crate) fn scale() -> impl Fn(u64) -> Duration {
    let a_tick = seconds_a_tick();
    let (_, at_begin) = *BEGIN.get_or_init(both);
    move |ticks| Duration::from_secs_f64(ticks.saturating_sub(at_begin) as f64 * a_tick)
}

/// The time that so many ticks take.
///
/// How fast the counter goes is settled at the first question, which waits for [`SETTLED_AFTER`] if need be, so that what
/// has grown in ticks has grown in time.
pub(crate) fn time(ticks: u64) -> Duration {
    static SECONDS_A_TICK: PerProcess<f64> = PerProcess::new();
    let settle = || {
        let (begin, _) = BEGIN.get_or_init(both);
        thread::sleep(SETTLED_AFTER.saturating_sub(begin.elapsed()));
        seconds_a_tick()
    };
    let seconds_a_tick = *SECONDS_A_TICK.get_or_make(settle);
    Duration::try_from_secs_f64(ticks as f64 * seconds_a_tick).unwrap_or(Duration::MAX)
}

#[cfg(target_arch = "x86_64")]
mod counter {
    #[inline]
    pub(super) fn read() -> u64 {
        // SAFETY: reads the counter.
        unsafe { std::arch::x86_64::_rdtsc() }
    }
}

#[cfg(target_arch = "aarch64")]
mod counter {
    #[inline]
    pub(super) fn read() -> u64 {
        let ticks: u64;
        // SAFETY: reads the counter.
        unsafe {
            std::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack, preserves_flags));
        }
        ticks
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod counter {
    /// Nobody knows.
    pub(super) fn read() -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_ticks_take_as_long_from_the_first_question_on() {
        begin();
        let told = time(1 << 40);
        thread::sleep(2 * SETTLED_AFTER);
        assert_eq!(time(1 << 40), told);
    }

    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn what_is_told_is_about_right() {
        begin();
        let (start, ticks) = (Instant::now(), now());
        std::thread::sleep(Duration::from_millis(50));
        let told = elapsed_since(ticks).unwrap();
        let passed = start.elapsed();
        assert!(
            told <= passed * 2 && told >= Duration::from_millis(25),
            "{told:?}"
        );
        assert_eq!(elapsed_since(0), None);
        let told = time(now() - ticks);
        let passed = start.elapsed();
        assert!(
            told <= passed * 2 && told >= Duration::from_millis(25),
            "{told:?}"
        );
        assert_eq!(time(0), Duration::ZERO);
    }
}
