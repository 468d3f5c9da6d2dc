//! Java's own stores are refused with the command that converts them, and the command does.

use std::fs;
use std::process::Command;

use franking::config::{ConfigError, Properties};
use franking::serializers::StringSerializer;
use franking::{BuildError, Producer, ProducerRecord};

use crate::support::secured::{Listener, Secured};
use crate::support::{java, read, topic};

const PASSWORD: &str = "store-secret";

fn build(properties: &Properties) -> Result<Producer<String, String>, BuildError> {
    Producer::builder()
        .properties(properties.clone())
        .key_serializer(StringSerializer)
        .value_serializer(StringSerializer)
        .build()
}

fn refused(properties: &Properties) -> ConfigError {
    match build(properties).map(drop) {
        Err(BuildError::Config(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// The command that a problem of this property tells.
fn command(error: &ConfigError, property: &str) -> String {
    let problems = error.problems().iter();
    let told: Vec<_> = problems
        .filter(|problem| problem.property == property)
        .collect();
    assert_eq!(told.len(), 1, "{error}");
    let mut quoted = told[0].instead.split('`');
    quoted
        .find(|text| text.starts_with("keytool "))
        .unwrap_or_else(|| panic!("{error}"))
        .to_owned()
}

/// Runs it in this folder, with the password that it asks for.
fn run(command: &str, folder: &str, password: &str) {
    // keytool asks without a terminal too, and reads the answers from stdin.
    let output = Command::new("sh")
        .args(["-c", &format!("printf '{password}' | {command}")])
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {said}");
}

#[test]
fn a_java_key_store_is_refused_with_the_command_that_converts_it() {
    let broker = Secured::shared();
    let [keys, trusted] = ["client.jks", "truststore.jks"].map(|name| broker.path(name));
    let [key, certificate, ca] =
        ["client-key.pem", "client-certificate.pem", "ca.pem"].map(|name| broker.path(name));
    java(
        "MakeStores",
        &[&key, &certificate, &ca, &keys, &trusted, PASSWORD],
        String::new(),
    );

    // As Java's tools have it, whose default is JKS. No type is said, or the right one.
    let mut properties = Properties::from_iter([
        ("bootstrap.servers", broker.at(Listener::Mutual)),
        ("security.protocol", "SSL"),
        ("ssl.truststore.location", &trusted),
        ("ssl.keystore.location", &keys),
        ("ssl.keystore.password", PASSWORD),
    ]);
    let error = refused(&properties);
    assert_eq!(error.problems().len(), 2, "{error}");
    properties
        .set("ssl.keystore.type", "JKS")
        .set("ssl.truststore.type", "JKS");
    assert_eq!(refused(&properties), error);
    assert!(!format!("{error} {error:?}").contains(PASSWORD), "{error}");

    // What the messages say to run makes what they say to write. In a folder of its own: the other tests have a `ca.pem`.
    let folder = broker.path("converted");
    fs::create_dir(&folder).unwrap();
    run(
        &command(&error, "ssl.truststore.location"),
        &folder,
        &format!("{PASSWORD}\\n"),
    );
    run(
        &command(&error, "ssl.keystore.location"),
        &folder,
        &format!("{PASSWORD}\\n{PASSWORD}\\n{PASSWORD}\\n"),
    );
    let properties = Properties::from_iter([
        ("bootstrap.servers", broker.at(Listener::Mutual)),
        ("security.protocol", "SSL"),
        ("ssl.ca.location", &format!("{folder}/ca.pem")),
        ("ssl.keystore.location", &format!("{folder}/client.p12")),
        ("ssl.keystore.type", "PKCS12"),
        ("ssl.keystore.password", PASSWORD),
    ]);
    let topic = topic(broker.plain(), "converted", 1, &[]);
    let producer = build(&properties).unwrap();
    let record = ProducerRecord::new(topic.clone()).value("converted".to_owned());
    producer.blocking().send(record).unwrap();
    assert_eq!(read(broker.plain(), &topic).len(), 1);
}
