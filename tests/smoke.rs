//! The producer against a real Kafka: the ways to send, and what comes back.

mod support;

use std::time::Duration;

use franking::{Code, Producer, ProducerRecord, serializers::StringSerializer};

fn producer() -> Producer<String, String> {
    Producer::builder()
        .property("bootstrap.servers", support::kafka())
        .key_serializer(StringSerializer)
        .value_serializer(StringSerializer)
        .build()
        .unwrap()
}

#[tokio::test]
async fn sends_and_closes() {
    let producer = producer();
    let record = ProducerRecord::new("smoke")
        .key("k".to_owned())
        .value("v".to_owned())
        .header("h", "1");
    let metadata = producer.send(record).await.unwrap();
    assert_eq!(metadata.topic, "smoke");
    assert!(metadata.offset.is_some());
    assert_eq!(metadata.serialized_key_size, Some(1));
    for i in 0..10_000 {
        producer
            .send_and_forget(ProducerRecord::new("smoke").value(format!("{i}")))
            .await
            .unwrap();
    }
    producer.flush().await;
    assert_eq!(producer.room().outstanding(), 0);
    assert_eq!(producer.room().totals().delivered, 10_001);
    let closed = producer.close(Duration::from_secs(5)).await;
    assert_eq!(closed, franking::Closed::default());
    let error = producer
        .send(ProducerRecord::new("smoke").value("x".to_owned()))
        .await
        .unwrap_err();
    assert_eq!(*error.code(), Code::Closed);
    println!("{error}");
}
