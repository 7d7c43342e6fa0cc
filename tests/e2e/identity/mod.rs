//! Who is who: accounts that people make themselves, accounts elsewhere (`issuer`: who makes their tokens), and what is noted
//! about all that.

mod audit;
pub(crate) mod issuer;
mod password;
pub(crate) mod registration;
mod renewal;
mod revoked;
mod tokens;
pub(crate) mod web;
