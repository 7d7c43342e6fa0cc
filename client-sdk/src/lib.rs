//! godwit-client
