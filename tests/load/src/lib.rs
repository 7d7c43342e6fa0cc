//! godwit-load
