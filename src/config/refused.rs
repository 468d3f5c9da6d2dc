//! The names that are known and not taken, each with what to do instead.

/// Names that are refused for one reason.
pub(super) struct Refused {
    pub(super) names: &'static [&'static str],
    pub(super) why: &'static str,
    pub(super) instead: &'static str,
}

pub(super) const REFUSED: &[Refused] = &[
    // === what would break this producer's promises ===
    Refused {
        names: &["delivery.report.only.error"],
        why: "every record ends in an outcome, so every delivery must be reported",
        instead: "remove it",
    },
    Refused {
        names: &["queuing.strategy", "msg_order_cmp"],
        why: "the records of a partition are sent in the order in which they were accepted",
        instead: "remove it",
    },
    Refused {
        names: &["queue.buffering.max.messages", "queue.buffering.max.kbytes"],
        why: "the room for records is counted outside librdkafka, so that a full one makes callers wait",
        instead: "write `buffer.memory`, in bytes",
    },
    Refused {
        names: &[
            "transactional.id",
            "transaction.timeout.ms",
            "transaction.two.phase.commit.enable",
        ],
        why: "this producer has no transactions yet",
        instead: "remove it; `enable.idempotence=true`, the default, already keeps the producer's retries from duplicating records",
    },
    Refused {
        names: &[
            "enabled_events",
            "log.queue",
            "enable_sasl_queue",
            "error_cb",
            "throttle_cb",
            "stats_cb",
            "log_cb",
            "background_event_cb",
            "socket_cb",
            "connect_cb",
            "closesocket_cb",
            "open_cb",
            "resolve_cb",
            "dr_cb",
            "dr_msg_cb",
            "partitioner_cb",
            "oauthbearer_token_refresh_cb",
            "ssl.certificate.verify_cb",
            "ssl_engine_callback_data",
            "ssl_key",
            "ssl_certificate",
            "ssl_ca",
            "opaque",
            "default_topic_conf",
            "interceptors",
            "ut_handle_ProduceResponse",
            "client.software.name",
            "client.software.version",
        ],
        why: "the producer itself owns this setting of librdkafka",
        instead: "remove it",
    },
    Refused {
        names: &["plugin.library.paths"],
        why: "a plugin runs inside librdkafka, where the producer's layers cannot see what it does to records",
        instead: "remove it, and add a layer instead",
    },
    Refused {
        names: &["builtin.features"],
        why: "it says how librdkafka was built and changes nothing",
        instead: "remove it",
    },
    Refused {
        names: &["produce.offset.report"],
        why: "every acknowledged record's offset is reported",
        instead: "remove it",
    },
    Refused {
        names: &["topic.blacklist"],
        why: "it hides topics, whose records would then wait for their time-out",
        instead: "remove it",
    },
    Refused {
        names: &[
            "api.version.request",
            "api.version.fallback.ms",
            "broker.version.fallback",
        ],
        why: "it is for brokers before 0.11, which know neither record headers nor idempotence",
        instead: "remove it",
    },
    // === what only a JVM can do ===
    Refused {
        names: &["interceptor.classes"],
        why: "it names Java classes",
        instead: "add layers to the producer instead; a layer can also refuse a record, which an interceptor cannot",
    },
    Refused {
        names: &["partitioner.class"],
        why: "it names a Java class",
        instead: "remove it to have Java's default partitioner, write `partitioner` (`round_robin` is Java's RoundRobinPartitioner), or give the builder one of your own",
    },
    Refused {
        names: &[
            "metric.reporters",
            "metrics.num.samples",
            "metrics.recording.level",
            "metrics.sample.window.ms",
            "auto.include.jmx.reporter",
        ],
        why: "it sets up Java's metrics",
        instead: "remove it, and add the metrics layer; `statistics.interval.ms` turns on librdkafka's own numbers",
    },
    Refused {
        names: &["config.providers"],
        why: "values are not fetched from anywhere else",
        instead: "fetch the value in the program and set the property to it",
    },
    Refused {
        names: &[
            "security.providers",
            "ssl.provider",
            "ssl.protocol",
            "ssl.enabled.protocols",
            "ssl.keymanager.algorithm",
            "ssl.trustmanager.algorithm",
            "ssl.secure.random.implementation",
            "ssl.engine.factory.class",
        ],
        why: "it sets up the JVM's TLS",
        instead: "remove it: OpenSSL agrees with the broker on the newest version of TLS that both know",
    },
    Refused {
        names: &["ssl.truststore.password"],
        why: "librdkafka reads certificates in PEM, which have no password",
        instead: "remove it, export the trust store as PEM and write its path as `ssl.ca.location`",
    },
    Refused {
        names: &["ssl.engine.location", "ssl.engine.id"],
        why: "OpenSSL has given up engines",
        instead: "write `ssl.providers`",
    },
    #[cfg(not(windows))]
    Refused {
        names: &["ssl.ca.certificate.stores"],
        why: "only Windows has certificate stores",
        instead: "write `ssl.ca.location`, or remove it to trust the system's certificates",
    },
    Refused {
        names: &["sasl.client.callback.handler.class"],
        why: "it names a Java class",
        instead: "remove it",
    },
    // === what librdkafka does another way, or not in this build ===
    Refused {
        names: &["metadata.max.idle.ms"],
        why: "librdkafka itself decides when it forgets a topic that is no longer used",
        instead: "remove it",
    },
    Refused {
        names: &["socket.connection.setup.timeout.max.ms"],
        why: "librdkafka's limit for setting up a connection does not grow",
        instead: "write `socket.connection.setup.timeout.ms`",
    },
    Refused {
        names: &["https.ca.location", "https.ca.pem"],
        why: "this build of librdkafka has no HTTP client, so no OIDC",
        instead: "use the SASL mechanism SCRAM-SHA-512 or PLAIN, or TLS with a client certificate",
    },
];

pub(super) const REFUSED_PREFIXES: &[Refused] = &[
    Refused {
        names: &["sasl.oauthbearer."],
        why: "this build of librdkafka has no HTTP client, so no OIDC",
        instead: "give the builder `oauthbearer_token`, or have the token in a file and write `sasl.oauthbearer.token.endpoint.url=file:///…`",
    },
    Refused {
        names: &["sasl.kerberos."],
        why: "this build of librdkafka has no Kerberos (GSSAPI)",
        instead: "use the SASL mechanism SCRAM-SHA-512 or PLAIN, or TLS with a client certificate",
    },
    Refused {
        names: &["sasl.login."],
        why: "it sets up Java's login for OAUTHBEARER and Kerberos",
        instead: "remove it",
    },
];

/// Properties of consumers, in Java and in librdkafka.
pub(super) const CONSUMER: &[&str] = &[
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "check.crcs",
    "consume.callback.max.messages",
    "consume_cb",
    "coordinator.query.interval.ms",
    "default.api.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "exclude.internal.topics",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "key.deserializer",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "max.poll.records",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "offset_commit_cb",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "rebalance_cb",
    "session.timeout.ms",
    "value.deserializer",
];
