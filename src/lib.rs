//! A Kafka producer whose send is a tower `Service`.

pub mod config;
pub mod engine;
