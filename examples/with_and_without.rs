//! The same program with and without the stack: one line differs, and it is not in the application.
//!
//! No tracer provider is installed here, so there is no trace to carry; install one, and `traceparent` is stamped too.
//!
//! `scripts/kafka start`, then `cargo run --example with_and_without -- BOOTSTRAP`

use franking::{
    BuildError, DefaultStack, Interceptor, InterceptorLayer, Outcome, Parts, Producer,
    ProducerRecord, SendError, middleware::origin::Origin,
};

/// The application: it sends greetings, and knows of no layer.
async fn application(producer: &Producer<String, String>) -> Result<(), SendError> {
    let greeting = ProducerRecord::new("greetings").value("good morning".to_owned());
    producer.send(greeting).await?;
    Ok(())
}

fn without(bootstrap: &str) -> Result<Producer<String, String>, BuildError> {
    Producer::builder()
        .property("bootstrap.servers", bootstrap)
        .property("key.serializer", "string")
        .property("value.serializer", "string")
        .layer(InterceptorLayer::new(Show))
        .build()
}

fn with(bootstrap: &str, stack: DefaultStack) -> Result<Producer<String, String>, BuildError> {
    Producer::builder()
        .property("bootstrap.servers", bootstrap)
        .property("key.serializer", "string")
        .property("value.serializer", "string")
        .layer(stack)
        .layer(InterceptorLayer::new(Show))
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bootstrap = std::env::args().nth(1).unwrap_or("localhost:9092".into());

    println!("without the stack:");
    application(&without(&bootstrap)?).await?;

    println!("with it:");
    let stack = DefaultStack::new(Origin::new("greeter")?);
    let audit = stack.audit().clone();
    application(&with(&bootstrap, stack)?).await?;
    let balance = audit.totals();
    println!(
        "  audit: {} attempted, {} delivered",
        balance.attempted.records, balance.delivered.records
    );
    Ok(())
}

/// Shows what reached the broker; innermost, so that it sees the stamps of the others.
struct Show;

impl Interceptor for Show {
    type Token = ();

    fn on_send(&self, _: &mut Parts) -> Result<(), franking::Failure> {
        Ok(())
    }

    fn on_outcome(&self, _: (), outcome: &Outcome<'_>) {
        let headers = outcome.record.headers;
        if headers.iter().next().is_none() {
            println!("  no headers");
        }
        for (name, value) in headers.iter() {
            println!(
                "  {name}: {}",
                String::from_utf8_lossy(value.unwrap_or_default())
            );
        }
    }
}
