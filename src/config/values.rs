//! The words that properties take as values.

use std::fmt;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            pub(super) const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant),)*];

            /// The word that Kafka's property has for it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Who must have a record before the broker acknowledges it: `acks`.
    Acks {
        /// Every replica *in the ISR*: `all`, also written `-1`. How many that is at least, the topic's
        /// `min.insync.replicas` says.
        All = "all",
        /// The partition's leader alone: `1`. Acknowledged records are lost with a leader that fails early.
        Leader = "1",
        /// Nobody: `0`. The record was sent, which is all that is known; it has no offset.
        None = "0",
    }
}

words! {
    /// How batches are compressed: `compression.type`.
    Compression {
        /// Not at all.
        None = "none",
        /// gzip, levels 1 to 9.
        Gzip = "gzip",
        /// snappy; it has no levels.
        Snappy = "snappy",
        /// lz4, levels 1 to 12.
        Lz4 = "lz4",
        /// zstd, levels 1 to 12. Needs the cargo feature `zstd`.
        Zstd = "zstd",
    }
}

words! {
    /// How a record without a partition gets one: `partitioner`, in librdkafka's words and one more. A partitioner of
    /// your own goes to the builder: [`Partitioner`](crate::Partitioner).
    PartitionerName {
        /// Java's: murmur2 of the key; without a key, one partition for a while, then another.
        Murmur2Random = "murmur2_random",
        /// murmur2 of the key; records without a key all go to one partition.
        Murmur2 = "murmur2",
        /// CRC32 of the key; without a key (or with an empty one), one partition for a while, then another.
        ConsistentRandom = "consistent_random",
        /// CRC32 of the key; records without a key all go to one partition.
        Consistent = "consistent",
        /// FNV-1a of the key; without a key, one partition for a while, then another.
        Fnv1aRandom = "fnv1a_random",
        /// FNV-1a of the key; records without a key all go to one partition.
        Fnv1a = "fnv1a",
        /// A random partition for each record, whatever its key.
        Random = "random",
        /// One partition after the other, whatever the key: [`RoundRobin`](crate::partitioners::RoundRobin).
        RoundRobin = "round_robin",
    }
}

words! {
    /// How brokers are spoken to: `security.protocol`.
    SecurityProtocol {
        /// TCP, nobody authenticated.
        Plaintext = "plaintext",
        /// TLS. Needs the cargo feature `tls` or `tls-vendored`.
        Ssl = "ssl",
        /// SASL over TCP.
        SaslPlaintext = "sasl_plaintext",
        /// SASL over TLS. Needs the cargo feature `tls` or `tls-vendored`.
        SaslSsl = "sasl_ssl",
    }
}

impl SecurityProtocol {
    /// Whether connections are encrypted.
    pub fn uses_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    /// Whether this client authenticates itself with SASL.
    pub fn uses_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}
