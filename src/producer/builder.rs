//! How a producer is made.

use std::{error::Error, fmt, sync::Arc};

use franking_core::{Delivery, Partitioner, Produce, Serializer, Topic};
use franking_middleware::audit::{Audit, ToTopic};
use tower_layer::{Identity, Layer, Stack};

use super::{Inner, Producer, handles::Handles};
use crate::{
    config::{Config, ConfigError, Problem, ProblemKind, Properties, Required},
    engine::{
        Control,
        rdkafka::{RdkafkaEngine, StartError},
    },
    oauthbearer::TokenRetriever,
    serializers,
};

/// Makes a [`Producer`] from Kafka's property names, serializers, and layers.
///
/// Required: `bootstrap.servers`, and a serializer for keys and one for values, in code or by name (`key.serializer`,
/// `value.serializer`: see [`serializers`]). Everything that is missing, unknown or contradictory is reported by
/// [`build`](Self::build), all of it at once.
///
/// ```
/// use franking::{Producer, config::Properties};
///
/// let error = Producer::<String, String>::builder()
///     .properties(Properties::parse("acks = most\nlinger.sm = 5")?)
///     .build()
///     .unwrap_err()
///     .to_string();
/// for problem in ["bootstrap.servers", "key.serializer", "value.serializer", "acks", "linger.ms"] {
///     assert!(error.contains(problem), "{error}");
/// }
/// # Ok::<(), franking::config::ConfigError>(())
/// ```
#[must_use = "a builder does nothing until it is built"]
pub struct ProducerBuilder<K, V, L = Identity> {
    properties: Properties,
    key: Option<Arc<dyn Serializer<K>>>,
    value: Option<Arc<dyn Serializer<V>>>,
    partitioner: Option<Arc<dyn Partitioner>>,
    tokens: Option<Arc<dyn TokenRetriever>>,
    reports: Vec<(Arc<Audit>, Topic)>,
    layer: L,
}

impl<K, V> ProducerBuilder<K, V> {
    pub(super) fn new() -> Self {
        Self {
            properties: Properties::new(),
            key: None,
            value: None,
            partitioner: None,
            tokens: None,
            reports: Vec::new(),
            layer: Identity::new(),
        }
    }
}

