//! godwit-broker
