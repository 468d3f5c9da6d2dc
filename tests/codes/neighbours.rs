//! Records whose batch holds others that a real Kafka does not take (row 10, on a real broker).

use franking::{Code, Persistence, ProducerRecord, Topic};

use crate::support::{Full, kafka, topic};

#[tokio::test]
async fn records_of_a_batch_with_invalid_ones_are_sent_again_without_them() {
    // A compacted topic wants keys.
    let topic: Topic = topic(kafka(), "compacted", 1, &[("cleanup.policy", "compact")]).into();
    let full = Full::new(kafka(), &[("linger.ms", "1000")]);
    let mut sent = vec![];
    for n in 0..12_u32 {
        let (id, mut record) = full.history.record(&topic, n);
        let sound = n % 6 != 3;
        if !sound {
            record = ProducerRecord::new(topic.clone()).value(full.history.value(id, 100));
        }
        sent.push((id, sound, full.producer.enqueue(record).await.unwrap()));
    }
    full.producer.flush().await;
    for (id, sound, sent) in sent {
        let result = sent.await;
        full.history.hears(id, &result);
        if sound {
            result.unwrap();
            continue;
        }
        let error = result.unwrap_err();
        assert_eq!(*error.code(), Code::InvalidRecord, "{error}");
        assert_eq!(error.persistence(), Persistence::NotPersisted);
        assert_eq!((error.attempts(), error.is_transient()), (1, false));
        assert!(error.to_string().contains("compacted"), "{error}");
    }
    let copies = full.history.stored(kafka(), &topic);
    let verdict = full.judge(&copies).verdict();
    verdict.must_hold("row 10, two invalid records in a batch of twelve");
    assert_eq!((verdict.acked, verdict.not_persisted), (10, 2));
    assert_eq!(full.retry.retries(), 10, "all failed with the first batch");
}
