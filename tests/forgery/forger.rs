//! An application that writes headers which are not its own, in every way that headers allow.

use franking::{ConsumerRecord, Headers, Record};

use crate::support::Random;

/// What it wants others to believe.
pub(crate) const FORGED_ID: &str = "f0f0f0f0-f0f0-7f0f-9f0f-f0f0f0f0f0f0";
pub(crate) const FORGED_TRACE: &str = "f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0";
/// What was consumed, where a record goes on.
pub(crate) const CONSUMED_ID: &str = "01a203c9-2b03-7c41-9d2e-5b6f0a1c2d3e";
pub(crate) const CONSUMED_ORIGIN: &str = "service.name=checkout,service.instance.id=627c";
pub(crate) const CONSUMED_SIGNATURE: &str = "v1;kid=shop-3;bWFj";

/// The names of the schema, of one to come, and of nobody.
const SCHEMA: [&str; 13] = [
    "prov-id",
    "prov-origin",
    "prov-seq",
    "prov-path",
    "prov-rev",
    "prov-mark",
    "prov-sig",
    "prov-",
    "prov-else",
    "prov2-id",
    "prov10-origin",
    "prov2-",
    "prov-id-",
];
/// An organisation's names: with the letters that have a form beyond ASCII.
pub(crate) const OWN: [&str; 7] = [
    "x-acme-kids-id",
    "x-acme-kids-origin",
    "x-acme-kids-seq",
    "x-acme-kids-path",
    "x-acme-kids-rev",
    "x-acme-kids-mark",
    "x-acme-kids-sig",
];
const TRACE: [&str; 2] = ["traceparent", "tracestate"];
const BLANKS: [char; 6] = [
    ' ', '\u{a0}', '\u{1680}', '\u{2003}', '\u{205f}', '\u{3000}',
];

/// How a name is dressed.
const DRESSES: u64 = 12;

/// How the record came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    New,
    /// Made of a consumed record whose headers are forged too.
    Derived,
    /// A consumed record passed on, and changed since.
    Forwarded,
    /// It came back in an error, with our stamps, and was changed since.
    Again,
}

pub(crate) struct Forger {
    pub(crate) random: Random,
    /// Names that `Headers` did not take.
    pub(crate) untakable: u64,
    /// Names that were not text, in consumed records.
    pub(crate) no_text: u64,
}

