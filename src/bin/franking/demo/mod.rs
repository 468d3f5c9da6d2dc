//! `franking demo`: a shop on a Kafka inside this process, with faults, and what a consumer learns from it.
//!
//! Every figure is counted: by the producers' audits, by the retry layer, by a witness of the engine's log, and by a
//! consumer that has nothing but what it read back. The demo fails if they do not agree.

use std::{
    collections::HashMap,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use franking::{
    Code, DefaultStack, Delivery, InterceptorLayer, Persistence, Producer, SendError,
    middleware::{
        audit::Audit,
        origin::Origin,
        retry::{RetryLayer, RetryStats},
        trace::Trace,
    },
    serializers::{JsonSerializer, StringSerializer},
};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use serde::Serialize;
use tracing_subscriber::{layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::BoxError;

mod cluster;
mod reader;
mod shop;
mod telling;
mod witness;

use cluster::Cluster;
use reader::{Learned, Read};
use shop::{ORDERS, Order, PAYMENTS, Payment};
use telling::Teller;
use witness::{Attempts, Connections};

const HELP: &str = "\
Examples:
  franking demo
  franking demo --json | jq .audit

It needs no Kafka: librdkafka's mock cluster of three brokers runs in this process and speaks the real protocol. What it
leaves out: replication, and the removal of duplicates. The exit code is 1 if something went otherwise than told.";

/// Orders that checkout takes before somebody orders with too long a note.
const TAKEN: u32 = 500;
/// So many at a time, and then a pause: a few batches, not one.
const BURST: u32 = 50;
/// In the middle, so many requests lose their connection.
const CUTS: usize = 3;
/// Attempts of the engine itself that a broker's disk refuses: the first and `retries`.
const REFUSED: usize = 2;

/// Arguments of `franking demo`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Print one JSON object instead of the story
    #[arg(long)]
    json: bool,
}

/// What happened, in figures.
#[derive(Default, Serialize)]
struct Story {
    ok: bool,
    /// What went otherwise than it should have.
    unexpected: Vec<String>,
    took_ms: u64,
    orders: Sent,
    payments: Sent,
    cut: Cut,
    refused: Option<RefusedRecord>,
    retried: Retried,
    traces: Traces,
    learned: Vec<Learned>,
    example: Option<Example>,
    audit: Vec<Balance>,
}

/// What an application saw of its sends.
#[derive(Default, Serialize)]
struct Sent {
    sent: u64,
    delivered: u64,
    failed: u64,
}

impl std::ops::AddAssign for Sent {
    fn add_assign(&mut self, more: Self) {
        self.sent += more.sent;
        self.delivered += more.delivered;
        self.failed += more.failed;
    }
}

/// The connections that were cut.
#[derive(Default, Serialize)]
struct Cut {
    connections: u64,
    records_in_flight: u64,
}

/// A record that was refused, as its error tells.
#[derive(Serialize)]
struct RefusedRecord {
    code: String,
    persistence: String,
    setting: Option<&'static str>,
    what_to_do: String,
    given_back: bool,
}

/// What the retry layer did.
#[derive(Default, Serialize)]
struct Retried {
    /// The failed attempts that the layer saw, each after the engine's own retries.
    failures: Vec<String>,
    /// Of the record with the most: how often it was handed to the engine.
    attempts: u32,
    resends: u64,
    delivered: u64,
}

/// Traces, as the consumer reads them.
#[derive(Default, Serialize)]
struct Traces {
    /// Payments in the trace of their order.
    continued: u64,
    payments: u64,
}

/// One record, as it was read.
#[derive(Serialize)]
struct Example {
    place: String,
    key: String,
    value: String,
    headers: Vec<(String, String)>,
}

/// The audit's balance of a topic, beside what was read back.
#[derive(Serialize)]
struct Balance {
    topic: String,
    attempted: u64,
    delivered: u64,
    not_persisted: u64,
    unknown: u64,
    in_flight: u64,
    read_back: u64,
}

impl Balance {
    /// Whether every record that was attempted has one outcome, or is in flight.
    fn holds(&self) -> bool {
        self.attempted == self.delivered + self.not_persisted + self.unknown + self.in_flight
    }
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode, BoxError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut teller = Teller::new(args.json);
    let story = runtime.block_on(play(&mut teller))?;
    teller.end(&story)?;
    Ok(match story.ok {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// A service: its producer, and what its owner keeps in view.
struct Service<V> {
    producer: Producer<String, V>,
    audit: Arc<Audit>,
    retries: RetryStats,
    attempts: Attempts,
}

impl<V: Serialize + 'static> Service<V> {
    /// Everything that a platform team sets up, once for each service.
    fn start(
        name: &str,
        version: &str,
        bootstrap: &str,
        tracer: SdkTracer,
        properties: &[(&str, &str)],
    ) -> Result<Self, BoxError> {
        let origin = Origin::builder()
            .service_namespace("shop")
            .service_name(name)
            .service_version(version)
            .environment("demo")
            .build()?;
        let retry = RetryLayer::new();
        let retries = retry.stats();
        let stack = DefaultStack::new(origin)
            .trace(Trace::new(tracer))
            .retry(retry);
        let audit = Arc::clone(stack.audit());
        let attempts = Attempts::default();
        let producer = Producer::builder()
            .property("bootstrap.servers", bootstrap)
            .property("client.id", name)
            // The mock cluster does not remove duplicates, as real brokers do for an idempotent producer. So no request may
            // be stored while its answer is lost: the one that is cut is not stored, and with one at a time there is no
            // other on its connection.
            .property("max.in.flight.requests.per.connection", "1")
            .properties(properties.iter().copied())
            .key_serializer(StringSerializer)
            .value_serializer(JsonSerializer)
            .layer(stack)
            // Innermost, so that it sees each attempt.
            .layer(InterceptorLayer::new(attempts.clone()))
            .build()?;
        Ok(Self {
            producer,
            audit,
            retries,
            attempts,
        })
    }
}

impl Story {
    /// Notes what went otherwise than it should have.
    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.unexpected.push(what());
        }
    }
}

async fn play(teller: &mut Teller) -> Result<Story, BoxError> {
    let started = Instant::now();
    let mut story = Story::default();

    let traces = SdkTracerProvider::builder().build();
    let tracer = traces.tracer("shop");
    let witness = Connections::new();
    tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(tracer.clone()))
        .with(witness.clone())
        .try_init()?;

    let cluster = Cluster::start(&[ORDERS, PAYMENTS])?;
    let bootstrap = cluster.bootstrap();
    let checkout: Service<Order> =
        Service::start("checkout", "4.2.0", &bootstrap, tracer.clone(), &[])?;
    // With so few retries of the engine's own, its retry layer has something to do.
    let payment: Service<Payment> =
        Service::start("payment", "1.7.3", &bootstrap, tracer, &[("retries", "1")])?;
    witness.watch(checkout.producer.room());

    teller.begin(&bootstrap)?;
    take_orders(&mut story, teller, &checkout, &cluster, &witness).await?;
    refuse_one(&mut story, teller, &checkout).await?;
    let orders = read(&bootstrap, ORDERS).await?;
    pay_orders(&mut story, teller, &payment, &cluster, &orders).await?;

    // From here on nothing is known but what is in the topics, and what the audits say.
    let orders = read(&bootstrap, ORDERS).await?;
    let payments = read(&bootstrap, PAYMENTS).await?;
    look_back(&mut story, &orders, &payments)?;
    for (service, topic, read) in [
        (&checkout.audit, ORDERS, orders.len()),
        (&payment.audit, PAYMENTS, payments.len()),
    ] {
        balance(&mut story, service, topic, read as u64);
    }

    let close = Duration::from_secs(5);
    tokio::join!(
        checkout.producer.close(close),
        payment.producer.close(close)
    );
    story.took_ms = started.elapsed().as_millis() as u64;
    story.ok = story.unexpected.is_empty();
    Ok(story)
}

