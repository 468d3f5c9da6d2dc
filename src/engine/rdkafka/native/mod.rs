//! The one module with `unsafe`: a safe face for librdkafka's producer.
