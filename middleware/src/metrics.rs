//! The metrics layer.
