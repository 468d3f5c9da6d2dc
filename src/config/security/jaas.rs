//! `sasl.jaas.config`, as Java reads it: `a.login.Module required name="value" … ;`.
//!
//! No message shows any of the text: it has the password in it.

use std::iter::Peekable;
use std::str::Chars;

/// The one login module of a client.
#[derive(PartialEq, Eq)]
pub(super) struct Login {
    /// The name of its class.
    pub(super) module: String,
    pub(super) options: Vec<(String, String)>,
}

impl Login {
    /// The last value of an option, as Java's map has it.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        let mut options = self.options.iter().rev();
        options
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What is wrong, as a clause.
type Wrong = &'static str;

pub(super) fn parse(text: &str) -> Result<Login, Wrong> {
    let mut tokens = Tokens(text.chars().peekable());
    let module = match tokens.next()? {
        Some(Token::Text(module)) => module,
        _ => return Err("it does not begin with the name of a login module"),
    };
    match tokens.next()? {
        Some(Token::Text(flag)) if is_flag(&flag) => {}
        _ => return Err("the login module's name is not followed by `required`"),
    }
    let mut options = Vec::new();
    loop {
        match tokens.next()? {
            Some(Token::Text(name)) => match (tokens.next()?, tokens.next()?) {
                (Some(Token::Equals), Some(Token::Text(value))) => options.push((name, value)),
                _ => return Err("an option has no `=` or no value"),
            },
            Some(Token::Semicolon) => break,
            Some(Token::Equals) => return Err("a `=` has no option's name before it"),
            None => return Err("it does not end with a `;`"),
        }
    }
    match tokens.next()? {
        None => Ok(Login { module, options }),
        Some(_) => Err("something follows the `;`, and a client has one login module"),
    }
}

/// Java's control flags; with one module they all mean the same.
fn is_flag(word: &str) -> bool {
    ["required", "requisite", "sufficient", "optional"]
        .iter()
        .any(|flag| flag.eq_ignore_ascii_case(word))
}

enum Token {
    /// A word, or what is between quotes.
    Text(String),
    Equals,
    Semicolon,
}

/// As Java's `StreamTokenizer` reads it for Kafka; numbers may stand without quotes here.
struct Tokens<'t>(Peekable<Chars<'t>>);

impl Tokens<'_> {
    fn next(&mut self) -> Result<Option<Token>, Wrong> {
        loop {
            let Some(c) = self.0.next() else {
                return Ok(None);
            };
            return Ok(Some(match c {
                c if c <= ' ' => continue,
                '/' => match self.0.next() {
                    Some('/') => {
                        self.0.by_ref().find(|c| matches!(c, '\n' | '\r'));
                        continue;
                    }
                    Some('*') => {
                        self.skip_comment()?;
                        continue;
                    }
                    _ => return Err("it has a `/` that begins no comment: put values in quotes"),
                },
                '=' => Token::Equals,
                ';' => Token::Semicolon,
                '"' | '\'' => Token::Text(self.quoted(c)?),
                c if is_word(c) => {
                    let mut word = String::from(c);
                    while let Some(c) = self.0.next_if(|c| is_word(*c)) {
                        word.push(c);
                    }
                    Token::Text(word)
                }
                _ => return Err("it has a character that must stand in quotes"),
            }));
        }
    }

    fn skip_comment(&mut self) -> Result<(), Wrong> {
        let mut before = ' ';
        for c in self.0.by_ref() {
            if (before, c) == ('*', '/') {
                return Ok(());
            }
            before = c;
        }
        Err("a comment has no end")
    }

    fn quoted(&mut self, quote: char) -> Result<String, Wrong> {
        const NO_END: Wrong = "a quote is not closed on its line";
        let mut text = String::new();
        loop {
            text.push(match self.0.next().ok_or(NO_END)? {
                c if c == quote => return Ok(text),
                '\n' | '\r' => return Err(NO_END),
                '\\' => match self.0.next().ok_or(NO_END)? {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'f' => '\u{c}',
                    'b' => '\u{8}',
                    'a' => '\u{7}',
                    'v' => '\u{b}',
                    first @ '0'..='7' => self.octal(first),
                    other => other,
                },
                c => c,
            });
        }
    }

    /// Up to three digits, and no more than 377.
    fn octal(&mut self, first: char) -> char {
        let mut code = first.to_digit(8).unwrap_or(0);
        for _ in 0..if first <= '3' { 2 } else { 1 } {
            let Some(digit) = self.0.peek().and_then(|c| c.to_digit(8)) else {
                break;
            };
            self.0.next();
            code = code * 8 + digit;
        }
        char::from_u32(code).unwrap_or_default()
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_$.".contains(c) || c >= '\u{a0}'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn options(text: &str) -> Vec<(String, String)> {
        let login = parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
        assert_eq!(login.module, "a.Module");
        login.options
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn options_quotes_escapes_and_comments_are_javas() {
        assert_eq!(options("a.Module required;"), []);
        for text in [
            r#"a.Module required username="u" password="p q;r=s" ;"#,
            "a.Module REQUIRED\n  username='u'\n\tpassword = 'p q;r=s';  ",
            "/* who */ a.Module required // comment\n username=u /* \" * */ password=\"p q;r=s\"; // end",
        ] {
            assert_eq!(
                options(text),
                [pair("username", "u"), pair("password", "p q;r=s")]
            );
        }
        assert_eq!(
            options(r#"a.Module optional p="a\"b\\c'd\t\141\0\477\q" n=12 e="";"#),
            [
                pair("p", "a\"b\\c'd\ta\0'7q"),
                pair("n", "12"),
                pair("e", "")
            ]
        );
        let twice = parse("a.Module required p=1 p=2;").ok().unwrap();
        assert_eq!(twice.option("p"), Some("2"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_text() {
        for (text, says) in [
            ("", "begin with the name"),
            ("; hunter2", "begin with the name"),
            ("hunter2", "`required`"),
            ("hunter2 sometimes;", "`required`"),
            ("m required password", "no value"),
            ("m required password=;", "no value"),
            ("m required password hunter2;", "no `=`"),
            ("m required =hunter2;", "name before it"),
            ("m required password=\"hunter2\"", "end with a `;`"),
            ("m required password=\"hunter2;", "not closed"),
            ("m required password=\"hunter2\n\";", "not closed"),
            ("m required password=\"hunter2\\", "not closed"),
            ("m required password=/hunter2;", "put values in quotes"),
            ("m required password=hunter2!;", "stand in quotes"),
            ("m required; m required;", "one login module"),
            ("m required /* hunter2", "comment has no end"),
        ] {
            let wrong = parse(text).err().unwrap_or_else(|| panic!("{text}"));
            assert!(
                wrong.contains(says) && !wrong.contains("hunter2"),
                "{text}: {wrong}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "\\PC*|[ma =;\"'\\\\/*07\n]{0,40}") {
            let _ = parse(&text);
            let _ = parse(&format!("m required {text}"));
        }

        #[test]
        fn what_is_escaped_reads_back(value in any::<String>()) {
            // Java's tokenizer ends a quote at the end of a line, so that these are written as escapes.
            let escaped = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n")
                .replace('\r', "\\r");
            let text = format!("a.Module required p=\"{escaped}\";");
            prop_assert_eq!(options(&text), [pair("p", &value)]);
        }
    }
}
