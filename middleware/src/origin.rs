//! The origin layer.
