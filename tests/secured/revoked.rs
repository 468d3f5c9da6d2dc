//! Who is put out while connected hears so within seconds; who is let in again goes on with the same producer.

use std::time::{Duration, Instant};

use franking::{Code, Producer};

use crate::account::Account;
use crate::support::secured::{Authority, PASSWORD, Secured, USER};
use crate::support::{builder, topic};
use crate::ways::Way;

const SECONDS: Duration = Duration::from_secs(10);

fn producer(broker: &Secured, way: Way) -> Producer<String, String> {
    let properties = way.properties(broker);
    builder("").properties(properties.iter()).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_is_removed_while_connected_is_told_and_goes_on_when_back() {
    // So often the broker wants the password again of who is connected (KIP-368); else it asks at the next connection.
    const SESSION: Duration = Duration::from_secs(4);
    let broker = Secured::start(&[(
        "listener.name.sasl.scram-sha-256.connections.max.reauth.ms",
        "4000",
    )]);
    let producer = producer(&broker, Way::Scram256);
    let mut account = Account::new(&producer, topic(broker.plain(), "removed", 1, &[]));
    // Longer than a session, so passwords are asked for and given meanwhile.
    account.goes_well(SESSION + SESSION / 2).await;
    let before = account.acked.len();

    tokio::task::block_in_place(|| broker.remove_scram_user(USER));
    let (error, told) = account.until_refused(Code::Authentication).await;
    assert!(told < SESSION + SECONDS, "{told:?}");
    assert_eq!(
        error.failure().setting_name(),
        Some("sasl.password"),
        "{error}"
    );

    tokio::task::block_in_place(|| broker.set_scram_password(USER, PASSWORD));
    let again = account.until_taken().await;
    assert!(again < SECONDS, "{again:?}");
    account.goes_well(Duration::from_secs(1)).await;
    account.must_be_true(broker.plain());
    assert!(account.acked.len() > before && !account.not_persisted.is_empty());
    println!(
        "user removed while connected, sessions of {SESSION:?}: told after {told:.1?}, back in after {again:.1?}; {}",
        account.figures()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_back_with_another_authoritys_certificate_is_told() {
    let broker = Secured::start(&[]);
    let producer = producer(&broker, Way::Tls);
    let mut account = Account::new(&producer, topic(broker.plain(), "another", 1, &[]));
    account.goes_well(Duration::from_secs(1)).await;

    let another = Authority::new("another").broker("127.0.0.1");
    let right = std::fs::read_to_string(broker.path("broker.pem")).unwrap();
    broker.file("broker.pem", &another.store());
    let restart = || tokio::task::block_in_place(|| broker.cluster().restart_node(1));
    // Some are on their way when the broker stops.
    let ((error, _), back) = tokio::join!(account.until_refused(Code::Authentication), async {
        restart();
        Instant::now()
    });
    let told = back.elapsed();
    assert!(told < SECONDS, "{told:?}");
    assert_eq!(
        error.failure().setting_name(),
        Some("ssl.ca.location"),
        "{error}"
    );
    assert!(error.to_string().contains("not trusted"), "{error}");

    broker.file("broker.pem", &right);
    restart();
    let again = account.until_taken().await;
    assert!(again < SECONDS, "{again:?}");
    account.must_be_true(broker.plain());
    println!(
        "another authority after a restart: told {told:.1?} after the broker was back, in again after {again:.1?}; {}",
        account.figures()
    );
}

/// What a restart does to handshakes closes no door.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_refuses_nobody() {
    let broker = Secured::start(&[]);
    for way in [Way::Scram256, Way::Mutual] {
        let producer = producer(&broker, way);
        let mut account = Account::new(&producer, topic(broker.plain(), "restarts", 1, &[]));
        account.goes_well(Duration::from_secs(1)).await;
        let began = Instant::now();
        let (errors, ()) = tokio::join!(
            async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                account.send().await
            },
            async { tokio::task::block_in_place(|| broker.cluster().restart_node(1)) }
        );
        assert!(errors.is_empty(), "{errors:?}");
        account.goes_well(Duration::from_secs(2)).await;
        account.must_be_true(broker.plain());
        println!(
            "{way:?}: a restart of {:.1?}: {}",
            began.elapsed(),
            account.figures()
        );
    }
}
