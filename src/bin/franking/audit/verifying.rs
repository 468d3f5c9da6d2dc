//! Whether files of reports are as their writer left them.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use franking::middleware::audit::chain::{Broken, Link};
use serde::Serialize;

use crate::{
    BoxError, json,
    terminal::{BAD, FAINT, GOOD},
    text::escaped,
};

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Findings {
    lines: u64,
    /// The line before the first; 0 if nothing is before it.
    after: u64,
    /// Where the chain ends: what to keep elsewhere.
    end: String,
    broken: Vec<Finding>,
    /// Links that were given and are not in the chain.
    absent: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Finding {
    file: String,
    /// As an editor counts.
    line: u64,
    why: String,
}

/// Verifies the chain that goes through these files, in their order, and that these links are in it.
pub(super) fn run(files: &[PathBuf], links: &[Link], json: bool) -> Result<ExitCode, BoxError> {
    let mut chain = Chain::new(links);
    for file in files {
        chain
            .read(file)
            .map_err(|error| format!("{}: {error}", escaped(&file.display().to_string())))?;
    }
    let findings = chain.findings();
    let mut out = anstream::stdout().lock();
    if json {
        writeln!(out, "{}", json::line(&findings)?)?;
    } else {
        tell(&mut out, &findings)?;
    }
    out.flush()?;
    let whole = findings.broken.is_empty() && findings.absent.is_empty();
    Ok(ExitCode::from(if whole { 0 } else { 3 }))
}

struct Chain {
    /// Where it stands; `None` at the beginning.
    link: Option<Link>,
    /// The line before could not be read, and so not what the next one follows.
    lost: bool,
    /// Given, and not met yet.
    absent: Vec<Link>,
    findings: Findings,
}

impl Chain {
    fn new(links: &[Link]) -> Self {
        Self {
            link: None,
            lost: false,
            absent: links.to_vec(),
            findings: Findings::default(),
        }
    }

    fn read(&mut self, path: &Path) -> io::Result<()> {
        let mut lines = BufReader::new(File::open(path)?);
        let mut line = Vec::new();
        let mut number = 0;
        while lines.read_until(b'\n', &mut line)? > 0 {
            number += 1;
            if let Err(broken) = self.follow(line.strip_suffix(b"\n").unwrap_or(&line)) {
                self.findings.broken.push(Finding {
                    file: path.display().to_string(),
                    line: number,
                    why: broken.to_string(),
                });
            }
            line.clear();
        }
        Ok(())
    }

    /// One line. Behind a broken one the chain goes on from what that says of itself, so that each break is told once.
    fn follow(&mut self, text: &[u8]) -> Result<(), Broken> {
        self.findings.lines += 1;
        let followed = if self.lost {
            Link::of(text).map(drop)
        } else {
            let mut before = match &self.link {
                Some(link) => link.clone(),
                None => self.beginning(text),
            };
            before.follow(text)
        };
        let here = Link::claimed(text);
        self.lost = here.is_none();
        if let Some(here) = here {
            if followed.is_ok() {
                self.absent.retain(|link| *link != here);
            }
            self.link = Some(here);
        }
        followed
    }

    /// What the first line follows: nothing, or a link that was given.
    fn beginning(&mut self, text: &[u8]) -> Link {
        let first = Link::claimed(text).map_or(1, |link| link.line);
        let given = self
            .absent
            .iter()
            .position(|link| link.line.checked_add(1) == Some(first));
        let before = given.map_or_else(Link::default, |index| self.absent.remove(index));
        self.findings.after = before.line;
        before
    }

    fn findings(mut self) -> Findings {
        self.findings.end = self.link.unwrap_or_default().to_string();
        self.findings.absent = self.absent.iter().map(Link::to_string).collect();
        self.findings
    }
}

fn tell(out: &mut impl Write, findings: &Findings) -> io::Result<()> {
    for Finding { file, line, why } in &findings.broken {
        writeln!(
            out,
            "{BAD}✗{BAD:#} {}:{line}: {}",
            escaped(file),
            escaped(why)
        )?;
    }
    for link in &findings.absent {
        writeln!(out, "{BAD}✗{BAD:#} not in the chain: {link}")?;
    }
    if findings.broken.is_empty() && findings.absent.is_empty() {
        let lines = findings.lines;
        writeln!(
            out,
            "{GOOD}✓{GOOD:#} {lines} lines, none changed or missing"
        )?;
    }
    writeln!(out, "{FAINT}it ends with{FAINT:#} {}", findings.end)
}
