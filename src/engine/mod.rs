//! The engines: what stands innermost in a stack and moves bytes to brokers.

pub mod rdkafka;
