//! The chained lines of audit files: what is followed is just what its hashes say, and no edit of a chain passes.
//!
//! The model looks at a line from its end and hashes for itself; and it writes chains of its own.
#![no_main]

use std::fmt;

use franking::middleware::audit::chain::Link;
use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use sha2::{Digest, Sha256};

fuzz_target!(|data: &[u8]| {
    any_lines(data);
    if let Some((edit, text)) = data.split_first_chunk::<4>() {
        edited(*edit, text);
    }
});

/// Lines of anybody.
fn any_lines(data: &[u8]) {
    let mut link = Link::default();
    for line in data.split(|byte| *byte == b'\n') {
        let before = link.clone();
        let model = Model::read(line);
        assert_eq!(
            Link::of(line).ok().map(|link| (link.line, link.hash)),
            model.as_ref().map(Model::link)
        );
        match link.follow(line) {
            Ok(()) => {
                let model = model.expect("what is followed is a line");
                assert_eq!(
                    (model.line, &model.previous),
                    (before.line + 1, &before.hash)
                );
                assert_eq!(Link::claimed(line).as_ref(), Some(&link));
                assert_eq!(link.to_string().parse().as_ref(), Ok(&link));
            }
            Err(broken) => {
                assert_eq!(link, before, "it stays where it is");
                let follows = model.is_some_and(|model| {
                    model.line == before.line + 1 && model.previous == before.hash
                });
                assert!(!follows, "{broken}");
                // Shown as it is.
                assert!(broken.to_string().is_ascii());
            }
        }
        if let Ok(text) = str::from_utf8(line)
            && let Ok(read) = text.parse::<Link>()
        {
            assert_eq!(read.to_string().parse().as_ref(), Ok(&read));
            assert_eq!(read.hash.len(), 64);
        }
    }
}

struct Model {
    line: u64,
    previous: String,
    hash: String,
}

impl Model {
    fn link(&self) -> (u64, String) {
        (self.line, self.hash.clone())
    }

    fn read(line: &[u8]) -> Option<Self> {
        const AROUND: [&[u8]; 2] = [br#","hash":""#, br#""}"#];
        let end = AROUND[0].len() + 64 + AROUND[1].len();
        let (body, ending) = line.split_at(line.len().checked_sub(end)?);
        let hash = ending.strip_prefix(AROUND[0])?.strip_suffix(AROUND[1])?;
        if hash != hex(body).as_bytes() {
            return None;
        }
        let Members(members) = serde_json::from_str(str::from_utf8(line).ok()?).ok()?;
        let one = |name: &str| {
            let mut found = members.iter().filter(|(known, _)| known == name);
            found
                .next()
                .filter(|_| found.next().is_none())
                .map(|(_, value)| value)
        };
        Some(Self {
            line: one("line")?.as_u64()?,
            previous: one("previous")?.as_str()?.to_owned(),
            hash: one("hash")?.as_str()?.to_owned(),
        })
    }
}

/// The members of a JSON object that a chain is made of: a map would keep the last of two with one name. What the others
/// say is nobody's business, if only it is JSON: numbers of any size, halves of characters.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members, M::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    match &*name {
                        "line" | "previous" | "hash" => members.push((name, map.next_value()?)),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Read)
    }
}

/// A chain that was written and then changed in one place.
fn edited([line, at, kind, byte]: [u8; 4], text: &[u8]) {
    let bodies: Vec<String> = text
        .split(|byte| *byte == b'\n')
        .take(6)
        .map(|part| Value::from(&*String::from_utf8_lossy(part)).to_string())
        .collect();
    let lines = chain(&bodies);
    assert_eq!(broken(&lines), None);

    let index = usize::from(line) % lines.len();
    let mut changed = lines.clone();
    match kind % 4 {
        0 => {
            let at = usize::from(at) % changed[index].len();
            changed[index][at] = byte;
        }
        1 => drop(changed.remove(index)),
        2 => {
            let other = usize::from(at) % changed.len();
            changed.swap(index, other);
        }
        _ => changed.insert(index, lines[usize::from(at) % lines.len()].clone()),
    }
    // Cut at its end it is a chain, for who kept no link of it.
    if changed != lines && !lines.starts_with(&changed) {
        let first = (0..)
            .find(|at| changed.get(*at) != lines.get(*at))
            .expect("they differ");
        assert_eq!(broken(&changed), Some(first), "{kind}");
    }
}

/// The first line that does not follow the one before.
fn broken(lines: &[Vec<u8>]) -> Option<usize> {
    let mut link = Link::default();
    lines.iter().position(|line| link.follow(line).is_err())
}

/// As the format is described: number, hash of the line before, anything, hash of the bytes up to there.
fn chain(bodies: &[String]) -> Vec<Vec<u8>> {
    let mut previous = "0".repeat(64);
    let mut lines = Vec::new();
    for (index, body) in bodies.iter().enumerate() {
        let line = format!(
            r#"{{"line":{},"previous":"{previous}","topic":{body}"#,
            index + 1
        );
        previous = hex(line.as_bytes());
        lines.push(format!(r#"{line},"hash":"{previous}"}}"#).into_bytes());
    }
    lines
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
