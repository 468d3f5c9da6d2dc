//! Byte for byte what Java writes: Kafka's own serializers, deserializers and consumer, run beside ours.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use franking::config::Properties;
use franking::partitioners::murmur2;
use franking::serializers::{
    BoolSerializer, BytesSerializer, F32Serializer, F64Serializer, I16Serializer, I32Serializer,
    I64Serializer, StringSerializer, UnitSerializer, UuidSerializer,
};
use franking::{BoxError, Headers, Producer, ProducerRecord, Serializer};
use support::{Random, java, kafka, topic};
use uuid::Uuid;

const RANDOM: usize = 2_000;

// === the serializers alone ===

/// A value: its kind, what it is for Java, the bytes that we write, and what Java must read from these.
struct Case {
    kind: &'static str,
    value: String,
    ours: Option<Bytes>,
    read: String,
}

struct Cases(Vec<Case>);

impl Cases {
    fn add<T>(&mut self, kind: &'static str, value: String, by: &impl Serializer<T>, it: T) {
        let read = value.clone();
        self.add_read_as(kind, value, by, it, read);
    }

    fn add_read_as<T>(
        &mut self,
        kind: &'static str,
        value: String,
        serializer: &impl Serializer<T>,
        it: T,
        read: String,
    ) {
        let mut headers = Headers::new();
        let ours = serializer.serialize("topic", &mut headers, it).unwrap();
        assert!(headers.is_empty());
        self.0.push(Case {
            kind,
            value,
            ours,
            read,
        });
    }

    /// Absent keys and values: ours never reach a serializer and stay null.
    fn add_null(&mut self, kind: &'static str) {
        self.0.push(Case {
            kind,
            value: "null".into(),
            ours: None,
            read: "null".into(),
        });
    }

    fn i16(&mut self, it: i16) {
        self.add("i16", format!("{it:x}"), &I16Serializer, it);
    }

    fn i32(&mut self, it: i32) {
        self.add("i32", format!("{it:x}"), &I32Serializer, it);
    }

    fn i64(&mut self, it: i64) {
        self.add("i64", format!("{it:x}"), &I64Serializer, it);
    }

    fn f32(&mut self, it: f32) {
        self.add("f32", format!("{:x}", it.to_bits()), &F32Serializer, it);
    }

    fn f64(&mut self, it: f64) {
        // All NaNs are one to Java, on the wire too.
        let wire = match it.is_nan() {
            true => 0x7ff8_0000_0000_0000,
            false => it.to_bits(),
        };
        let (value, read) = (format!("{:x}", it.to_bits()), format!("{wire:x}"));
        self.add_read_as("f64", value, &F64Serializer, it, read);
    }

    fn string(&mut self, it: &str) {
        self.add(
            "string",
            hex(it.as_bytes()),
            &StringSerializer,
            it.to_owned(),
        );
    }

    fn bytes(&mut self, it: &[u8]) {
        for kind in ["bytes", "Bytes", "ByteBuffer"] {
            self.add(kind, hex(it), &BytesSerializer, it.to_vec());
        }
    }

    fn uuid(&mut self, it: Uuid) {
        let text = hex(it.to_string().as_bytes());
        self.add("uuid", text, &UuidSerializer, it);
    }
}

