//! What a person sees while the benchmark runs: a bar for each phase, or a line at its end where
//! there is no terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Display;
use std::io::Write;

/// The bar of one phase.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    title: String,
}

impl Progress {
    /// Begins a phase that is over when its position is `length`.
    pub(crate) fn begin(
        server: impl Display,
        connections: u64,
        phase: &str,
        length: u64,
    ) -> Progress {
        let title = format!("{server:<8}{:>9} {phase:<9}", grouped(connections));
        let style =
            ProgressStyle::with_template("{prefix} {wide_bar:.cyan/dim} {percent:>3}% {msg}")
                .expect("the template is constant")
                .progress_chars("━╸─");
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr())
            .with_style(style);
        bar.set_prefix(title.clone());
        Progress { bar, title }
    }

    /// Shows how far the phase has come.
    pub(crate) fn set(&self, position: u64, message: impl Display) {
        self.bar.set_position(position);
        self.bar.set_message(message.to_string());
    }

    /// Ends the phase, and leaves a line that says what came of it.
    pub(crate) fn end(self, outcome: impl Display) {
        self.bar.finish_and_clear();
        note(format_args!("{} {outcome}", self.title));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Tells the person at the terminal something; if nobody reads it, the benchmark goes on.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A number with its thousands set apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (number, shown) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), shown);
        }
    }
}