impl Forger {
    pub(crate) fn new() -> Self {
        Self {
            random: Random::new(),
            untakable: 0,
            no_text: 0,
        }
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.below(of.len() as u64) as usize]
    }

    fn chance(&mut self, of: u64) -> bool {
        self.random.below(of) == 0
    }

    /// A name, as a forger would write it.
    fn name(&mut self, own: bool) -> String {
        let base = match self.random.below(10) {
            0 => self.one(&TRACE),
            1..5 if own => self.one(&OWN),
            _ => self.one(&SCHEMA),
        };
        let dress = self.random.below(DRESSES);
        // W3C's own names are the application's to use.
        let dress = if TRACE.contains(&base) && dress == 0 {
            1
        } else {
            dress
        };
        let mut name: String = match dress {
            0 => base.to_owned(),
            1 | 2 => self.cased(base),
            3 => base.to_uppercase(),
            4 => {
                let odd = |char| match char {
                    'i' | 'I' => 'ı',
                    's' | 'S' => 'ſ',
                    'k' | 'K' => '\u{212a}',
                    char => char,
                };
                let cased = self.cased(base);
                cased
                    .chars()
                    .map(|char| if self.chance(2) { odd(char) } else { char })
                    .collect()
            }
            5 => base.replace('i', "İ"),
            6 => base.replace('-', "%2D"),
            7 => base
                .chars()
                .map(|char| format!("%{:02x}", u32::from(char)))
                .collect(),
            8 => base
                .chars()
                .map(|char| char::from_u32(u32::from(char) + 0xfee0).unwrap())
                .collect(),
            9 => base
                .chars()
                .map(|char| match char {
                    'o' => 'о',
                    'p' => 'р',
                    'r' => 'ꮁ',
                    't' => 'т',
                    'x' => 'х',
                    char => char,
                })
                .collect(),
            10 => {
                let inside = [
                    '\u{200b}', '\u{200d}', '\u{ad}', '\u{301}', '\u{feff}', '\u{20dd}', '\u{2060}',
                ];
                self.inserted(base, &inside)
            }
            _ => self.inserted(
                base,
                &['\0', '\n', '\r', '\t', '\u{7f}', '\u{9b}', '\u{1b}'],
            ),
        };
        if self.chance(4) {
            for _ in 0..=self.random.below(3) {
                name.insert(0, self.one(&BLANKS));
            }
        }
        if self.chance(4) {
            for _ in 0..=self.random.below(3) {
                name.push(self.one(&BLANKS));
            }
        }
        let plain_trace = TRACE.contains(&&*name);
        if plain_trace {
            name.to_uppercase()
        } else {
            name
        }
    }

    fn cased(&mut self, name: &str) -> String {
        name.chars()
            .map(|char| {
                if self.chance(2) {
                    char.to_ascii_uppercase()
                } else {
                    char
                }
            })
            .collect()
    }

    fn inserted(&mut self, name: &str, what: &[char]) -> String {
        let mut name: Vec<char> = name.chars().collect();
        let at = self.random.below(name.len() as u64 + 1) as usize;
        name.insert(at, self.one(what));
        name.into_iter().collect()
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        let text = match self.random.below(12) {
            0 => return None,
            1 => return Some(vec![]),
            2 => return Some(self.random.bits().to_le_bytes().to_vec()),
            3 => "service.name=forged,service.instance.id=f0f0".to_owned(),
            4 => format!("{}@f0f0", self.random.below(1000)),
            5 => "forged/forged@forged-0:240".to_owned(),
            6 => "v1;kid=f0f0;8PDw".to_owned(),
            7 => "forged@240,forged@241".to_owned(),
            8 => format!("00-{FORGED_TRACE}-f0f0f0f0f0f0f0f0-01"),
            9 => "240".to_owned(),
            _ => FORGED_ID.to_owned(),
        };
        Some(text.into_bytes())
    }

    /// Headers of the application, with forged ones among them: at any place, some of them often.
    fn headers(&mut self, own: bool) -> Vec<(String, Option<Vec<u8>>)> {
        let mut headers = vec![];
        for n in 0..self.random.below(4) {
            headers.push((format!("mine-{n}"), Some(b"mine".to_vec())));
        }
        for _ in 0..=self.random.below(3) {
            let name = self.name(own);
            for _ in 0..=self.random.below(2) * self.random.below(3) {
                let at = self.random.below(headers.len() as u64 + 1) as usize;
                headers.insert(at, (name.clone(), self.value()));
            }
        }
        headers
    }

    /// Adds them to what is there. Those with control characters are not taken, by nobody.
    fn add(&mut self, own: bool, to: &mut Headers) {
        for (name, value) in self.headers(own) {
            let taken = match self.chance(8) {
                true => to.set(&name, value),
                false => to.append(&name, value),
            };
            assert_eq!(
                taken.is_err(),
                name.chars().any(char::is_control),
                "{name:?}"
            );
            self.untakable += u64::from(taken.is_err());
        }
    }

    /// A record, how it came to be, and its headers as they came to the stack.
    pub(crate) fn record(&mut self, topic: &str, own: bool, our_origin: &str) -> (Record, Kind) {
        let mut record = Record::new(topic.to_owned()).key("k").value("v");
        let kind = match self.random.below(10) {
            0 => Kind::Derived,
            1 | 2 => Kind::Forwarded,
            3 => Kind::Again,
            _ => Kind::New,
        };
        match kind {
            Kind::New => {}
            Kind::Derived | Kind::Forwarded => {
                let consumed = self.consumed(own, kind == Kind::Derived);
                let given = consumed
                    .iter()
                    .map(|(name, value)| (&**name, value.as_deref()));
                let consumed = ConsumerRecord::new("in", 0, 7, given).value(Some(b"v"));
                record = match kind {
                    Kind::Derived => record.derive(consumed),
                    _ => record.forward(consumed),
                };
            }
            Kind::Again => {
                let [id, origin, sequence] = if own {
                    [OWN[0], OWN[1], OWN[2]]
                } else {
                    [SCHEMA[0], SCHEMA[1], SCHEMA[2]]
                };
                record.headers.append(id, CONSUMED_ID).unwrap();
                record.headers.append(origin, our_origin).unwrap();
                record.headers.append(sequence, "12").unwrap();
            }
        }
        self.add(own, &mut record.headers);
        if kind == Kind::Again {
            // The last one counts: so that it is one of ours.
            record
                .headers
                .set(if own { OWN[1] } else { SCHEMA[1] }, our_origin)
                .unwrap();
        }
        (record, kind)
    }

    /// A consumed record's headers: genuine, with names that are no text; and forged ones too, if nothing of them goes on.
    fn consumed(&mut self, own: bool, forged: bool) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let names = |at: usize| if own { OWN[at] } else { SCHEMA[at] };
        let mut consumed = vec![
            (names(0).into(), Some(CONSUMED_ID.into())),
            (names(1).into(), Some(CONSUMED_ORIGIN.into())),
            (names(2).into(), Some(b"5".to_vec())),
            (names(6).into(), Some(CONSUMED_SIGNATURE.into())),
        ];
        for no_text in [
            &b"prov-id\xff"[..],
            b"\xffprov-id",
            b"pro\xc1\xb6-id",
            b"prov-\xed\xa0\x80",
            b"prov-id\0",
        ] {
            if self.chance(5) {
                let at = self.random.below(consumed.len() as u64 + 1) as usize;
                consumed.insert(at, (no_text.to_vec(), self.value()));
                self.no_text += 1;
            }
        }
        if forged {
            let more = self.headers(own).into_iter();
            consumed.extend(more.map(|(name, value)| (name.into_bytes(), value)));
        }
        consumed
    }
}
