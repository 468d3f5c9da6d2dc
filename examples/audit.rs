//! An audited producer: reports to a topic and to a file whose lines are chained by hashes, complete after the close.
//!
//! `cargo run --example audit -- localhost:9092 audit.jsonl`, then
//! `franking audit -b localhost:9092 clicks --reports-topic audit-reports` holds what is stored against what was reported,
//! and `franking audit --verify audit.jsonl` sees whether a line was changed.

use std::{sync::Arc, time::Duration};

use franking::{
    DefaultStack, Producer, ProducerRecord,
    middleware::{
        audit::{Audit, JsonLines},
        origin::Origin,
    },
    serializers::StringSerializer,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().unwrap_or_else(|| "localhost:9092".to_owned());
    let file = args.next().unwrap_or_else(|| "audit.jsonl".to_owned());

    let origin = Origin::new("web-shop")?;
    let audit = Audit::builder()
        .bucket(Duration::from_secs(60))
        .instance_id(origin.instance_id())
        // Nobody deletes the files that were rotated.
        .sink(JsonLines::open(file)?.rotate_at(64 << 20))
        .build();
    let audit = Arc::new(audit);
    let producer = Producer::builder()
        .property("bootstrap.servers", bootstrap)
        .key_serializer(StringSerializer)
        .value_serializer(StringSerializer)
        .audit_topic(&audit, "audit-reports")
        .layer(DefaultStack::new(origin).with_audit(Arc::clone(&audit)))
        .build()?;

    for n in 0..100 {
        let click = ProducerRecord::new("clicks")
            .key(format!("visitor-{}", n % 7))
            .value("/shop/cart".to_owned());
        // Whoever does not wait is audited all the same.
        producer.send_and_forget(click).await?;
    }
    let closed = producer.close(Duration::from_secs(30)).await;

    let all = audit.totals();
    println!("closed: {closed}");
    println!(
        "attempted {} = delivered {} + not persisted {} + unknown {} + in flight {}",
        all.attempted.records,
        all.delivered.records,
        all.not_persisted.records,
        all.unknown.records,
        all.in_flight.records
    );
    println!(
        "acknowledged within {:?} on average, 99 of 100 within {:?}",
        all.latency.mean, all.latency.p99
    );
    println!("reports that no sink has: {}", audit.unwritten());
    Ok(())
}
