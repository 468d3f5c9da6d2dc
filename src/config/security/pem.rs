//! PEM inside a `.properties` file. Java takes it on one line, as continued lines of such a file become; OpenSSL does not.

use std::borrow::Cow;

/// The text with the line breaks that OpenSSL wants. What has any, or is no PEM, stays as it is.
pub(super) fn with_lines(text: &str) -> Cow<'_, str> {
    if text.trim().contains('\n') {
        return text.into();
    }
    lines(text).map_or(text.into(), Cow::from)
}

/// Each block's first line, its characters 64 to a line, and its last line.
fn lines(text: &str) -> Option<String> {
    let mut all = String::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (label, after) = rest.strip_prefix("-----BEGIN ")?.split_once("-----")?;
        let end = format!("-----END {label}-----");
        let (body, after) = after.split_once(&end)?;
        all += &format!("-----BEGIN {label}-----\n");
        let body: Vec<char> = body.chars().filter(|c| !c.is_whitespace()).collect();
        for line in body.chunks(64) {
            all.extend(line);
            all.push('\n');
        }
        all += &format!("{end}\n");
        rest = after.trim_start();
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_becomes_what_it_was() {
        let body = format!("{}\n{}\nAA==", "a".repeat(64), "b".repeat(64));
        let block =
            |label: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        let whole = block("PRIVATE KEY") + &block("CERTIFICATE") + &block("CERTIFICATE");
        assert_eq!(with_lines(&whole), whole);
        assert_eq!(with_lines(&whole.replace('\n', " ")), whole);
        // Continued lines lose the blanks at their beginnings too.
        assert_eq!(with_lines(&whole.replace('\n', "")), whole);
        for other in [
            "",
            "x",
            "-----BEGIN A-----",
            "-----BEGIN A-----x-----END B-----",
        ] {
            assert_eq!(with_lines(other), other);
        }
    }
}
