//! A program's producer, every way in.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use franking::oauthbearer::OAuthBearerToken;
use franking::serializers::StringSerializer;
use franking::{Producer, ProducerRecord, SendError};

use crate::support::secured::{Secured, USER};
use crate::support::{read, topic};
use crate::ways::Way;

const RECORDS: usize = 1000;

#[test]
fn a_producer_sends_every_way_in_and_what_is_stored_is_what_was_sent() {
    let broker = Secured::shared();
    for way in Way::ALL {
        let topic = topic(broker.plain(), &format!("secured-{way:?}"), 1, &[]);
        if way != Way::Tls {
            // Nobody else may write, so that who writes is who it should be.
            let principal = way.principal();
            broker.acl(
                &topic,
                &[
                    "--add",
                    "--allow-principal",
                    &principal,
                    "--operation",
                    "Write",
                ],
            );
        }
        let asked = Arc::new(AtomicUsize::new(0));
        let mut builder = Producer::builder()
            .properties(way.properties(broker))
            .key_serializer(StringSerializer)
            .value_serializer(StringSerializer);
        if way == Way::Token {
            let asked = Arc::clone(&asked);
            let token = broker.tokens.token(USER, Duration::from_secs(3600));
            builder = builder.oauthbearer_token(move || {
                asked.fetch_add(1, SeqCst);
                Ok(OAuthBearerToken::from_jwt(token.clone())?)
            });
        }
        let producer: Producer<String, String> = builder.build().unwrap();

        let began = Instant::now();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let sent: Vec<_> = (0..RECORDS)
            .map(|n| (format!("key {n}"), format!("value {n} {way:?}")))
            .collect();
        let mut first = Duration::ZERO;
        let failed = Arc::new(Mutex::new(Vec::new()));
        runtime.block_on(async {
            let record = |(key, value): &(String, String)| {
                ProducerRecord::new(topic.clone())
                    .key(key.clone())
                    .value(value.clone())
            };
            producer.send(record(&sent[0])).await.unwrap();
            first = began.elapsed();
            for pair in &sent[1..] {
                let failed = Arc::clone(&failed);
                let heard = move |result: Result<_, SendError>| {
                    failed
                        .lock()
                        .unwrap()
                        .extend(result.err().map(|error| error.to_string()));
                };
                producer.send_with(record(pair), heard).await;
            }
            producer.close(Duration::from_secs(10)).await;
        });
        let took = began.elapsed();
        assert!(failed.lock().unwrap().is_empty(), "{way:?}: {failed:?}");

        let stored = read(broker.plain(), &topic);
        let stored: Vec<_> = stored
            .into_iter()
            .map(|stored| {
                [stored.key, stored.value].map(|bytes| String::from_utf8(bytes.unwrap()).unwrap())
            })
            .map(|[key, value]| (key, value))
            .collect();
        assert_eq!(stored, sent, "{way:?}");
        assert_eq!(
            asked.load(SeqCst),
            usize::from(way == Way::Token),
            "{way:?}"
        );
        println!(
            "{way:?} as {}: first record {first:?}, {RECORDS} in {took:?}",
            way.principal()
        );
    }
}
