//! Records and batches that are too large for a real Kafka (row 19).

use franking::{Code, Persistence, ProducerRecord, Topic};

use crate::support::oracle::History;
use crate::support::{Full, bytes_builder, kafka, topic};

const LIMIT: usize = 10_000;
/// What librdkafka counts for a record beside its key, value and headers.
const FRAMING: usize = 36;

fn record(
    history: &History,
    topic: &Topic,
    len: usize,
) -> (u64, ProducerRecord<bytes::Bytes, bytes::Bytes>) {
    let id = history.sends(0);
    let record = ProducerRecord::new(topic.clone()).value(history.value(id, len));
    (id, record)
}

#[tokio::test]
async fn a_record_that_fits_until_a_layer_stamps_it_is_refused_and_its_neighbours_are_not() {
    let topic: Topic = topic(kafka(), "stamped-over", 1, &[]).into();
    let limit = LIMIT.to_string();
    let settings = [("max.request.size", limit.as_str()), ("linger.ms", "100")];
    let largest = LIMIT - FRAMING - 1;

    // Without layers it fits, as does one of a byte more, which is the largest.
    let bare = bytes_builder(kafka()).properties(settings).build().unwrap();
    for (more, fits) in [(0, true), (1, true), (2, false)] {
        let value = bytes::Bytes::from(vec![b'v'; largest + more]);
        let other = ProducerRecord::new(format!("{topic}.bare")).value(value);
        assert_eq!(bare.send(other).await.is_ok(), fits, "{more} more");
    }

    let full = Full::new(kafka(), &settings);
    let mut sent = vec![];
    for n in 0..21 {
        let len = if n == 10 { largest } else { 100 };
        let (id, record) = record(&full.history, &topic, len);
        sent.push((id, full.producer.enqueue(record).await.unwrap()));
    }
    full.producer.flush().await;
    for (n, (id, sent)) in sent.into_iter().enumerate() {
        let result = sent.await;
        full.history.hears(id, &result);
        if n != 10 {
            result.unwrap();
            continue;
        }
        let error = result.unwrap_err();
        assert_eq!(*error.code(), Code::RecordTooLarge, "{error}");
        assert_eq!(error.persistence(), Persistence::NotPersisted);
        assert_eq!((error.attempts(), error.is_transient()), (1, false));
        assert_eq!(error.failure().setting_name(), Some("max.request.size"));
        let text = error.to_string();
        let record = error.into_record().unwrap();
        assert!(
            record.payload_len() > LIMIT - FRAMING,
            "the stamps are on it"
        );
        let bytes = record.payload_len() + FRAMING;
        assert!(text.contains(&format!("{bytes} bytes")), "{text}");
    }
    assert_eq!((full.retry.retries(), full.retry.gave_up()), (0, 0));
    let copies = full.history.stored(kafka(), &topic);
    let verdict = full.judge(&copies).verdict();
    verdict.must_hold("row 19, stamped over the limit");
    assert_eq!((verdict.acked, verdict.not_persisted), (20, 1));
}

#[tokio::test]
async fn a_batch_beyond_the_topics_limit_fails_whole_and_no_other() {
    let limit = LIMIT.to_string();
    let topic = topic(kafka(), "batch-limit", 2, &[("max.message.bytes", &limit)]);
    let topic: Topic = topic.into();
    let full = Full::new(kafka(), &[("linger.ms", "1000")]);
    // So that the partitions are known, and a batch is one.
    let (id, first) = record(&full.history, &topic, 100);
    let result = full.producer.send(first.partition(1)).await;
    full.history.hears(id, &result);

    let mut sent = vec![];
    for n in 0..20 {
        // Each would fit, and the twenty do not. Five go to the other partition meanwhile.
        let (id, record) = record(&full.history, &topic, 1_000);
        let record = record.partition(0);
        sent.push((id, true, full.producer.enqueue(record).await.unwrap()));
        if n % 4 == 0 {
            let (id, record) = self::record(&full.history, &topic, 1_000);
            let record = record.partition(1);
            sent.push((id, false, full.producer.enqueue(record).await.unwrap()));
        }
    }
    let mut back = vec![];
    for (id, too_large, sent) in sent {
        let result = sent.await;
        full.history.hears(id, &result);
        if !too_large {
            result.unwrap();
            continue;
        }
        let error = result.unwrap_err();
        assert_eq!(*error.code(), Code::RecordTooLarge, "{error}");
        assert_eq!(error.persistence(), Persistence::NotPersisted);
        assert_eq!((error.attempts(), error.is_transient()), (1, false));
        assert_eq!(error.failure().setting_name(), Some("batch.size"));
        assert!(error.to_string().contains("max.message.bytes"), "{error}");
        back.push(error.into_record().unwrap());
    }
    assert_eq!(back.len(), 20);
    assert_eq!((full.retry.retries(), full.retry.gave_up()), (0, 0));

    // What the error advises: in smaller batches they arrive, and the producer goes on.
    for record in back {
        let id = full.history.sends(0);
        let value = full.history.value(id, record.value.as_ref().unwrap().len());
        let again = ProducerRecord::new(topic.clone()).value(value).partition(0);
        let sent = full.producer.enqueue(again).await.unwrap();
        full.producer.flush().await;
        let result = sent.await;
        full.history.hears(id, &result);
        result.unwrap();
    }
    let copies = full.history.stored(kafka(), &topic);
    let verdict = full.judge(&copies).verdict();
    verdict.must_hold("row 19, a batch over the topic's limit");
    assert_eq!((verdict.acked, verdict.not_persisted), (26, 20));
}
