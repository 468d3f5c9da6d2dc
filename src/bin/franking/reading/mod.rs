//! Following a topic without a group: what `tail` and `audit` read with.

use std::{
    collections::BTreeSet,
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, UNIX_EPOCH},
};

use franking::{config::Properties, oauthbearer::TokenRetriever};
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};

use crate::{BoxError, terminal, text::escaped};

mod from;
mod record;
mod settings;

pub(crate) use from::From;
pub(crate) use record::Record;

/// How long a cluster may take to answer at the start.
const PATIENCE: Duration = Duration::from_secs(10);

/// A topic that is read, from some point on.
pub(crate) struct Reading {
    consumer: BaseConsumer<Hearing>,
    /// Partitions whose end was not reached since it was last written to.
    behind: BTreeSet<i32>,
}

impl Reading {
    /// Begins with these partitions, or all that the topic has now.
    pub(crate) fn start(
        properties: &Properties,
        topic: &str,
        partitions: &[i32],
        from: From,
    ) -> Result<Self, BoxError> {
        let consumer = settings::consumer(properties)?;
        // A token is asked for by an event, and nobody polls for events while metadata is awaited.
        let _ = consumer.poll(Duration::ZERO);
        let mut there = Self::partitions(&consumer, properties, topic)?;
        if let Some(missing) = partitions.iter().find(|wanted| !there.contains(wanted)) {
            let topic = escaped(topic);
            return Err(format!(
                "`{topic}` has no partition {missing}: it has {}",
                there.len()
            )
            .into());
        }
        if !partitions.is_empty() {
            there.retain(|partition| partitions.contains(partition));
        }
        let assignment = from.assignment(&consumer, topic, &there, PATIENCE)?;
        consumer.assign(&assignment)?;
        consumer.context().heard().aloud = true;
        Ok(Self {
            consumer,
            behind: there,
        })
    }

    fn partitions(
        consumer: &BaseConsumer<Hearing>,
        properties: &Properties,
        topic: &str,
    ) -> Result<BTreeSet<i32>, BoxError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let asked = consumer.fetch_metadata(Some(topic), left);
            let metadata = match asked {
                Ok(metadata) => metadata,
                Err(error) => {
                    // What librdkafka said meanwhile tells more than its time-out.
                    for _ in 0..20 {
                        let _ = consumer.poll(Duration::from_millis(10));
                    }
                    let said = consumer.context().last();
                    return Err(format!(
                        "no broker answers at {} within {} s ({}). Is it running, and is that the address it advertises?",
                        escaped(properties.get("bootstrap.servers").unwrap_or_default()),
                        PATIENCE.as_secs(),
                        said.unwrap_or_else(|| error.to_string()),
                    )
                    .into());
                }
            };
            let partitions: BTreeSet<i32> = metadata
                .topics()
                .iter()
                .flat_map(|topic| topic.partitions())
                .map(|partition| partition.id())
                .collect();
            if !partitions.is_empty() {
                return Ok(partitions);
            }
            // A topic that was just made is not known to every broker at once.
            if left < PATIENCE - Duration::from_secs(2) {
                return Err(format!("there is no topic `{}`", escaped(topic)).into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The next record; `None` if none came in this time.
    pub(crate) fn next(&mut self, wait: Duration) -> Result<Option<BorrowedMessage<'_>>, BoxError> {
        use RDKafkaErrorCode as Code;
        match self.consumer.poll(wait) {
            None => Ok(None),
            Some(Ok(message)) => {
                self.consumer.context().heard().told = None;
                self.behind.insert(rdkafka::Message::partition(&message));
                Ok(Some(message))
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.behind.remove(&partition);
                Ok(None)
            }
            // librdkafka goes on by itself; the context has told it.
            Some(Err(KafkaError::MessageConsumption(
                Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::GroupAuthorizationFailed,
            ))) => Ok(None),
            Some(Err(error)) => {
                let said = self.consumer.context().last();
                Err(said.unwrap_or_else(|| error.to_string()).into())
            }
        }
    }

    /// Whether everything was read that is there now.
    pub(crate) fn is_at_end(&self) -> bool {
        self.behind.is_empty()
    }
}

/// Where each partition is begun.
type Starts = Vec<(i32, Offset)>;

fn list(topic: &str, starts: &Starts) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in starts {
        list.add_partition_offset(topic, *partition, *offset)?;
    }
    Ok(list)
}

/// Hears what librdkafka says, and tells each kind of error once, until something is read again. Has tokens for it.
pub(crate) struct Hearing {
    heard: Mutex<Heard>,
    tokens: Option<Arc<dyn TokenRetriever>>,
}

#[derive(Default)]
struct Heard {
    /// At the start an error is the end, and says itself what it is.
    aloud: bool,
    told: Option<RDKafkaErrorCode>,
    last: Option<String>,
}

impl Hearing {
    fn new(tokens: Option<Arc<dyn TokenRetriever>>) -> Self {
        Self {
            heard: Mutex::default(),
            tokens,
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> Option<String> {
        self.heard().last.clone()
    }
}

impl ConsumerContext for Hearing {}

impl ClientContext for Hearing {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let tokens = self
            .tokens
            .as_ref()
            .ok_or("no property says where tokens are")?;
        let token = tokens.retrieve().map_err(|error| error as Box<dyn Error>)?;
        if !token.extensions().is_empty() {
            return Err(
                "rust-rdkafka takes no SASL extensions, so only `franking send` has them".into(),
            );
        }
        let expires = token.expires().duration_since(UNIX_EPOCH)?.as_millis();
        Ok(OAuthToken {
            token: token.value().to_owned(),
            principal_name: token.principal().to_owned(),
            lifetime_ms: i64::try_from(expires)?,
        })
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        let code = match error.rdkafka_error_code() {
            // The end of a partition is none, and nobody asked for a group.
            None | Some(Code::PartitionEOF | Code::GroupAuthorizationFailed) => return,
            Some(code) => code,
        };
        let mut heard = self.heard();
        // That all brokers are down says less than why.
        if code != Code::AllBrokersDown || heard.last.is_none() {
            let said = escaped(reason);
            if heard.aloud && heard.told != Some(code) {
                terminal::warning(&said);
                heard.told = Some(code);
            }
            heard.last = Some(said);
        }
    }

    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}
}
