//! What users do, for analytics and for an audit: one producer, two kinds of care.
//!
//! Page views are sent and forgotten: nobody waits, and one of them more or less changes no chart. A changed password is
//! waited for, since the page that says "done" must be true. Neither knows of the audit layer, which counts both and has
//! to come out even.
//!
//! `scripts/kafka start`, then `cargo run --example user_actions -- BOOTSTRAP`

use std::time::Duration;

use franking::{
    DefaultStack, Producer, ProducerRecord, SendError,
    middleware::origin::Origin,
    serializers::{JsonSerializer, StringSerializer},
};

#[derive(serde::Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
enum Action {
    Viewed { page: String },
    ChangedPassword,
}

type Actions = Producer<String, Action>;

/// With the user as the key, so that each user's actions stay in their order.
fn record(user: &str, action: Action) -> ProducerRecord<String, Action> {
    ProducerRecord::new("user-actions")
        .key(user.to_owned())
        .value(action)
}

async fn view(actions: &Actions, user: &str, page: String) {
    let viewed = record(user, Action::Viewed { page });
    // An error here is that it was not even queued, as when the buffer stayed full for `max.block.ms`. The page is shown
    // all the same.
    if let Err(error) = actions.send_and_forget(viewed).await {
        eprintln!("a view was not counted: {error}");
    }
}

async fn change_password(actions: &Actions, user: &str) -> Result<(), SendError> {
    let changed = record(user, Action::ChangedPassword);
    let stored = actions.send(changed).await?;
    println!("done, and on record: partition {}", stored.partition);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or("localhost:9092".into());
    let stack = DefaultStack::new(Origin::new("web-shop")?);
    let audit = stack.audit().clone();
    let actions = Producer::builder()
        .property("bootstrap.servers", bootstrap)
        .property("compression.type", "lz4")
        .key_serializer(StringSerializer)
        .value_serializer(JsonSerializer)
        .layer(stack)
        .build()?;

    for page in 0..1_000 {
        let user = format!("user-{}", page % 10);
        view(&actions, &user, format!("/products/{page}")).await;
    }
    change_password(&actions, "user-7").await?;
    actions.close(Duration::from_secs(10)).await;

    let balance = audit.totals();
    println!(
        "audit: {} attempted, {} delivered, {} not persisted, {} unknown",
        balance.attempted.records,
        balance.delivered.records,
        balance.not_persisted.records,
        balance.unknown.records
    );
    Ok(())
}