impl<K: 'static, V: 'static, L> ProducerBuilder<K, V, L> {
    /// Sets one property, by Kafka's name; a later value takes the place of an earlier one.
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.set(name, value);
        self
    }

    /// Sets many: [`Properties`] read from a file's text, or any list or map of names and values.
    pub fn properties<N: Into<String>, T: Into<String>>(
        mut self,
        properties: impl IntoIterator<Item = (N, T)>,
    ) -> Self {
        for (name, value) in properties {
            self.properties.set(name, value);
        }
        self
    }

    /// Serializes keys with this; it takes precedence over `key.serializer`.
    pub fn key_serializer(mut self, serializer: impl Serializer<K>) -> Self {
        self.key = Some(Arc::new(serializer));
        self
    }

    /// Serializes values with this; it takes precedence over `value.serializer`.
    pub fn value_serializer(mut self, serializer: impl Serializer<V>) -> Self {
        self.value = Some(Arc::new(serializer));
        self
    }

    /// Chooses partitions with this, for records that were given none; it takes precedence over `partitioner`. See
    /// [`partitioners`](crate::partitioners).
    pub fn partitioner(mut self, partitioner: impl Partitioner) -> Self {
        self.partitioner = Some(Arc::new(partitioner));
        self
    }

    /// Logs in with these tokens, where `sasl.mechanism` is `OAUTHBEARER`; it takes precedence over what the properties say
    /// of tokens. A closure will do: see [`oauthbearer`](crate::oauthbearer).
    pub fn oauthbearer_token(mut self, tokens: impl TokenRetriever) -> Self {
        self.tokens = Some(Arc::new(tokens));
        self
    }

    /// Sends the reports of an audit to this topic: through this producer's engine, past its layers, so that they are not
    /// audited themselves. [`close`](Producer::close) sends the last of them, behind the last record, before it resolves.
    ///
    /// The audit then holds on to the engine: its connections end when both the producer and the audit are gone, or at
    /// the close. Of producers that share an audit say it for one, which is closed last.
    ///
    /// ```no_run
    /// # use franking::{DefaultStack, Producer, middleware::origin::Origin};
    /// let stack = DefaultStack::new(Origin::new("checkout")?);
    /// let producer: Producer<String, String> = Producer::builder()
    ///     .property("bootstrap.servers", "localhost:9092")
    ///     .property("key.serializer", "string")
    ///     .property("value.serializer", "string")
    ///     .audit_topic(stack.audit(), "audit-reports")
    ///     .layer(stack)
    ///     .build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn audit_topic(mut self, audit: &Arc<Audit>, topic: impl Into<Topic>) -> Self {
        self.reports.push((Arc::clone(audit), topic.into()));
        self
    }

    /// Puts a layer around the engine, inside the layers that were put before: the first is the outermost.
    /// [`DefaultStack`](crate::DefaultStack) is one such layer.
    pub fn layer<M>(self, layer: M) -> ProducerBuilder<K, V, Stack<M, L>> {
        ProducerBuilder {
            properties: self.properties,
            key: self.key,
            value: self.value,
            partitioner: self.partitioner,
            tokens: self.tokens,
            reports: self.reports,
            layer: Stack::new(layer, self.layer),
        }
    }

    /// Checks everything and starts the producer. It connects in the background: brokers may be down, and
    /// [`Producer::partitions_for`] asks whether they can be reached.
    ///
    /// # Errors
    /// [`BuildError`]: all problems of the configuration, or why the engine could not be started.
    pub fn build(self) -> Result<Producer<K, V>, BuildError>
    where
        L: Layer<RdkafkaEngine>,
        L::Service: Produce<Future = Delivery> + Clone + Send + 'static,
    {
        let mut problems = Vec::new();
        let key = named(&self.properties, "key.serializer", self.key, &mut problems);
        let value = named(
            &self.properties,
            "value.serializer",
            self.value,
            &mut problems,
        );
        let required = Required {
            key_serializer: key.is_none(),
            value_serializer: value.is_none(),
            oauthbearer_token: self.tokens.is_none(),
        };
        let config = match Config::check(&self.properties, required) {
            Ok(config) => Some(config),
            Err(error) => {
                problems.splice(0..0, error.into_problems());
                None
            }
        };
        let (Some(mut config), Some(key), Some(value), true) =
            (config, key, value, problems.is_empty())
        else {
            return Err(ConfigError::new(problems).into());
        };
        for warning in config.warnings() {
            // A problem escapes what it names.
            tracing::warn!("{warning}");
        }

        if let Some(tokens) = self.tokens {
            config = config.with_tokens(tokens);
        }
        let engine = match self.partitioner {
            Some(partitioner) => RdkafkaEngine::with_partitioner(&config, partitioner)?,
            None => RdkafkaEngine::new(&config)?,
        };
        for (audit, topic) in self.reports {
            audit.add_sink(ToTopic::new(topic, engine.last_handle()));
            // Weak: the audit holds the engine already.
            let audit = Arc::downgrade(&audit);
            engine.before_end(move || {
                if let Some(audit) = audit.upgrade() {
                    audit.report();
                }
            });
        }
        let control: Arc<dyn Control> = engine.control();
        Ok(Producer {
            inner: Arc::new(Inner {
                key,
                value,
                handles: Handles::new(Box::new(self.layer.layer(engine))),
                control,
                max_block: config.max_block(),
            }),
        })
    }
}

/// The serializer that was given in code, or the one that the property names.
fn named<T: 'static>(
    properties: &Properties,
    property: &str,
    given: Option<Arc<dyn Serializer<T>>>,
    problems: &mut Vec<Problem>,
) -> Option<Arc<dyn Serializer<T>>> {
    if given.is_some() {
        return given;
    }
    match serializers::by_name(properties.get(property)?) {
        Ok(serializer) => Some(serializer),
        Err((message, instead)) => {
            problems.push(Problem::new(
                property,
                ProblemKind::Invalid,
                message,
                instead,
            ));
            None
        }
    }
}

impl<K, V, L> fmt::Debug for ProducerBuilder<K, V, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerBuilder")
            .field("properties", &self.properties)
            .finish_non_exhaustive()
    }
}

/// Why a producer could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The configuration has problems: all of them.
    Config(ConfigError),
    /// The engine could not be started.
    Start(StartError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::Config(error) => error.fmt(f),
            BuildError::Start(error) => error.fmt(f),
        }
    }
}

impl Error for BuildError {}

impl From<ConfigError> for BuildError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<StartError> for BuildError {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}
