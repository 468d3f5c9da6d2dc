//! `franking completions`: what a shell needs to complete the program's command lines.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::CommandFactory as _;

use crate::{BoxError, Cli};

const HELP: &str = "\
Examples:
  source <(franking completions bash)                      in ~/.bashrc
  source <(franking completions zsh)                       in ~/.zshrc, behind compinit
  franking completions fish > ~/.config/fish/completions/franking.fish";

/// Arguments of `franking completions`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode, BoxError> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    // Not to stdout at once: it would panic where nobody reads that.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "franking", &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
