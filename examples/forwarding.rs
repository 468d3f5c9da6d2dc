//! A service that passes records on, and one that makes others of them: the consumed record's identity, path and trace go
//! on.
//!
//! `scripts/kafka start`, then `cargo run --example forwarding -- BOOTSTRAP`

use std::time::Duration;

use bytes::Bytes;
use franking::{
    DefaultStack, Producer, ProducerRecord, Record,
    middleware::origin::Origin,
    provenance::{Consumed, Provenance},
    serializers::BytesSerializer,
};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::OwnedMessage,
};

type Error = Box<dyn std::error::Error>;

fn producer(bootstrap: &str, service: &str) -> Result<Producer<Bytes, Bytes>, Error> {
    let origin = Origin::builder()
        .service_namespace("shop")
        .service_name(service)
        .build()?;
    Ok(Producer::builder()
        .property("bootstrap.servers", bootstrap)
        .key_serializer(BytesSerializer)
        .value_serializer(BytesSerializer)
        .layer(DefaultStack::new(origin))
        .build()?)
}

/// The record at this place, as rust-rdkafka gives it.
fn consume(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<OwnedMessage, Error> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "forwarding")
        .create()?;
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    consumer.assign(&place)?;
    let message = consumer.poll(Duration::from_secs(30));
    Ok(message.ok_or("nothing came")??.detach())
}

fn show(message: &OwnedMessage) {
    let read = message.provenance();
    println!(
        "{}: {}",
        message.topic(),
        String::from_utf8_lossy(message.payload().unwrap_or_default())
    );
    println!(
        "  id {}, written by {}",
        read.id.map_or("?".into(), |id| id.to_string()),
        read.service().unwrap_or("?")
    );
    for hop in read.path.iter().flat_map(|path| &path.hops) {
        println!(
            "  passed on by {}, from {}-{} at {}",
            hop.service, hop.topic, hop.partition, hop.offset
        );
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let bootstrap = std::env::args().nth(1).unwrap_or("localhost:9092".into());
    let (checkout, mirror, billing) = (
        producer(&bootstrap, "checkout")?,
        producer(&bootstrap, "mirror")?,
        producer(&bootstrap, "billing")?,
    );

    let order = ProducerRecord::new("forwarding.orders").value("two cups".into());
    let at = checkout.send(order).await?;
    let order = consume(
        &bootstrap,
        &at.topic,
        at.partition,
        at.offset.ok_or("no offset")?,
    )?;
    show(&order);

    // The same record, in another topic: key, value, headers and time go with it.
    let copy = Record::new("forwarding.orders.eu").forward(order.consumed());
    let at = mirror.send_record(copy).await?;
    let copy = consume(
        &bootstrap,
        &at.topic,
        at.partition,
        at.offset.ok_or("no offset")?,
    )?;
    show(&copy);
    assert_eq!(
        Provenance::read(copy.raw_headers()).id,
        order.provenance().id
    );

    // Another one that was made of it.
    let invoice = ProducerRecord::new("forwarding.invoices")
        .value("5.80".into())
        .derive(copy.consumed());
    let at = billing.send(invoice).await?;
    show(&consume(
        &bootstrap,
        &at.topic,
        at.partition,
        at.offset.ok_or("no offset")?,
    )?);
    Ok(())
}