#[test]
fn javas_serializers_write_the_same_and_its_deserializers_read_it() {
    let mut random = Random::new();
    let mut cases = Cases(Vec::new());
    edges(&mut cases);
    let edges = cases.0.len();
    for _ in 0..RANDOM {
        let bits = random.bits();
        cases.i16(bits as i16);
        cases.i32(bits as i32);
        cases.i64(bits as i64);
        cases.f32(f32::from_bits(bits as u32));
        cases.f64(f64::from_bits(bits));
        let length = random.below(40);
        let text: String = (0..length).map(|_| any_char(&mut random)).collect();
        cases.string(&text);
        let bytes: Vec<_> = (0..length).map(|_| random.bits() as u8).collect();
        cases.bytes(&bytes);
        cases.uuid(Uuid::from_u64_pair(random.bits(), random.bits()));
    }

    let mut asked = String::new();
    for case in &cases.0 {
        let ours = case.ours.as_deref().map_or("null".into(), hex);
        writeln!(asked, "{} {} {ours}", case.kind, case.value).unwrap();
    }
    let answers = java("Serializers", &[], asked);

    let mut compared = BTreeMap::new();
    for (case, answer) in cases.0.iter().zip(answers.lines()) {
        let Case {
            kind, value, read, ..
        } = case;
        let ours = case.ours.as_deref().map_or("null".into(), hex);
        assert_eq!(*answer, format!("{ours} {read}"), "{kind} {value}");
        *compared.entry(*kind).or_insert(0) += 1;
    }
    let total: usize = compared.values().sum();
    assert_eq!(total, cases.0.len(), "Java answered each");
    assert_eq!(compared.len(), 12, "{compared:?}");
    println!("compared with Java both ways: {total} values, {edges} of them edges: {compared:?}");
}

fn edges(cases: &mut Cases) {
    for kind in [
        "bool",
        "i16",
        "i32",
        "i64",
        "f32",
        "f64",
        "string",
        "bytes",
        "Bytes",
        "ByteBuffer",
        "uuid",
        "unit",
    ] {
        cases.add_null(kind);
    }
    cases.add("bool", "1".into(), &BoolSerializer, true);
    cases.add("bool", "0".into(), &BoolSerializer, false);
    cases.add("unit", "null".into(), &UnitSerializer, ());
    for it in [i16::MIN, -1, 0, 1, 0x00ff, 0x0100, i16::MAX] {
        cases.i16(it);
    }
    for it in [i32::MIN, -1, 0, 1, 0x00ff_ff00, i32::MAX] {
        cases.i32(it);
    }
    for it in [i64::MIN, -1, 0, 1, 1 << 32, i64::MAX] {
        cases.i64(it);
    }
    for it in [
        f32::MIN,
        f32::MAX,
        f32::MIN_POSITIVE,
        f32::EPSILON,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        -f32::NAN,
        f32::from_bits(0x7fc0_0001),
        f32::from_bits(1),
        0.0,
        -0.0,
        0.1,
    ] {
        cases.f32(it);
    }
    for it in [
        f64::MIN,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::EPSILON,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7ff8_0000_0000_0001),
        f64::from_bits(0xffff_ffff_ffff_ffff),
        f64::from_bits(1),
        0.0,
        -0.0,
        0.1,
    ] {
        cases.f64(it);
    }
    for it in [
        "",
        "a",
        "\0",
        "grüße",
        "日本語",
        // Beyond the first plane, alone and joined; Java holds them as pairs of surrogates.
        "🦀",
        "👩‍👩‍👧‍👦",
        "\u{10ffff}\u{10000}",
        // On both sides of the surrogates, a byte order mark, a non-character.
        "\u{d7ff}\u{e000}\u{feff}\u{ffff}",
        // Not normalized: e and a combining accent.
        "e\u{301}",
    ] {
        cases.string(it);
    }
    cases.string(&"🦀".repeat(10_000));
    cases.bytes(b"");
    cases.bytes(&[0]);
    cases.bytes(&(0..=255).collect::<Vec<u8>>());
    for it in [Uuid::nil(), Uuid::max(), Uuid::from_u128(0xA)] {
        cases.uuid(it);
    }
}

