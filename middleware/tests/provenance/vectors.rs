//! The cases of `tests/vectors/provenance.json`.

use serde_json::Value;

/// The file as it is.
pub(crate) const TEXT: &str = include_str!("../../../tests/vectors/provenance.json");

/// Names and values, in their order.
pub(crate) type Headers = Vec<(Vec<u8>, Option<Vec<u8>>)>;

pub(crate) fn cases() -> Vec<Value> {
    let mut file: Value = serde_json::from_str(TEXT).expect("the vectors are JSON");
    match file["cases"].take() {
        Value::Array(cases) => cases,
        other => panic!("no cases: {other}"),
    }
}

/// The headers of a case; none for a stream.
pub(crate) fn headers(case: &Value) -> Headers {
    let written = case["headers"].as_array();
    let mut headers = vec![];
    for header in written.into_iter().flatten() {
        let name = bytes(&header[0]).expect("a name");
        let times = header.get(2).map_or(1, |times| times.as_u64().unwrap());
        headers.extend((0..times).map(|_| (name.clone(), bytes(&header[1]))));
    }
    headers
}

/// The records of a stream: topic and headers.
pub(crate) fn stream(case: &Value) -> Vec<(String, Headers)> {
    let mut records = vec![];
    for record in case["records"].as_array().expect("records") {
        let topic = record[0].as_str().unwrap();
        let mut add = |number: Option<Vec<u8>>| {
            let headers = [("prov-origin", bytes(&record[1])), ("prov-seq", number)];
            let there = headers.into_iter().filter(|(_, value)| value.is_some());
            let headers = there.map(|(name, value)| (name.into(), value)).collect();
            records.push((topic.to_owned(), headers));
        };
        match record[2].get("from") {
            Some(from) => {
                let number = |key: &str| record[2][key].as_u64().unwrap() as usize;
                let all = from.as_u64().unwrap()..=number("to") as u64;
                all.step_by(number("step"))
                    .for_each(|n| add(Some(n.to_string().into())));
            }
            None => add(bytes(&record[2])),
        }
    }
    records
}

/// What is written down: see the script.
fn bytes(written: &Value) -> Option<Vec<u8>> {
    match written {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into()),
        Value::Array(parts) => Some(parts.iter().flat_map(|part| bytes(part).unwrap()).collect()),
        _ => match written["hex"].as_str() {
            Some(hex) => Some(
                (0..hex.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                    .collect(),
            ),
            None => {
                let text = written["repeat"].as_str().unwrap();
                Some(
                    text.repeat(written["times"].as_u64().unwrap() as usize)
                        .into(),
                )
            }
        },
    }
}
