//! Reads metrics as whoever scrapes does.

use std::net::SocketAddr;

/// What a server has shown.
pub(super) struct Scrape {
    pub(super) content_type: String,
    pub(super) text: String,
}

/// `GET /metrics` as a client without wishes.
pub(super) fn scrape(at: SocketAddr) -> Scrape {
    scrape_as(at, "*/*")
}

/// The same with this in the header `Accept`.
pub(super) fn scrape_as(at: SocketAddr, accept: &str) -> Scrape {
    let request = ureq::get(format!("http://{at}/metrics")).header("accept", accept);
    let mut response = request.call().expect("metrics");
    let content_type = response.headers()["content-type"].to_str().expect("text").to_owned();
    Scrape { content_type, text: response.body_mut().read_to_string().expect("text") }
}

impl Scrape {
    /// The numbers of a name under all of its labels, together.
    pub(super) fn sum(&self, name: &str) -> f64 {
        let of_name =
            |found: &str| found.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
        let lines = self.text.lines().filter_map(|line| line.rsplit_once(' '));
        lines.filter(|(found, _)| of_name(found)).map(|(_, value)| value.parse::<f64>().expect("a number")).sum()
    }

    /// The number behind a name with its labels. 0: it is not shown.
    pub(super) fn get(&self, name: &str) -> f64 {
        let mut lines = self.text.lines().filter_map(|line| line.rsplit_once(' '));
        lines.find(|(found, _)| *found == name).map_or(0.0, |(_, value)| value.parse().expect("a number"))
    }
}