/// Checkout takes orders; in the middle the brokers cut their connections.
async fn take_orders(
    story: &mut Story,
    teller: &mut Teller,
    checkout: &Service<Order>,
    cluster: &Cluster,
    witness: &Connections,
) -> Result<(), BoxError> {
    teller.orders_begin()?;
    let items = ["espresso", "flat white", "teapot", "grinder"];
    let mut waiting = Vec::new();
    for id in 1..=TAKEN {
        if id == TAKEN / 2 {
            cluster.cut(CUTS);
        }
        let order = Order {
            id,
            item: items[id as usize % items.len()].to_owned(),
            cents: 250 + u64::from(id % 40) * 5,
            note: String::new(),
        };
        waiting.push(shop::take_order(&checkout.producer, order).await);
        if id % BURST == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    story.orders = settle(waiting).await;
    cluster.heal();
    story.cut = Cut {
        connections: witness.lost(),
        records_in_flight: witness.in_flight() as u64,
    };
    let delivered = story.orders.delivered;
    story.expect(delivered == u64::from(TAKEN), || {
        format!("of {TAKEN} orders {delivered} were delivered")
    });
    let cut = story.cut.connections;
    story.expect(cut > 0, || {
        "no connection was lost with records in flight".to_owned()
    });
    teller.orders_end(story)?;
    Ok(())
}

/// One order is too large for Kafka.
async fn refuse_one(
    story: &mut Story,
    teller: &mut Teller,
    checkout: &Service<Order>,
) -> Result<(), BoxError> {
    teller.refused_begin()?;
    let order = Order {
        id: TAKEN + 1,
        item: "teapot".to_owned(),
        cents: 4_900,
        note: "please! ".repeat(1 << 18),
    };
    let outcome = match shop::take_order(&checkout.producer, order).await {
        Ok(delivery) => delivery.await,
        Err(error) => Err(error),
    };
    let Err(error) = outcome else {
        story.expect(false, || "an order of 2 MiB was taken".to_owned());
        return Ok(());
    };
    let right =
        *error.code() == Code::RecordTooLarge && error.persistence() == Persistence::NotPersisted;
    story.expect(right, || format!("a large order failed otherwise: {error}"));
    let mut refused = RefusedRecord {
        code: error.code().to_string(),
        persistence: error.persistence().to_string(),
        setting: error.failure().setting_name(),
        what_to_do: error.what_to_do().to_owned(),
        given_back: false,
    };
    refused.given_back = error.into_record().is_some();
    let given_back = refused.given_back;
    story.expect(given_back, || {
        "the large order was not given back".to_owned()
    });
    story.refused = Some(refused);

    let shorter = Order {
        id: TAKEN + 1,
        item: "teapot".to_owned(),
        cents: 4_900,
        note: "please!".to_owned(),
    };
    story.orders += settle(vec![shop::take_order(&checkout.producer, shorter).await]).await;
    let delivered = story.orders.delivered;
    story.expect(delivered == u64::from(TAKEN) + 1, || {
        "the order with a shorter note was not delivered".to_owned()
    });
    teller.refused_end(story)?;
    Ok(())
}

/// Payment pays what it reads; the first one meets a broker whose disk is broken.
async fn pay_orders(
    story: &mut Story,
    teller: &mut Teller,
    payment: &Service<Payment>,
    cluster: &Cluster,
    orders: &[Read],
) -> Result<(), BoxError> {
    teller.payments_begin(orders.len())?;
    let mut waiting = Vec::new();
    for (n, read) in orders.iter().enumerate() {
        let order: Order = serde_json::from_slice(&read.value)?;
        let came_in = read.provenance().trace.map(|trace| trace.context());
        if n == 0 {
            cluster.break_disk(REFUSED);
            // Alone, so that it meets all of it.
            let outcome = shop::pay(&payment.producer, &order, came_in).await;
            story.payments = settle(vec![outcome]).await;
            cluster.heal();
        } else {
            waiting.push(shop::pay(&payment.producer, &order, came_in).await);
        }
    }
    story.retried = Retried {
        failures: payment.attempts.failures(),
        attempts: payment.attempts.most(),
        resends: payment.retries.retries(),
        delivered: story.payments.delivered,
    };
    story.payments += settle(waiting).await;

    let Retried {
        failures,
        attempts,
        resends,
        delivered,
    } = &story.retried;
    let right = *failures == ["KAFKA_STORAGE_ERROR, not persisted"]
        && (*attempts, *resends, *delivered) == (2, 1, 1);
    let seen = format!("{failures:?}, {attempts} attempts, {resends} resends");
    story.expect(right, || {
        format!("the broken disk was not seen as it should: {seen}")
    });
    let (delivered, orders) = (story.payments.delivered, orders.len() as u64);
    story.expect(delivered == orders, || {
        format!("of {orders} orders {delivered} were paid")
    });
    teller.payments_end(story)?;
    Ok(())
}

/// What the consumer makes of the topics.
fn look_back(story: &mut Story, orders: &[Read], payments: &[Read]) -> Result<(), BoxError> {
    let trace_of: HashMap<_, _> = orders.iter().map(|order| (&order.key, order)).collect();
    let continued = payments
        .iter()
        .filter(|payment| {
            let order = trace_of.get(&payment.key);
            payment.trace().is_some() && payment.trace() == order.and_then(|order| order.trace())
        })
        .count();
    story.traces = Traces {
        continued: continued as u64,
        payments: payments.len() as u64,
    };
    story.expect(continued == payments.len(), || {
        format!("only {continued} payments are in the trace of their order")
    });

    story.learned = reader::learn(&[(ORDERS, orders), (PAYMENTS, payments)]);
    let writers = story.learned.len();
    story.expect(writers == 2, || format!("{writers} writers instead of two"));
    // The order that was refused had its number: whoever reads can tell that one is missing, and which.
    let right = story.learned.iter().all(|learned| {
        let missing: &[u64] = match learned.topic == ORDERS {
            true => &[TAKEN as u64 + 1],
            false => &[],
        };
        learned.duplicates == 0
            && learned.unreadable == 0
            && learned.traces == learned.records
            && learned.missing == missing
    });
    story.expect(right, || {
        "a consumer reads duplicates, gaps, or headers that it cannot read".to_owned()
    });

    // The one that was sent twice.
    let first = |read: &&Read| read.headers.get_str("prov-seq") == Some("1");
    let Some(read) = payments.iter().find(first) else {
        return Ok(());
    };
    story.example = Some(Example {
        place: format!("{PAYMENTS}-{} at offset {}", read.partition, read.offset),
        key: read.key.clone(),
        value: String::from_utf8_lossy(&read.value).into_owned(),
        headers: read
            .headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.unwrap_or_default());
                (name.to_owned(), value.into_owned())
            })
            .collect(),
    });
    Ok(())
}

