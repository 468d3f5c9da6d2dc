//! What the default stack writes is read back, from the messages of a client that is not ours.

#![cfg(feature = "rdkafka")]

mod support;

use std::time::Duration;

use franking::middleware::origin::Origin;
use franking::provenance::{Consumed as _, Provenance, Seen, Writers};
use franking::testing::block_on;
use franking::{DefaultStack, Producer, ProducerRecord};
use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use rdkafka::Message as _;

use support::{builder, kafka, read_each, topic};

const PATIENCE: Duration = Duration::from_secs(60);

fn producer(instance: &str, provider: &SdkTracerProvider) -> Producer<String, String> {
    let origin = Origin::builder()
        .service_namespace("shop, eu")
        .service_name("checkout")
        .instance_id(instance)
        .build()
        .unwrap();
    let stack = DefaultStack::new(origin).trace(franking::middleware::trace::Trace::new(
        provider.tracer("checkout"),
    ));
    builder(kafka()).layer(stack).build().unwrap()
}

#[test]
fn provenance_is_read_from_borrowed_and_owned_messages() {
    let spans = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(spans.clone())
        .build();
    let topic = topic(kafka(), "provenance", 3, &[]);
    let instances = ["one", "two;=%"];
    for instance in instances {
        let producer = producer(instance, &provider);
        for n in 0..20 {
            let record = ProducerRecord::new(topic.clone())
                .key(format!("key-{n}"))
                .value(String::from("value"));
            block_on(producer.send(record), PATIENCE).unwrap().unwrap();
        }
    }
    let sent = spans.get_finished_spans().unwrap();
    assert_eq!(sent.len(), 40);

    let mut writers = Writers::new();
    let mut owned = vec![];
    let mut continued = 0;
    read_each(kafka(), &topic, |message| {
        let read = message.provenance();
        assert!(read.notes.is_empty(), "{:?}", read.notes);
        assert_eq!(
            (read.namespace(), read.service()),
            (Some("shop, eu"), Some("checkout"))
        );
        let made = read.id.unwrap().millis().unwrap();
        assert_eq!(
            message.timestamp().to_millis(),
            Some(made as i64),
            "the clock is read once"
        );
        assert_eq!(writers.see(message.topic(), &read), Seen::New);

        // The consumer's span is a child of the producer's.
        let parent = read.trace.as_ref().unwrap().context();
        let child = provider
            .tracer("payment")
            .start_with_context("handle", &parent);
        let child = opentelemetry::Context::new().with_span(child);
        let producers = sent
            .iter()
            .filter(|span| span.span_context.span_id() == parent.span().span_context().span_id());
        let traces: Vec<_> = producers.map(|span| span.span_context.trace_id()).collect();
        assert_eq!(traces, [child.span().span_context().trace_id()]);
        continued += 1;

        let copy = message.detach();
        assert_eq!(copy.provenance(), read);
        owned.push(copy);
    });
    assert_eq!(continued, 40);

    // Each instance counts from 1, over all partitions.
    let mut counted: Vec<_> = writers.iter().collect();
    counted.sort_by_key(|writer| writer.instance());
    for (writer, instance) in counted.iter().zip(instances) {
        assert_eq!(writer.instance(), instance);
        assert_eq!((writer.first(), writer.last()), (1, 20));
        assert_eq!((writer.missing(), writer.duplicates()), (0, 0));
    }
    assert_eq!((writers.unnumbered(), writers.untracked()), (0, 0));

    // A consumer that reads some again, and one that lost some.
    for message in owned.iter().take(5) {
        assert_eq!(writers.see(&topic, &message.provenance()), Seen::Duplicate);
    }
    let mut lossy = Writers::new();
    let mut lost = 0;
    for message in &owned {
        let read = message.provenance();
        match read.sequence.as_ref().unwrap().number {
            5..=7 | 11 => lost += 1,
            _ => drop(lossy.see(&topic, &read)),
        }
    }
    assert_eq!(lost, 8);
    for writer in lossy.iter() {
        assert_eq!(writer.gaps().collect::<Vec<_>>(), [5..=7, 11..=11]);
    }
}

#[test]
fn a_record_without_headers_says_nothing() {
    let topic = topic(kafka(), "provenance-none", 1, &[]);
    let plain = builder(kafka()).build().unwrap();
    let record = ProducerRecord::new(topic.clone()).value(String::from("value"));
    block_on(plain.send(record), PATIENCE).unwrap().unwrap();
    let mut read = 0;
    read_each(kafka(), &topic, |message| {
        assert_eq!(message.provenance(), Provenance::default());
        assert_eq!(message.raw_headers().count(), 0);
        read += 1;
    });
    assert_eq!(read, 1);
}
