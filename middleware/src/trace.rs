//! The trace layer.
