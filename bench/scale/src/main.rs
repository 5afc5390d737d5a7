//! What becomes of the runtime with more cores than there are here: a simulation of its workers, queues, idle protocol and driver,
//! with costs that are measured on this machine, and what cannot be measured here assumed, with a range.
//!
//! What is simulated is the order of steps and who waits for which line of memory: [`worker`] and [`idle`] take the steps
//! of the runtime in virtual time ([`clock`]), and each line that others have written costs its way ([`machine`]). What is not: the
//! network's own code in the system and its locks, the bandwidth of memory, and cores that others use.
//!
//! First it is shown how far the simulation agrees with this machine ([`validation`]), then what comes of more cores and of other
//! [`design`]s.

mod clock;
mod costs;
mod design;
mod driver;
mod idle;
mod machine;
mod measure;
mod picture;
mod queue;
mod real;
mod report;
mod scale;
mod simulation;
#[cfg(test)]
mod tests;
mod timers;
mod validation;
mod worker;
mod workload;
mod world;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::costs::{Assumed, Costs, Range, STORED};
use crate::report::Results;
use crate::scale::Scale;

#[derive(Debug, Parser)]
#[command(
    name = "roving-bench-scale",
    version,
    about = "Simulates the runtime with many cores"
)]
struct Options {
    /// Measures what everything costs here, and goes on with that, not with what is stored (bench/scale/costs.json)
    #[arg(long)]
    measure: bool,
    /// Leaves out the real runs that the simulation is compared with
    #[arg(long)]
    no_real: bool,
    /// Numbers of cores
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 16, 64, 256])]
    cores: Vec<usize>,
    /// File for the results
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../results/scale.json"))]
    json: PathBuf,
    /// File for the picture
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../results/scale.svg"))]
    svg: PathBuf,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let fit = |cores: &usize| (1..=machine::MOST_CORES).contains(cores);
    ensure!(
        options.cores.iter().all(fit),
        "from 1 to {} cores",
        machine::MOST_CORES
    );
    let tell: fn(&str) = |what| eprintln!("{what}");
    let costs: Costs = if options.measure {
        tell("what everything costs");
        measure::measure()?
    } else {
        serde_json::from_str(STORED)?
    };
    println!("Costs in ns: {}", serde_json::to_string_pretty(&costs)?);
    let validation = if options.no_real {
        Vec::new()
    } else {
        validation::validate(costs, tell)?
    };
    let scale = Scale {
        costs,
        cores: &options.cores,
        tell,
    };
    let results = Results {
        schema: 1,
        benchmark: "scale",
        measured: options.measure,
        costs,
        assumed: [Range::Low, Range::Middle, Range::High].map(Assumed::of),
        validation,
        designs: scale.designs(),
        rules: scale.rules(),
        ranges: scale.ranges(),
    };
    report::print(&results);
    let json = serde_json::to_string_pretty(&results)? + "\n";
    let cannot_write = |path: &PathBuf| format!("cannot write {}", path.display());
    fs::write(&options.json, json).with_context(|| cannot_write(&options.json))?;
    picture::draw(&results, &options.svg).with_context(|| cannot_write(&options.svg))?;
    println!(
        "\nKept as {} and {}",
        options.json.display(),
        options.svg.display()
    );
    Ok(())
}
