//! Java's `.properties` text, and the check of what it says, on any text.
//!
//! The model reads it as Java does, a sign at a time with a state; `Properties::parse` reads lines.
#![no_main]

use franking::config::{Config, Properties, Required};
use libfuzzer_sys::fuzz_target;

/// What nobody else writes, but for the fuzzer, which reads it here: such a text shows nothing of secrets.
const CANARY: &str = "canary-7Qx";
/// One of each sort of secret.
const SECRETS: [&str; 4] = [
    "sasl.password",
    "ssl.key.pem",
    "sasl.jaas.config",
    "sasl.pasword",
];

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let parsed = Properties::parse(text);
    let model = Model::read(text);
    match &parsed {
        Ok(properties) => {
            assert_eq!(Some(pairs(properties)), model.pairs, "of {text:?}");
            writes_and_reads_again(properties);
            // A name that nobody knows is compared with all that are: milliseconds, so not in each run.
            if text.len().is_multiple_of(128) {
                no_secret_is_told(properties);
            }
        }
        Err(error) => {
            assert!(model.is_refused(), "{error} of {text:?}");
            assert!(!error.problems().is_empty());
        }
    }
    // Which of the line endings it is makes no difference.
    if !text.contains('\r') {
        for ending in ["\r\n", "\r"] {
            assert_eq!(Properties::parse(&text.replace('\n', ending)), parsed);
        }
    }
});

fn pairs(properties: &Properties) -> Vec<(String, String)> {
    properties.clone().into_iter().collect()
}

fn writes_and_reads_again(properties: &Properties) {
    let mut text = String::new();
    for (name, value) in properties.iter() {
        text += "# a comment\n";
        for (part, end) in [(name, " = \\\n\t"), (value, "\r\n")] {
            // A backslash before anything else than these stands for that itself.
            for unit in part.encode_utf16() {
                text += &format!("\\u{unit:04X}");
            }
            text += end;
        }
    }
    assert_eq!(Properties::parse(&text).as_ref(), Ok(properties), "{text}");
}

fn no_secret_is_told(properties: &Properties) {
    let has_it = |text: &str| text.contains(CANARY);
    if properties
        .iter()
        .any(|(name, value)| has_it(name) || has_it(value))
    {
        return;
    }
    let mut with = properties.clone();
    for name in SECRETS {
        with.set(name, CANARY);
    }
    assert!(!format!("{with:?}").contains(CANARY));
    let text: String = with
        .iter()
        .map(|(name, value)| format!("{}={value}\n", name.escape_unicode()))
        .collect();
    // Written twice, so that it is an error to parse it.
    let errors = [
        Config::check(&with, Required::default()).err(),
        Properties::parse(&format!("{text}{text}")).err(),
    ];
    for error in errors.iter().flatten() {
        assert!(!format!("{error} {error:?}").contains(CANARY), "{error:?}");
    }
    // A misspelt name is among them.
    assert!(errors[0].is_some());
}

/// What Java's `Properties.load` makes of a text.
struct Model {
    /// `None`: it throws, or there is half a character, which no Rust string holds.
    pairs: Option<Vec<(String, String)>>,
    /// A name is there twice, which Java takes.
    duplicate: bool,
}

impl Model {
    fn is_refused(&self) -> bool {
        self.pairs.is_none() || self.duplicate
    }

    fn read(text: &str) -> Self {
        let lines = lines(text);
        let pairs: Option<Vec<_>> = lines.iter().map(|line| pair(line)).collect();
        let names: Vec<_> = pairs.iter().flatten().map(|(name, _)| name).collect();
        let duplicate = (1..names.len()).any(|at| names[..at].contains(&names[at]));
        Self { pairs, duplicate }
    }
}

const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

/// Logical lines, their escapes still in them.
fn lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    // At the beginning of a line, and of what continues one, blanks do not count.
    let mut beginning = true;
    let (mut comment, mut escaped) = (false, false);
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        if sign == '\r' {
            signs.next_if_eq(&'\n');
        }
        let ends = matches!(sign, '\r' | '\n');
        if comment {
            comment = !ends;
        } else if beginning && BLANKS.contains(&sign) {
        } else if line.is_empty() && matches!(sign, '#' | '!') {
            comment = true;
        } else if line.is_empty() && ends {
            beginning = true;
        } else if ends && escaped && signs.peek().is_some() {
            line.pop();
            (beginning, escaped) = (true, false);
        } else if ends && escaped {
            break;
        } else if ends {
            lines.push(std::mem::take(&mut line));
            beginning = true;
        } else {
            line.push(sign);
            escaped = sign == '\\' && !escaped;
            beginning = false;
        }
    }
    // Even if nothing is before the backslash that ends the text.
    if !line.is_empty() {
        if escaped {
            line.pop();
        }
        lines.push(line);
    }
    lines
}

/// Name and value of a logical line.
fn pair(line: &str) -> Option<(String, String)> {
    let signs: Vec<char> = line.chars().collect();
    let is_escaped = |at: usize| {
        signs[..at]
            .iter()
            .rev()
            .take_while(|sign| **sign == '\\')
            .count()
            % 2
            == 1
    };
    let is_end = |at: usize| {
        (BLANKS.contains(&signs[at]) || matches!(signs[at], '=' | ':')) && !is_escaped(at)
    };
    let end = (0..signs.len())
        .find(|at| is_end(*at))
        .unwrap_or(signs.len());
    let blanks = |from: usize| {
        from + signs[from..]
            .iter()
            .take_while(|sign| BLANKS.contains(sign))
            .count()
    };
    let mut value = blanks(end);
    if matches!(signs.get(value), Some('=' | ':')) {
        value = blanks(value + 1);
    }
    Some((unescaped(&signs[..end])?, unescaped(&signs[value..])?))
}

fn unescaped(mut signs: &[char]) -> Option<String> {
    let mut units: Vec<u16> = Vec::new();
    while let [first, rest @ ..] = signs {
        signs = rest;
        let mut plain = *first;
        if *first == '\\' {
            let Some((sign, rest)) = signs.split_first() else {
                break;
            };
            signs = rest;
            plain = match sign {
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                'f' => '\u{c}',
                'u' => {
                    let digits: String = signs.get(..4)?.iter().collect();
                    let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                    units.push(
                        u16::from_str_radix(&digits, 16)
                            .ok()
                            .filter(|_| is_number)?,
                    );
                    signs = &signs[4..];
                    continue;
                }
                other => *other,
            };
        }
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16(&units).ok()
}
