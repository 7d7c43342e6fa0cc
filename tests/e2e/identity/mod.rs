//! Who is who: accounts that people make themselves.

mod registration;
mod web;
