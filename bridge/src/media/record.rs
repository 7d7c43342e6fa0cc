//! Stored values of the media table, as protobuf (numbers are never reused): a file, and what a user has uploaded today. Only the
//! media service writes them; `access` reads files for lanes.

use godwit_schemas::media::MediaId;
use prost::Message;

use super::objects::ObjectContent;

/// A file: announced, being uploaded, or there.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MediaRecord {
    /// Who uploads it.
    #[prost(string, tag = "1")]
    pub(crate) owner: String,
    /// SHA-256 of the content, 32 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) sha256: Vec<u8>,
    /// Size in bytes.
    #[prost(uint64, tag = "3")]
    pub(crate) size: u64,
    #[prost(string, tag = "4")]
    pub(crate) content_type: String,
    /// The object that holds it, 16 bytes: its own, or the one it is joined with.
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) object: Vec<u8>,
    /// Bytes of a part, 0: not in parts.
    #[prost(uint64, tag = "6")]
    pub(crate) part_bytes: u64,
    /// The object store's name for the upload in parts; empty: not begun yet, or complete.
    #[prost(string, tag = "7")]
    pub(crate) upload: String,
    /// Second since 1970 until which links for its upload may be used.
    #[prost(uint32, tag = "8")]
    pub(crate) links_until_s: u32,
    /// Verified: messages may refer to it.
    #[prost(bool, tag = "9")]
    pub(crate) complete: bool,
    /// Second since 1970 until which it stays though nothing has referred to it.
    #[prost(uint32, tag = "10")]
    pub(crate) keep_until_s: u32,
    /// It is about to go: nothing may refer to it any more.
    #[prost(bool, tag = "11")]
    pub(crate) doomed: bool,
}

impl MediaRecord {
    /// Whether messages may refer to it.
    pub(crate) fn is_ready(&self) -> bool {
        self.complete && !self.doomed
    }

    /// `None`: the record is damaged.
    pub(crate) fn hash(&self) -> Option<[u8; 32]> {
        self.sha256.as_slice().try_into().ok()
    }

    /// `None`: the record is damaged.
    pub(crate) fn object(&self) -> Option<MediaId> {
        self.object.as_slice().try_into().ok().map(MediaId::new)
    }

    /// What its object is to be.
    pub(crate) fn content(&self) -> Option<ObjectContent> {
        Some(ObjectContent { size: self.size, sha256: self.hash()?, content_type: self.content_type.clone() })
    }

    /// Number of parts; 0: not in parts.
    pub(crate) fn parts(&self) -> u32 {
        let parts = if self.part_bytes == 0 { 0 } else { self.size.div_ceil(self.part_bytes) };
        u32::try_from(parts).unwrap_or(u32::MAX)
    }

    /// Bytes of a part, from 1.
    pub(crate) fn part_size(&self, part: u32) -> u64 {
        let before = self.part_bytes * u64::from(part.saturating_sub(1));
        self.size.saturating_sub(before).min(self.part_bytes)
    }
}

/// What a user has uploaded on one day.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct QuotaRecord {
    /// Days since 1970 (UTC).
    #[prost(uint32, tag = "1")]
    pub(crate) day: u32,
    /// Bytes of these files, as announced.
    #[prost(uint64, tag = "2")]
    pub(crate) bytes: u64,
    #[prost(uint32, tag = "3")]
    pub(crate) uploads: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_is_what_is_left() {
        let of = |size, part_bytes| MediaRecord { size, part_bytes, ..MediaRecord::default() };
        let sizes = |it: &MediaRecord| (1..=it.parts()).map(|part| it.part_size(part)).collect::<Vec<_>>();
        assert_eq!(sizes(&of(10, 4)), [4, 4, 2]);
        assert_eq!(sizes(&of(8, 4)), [4, 4]);
        assert!(sizes(&of(8, 0)).is_empty());
    }
}
