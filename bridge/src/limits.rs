//! How much a call may say and ask for, for whoever describes the calls: the HTTP API in its OpenAPI document. The lanes
//! refuse what is beyond.

use crate::{lane, media};

/// Bytes of a device's label.
pub const LABEL_BYTES_MAX: usize = lane::limits::LABEL_BYTES_MAX;
/// Bytes of what a user calls a contact.
pub const CONTACT_LABEL_BYTES_MAX: usize = lane::limits::CONTACT_LABEL_BYTES_MAX;
/// Items of a page.
pub const PAGE_MAX: usize = lane::limits::PAGE_MAX;
/// Hashes of phone numbers in one look-up.
pub const LOOKUP_MAX: usize = lane::limits::LOOKUP_MAX;
/// Users in one question for presence.
pub const ASKED_MAX: usize = lane::limits::ASKED_MAX;
/// Bytes of the text that a user says about itself.
pub const ABOUT_BYTES_MAX: usize = lane::limits::ABOUT_BYTES_MAX;
/// Bytes of the name in a profile.
pub const NAME_BYTES_MAX: usize = lane::limits::NAME_BYTES_MAX;
/// Bytes of the reference to a profile's picture.
pub const PICTURE_BYTES_MAX: usize = lane::limits::PICTURE_BYTES_MAX;
/// Bytes of a device's certificate, or of a link of an identity.
pub const CERTIFICATE_BYTES_MAX: usize = lane::limits::CERTIFICATE_BYTES_MAX;
/// Certificates of a page.
pub const CERTIFICATES_PAGE_MAX: usize = lane::limits::CERTIFICATES_PAGE_MAX;
/// Bytes of a key package.
pub const KEY_PACKAGE_BYTES_MAX: usize = lane::limits::KEY_PACKAGE_BYTES_MAX;
/// Rows of a vault that are put or read at once.
pub const VAULT_ROWS_MAX: usize = lane::limits::VAULT_ROWS_MAX;
/// Bytes of what is sealed in one.
pub const VAULT_ROW_BYTES_MAX: usize = lane::limits::VAULT_ROW_BYTES_MAX;
/// Bytes of what a device seals for a new one.
pub const LINK_SEALED_BYTES_MAX: usize = lane::limits::LINK_SEALED_BYTES_MAX;
/// Bytes of a token of Apple's or Google's push service.
pub const PUSH_TOKEN_BYTES_MAX: usize = godwit_push::TOKEN_BYTES_MAX;
/// Bytes of the URL of a Web Push subscription.
pub const PUSH_ENDPOINT_BYTES_MAX: usize = godwit_push::ENDPOINT_BYTES_MAX;
/// Bytes of a file's media type.
pub const CONTENT_TYPE_BYTES_MAX: usize = media::CONTENT_TYPE_BYTES_MAX;
