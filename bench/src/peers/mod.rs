//! `peers`: the same work for Roving and for everything that a team might take instead.
//!
//! The programs of `bench/peers/` are built and run in turn ([`programs`]); [`rows`] says what is
//! measured, [`cell`] measures a row of one program once. The rounds of all cells are interleaved,
//! so that a noisy moment meets all alike, and a figure is the median of its rounds. What comes of
//! it goes to a table, a file and a picture ([`report`], [`picture`]), with the goals that Roving is
//! held to ([`goals`]), in one run or in several ([`over_runs`]); and a part of the table to the
//! README ([`readme`]).

mod cell;
mod figures;
mod goals;
mod over_runs;
mod picture;
mod programs;
mod readme;
mod report;
mod rows;
mod wire;

use crate::connections::interrupt::Interrupt;
use crate::connections::progress::note;
use crate::fail;
use crate::limits;
use crate::machine::Machine;
use anyhow::{Context, Result, bail};
use figures::RowResults;
use indicatif::{ProgressBar, ProgressStyle};
use report::Results;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub(crate) use wire::{Options as WireOptions, run as wire};

/// The arguments of `peers`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds, of which each figure is the median
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// One round, with less of everything
    #[arg(long)]
    quick: bool,
    /// Measure the rows whose names contain this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Measure these programs [default: all that can be built]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    programs: Vec<String>,
    /// Directory for the table, the file of results and the picture
    #[arg(long, value_name = "DIRECTORY", default_value = "bench/results")]
    results: PathBuf,
    /// Put the table and the picture into README.md and docs/peers.svg
    #[arg(long)]
    publish: bool,
    /// Measure nothing, but take an earlier file of results
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rounds", "quick", "only", "programs"])]
    from: Option<PathBuf>,
    /// Measure nothing, but hold the goals to the medians of earlier runs, whose files of results these are
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["rounds", "quick", "only", "programs", "publish", "from"])]
    over: Vec<PathBuf>,
}

pub(crate) fn run(options: Options) -> Result<()> {
    if !options.over.is_empty() {
        let runs: Vec<Results> = options
            .over
            .iter()
            .map(|file| read(file))
            .collect::<Result<_>>()?;
        write!(std::io::stdout(), "{}", over_runs::markdown(&runs))?;
        return Ok(());
    }
    let results = match &options.from {
        Some(file) => read(file)?,
        None => measure(&options)?,
    };

    fs::create_dir_all(&options.results)
        .with_context(|| format!("cannot make {}", options.results.display()))?;
    let markdown = report::markdown(&results);
    let stem = options.results.join(format!("peers-{}", results.date));
    let json = serde_json::to_string_pretty(&results)? + "\n";
    for (extension, text) in [("md", &markdown), ("json", &json)] {
        let path = stem.with_extension(extension);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    picture::draw(&results, &stem.with_extension("svg"))?;
    let table = readme::table(&results);
    let mut stdout = std::io::stdout();
    write!(stdout, "{markdown}\n# The table of the README\n\n{table}")?;
    writeln!(stdout, "\nKept as {}.{{md,json,svg}}", stem.display())?;
    if options.publish {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        picture::draw(&results, &root.join("docs/peers.svg"))?;
        readme::publish(&table, &root.join("README.md"))?;
        writeln!(stdout, "Put into README.md and docs/peers.svg")?;
    }
    Ok(())
}

/// What an earlier run has kept.
fn read(file: &Path) -> Result<Results> {
    let json = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut results: Results = serde_json::from_slice(&json)
        .with_context(|| format!("{} is no file of results", file.display()))?;
    let rows = rows::rows(false);
    for result in &mut results.rows {
        let row = rows.iter().find(|row| row.name == result.name);
        result.figures = row.map_or(&[], |row| row.figures);
    }
    results.look_for_goals();
    Ok(results)
}

fn measure(options: &Options) -> Result<Results> {
    let begun = Instant::now();
    let descriptors = limits::raise_descriptor_limit();
    let mut rows = rows::rows(options.quick);
    if !rows.iter().any(|row| row.name.contains(&options.only)) {
        bail!(fail::no_row(
            &options.only,
            rows.iter().map(|row| &*row.name)
        ));
    }
    rows.retain(|row| row.name.contains(&options.only));
    let interrupt = Interrupt::listen()?;
    let mut programs = programs::build()?;
    let is_wanted = |program: &programs::Program| {
        options.programs.is_empty() || options.programs.iter().any(|name| name == program.name)
    };
    if !programs.iter().any(is_wanted) {
        let there: Vec<_> = programs.iter().map(|program| program.name).collect();
        let (wanted, there) = (options.programs.join(", "), there.join(", "));
        bail!("none of the programs {wanted} is there; there are {there}");
    }
    programs.retain(is_wanted);

    let rounds = if options.quick { 1 } else { options.rounds };
    let mut results: Vec<RowResults> = rows
        .iter()
        .map(|row| RowResults::new(row, programs.len()))
        .collect();
    let cells = |round: u32| {
        let rows = rows.iter().enumerate();
        let rows = rows.filter(move |(_, row)| round == 0 || !row.once);
        rows.flat_map(|(index, _)| (0..programs.len()).map(move |program| (index, program)))
    };
    let total: usize = (0..rounds).map(|round| cells(round).count()).sum();
    let progress = ProgressBar::new(total as u64);
    progress.set_style(ProgressStyle::with_template(
        "{bar:30} {pos}/{len} {elapsed_precise} {msg}",
    )?);
    for round in 0..rounds {
        for (row, program) in cells(round) {
            interrupt.check()?;
            let (row, result) = (&rows[row], &mut results[row]);
            let program_index = program;
            let program = &programs[program_index];
            progress.set_message(format!("{}: {}", row.name, program.name));
            // What could not be done in one round is not tried in the next.
            if row.is_for(program) && !result.is_impossible(program_index) {
                let is_less = result.others.contains(&program_index);
                let measured = cell::measure(row, program, is_less, &interrupt)
                    .with_context(|| format!("measuring {}: {}", row.name, program.name))?;
                result.add(program_index, measured);
            }
            progress.inc(1);
            if progress.is_hidden() {
                note(format_args!(
                    "{}/{total} {}: {} {}",
                    progress.position(),
                    row.name,
                    program.name,
                    result.latest(program_index)
                ));
            }
        }
    }
    progress.finish_and_clear();

    let mut results = Results {
        schema: 3,
        benchmark: "peers".into(),
        date: report::today()?,
        machine: Machine::look(descriptors),
        rounds,
        minutes: begun.elapsed().as_secs_f64() / 60.0,
        programs: programs
            .into_iter()
            .map(|program| (program.name.to_owned(), program.version))
            .collect(),
        goals: Vec::new(),
        rows: results,
    };
    results.look_for_goals();
    Ok(results)
}
