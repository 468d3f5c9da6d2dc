//! How many partitions a topic has, asked from a broker.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use franking_core::{Code, Failure};

use super::{
    super::{Task, closed},
    native::error_name,
    outcomes,
    worker::Shared,
};

/// Asks a broker on a thread of its own: librdkafka's call blocks.
pub(super) fn ask(
    shared: &Arc<Shared>,
    topic: String,
    timeout: Duration,
) -> Task<Result<usize, Failure>> {
    let (answer, asked) = tokio::sync::oneshot::channel();
    let shared = Arc::clone(shared);
    let spawned = thread::Builder::new()
        .name("franking-metadata".into())
        .spawn(move || {
            let _ = answer.send(partitions(&shared, &topic, timeout));
        });
    Box::pin(async move {
        match spawned {
            Ok(_) => asked.await.unwrap_or_else(|_| Err(closed())),
            Err(error) => Err(Failure::new(Code::Broker {
                number: outcomes::codes::TIMED_OUT,
                name: error_name(outcomes::codes::TIMED_OUT).into(),
            })
            .detail("no thread could be started to ask for the topic's partitions")
            .because(error)),
        }
    })
}

fn partitions(shared: &Shared, topic: &str, timeout: Duration) -> Result<usize, Failure> {
    let deadline = Instant::now() + timeout;
    let mut slice = Duration::from_secs(1);
    let mut answered = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // In slices, so that a producer that is closed meanwhile does not wait for the answer.
        let client = shared.client().clone();
        let Some(client) = client else {
            return Err(closed());
        };
        // A refusal is heard and decided on meanwhile.
        if let Some(refusal) = shared.door.refuses() {
            return Err(refusal);
        }
        match client.partitions(topic, left.min(slice)) {
            Ok(partitions) => return Ok(partitions),
            Err(outcomes::codes::INVALID_ARG) => return Err(outcomes::illegal_topic()),
            // The brokers are not reached yet, or the topic is just being created.
            Err(code) if outcomes::may_pass(code) && !left.is_zero() => {
                match code {
                    // Perhaps the cluster is only slow: each slice asks anew.
                    outcomes::codes::TIMED_OUT => slice *= 2,
                    code => answered = Some(code),
                }
                thread::sleep(Duration::from_millis(50).min(left));
            }
            Err(code) => {
                // That the time is over says less than what was answered meanwhile.
                let code = match code {
                    outcomes::codes::TIMED_OUT => answered.unwrap_or(code),
                    code => code,
                };
                let failure = outcomes::failure(code);
                return Err(match shared.door.hint() {
                    _ if !outcomes::is_unreachable(code) => failure,
                    Some(hint) => outcomes::hinted(failure, &hint),
                    None => failure.setting("bootstrap.servers"),
                });
            }
        }
    }
}
