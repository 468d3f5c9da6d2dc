//! The answer to a duplicate: the batch is stored, the broker does not say where (row 14).

use std::collections::HashMap;

use franking::Topic;

use crate::support::oracle::{Clause, History, Judge};
use crate::support::{Answer, Api, Mock, Random, bytes_builder};

const BATCHES: usize = 100;
const EACH: usize = 50;

#[tokio::test]
async fn a_duplicate_is_delivered_and_its_offset_is_not_made_up() {
    let topic: Topic = "t".into();
    let mock = Mock::with_topic(&topic, 2);
    let history = History::new();
    let producer = bytes_builder(mock.bootstrap())
        .layer(history.layer())
        .build()
        .unwrap();
    let mut random = Random::new();
    let mut told = HashMap::new();
    let mut duplicates = 0;
    for batch in 0..BATCHES {
        // The first ones too, where librdkafka counts from -1 over 0: offsets that could be true.
        let duplicate = batch < 2 || random.below(2) == 0;
        if duplicate {
            duplicates += 1;
            mock.answers(
                Api::Produce,
                &[Answer::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER],
            );
        }
        let mut sent = vec![];
        for _ in 0..EACH {
            let (id, record) = history.record(&topic, 0);
            let record = record.partition((batch % 2) as i32);
            sent.push((id, producer.enqueue(record).await.unwrap()));
        }
        producer.flush().await;
        for (id, sent) in sent {
            let result = sent.await;
            history.hears(id, &result);
            told.insert(id, result.expect("delivered").offset);
        }
        // Not used up if the records went in more than one batch: that is no matter.
        mock.answers_well(Api::Produce);
    }

    let copies = history.stored(&mock.bootstrap(), &topic);
    // The mock cluster stores nothing of what it answers with an error, so what it calls a duplicate is missing there.
    let verdict = Judge::of(&history, &copies)
        .without(Clause::AckedIsStored)
        .verdict();
    verdict.must_hold("row 14, answers to duplicates");
    let stored: HashMap<_, _> = copies.iter().map(|copy| (copy.id, copy.offset)).collect();
    let invented = told
        .iter()
        .filter(|(id, offset)| offset.is_some() && stored.get(&Some(**id)) != offset.as_ref())
        .count();
    let unsaid = told.values().filter(|offset| offset.is_none()).count();
    println!(
        "row 14: {duplicates} of {BATCHES} answers to duplicates, {unsaid} records without an offset, {invented} invented"
    );
    assert_eq!(invented, 0);
    assert_eq!(verdict.acked as usize, BATCHES * EACH);
    // Nobody's offset is left out that the broker did say.
    assert_eq!(unsaid as u64, verdict.lost);
    assert!(unsaid >= duplicates, "{unsaid}");
}
