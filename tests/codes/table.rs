//! `docs/codes.md`, read.

/// A row of a table in `docs/codes.md`.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What the first column says, without what stands in brackets.
    pub(crate) what: String,
    /// The codes' numbers, one or more.
    pub(crate) numbers: Vec<i16>,
    pub(crate) told: Told,
}

/// What is told of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) surfaces_as: String,
    pub(crate) record: String,
    pub(crate) transient: String,
    pub(crate) librdkafka: String,
    pub(crate) retry_layer: String,
}

/// The rows under this heading.
pub(crate) fn rows(heading: &str) -> Vec<Row> {
    let page = include_str!("../../docs/codes.md");
    let (_, section) = page
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("no heading {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with('|'));
    // The first two are the names of the columns and a rule.
    let rows: Vec<_> = lines.skip(2).map(row).collect();
    assert!(!rows.is_empty(), "no rows under {heading}");
    rows
}

fn row(line: &str) -> Row {
    let plain = |cell: &str| cell.replace('`', "").trim().to_owned();
    let line = line
        .strip_prefix('|')
        .and_then(|line| line.strip_suffix('|'));
    let cells: Vec<_> = line.expect("a row").split('|').map(plain).collect();
    let Ok(
        [
            what,
            numbers,
            surfaces_as,
            record,
            transient,
            librdkafka,
            retry_layer,
        ],
    ) = <[String; 7]>::try_from(cells)
    else {
        panic!("not seven columns: {line:?}");
    };
    let what = what.split(" (").next().unwrap().to_owned();
    Row {
        numbers: numbers.split(", ").flat_map(span).collect(),
        told: Told {
            surfaces_as,
            record,
            transient,
            librdkafka,
            retry_layer,
        },
        what,
    }
}

/// `7`, or `7–9`.
fn span(text: &str) -> Vec<i16> {
    let number = |text: &str| -> i16 {
        text.parse()
            .unwrap_or_else(|_| panic!("not a number: {text}"))
    };
    match text.split_once('–') {
        Some((first, last)) => (number(first)..=number(last)).collect(),
        None => vec![number(text)],
    }
}
