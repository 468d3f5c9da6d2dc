//! The engine on librdkafka.

mod native;