/// What an audit says of a topic must be what was read back.
fn balance(story: &mut Story, audit: &Audit, topic: &str, read_back: u64) {
    let mut balance = Balance {
        topic: topic.to_owned(),
        attempted: 0,
        delivered: 0,
        not_persisted: 0,
        unknown: 0,
        in_flight: 0,
        read_back,
    };
    // A topic has a balance for each bucket of time.
    for bucket in audit.snapshot() {
        if bucket.topic.as_ref().is_some_and(|named| *named == topic) {
            balance.attempted += bucket.attempted.records;
            balance.delivered += bucket.delivered.records;
            balance.not_persisted += bucket.not_persisted.records;
            balance.unknown += bucket.unknown.records;
            balance.in_flight += bucket.in_flight.records;
        }
    }
    let holds = balance.holds();
    story.expect(holds, || format!("the audit of `{topic}` does not balance"));
    let delivered = balance.delivered;
    story.expect(delivered == read_back, || {
        format!("`{topic}`: {delivered} delivered, but {read_back} read back")
    });
    story.audit.push(balance);
}

/// Waits for all outcomes.
async fn settle(waiting: Vec<Result<Delivery, SendError>>) -> Sent {
    let mut sent = Sent::default();
    for delivery in waiting {
        let outcome = match delivery {
            Ok(delivery) => delivery.await,
            Err(error) => Err(error),
        };
        sent.sent += 1;
        match outcome {
            Ok(_) => sent.delivered += 1,
            Err(_) => sent.failed += 1,
        }
    }
    sent
}

/// Reads a topic on a thread that may block.
async fn read(bootstrap: &str, topic: &'static str) -> Result<Vec<Read>, BoxError> {
    let bootstrap = bootstrap.to_owned();
    tokio::task::spawn_blocking(move || reader::read(&bootstrap, topic)).await?
}
