//! What tests of layers and engines need: a scripted engine, and the conformance suite.
