//! Who is who: accounts that people make themselves, accounts elsewhere (`issuer`: who makes their tokens), and what is noted
//! about all that.

mod audit;
mod issuer;
mod password;
mod registration;
mod tokens;
mod web;
