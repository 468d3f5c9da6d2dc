//! What others wrote (names of topics, headers, keys, values, a broker's or a registry's words) reaches no terminal, log,
//! span or error's text as it is.

#[path = "../support/mod.rs"]
mod support;

mod library;
#[cfg(feature = "cli")]
mod program;

/// What a terminal obeys, what turns the direction of writing, what ends a line, what cannot be seen.
const EVIL: [&str; 22] = [
    "\u{1b}[2J\u{1b}[H",
    "\u{1b}[31mred",
    "\u{1b}]0;title\u{7}",
    "\u{1b}]8;;http://example.org\u{1b}\\link\u{1b}]8;;\u{1b}\\",
    "\u{1b}]52;c;cm0gLXJm\u{7}",
    "\u{1b}Pq#0\u{1b}\\",
    "\u{9b}31m\u{9d}52;c;cm0=\u{9c}\u{90}q\u{9c}",
    "\r\u{1b}[Kdelivered",
    "\u{8}\u{8}\u{8}\u{7f}",
    "a\nerror: forged\r\nline",
    "a\u{85}b\u{2028}c\u{2029}d",
    "a\u{b}b\u{c}c\td",
    "\0nul\0",
    "\u{202a}a\u{202b}b\u{202c}c\u{202d}d\u{202e}e",
    "\u{2066}a\u{2067}b\u{2068}c\u{2069}d",
    "\u{200e}a\u{200f}b\u{61c}c",
    "a\u{200b}b\u{200c}c\u{200d}d\u{2060}e\u{feff}f",
    "a\u{ad}b\u{180e}c",
    "\u{e0041}\u{e0042}\u{e007f}",
    "\u{fff9}a\u{fffa}b\u{fffb}",
    "\u{1}\u{2}\u{e}\u{f}\u{1a}\u{1c}\u{1f}",
    "a\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
];

/// All of them in one text.
fn evil() -> String {
    EVIL.concat()
}

/// Why these bytes do harm, if they do: no byte below 0x20 but the end of a line, no 0x7f, no C1, nothing that turns
/// direction or cannot be seen. Written without the code that is tested.
fn harm(bytes: &[u8]) -> Option<String> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Some(format!("not UTF-8: {error}")),
    };
    let harmful = |char: &char| {
        matches!(
            *char,
            '\0'..='\u{9}'
                | '\u{b}'..='\u{1f}'
                | '\u{7f}'..='\u{9f}'
                | '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
    };
    let found = text.chars().find(harmful)?;
    Some(format!("{found:?} in {text:?}"))
}

/// As [`harm`], for what is one line.
fn harm_in_line(text: &str) -> Option<String> {
    match text.contains('\n') {
        true => Some(format!("an end of line in {text:?}")),
        false => harm(text.as_bytes()),
    }
}

#[test]
fn the_oracle_sees_every_one_of_them() {
    for evil in &EVIL[..EVIL.len() - 1] {
        assert!(harm_in_line(evil).is_some(), "{evil:?}");
    }
    assert_eq!(harm("plain, grüße, 日本\n".as_bytes()), None);
    assert!(harm(b"\xff").is_some());
}
