//! Permissions: a topic that is denied fails typed and at once, others go on, and what is granted works without a restart.

use std::time::{Duration, Instant};

use franking::{Code, Persistence, SendError};

use crate::account::Account;
use crate::support::secured::Secured;
use crate::support::{builder, record, topic};
use crate::ways::Way;

const SECONDS: Duration = Duration::from_secs(10);

/// Denies alice this operation on a topic, or does so no more.
fn deny(broker: &Secured, what: &str, topic: &str, operation: &str) {
    let principal = Way::Scram256.principal();
    let args = [
        what,
        "--deny-principal",
        &principal,
        "--operation",
        operation,
    ];
    tokio::task::block_in_place(|| broker.acl(topic, &args));
}

fn check(error: &SendError, topic: &str) {
    assert_eq!(*error.code(), Code::Authorization, "{error}");
    assert_eq!(error.persistence(), Persistence::NotPersisted, "{error}");
    assert!(!error.is_transient(), "{error}");
    let text = error.to_string();
    assert!(text.contains(topic) && text.contains("ACL"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_denied_fails_typed_others_go_on_and_a_grant_needs_no_restart() {
    let broker = Secured::shared();
    let properties = Way::Scram256.properties(broker);
    let producer = builder("").properties(properties.iter()).build().unwrap();
    let [open, unwritable, unseen] =
        ["open", "unwritable", "unseen"].map(|what| topic(broker.plain(), what, 2, &[]));
    let mut open = Account::new(&producer, open);
    let mut denied = [("Write", unwritable), ("All", unseen)]
        .map(|(operation, topic)| (operation, Account::new(&producer, topic)));

    for (operation, account) in &mut denied {
        deny(broker, "--add", &account.topic, operation);
        let began = Instant::now();
        let (error, _) = account.until_refused(Code::Authorization).await;
        let first = began.elapsed();
        check(&error, &account.topic);
        assert!(first < SECONDS, "{first:?}");
        let began = Instant::now();
        for error in account.send().await {
            check(&error, &account.topic);
        }
        let next = began.elapsed();
        assert!(account.acked.is_empty());
        open.goes_well(Duration::from_secs(1)).await;

        deny(broker, "--remove", &account.topic, operation);
        let granted = account.until_taken().await;
        assert!(granted < SECONDS, "{granted:?}");
        account.goes_well(Duration::from_secs(1)).await;

        // Again, while it is connected and sends.
        deny(broker, "--add", &account.topic, operation);
        let (error, again) = account.until_refused(Code::Authorization).await;
        check(&error, &account.topic);
        assert!(again < SECONDS, "{again:?}");
        open.goes_well(Duration::from_secs(1)).await;
        deny(broker, "--remove", &account.topic, operation);
        let back = account.until_taken().await;
        assert!(back < SECONDS, "{back:?}");
        account.must_be_true(broker.plain());
        println!(
            "{operation} denied: told after {first:.1?}, then {next:.1?}; granted, works after {granted:.1?}; denied while connected: told after {again:.1?}; granted again: {back:.1?}; {}",
            account.figures()
        );
    }
    open.must_be_true(broker.plain());
    assert_eq!(open.acked.len(), open.sent);
    println!("the topic beside them: {}", open.figures());
}

/// The first that an idempotent producer asks a broker for is its id, and only who may write somewhere gets one. librdkafka,
/// as Java's producer, is then done for.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_write_nowhere_is_told_within_seconds_and_needs_a_new_producer() {
    let broker = Secured::start(&[("allow.everyone.if.no.acl.found", "false")]);
    let properties = Way::Scram256.properties(&broker);
    let producer = || builder("").properties(properties.iter()).build().unwrap();
    let first = producer();
    let topic = topic(broker.plain(), "nowhere", 1, &[]);
    let mut account = Account::new(&first, topic.clone());
    let began = Instant::now();
    let errors = account.send().await;
    let told = began.elapsed();
    assert!(account.acked.is_empty());
    for error in &errors {
        assert_eq!(error.persistence(), Persistence::NotPersisted, "{error}");
        assert!(!error.is_transient(), "{error}");
        assert!(
            [Code::Authorization, Code::Fatal].contains(error.code()),
            "{error}"
        );
    }
    assert!(told < SECONDS, "{told:?}");

    let principal = Way::Scram256.principal();
    let grant = [
        "--add",
        "--allow-principal",
        &principal,
        "--operation",
        "Write",
    ];
    tokio::task::block_in_place(|| broker.acl(&topic, &grant));
    let error = first.send(record(&topic, "v")).await.unwrap_err();
    println!("{error}");
    assert_eq!(*error.code(), Code::Fatal, "{error}");
    assert!(
        error.to_string().contains("build a new producer"),
        "{error}"
    );
    account.must_be_true(broker.plain());
    let second = producer();
    second.send(record(&topic, "v")).await.unwrap();
    println!(
        "no permission at all: told after {told:.1?}; {}",
        account.figures()
    );
}