fn any_char(random: &mut Random) -> char {
    // As often from each length in UTF-8.
    let (from, to) = [
        (0, 0x80),
        (0x80, 0x800),
        (0x800, 0x1_0000),
        (0x1_0000, 0x11_0000),
    ][random.below(4) as usize];
    let code = from + random.below(to - from);
    // A surrogate is no character.
    char::from_u32(code as u32).unwrap_or('\u{fffd}')
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".into();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

// === keys ===

/// Keys of every length up to 64 bytes, any bytes: what the partition of a key rests on.
#[test]
fn javas_hash_of_a_key_is_ours() {
    let mut random = Random::new();
    let keys: Vec<Vec<u8>> = (0..20_000)
        .map(|n| (0..n % 65).map(|_| random.bits() as u8).collect())
        .collect();
    let mut asked = String::new();
    for key in &keys {
        for byte in key {
            write!(asked, "{byte:02x}").unwrap();
        }
        asked.push('\n');
    }
    let answers = java("Murmur2", &[], asked);
    assert_eq!(answers.lines().count(), keys.len(), "Java answered each");
    for (key, answer) in keys.iter().zip(answers.lines()) {
        let ours = murmur2(key).cast_signed().to_string();
        assert_eq!(ours, answer, "{key:?}");
    }
    println!("compared with Java: the hashes of {} keys", keys.len());
}

// === .properties ===

/// Texts in which Java and others read different things.
const TEXTS: [&str; 14] = [
    "\\\n# comment\nd=1",
    "\\\n!comment",
    "\\\n\n x=1",
    "\\",
    "\\\n",
    "k\\",
    "a\\\n\\\n b=1",
    "a=1\\\n\nb=2",
    "a\\\\\n=b",
    "a = = b",
    "\u{2028}a=1",
    "\u{c}#x\ny=2",
    "a\\u003d=\\uD83D\\uDE00",
    "a=\\u+041",
];

/// On the corpus that the fuzz target `properties` has kept, where the model is not Java itself.
#[test]
fn javas_properties_are_read_as_java_does() {
    let corpus = std::fs::read_dir("fuzz/corpus/properties").unwrap();
    let mut texts: Vec<String> = corpus
        .filter_map(|file| String::from_utf8(std::fs::read(file.unwrap().path()).unwrap()).ok())
        // Java takes the two halves of a line's end for two, if a backslash alone is before them: for none or an empty name.
        .filter(|text| !text.ends_with("\\\r\n"))
        .collect();
    texts.extend(TEXTS.map(str::to_owned));
    let asked: String = texts.iter().map(|text| units(text) + "\n").collect();
    let answers = java("LoadProperties", &[], asked);
    assert_eq!(answers.lines().count(), texts.len(), "Java answered each");

    let (mut same, mut refused) = (0, 0);
    for (text, answer) in texts.iter().zip(answers.lines()) {
        match Properties::parse(text) {
            Ok(ours) => {
                let ours: BTreeMap<_, _> = ours.iter().collect();
                let mut told: Vec<_> = ours
                    .iter()
                    .map(|(name, value)| format!("{}={} ", units(name), units(value)))
                    .collect();
                let mut theirs: Vec<_> = answer.split_inclusive(' ').collect();
                // Java sorts by UTF-16.
                told.sort();
                theirs.sort();
                assert_eq!(told, theirs, "{text:?}");
                same += 1;
            }
            Err(error) => {
                // A name that is there twice, and half a character, Java takes.
                let only_ours = ["and again on line", "half a character"];
                let told = error.to_string();
                let stricter = only_ours.iter().any(|why| told.contains(why));
                assert!(answer == "refused" || stricter, "{text:?}: {error}");
                refused += 1;
            }
        }
    }
    println!("compared with Java: {same} texts read the same, {refused} refused");
    assert!(same > 20 && refused > 1, "{same} and {refused}");
}

fn units(text: &str) -> String {
    text.encode_utf16()
        .map(|unit| format!("{unit:04x}"))
        .collect()
}

// === on a real broker ===

/// What Java's consumer is to read, and what it must show.
#[derive(Default)]
struct Sent {
    args: Vec<String>,
    expected: Vec<String>,
}

impl Sent {
    /// Sends these, and has Java read them with these deserializers and show this.
    async fn send<K: 'static, V: 'static>(
        &mut self,
        deserializers: [&str; 2],
        key: impl Serializer<K>,
        value: impl Serializer<V>,
        records: Vec<(Option<K>, Option<V>, &str)>,
    ) {
        let topic = topic(kafka(), "java", 1, &[]);
        self.args.push(topic.clone());
        self.args.extend(deserializers.map(str::to_owned));
        self.args.push(records.len().to_string());
        let producer = Producer::builder()
            .property("bootstrap.servers", kafka())
            .key_serializer(key)
            .value_serializer(value)
            .build()
            .unwrap();
        for (key, value, shown) in records {
            let mut record = ProducerRecord::new(topic.clone());
            if let Some(key) = key {
                record = record.key(key);
            }
            if let Some(value) = value {
                record = record.value(value);
            }
            producer.send(record).await.unwrap();
            self.expected.push(format!("{topic}|{shown}"));
        }
        producer.close(Duration::from_secs(10)).await;
    }
}

#[tokio::test]
async fn javas_consumer_reads_what_the_producer_sends() {
    let mut sent = Sent::default();
    sent.send(
        ["StringDeserializer", "LongDeserializer"],
        StringSerializer,
        I64Serializer,
        vec![
            (
                Some("🦀 grüße".to_owned()),
                Some(i64::MIN),
                "🦀 grüße|-9223372036854775808|",
            ),
            (Some(String::new()), Some(i64::MAX), "|9223372036854775807|"),
            (None, None, "null|null|"),
        ],
    )
    .await;
    sent.send(
        ["ShortDeserializer", "FloatDeserializer"],
        I16Serializer,
        F32Serializer,
        vec![
            (Some(-2), Some(1.5), "-2|1.5|"),
            (Some(i16::MIN), Some(f32::NAN), "-32768|NaN|"),
        ],
    )
    .await;
    sent.send(
        ["IntegerDeserializer", "DoubleDeserializer"],
        I32Serializer,
        F64Serializer,
        vec![(
            Some(i32::MIN),
            Some(f64::NEG_INFINITY),
            "-2147483648|-Infinity|",
        )],
    )
    .await;
    let id = "01a203c9-2b03-7c41-9d2e-5b6f0a1c2d3e";
    sent.send(
        ["UUIDDeserializer", "ByteArrayDeserializer"],
        UuidSerializer,
        BytesSerializer,
        vec![
            (
                Some(id.parse().unwrap()),
                Some(vec![0, 255]),
                &format!("{id}|00ff|"),
            ),
            (Some(id.parse().unwrap()), Some(vec![]), &format!("{id}||")),
        ],
    )
    .await;
    sent.send(
        ["VoidDeserializer", "BooleanDeserializer"],
        UnitSerializer,
        BoolSerializer,
        vec![
            (Some(()), Some(true), "null|true|"),
            (None, Some(false), "null|false|"),
        ],
    )
    .await;
    // One of the application's own, which writes a header, and null for some values.
    sent.send(
        ["StringDeserializer", "StringDeserializer"],
        StringSerializer,
        Temperature,
        vec![
            (
                Some("a".to_owned()),
                Some(Some(300.0)),
                "a|26.9|unit=celsius",
            ),
            (Some("b".to_owned()), Some(None), "b|null|unit=celsius"),
        ],
    )
    .await;

    let args: Vec<_> = [kafka()]
        .into_iter()
        .chain(sent.args.iter().map(String::as_str))
        .collect();
    let read = java("Consume", &args, String::new());
    let read: Vec<_> = read.lines().collect();
    assert_eq!(read, sent.expected);
    println!("read by Java's consumer: {} records", read.len());
}

/// Kelvin, which may be unknown, as text in degrees Celsius.
struct Temperature;

impl Serializer<Option<f64>> for Temperature {
    fn serialize(
        &self,
        _: &str,
        headers: &mut Headers,
        kelvin: Option<f64>,
    ) -> Result<Option<Bytes>, BoxError> {
        headers.set("unit", "celsius")?;
        Ok(kelvin.map(|kelvin| format!("{:.1}", kelvin - 273.15).into()))
    }
}
