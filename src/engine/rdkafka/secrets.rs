//! Secrets in librdkafka's words: with `debug` on it names the user who logged in, and it may come to say more.

use std::borrow::Cow;

use crate::config::Config;

/// The values that no log may hold.
pub(super) struct Secrets(Vec<String>);

const INSTEAD: &str = "[redacted]";

impl Secrets {
    pub(super) fn of(config: &Config) -> Self {
        let some = config.secrets().filter(|secret| !secret.is_empty());
        Self(some.map(str::to_owned).collect())
    }

    /// A text without them. A user's name can be part of any word, so they count only where they stand alone.
    pub(super) fn redacted<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &self.0 {
            if let Some(redacted) = without(&text, secret) {
                text = Cow::Owned(redacted);
            }
        }
        text
    }
}

/// `None` if it does not stand in it.
fn without(text: &str, secret: &str) -> Option<String> {
    let is_part = |char: char| char.is_alphanumeric() || matches!(char, '-' | '_' | '.');
    let mut out = String::new();
    let mut kept = 0;
    for (at, _) in text.match_indices(secret) {
        let end = at + secret.len();
        let before = text[..at].chars().next_back();
        let after = text[end..].chars().next();
        // What is no part of a word itself needs no end of one.
        let begins = !before.is_some_and(is_part) || !secret.starts_with(is_part);
        let ends = !after.is_some_and(is_part) || !secret.ends_with(is_part);
        if begins && ends {
            out.push_str(&text[kept..at]);
            out.push_str(INSTEAD);
            kept = end;
        }
    }
    (kept > 0).then(|| out + &text[kept..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_replaced_where_they_stand_alone() {
        let secrets = Secrets(vec!["kafka".into(), "p&ss w\"rd".into(), "grüße".into()]);
        for (text, redacted) in [
            (
                "Authenticated as kafka using",
                "Authenticated as [redacted] using",
            ),
            ("kafka", "[redacted]"),
            ("user=kafka,kafka", "user=[redacted],[redacted]"),
            (
                "kafka-1.shop:9092 and my.kafka and kafkaesque",
                "kafka-1.shop:9092 and my.kafka and kafkaesque",
            ),
            ("xp&ss w\"rd=", "xp&ss w\"rd="),
            ("\"p&ss w\"rd\" grüße!", "\"[redacted]\" [redacted]!"),
        ] {
            assert_eq!(secrets.redacted(text), redacted);
        }
        assert!(matches!(secrets.redacted("nothing"), Cow::Borrowed(_)));
    }
}
