//! One properties file, taken by Java's own producer, `Producer`, and the program.

use std::fs;

use franking::config::Properties;
use franking::serializers::StringSerializer;
use franking::{Producer, ProducerRecord};

use crate::program::franking;
use crate::support::secured::{Listener, Secured};
use crate::support::{java, read, topic};
use crate::ways::Way;

/// As Java takes PEM in the file itself, lines continued.
fn inline(pem: &str) -> String {
    pem.trim().replace('\n', " \\\n    ")
}

#[test]
fn keys_and_certificates_may_stand_in_the_file_itself() {
    let broker = Secured::shared();
    let topic = topic(broker.plain(), "inline", 1, &[]);
    let pem = |name: &str| inline(&fs::read_to_string(broker.path(name)).unwrap());
    let text = format!(
        "bootstrap.servers={}\nsecurity.protocol=SSL\n\
         ssl.truststore.type=PEM\nssl.truststore.certificates={}\n\
         ssl.keystore.type=PEM\nssl.keystore.key={}\nssl.keystore.certificate.chain={}\n",
        broker.at(Listener::Mutual),
        pem("ca.pem"),
        pem("client-key.pem"),
        pem("client-certificate.pem"),
    );
    let file = broker.file("inline.properties", &text);
    java("SendSecured", &[&file, &topic, "from Java"], String::new());

    let producer: Producer<String, String> = Producer::builder()
        .properties(Properties::parse(&text).unwrap())
        .key_serializer(StringSerializer)
        .value_serializer(StringSerializer)
        .build()
        .unwrap();
    let record = ProducerRecord::new(topic.clone()).value("from the producer".to_owned());
    producer.blocking().send(record).unwrap();
    assert_eq!(read(broker.plain(), &topic).len(), 2);
}

#[test]
fn a_file_for_javas_tools_serves_java_the_producer_and_the_program() {
    let broker = Secured::shared();
    let files = Way::ALL.map(|way| way.java_file(broker));
    let topics = Way::ALL.map(|way| topic(broker.plain(), &format!("file-{way:?}"), 1, &[]));

    // Java's own producer takes it, so it is what people have.
    let triples: Vec<_> = files
        .iter()
        .zip(&topics)
        .flat_map(|(file, topic)| [file.as_str(), topic, "from Java"])
        .collect();
    let told = java("SendSecured", &triples, String::new());
    assert_eq!(told.lines().count(), Way::ALL.len(), "{told}");

    for ((way, file), topic) in Way::ALL.into_iter().zip(&files).zip(&topics) {
        let text = fs::read_to_string(file).unwrap();
        let producer: Producer<String, String> = Producer::builder()
            .properties(Properties::parse(&text).unwrap())
            .key_serializer(StringSerializer)
            .value_serializer(StringSerializer)
            .build()
            .unwrap_or_else(|error| panic!("{way:?}: {error}"));
        let record = ProducerRecord::new(topic.clone()).value("from the producer".to_owned());
        producer.blocking().send(record).unwrap();
        drop(producer);

        let lines = broker.file("lines.txt", "from the program\n");
        for arguments in [
            &["send", "-c", file, "-t", topic, &lines][..],
            &[
                "tail",
                "-c",
                file,
                "-t",
                topic,
                "--from",
                "beginning",
                "--exit",
                "--json",
            ],
            &["audit", "-c", file, topic],
        ] {
            let told = franking(arguments);
            if arguments[0] == "tail" {
                assert_eq!(told.lines().count(), 3, "{way:?}: {told}");
            }
        }
        let stored = read(broker.plain(), topic).into_iter();
        let stored: Vec<_> = stored
            .map(|stored| String::from_utf8(stored.value.unwrap()).unwrap())
            .collect();
        assert_eq!(
            stored,
            ["from Java", "from the producer", "from the program"],
            "{way:?}"
        );
    }
}
