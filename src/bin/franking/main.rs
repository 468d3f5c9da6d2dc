//! The `franking` program: what the library does, shown and measured.

#![deny(unsafe_code)]

use std::{io, process::ExitCode};

use clap::{Parser, Subcommand};

mod audit;
mod bench;
mod completions;
mod connection;
mod demo;
mod json;
mod reading;
mod send;
mod stack;
mod stop;
mod tail;
mod terminal;
mod text;

/// librdkafka allocates each header on one thread and frees it on another, which is most of what headers cost it. With
/// `override` the C code of this process uses it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whatever ends the program: it is printed for a person.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Every Kafka record leaves with its provenance: who wrote it, when, in which trace.
#[derive(Parser)]
#[command(version, about, after_help = EXAMPLES, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  franking demo                  a shop on a Kafka inside this process: nothing to set up, a few seconds
  franking send -b localhost:9092 -t orders < orders.txt
                                 a record for each line; it ends with what became of them
  franking tail -b localhost:9092 -t orders --from -10
                                 the last records: who wrote them, when, in which trace
  franking audit -b localhost:9092 orders
                                 what is missing in a topic, doubled or late, by who wrote it
  franking stack                 the layers that every record passes, and why they stand in this order
  franking bench --bootstrap localhost:9092 --topic bench --client rdkafka --stack full

Where the cluster is can also be said by KAFKA_BOOTSTRAP_SERVERS, and a file of properties by
FRANKING_CONFIG. `franking completions bash` (zsh, fish) makes a shell complete all this.
Colour is for terminals only, and NO_COLOR turns it off.";

#[derive(Subcommand)]
enum Command {
    /// Watch a small shop: provenance, traces, faults, retries and the audit, on a Kafka inside this process
    Demo(demo::Args),
    /// Send lines, or JSON lines, to a topic
    Send(send::Args),
    /// Follow a topic: records with who wrote them, when, in which trace, after which hops
    Tail(tail::Args),
    /// Hold what is stored in a topic against what its writers numbered and reported: missing, doubled, late
    Audit(audit::Args),
    /// Print the default stack: which layers a record passes, and why they stand in this order
    Stack(stack::Args),
    /// Measure what a record costs this process, with and without layers, beside a peer
    Bench(bench::Args),
    /// Print what a shell needs to complete these command lines
    Completions(completions::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Send(args) => send::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Stack(args) => stack::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Completions(args) => completions::run(&args),
    };
    match result {
        Ok(code) => code,
        // Whoever reads us has enough (`| head`): no failure of ours.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::error(&*error);
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
