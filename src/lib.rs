//! A Kafka producer whose send is a tower `Service`.

#![deny(unsafe_code)]

pub mod config;
pub mod engine;
pub mod producer;
pub mod serializers;

pub use franking_core::*;
pub use franking_middleware as middleware;

pub use self::{
    engine::Closed,
    producer::{Blocking, BuildError, Interrupt, Producer, ProducerBuilder, ProducerRecord},
};
