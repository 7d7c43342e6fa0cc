//! Who is who: accounts that people make themselves, and what is noted about all that.

mod audit;
mod registration;
mod web;
