//! Every answer that a broker may give to a Produce request (row 10).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

use franking::{Code, Persistence};

use crate::support::{Produced, eventually, record};
use crate::table::{Row, Told, rows};
use crate::trial::Trial;

const HEADING: &str = "What a broker answers to Produce";

/// Sends a record that is answered with this number, and says what became of it.
async fn answered(number: i16) -> Told {
    let trial = Trial::warm(&[]).await;
    trial.broker.answers(Produced::Code(number));
    let found = trial.send(record("t", "v")).await;
    trial.broker.heals();

    // What the record is said to be, it is.
    let stored = trial.broker.stored() - 1;
    match &found.result {
        Ok(sent) if found.failure.is_none() => {
            assert_eq!((stored, sent.offset), (0, None), "{number}");
        }
        Ok(sent) => assert_eq!((stored, sent.offset), (1, Some(1)), "{number}"),
        Err(error) => {
            assert_eq!((stored, error.attempts()), (0, 1), "{error}");
            let text = error.to_string();
            let unknown = error.persistence() == Persistence::Unknown;
            assert_eq!(text.contains("possibly persisted"), unknown, "{error}");
            if let Code::Broker { number: said, .. } = error.code() {
                assert_eq!(*said, i32::from(number));
                assert!(text.contains(&format!("({number})")), "{error}");
            }
        }
    }
    let fatal = trial.is_fatal().await;
    assert!(eventually(|| trial.producer.room().used() == 0), "{number}");
    found.told(fatal)
}

/// What the table says of this number; `name` is the one that was found.
fn expected(row: &Row, name: &str) -> Told {
    let itself = match row.numbers.len() {
        1 => row.what.as_str(),
        // A name of librdkafka's, whichever: not one of franking's own.
        _ if name.contains('_') && !["TIMED_OUT", "INVALID_RECORD"].contains(&name) => name,
        _ => "a name of Kafka's",
    };
    let mut told = row.told.clone();
    if told.surfaces_as == "itself" {
        told.surfaces_as = itself.to_owned();
    }
    told
}

#[test]
fn every_answer_is_told_as_the_table_says() {
    let started = Instant::now();
    let rows = rows(HEADING);
    let cases: Vec<(&Row, i16)> = rows
        .iter()
        .flat_map(|row| row.numbers.iter().map(move |number| (row, *number)))
        .collect();
    // They wait more than they work.
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                while let Some((row, number)) = cases.get(next.fetch_add(1, SeqCst)) {
                    let found = runtime.block_on(answered(*number));
                    let expected = expected(row, &found.surfaces_as);
                    if found != expected {
                        wrong.lock().unwrap().insert(*number, (expected, found));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    println!(
        "row 10, answers to Produce: {} codes, {} as the table says, in {:?}",
        cases.len(),
        cases.len() - wrong.len(),
        started.elapsed()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_code_of_kafkas_has_a_row_and_one_only() {
    let rows = rows(HEADING);
    let mut numbers: Vec<_> = rows.iter().flat_map(|row| &row.numbers).collect();
    let all = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), all, "a number twice");
    // Kafka 4.1 has those up to 133.
    for code in (-1..=134).filter(|code| *code != 0) {
        assert!(numbers.contains(&&code), "no row for {code}");
    }
}
