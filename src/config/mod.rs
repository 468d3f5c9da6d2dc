//! Kafka's property names, checked all at once.
