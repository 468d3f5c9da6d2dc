//! Three brokers, one of which does not let the producer in: a credential that is not there yet, say.

use std::time::{Duration, Instant};

use franking::{Code, Persistence};

use crate::support::{Cluster, builder, eventually, partitions_of, read, record, replicated_topic};

const MODULE: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const JAAS: &str = "listener.name.sasl.plain.sasl.jaas.config";

#[test]
fn a_leader_that_refuses_holds_up_its_partitions_and_no_others() {
    let users = format!("{MODULE} required user_alice=\"secret\";");
    let nobody = format!("{MODULE} required user_alice=\"other\";");
    let settings = [("sasl.enabled.mechanisms", "PLAIN"), (JAAS, &users)];
    let cluster = Cluster::with_listener(3, ("SASL", "SASL_PLAINTEXT"), &settings);
    let topic = replicated_topic(cluster.direct(), "refusing-leader", 3, 1, &[]);
    let leader = |partition: usize| partitions_of(cluster.direct(), &topic)[partition].leader;
    let refusing = leader(0).expect("a leader");
    let producer = builder(cluster.listener("SASL"))
        .property("security.protocol", "SASL_PLAINTEXT")
        .property("sasl.mechanism", "PLAIN")
        .property("sasl.username", "alice")
        .property("sasl.password", "secret")
        .property("request.timeout.ms", "1500")
        .property("delivery.timeout.ms", "8000")
        .build()
        .unwrap();
    let to = |partition: usize| {
        record(&topic, format!("to {partition}")).partition(i32::try_from(partition).unwrap())
    };
    let others: Vec<_> = (1..3).filter(|p| leader(*p) != Some(refusing)).collect();
    assert!(!others.is_empty());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(producer.send(to(0))).unwrap();

    cluster.reconfigure(refusing, JAAS, &nobody);
    assert!(eventually(|| leader(0) == Some(refusing)));
    runtime.block_on(async {
        let began = Instant::now();
        let waiting = producer.enqueue(to(0)).await.unwrap();
        let mut sent = 0;
        while began.elapsed() < Duration::from_secs(7) {
            for partition in &others {
                producer.send(to(*partition)).await.unwrap();
                sent += 1;
            }
        }
        let error = waiting.await.unwrap_err();
        let waited = began.elapsed();
        assert_eq!(*error.code(), Code::TimedOut, "{error}");
        assert_eq!(error.persistence(), Persistence::NotPersisted, "{error}");
        assert!(error.is_transient(), "{error}");
        assert_eq!(error.failure().setting_name(), Some("sasl.password"), "{error}");
        println!(
            "a leader that refuses: {sent} records to the other leaders meanwhile, 1 timed out after {waited:.1?}: {error}"
        );
        assert_eq!(read(cluster.direct(), &topic).len(), 1 + sent);
    });

    // With its credential the leader takes records again, from the same producer.
    cluster.reconfigure(refusing, JAAS, &users);
    assert!(eventually(|| leader(0) == Some(refusing)));
    let again = Instant::now();
    runtime.block_on(producer.send(to(0))).unwrap();
    println!("on again after {:.1?}", again.elapsed());
}
