//! godwit-core
