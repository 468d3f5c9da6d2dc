//! A record's headers against a plain list of pairs, through any sequence of operations.
//!
//! What is written is read back by the checked reader of the wire encoding too, which shares no code with the writer.
#![no_main]

use arbitrary::Arbitrary;
use franking::{HeaderName, Headers, middleware::provenance::Block};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Op {
    Append(Name, Value),
    Set(Name, Value),
    Stamp(Name, Value),
    Remove(Name),
    RemovePrefixed(Name),
    /// Goes on with a clone; the original must stay as it was.
    Clone,
}

#[derive(Arbitrary, Debug)]
enum Name {
    /// Few, so that names meet; some share the bit by which `Headers` knows a name.
    Usual(u8),
    /// Longer than a length of one byte can say.
    Long(u8),
    Any(String),
}

#[derive(Arbitrary, Debug)]
enum Value {
    Null,
    Bytes(Vec<u8>),
    /// Across the borders of the varint and of what lies in place.
    Filled(u16, u8),
}

impl Name {
    fn text(self) -> String {
        const USUAL: [&str; 8] = [
            "a",
            "b",
            "ab",
            "prov-id",
            "prov-origin",
            "prov-",
            "aé",
            "traceparent",
        ];
        match self {
            Self::Usual(at) => USUAL[usize::from(at) % USUAL.len()].to_owned(),
            Self::Long(length) => "n".repeat(usize::from(length) + 1),
            Self::Any(text) => text,
        }
    }
}

impl Value {
    fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Null => None,
            Self::Bytes(bytes) => Some(bytes),
            Self::Filled(length, byte) => Some(vec![byte; usize::from(length)]),
        }
    }
}

type Model = Vec<(String, Option<Vec<u8>>)>;

fuzz_target!(|ops: Vec<Op>| {
    let mut headers = Headers::new();
    let mut model = Model::new();
    for op in ops.into_iter().take(64) {
        step(&mut headers, &mut model, op);
        compare(&headers, &model);
    }
});

fn step(headers: &mut Headers, model: &mut Model, op: Op) {
    let is_valid = |name: &str| !name.is_empty() && !name.chars().any(char::is_control);
    match op {
        Op::Append(name, value) => {
            let (name, value) = (name.text(), value.bytes());
            assert_eq!(
                headers.append(&name, value.clone()).is_ok(),
                is_valid(&name)
            );
            if is_valid(&name) {
                model.push((name, value));
            }
        }
        Op::Set(name, value) => {
            let (name, value) = (name.text(), value.bytes());
            assert_eq!(headers.set(&name, value.clone()).is_ok(), is_valid(&name));
            if is_valid(&name) {
                model.retain(|(known, _)| *known != name);
                model.push((name, value));
            }
        }
        Op::Stamp(name, value) => {
            let (name, value) = (name.text(), value.bytes().unwrap_or_default());
            let encoded = HeaderName::new(&name);
            assert_eq!(encoded.is_ok(), is_valid(&name));
            if let Ok(encoded) = encoded {
                assert_eq!(encoded.as_str(), name);
                headers.stamp(&encoded, &value);
                model.retain(|(known, _)| *known != name);
                model.push((name, Some(value)));
            }
        }
        Op::Remove(name) => {
            let (name, before) = (name.text(), model.len());
            model.retain(|(known, _)| *known != name);
            assert_eq!(headers.remove(&name), before - model.len());
        }
        Op::RemovePrefixed(prefix) => {
            let (prefix, before) = (prefix.text(), model.len());
            model.retain(|(known, _)| !known.starts_with(&prefix));
            assert_eq!(
                headers.remove_where(|name, _| name.starts_with(&*prefix)),
                before - model.len()
            );
        }
        Op::Clone => {
            let original = std::mem::take(headers);
            let other = name_of_none(model);
            *headers = original.clone();
            headers.append(&other, "").unwrap();
            compare(&original, model);
            assert_eq!(headers.remove(&other), 1);
        }
    }
}

fn compare(headers: &Headers, model: &Model) {
    assert_eq!(
        (headers.len(), headers.is_empty()),
        (model.len(), model.is_empty())
    );
    assert_eq!(headers.iter().len(), model.len());
    let pairs = model
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_deref()));
    assert!(headers.iter().eq(pairs.clone()));
    for (name, _) in model {
        let last = model.iter().rfind(|(known, _)| known == name);
        let last = last.map(|(_, value)| value.as_deref());
        assert_eq!(headers.get(name), last);
        let text = last.flatten().and_then(|value| str::from_utf8(value).ok());
        assert_eq!(headers.get_str(name), text);
    }
    assert_eq!(headers.get(&name_of_none(model)), None);
    let names: Vec<_> = model.iter().map(|(name, _)| name).collect();
    assert_eq!(format!("{headers:?}"), format!("{names:?}"));

    // Made anew of the same pairs, the bytes are the same.
    let mut anew = Headers::new();
    for (name, value) in pairs.clone() {
        anew.append(name, value).unwrap();
    }
    assert_eq!(anew, *headers);

    let mut wire = zigzag(model.len());
    wire.extend_from_slice(headers.wire());
    let read: Result<Vec<_>, _> = Block::new(&wire).collect();
    let read = read.expect("what was written is a block");
    assert!(
        read.into_iter()
            .eq(pairs.map(|(name, value)| (name.as_bytes(), value)))
    );
}

/// One that no header has, whatever the fuzzer calls them: it reads this target's constants, and writes them into its inputs.
fn name_of_none(model: &Model) -> String {
    let longest = model.iter().map(|(name, _)| name.len()).max();
    "-".repeat(longest.unwrap_or_default() + 1)
}

/// The count that stands before the headers on the wire.
fn zigzag(count: usize) -> Vec<u8> {
    assert!(count <= 64);
    match count * 2 {
        small @ ..0x80 => vec![small as u8],
        large => vec![large as u8 | 0x80, (large >> 7) as u8],
    }
}
