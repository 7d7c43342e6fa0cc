//! Files, call by call: links that say what to ask an object store for. For apps that bring up and fetch by means of their
//! own, for instance while they sleep; others have `Client::send_file` and `Client::save_file`.

use std::time::Duration;

use godwit_schemas::client::request::Call;
use godwit_schemas::client::{self, CompleteUpload, CreateUpload, DiscardUpload, DownloadLink, GetUpload};
use godwit_schemas::ids::ConversationId;

use super::Client;
use crate::error::Error;

/// A file that is to go up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRequest {
    /// Of the whole file, as it goes up.
    pub sha256: [u8; 32],
    /// At least one byte.
    pub size: u64,
    /// Like `image/jpeg`.
    pub content_type: String,
    /// Where it is going to be shared, if that is known.
    pub conversation: Option<ConversationId>,
}

/// An upload as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upload {
    /// What the server calls the file.
    pub media: String,
    /// There is nothing to upload: messages may refer to it.
    pub complete: bool,
    /// Where the whole file goes, in one request. `None`: it goes in parts, or it is complete.
    pub link: Option<MediaLink>,
    /// Part n, from 1, is the bytes from (n - 1) * `part_bytes` on, and so many but for the last. 0: not in parts.
    pub part_bytes: u64,
    /// Parts that are there.
    pub stored: Vec<u32>,
    /// Links for parts that are not, up to 16.
    pub parts: Vec<(u32, MediaLink)>,
}

/// What to ask the object store for, over HTTP. Whoever has it may.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MediaLink {
    /// `PUT` or `GET`.
    pub method: String,
    /// The address to fetch it from.
    pub url: String,
    /// Names and values, to be sent exactly like this.
    pub headers: Vec<(String, String)>,
    /// It may be used for so long.
    pub expires_in: Duration,
}

impl Client {
    /// Begins an upload, or goes on with this user's unfinished upload of the same file.
    ///
    /// # Errors
    /// As [`Self::create_group`]. [`Error::Refused`] with 0x97: it is too large, or more than the user may upload in a day;
    /// with 0x89 a retry helps.
    pub async fn create_upload(&self, file: UploadRequest) -> Result<Upload, Error> {
        self.call(create_upload(file)).await.map(upload)
    }

    /// An upload with links for parts that are not there yet, the first above `after`.
    ///
    /// # Errors
    /// As [`Self::create_upload`]. With 0x90 there is no such upload any more.
    pub async fn get_upload(&self, media: &str, after: u32) -> Result<Upload, Error> {
        self.call(get_upload(media, after)).await.map(upload)
    }

    /// Everything is up: has the server look. From then on messages may refer to it ([`crate::Draft::attach`]), for a
    /// while (a day unless configured) before one does.
    ///
    /// # Errors
    /// As [`Self::create_upload`]. With 0x83 it is not all there, or not what was announced.
    pub async fn complete_upload(&self, media: &str) -> Result<(), Error> {
        self.call(complete_upload(media)).await.map(drop)
    }

    /// An unfinished upload is not wanted any more.
    ///
    /// # Errors
    /// As [`Self::get_upload`].
    pub async fn discard_upload(&self, media: &str) -> Result<(), Error> {
        self.call(discard_upload(media)).await.map(drop)
    }

    /// A link to fetch a file by, for who may see a message with it: in this conversation, or in any.
    ///
    /// # Errors
    /// As [`Self::create_group`]. With 0x90 there is no such file, or no such message.
    pub async fn download_link(&self, media: &str, conversation: Option<ConversationId>) -> Result<MediaLink, Error> {
        self.call(download_link(media, conversation)).await.map(link_of)
    }
}

pub(crate) fn create_upload(file: UploadRequest) -> Call {
    let UploadRequest { sha256, size, content_type, conversation } = file;
    let conversation = conversation.map_or(0, ConversationId::get);
    Call::CreateUpload(CreateUpload { sha256: sha256.to_vec().into(), size, content_type, conversation })
}

pub(crate) fn get_upload(media: &str, after: u32) -> Call {
    Call::GetUpload(GetUpload { media: media.to_owned(), after })
}

pub(crate) fn complete_upload(media: &str) -> Call {
    Call::CompleteUpload(CompleteUpload { media: media.to_owned() })
}

pub(crate) fn discard_upload(media: &str) -> Call {
    Call::DiscardUpload(DiscardUpload { media: media.to_owned() })
}

pub(crate) fn download_link(media: &str, conversation: Option<ConversationId>) -> Call {
    let conversation = conversation.map_or(0, ConversationId::get);
    Call::DownloadLink(DownloadLink { media: media.to_owned(), conversation })
}

/// What a response says of an upload.
pub(crate) fn upload(response: client::Response) -> Upload {
    let client::Upload { media, complete, link, part_bytes, stored, parts } = response.upload.unwrap_or_default();
    let parts = parts.into_iter().map(|part| (part.part, part.link.map(MediaLink::from).unwrap_or_default())).collect();
    Upload { media, complete, link: link.map(MediaLink::from), part_bytes, stored, parts }
}

/// The link of a response.
pub(crate) fn link_of(response: client::Response) -> MediaLink {
    response.download.map(MediaLink::from).unwrap_or_default()
}

impl From<client::Link> for MediaLink {
    fn from(link: client::Link) -> Self {
        let client::Link { method, url, headers, expires_in_s } = link;
        let headers = headers.into_iter().map(|header| (header.name, header.value)).collect();
        Self { method, url, headers, expires_in: Duration::from_secs(expires_in_s.into()) }
    }
}
