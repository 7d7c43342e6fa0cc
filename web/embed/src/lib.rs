//! The files of the page, as they were when the program was built. The server's listener for pages serves them.

/// A file of the page.
#[derive(Debug, Clone, Copy)]
pub struct PageFile {
    /// Where it is, like `/assets/app-0123456789.js`.
    pub path: &'static str,
    /// As it is. Empty: it is there only compressed.
    pub plain: &'static [u8],
    /// The same, compressed.
    pub gzip: &'static [u8],
    /// The same, compressed.
    pub brotli: &'static [u8],
    /// Changes with the content. In quotes.
    pub etag: &'static str,
}

/// The page itself; its path is that of the file, not `/`.
pub const INDEX: &str = "/index.html";
/// Files below this path have a hash of their content in their names, and never change.
pub const IMMUTABLE: &str = "/assets/";

static FILES: &[PageFile] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// All files; none, if the program was built without the page.
pub fn files() -> &'static [PageFile] {
    FILES
}

impl PageFile {
    /// As HTTP's `Content-Type`.
    pub fn content_type(&self) -> &'static str {
        match self.path.rsplit_once('.').map(|(_, end)| end) {
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            Some("webmanifest") => "application/manifest+json",
            _ => "application/octet-stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_or_not_there() {
        let has = |path: &str| files().iter().any(|file| file.path == path);
        assert_eq!(has(INDEX), !files().is_empty());
        for file in files() {
            assert_ne!(file.content_type(), "application/octet-stream", "{}", file.path);
            assert!(file.gzip.starts_with(&[0x1f, 0x8b]) && file.etag.len() == 18, "{}", file.path);
        }
        // What the page refers to is there.
        for index in files().iter().filter(|file| file.path == INDEX) {
            let text = std::str::from_utf8(index.plain).expect("text");
            let referred = text.split('"').filter(|part| part.starts_with(IMMUTABLE));
            assert_eq!(referred.filter(|path| has(path)).count(), 2, "script and style");
        }
    }
}
