//! `franking stack`: the layers that every record passes, and why they stand in this order.

use std::{io::Write, process::ExitCode};

use franking::DefaultStack;
use serde_json::json;

use crate::{
    BoxError,
    terminal::{FAINT, HEADING},
};

const HELP: &str = "\
Examples:
  franking stack
  franking stack --json | jq -r '.[].layer'

An application puts the whole stack around its producer with one line, `.layer(DefaultStack::new(origin))`, and no other
line of it changes.";

/// Arguments of `franking stack`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Print a JSON list, outermost layer first
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode, BoxError> {
    let layers = DefaultStack::describe();
    let mut out = anstream::stdout().lock();
    if args.json {
        let list: Vec<_> = layers
            .iter()
            .map(|layer| json!({ "layer": layer.layer, "does": layer.does, "why_here": layer.why_here }))
            .collect();
        writeln!(out, "{}", serde_json::to_string(&list)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let width = layers.iter().map(|layer| layer.layer.len()).max();
    let width = width.unwrap_or(0);
    let below = " ".repeat(width);
    writeln!(out, "  your application")?;
    writeln!(
        out,
        "  │ send(record)             ▲ outcome, innermost first"
    )?;
    for layer in layers {
        writeln!(
            out,
            "  ▼ {HEADING}{:width$}{HEADING:#}  {}",
            layer.layer, layer.does
        )?;
        writeln!(out, "  │ {below}  {FAINT}{}{FAINT:#}", layer.why_here)?;
    }
    writeln!(
        out,
        "  ▼ {HEADING}engine{HEADING:#}: partition, batch, compress, send ─▶ Kafka"
    )?;
    Ok(ExitCode::SUCCESS)
}
