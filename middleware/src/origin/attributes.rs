//! `prov-origin`: attributes in the syntax of `OTEL_RESOURCE_ATTRIBUTES`.

use std::borrow::Cow;

use crate::provenance::percent;

/// Reads a `prov-origin` header: its attributes in order, decoded.
///
/// It takes what it can get, for a reader cannot mend what somebody else wrote: a member without `=` is left out, an
/// escape that is none stays as it is, bytes that are not UTF-8 become U+FFFD.
///
/// ```
/// use franking_middleware::origin::parse;
///
/// let read = parse("service.name=check%20out,nonsense,host.name=a%3Db");
/// assert_eq!(read, [
///     ("service.name".to_owned(), "check out".to_owned()),
///     ("host.name".to_owned(), "a=b".to_owned()),
/// ]);
/// ```
pub fn parse(origin: &str) -> Vec<(String, String)> {
    let text = |part: &str| String::from_utf8_lossy(&percent::decode(part).bytes).into_owned();
    members(origin)
        .filter_map(|member| member.split_once('='))
        .filter(|(name, _)| !name.trim().is_empty())
        .map(|(name, value)| (text(name.trim()), text(value.trim())))
        .collect()
}

/// As [`parse`], for what must be right.
pub(super) fn read(attributes: &str) -> Option<Vec<(String, String)>> {
    let text = |part: &str| percent::decode_strictly(part.trim()).map(Cow::into_owned);
    members(attributes)
        .map(|member| {
            let (name, value) = member.split_once('=')?;
            let name = text(name).filter(|name| !name.is_empty())?;
            Some((name, text(value)?))
        })
        .collect()
}

fn members(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|member| !member.trim().is_empty())
}

pub(super) fn write(attributes: &[(String, String)]) -> String {
    let mut out = String::new();
    for (name, value) in attributes {
        if !out.is_empty() {
            out.push(',');
        }
        percent::encode(name, &mut out);
        out.push('=');
        percent::encode(value, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What is written is read back, whatever it holds, and only with the octets that are allowed.
        #[test]
        fn attributes_come_back(attributes in proptest::collection::vec((".+", ".*"), 0..6)) {
            let value = write(&attributes);
            prop_assert!(value.bytes().all(|byte| matches!(byte, b'!' | b'#'..=b'+' | b'-'..=b':' | b'<'..=b'[' | b']'..=b'~' | b',')), "{value}");
            prop_assert_eq!(&parse(&value), &attributes);
            prop_assert_eq!(read(&value), Some(attributes));
        }

        #[test]
        fn any_text_can_be_parsed(text in ".*", escapes in "([%,=a-f0-9é ]{0,3})*") {
            let (_, _) = (parse(&text), read(&text));
            let (_, _) = (parse(&escapes), read(&escapes));
        }
    }
}
