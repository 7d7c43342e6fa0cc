//! Sealed files: AES-256-GCM in chunks of 64 KiB, as STREAM (Hoang, Reyhanitabar, Rogaway, Vizár, 2015) has it, so that any range
//! can be read, an upload goes on where it broke off, and no chunk can be left out, moved or cut off.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::crypto::{self, CryptoError, HASH_BYTES, KEY_BYTES, NONCE_BYTES, TAG_BYTES};

/// Bytes of a file in a chunk. The last one has fewer, or as many; that of an empty file has none.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes of a chunk when it is sealed.
pub const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;

/// Bytes of a file when it is sealed.
#[must_use]
pub fn sealed_bytes(size: u64) -> u64 {
    size + chunks(size) * TAG_BYTES as u64
}

/// How many chunks a file of this size has.
#[must_use]
pub fn chunks(size: u64) -> u64 {
    size.div_ceil(CHUNK_BYTES as u64).max(1)
}

/// Which bytes of the sealed file have these bytes of the file, and which chunks they are.
#[must_use]
pub fn range(size: u64, wanted: Range<u64>) -> (Range<u64>, Range<u64>) {
    let last = chunks(size);
    let first_chunk = (wanted.start / CHUNK_BYTES as u64).min(last);
    let behind = wanted.end.div_ceil(CHUNK_BYTES as u64).clamp(first_chunk, last);
    let sealed = SEALED_CHUNK_BYTES as u64;
    (first_chunk * sealed..(behind * sealed).min(sealed_bytes(size)), first_chunk..behind)
}

/// What a file is sealed with. It follows from the file's bytes: a file that has changed has another key, so that no two
/// chunks are ever sealed with one key and one nonce.
pub struct FileKey {
    key: Zeroizing<[u8; KEY_BYTES]>,
    chunks: u64,
}

impl FileKey {
    /// Of a random seed and the SHA-256 of the file, both of which stand in the sealed body of the message, and its size.
    #[must_use]
    pub fn new(seed: &[u8; KEY_BYTES], sha256: &[u8; HASH_BYTES], size: u64) -> Self {
        let key = crypto::hkdf(b"", seed, &[b"Godwit 1.0 file", &sha256[..]].concat());
        Self { key, chunks: chunks(size) }
    }

    /// 7 bytes of 0, the number of the chunk, and whether it is the last.
    fn nonce(&self, chunk: u64) -> Result<[u8; NONCE_BYTES], CryptoError> {
        let mut nonce = [0; NONCE_BYTES];
        nonce[7..11].copy_from_slice(&u32::try_from(chunk).map_err(|_| CryptoError)?.to_be_bytes());
        nonce[11] = (chunk + 1 == self.chunks).into();
        Ok(nonce)
    }

    /// Seals a chunk.
    ///
    /// # Errors
    ///
    /// The file has no such chunk, or is larger than 2^48 bytes.
    pub fn seal(&self, chunk: u64, plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let full = plain.len() == CHUNK_BYTES;
        if chunk >= self.chunks || plain.len() > CHUNK_BYTES || (!full && chunk + 1 < self.chunks) {
            return Err(CryptoError);
        }
        crypto::aead_seal(&*self.key, &self.nonce(chunk)?, &[], plain)
    }

    /// Opens a chunk.
    ///
    /// # Errors
    ///
    /// It is another chunk, or of another file, or was altered.
    pub fn open(&self, chunk: u64, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        crypto::aead_open(&*self.key, &self.nonce(chunk)?, &[], sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = CHUNK_BYTES as u64 * 2 + 10;

    fn sealed() -> (FileKey, Vec<u8>, Vec<u8>) {
        let plain: Vec<u8> = (0..SIZE).map(|n| (n / 251) as u8).collect();
        let key = FileKey::new(&[1; 32], &crypto::sha256(&[&plain]), SIZE);
        let chunks = plain.chunks(CHUNK_BYTES).enumerate();
        let sealed: Vec<u8> = chunks.flat_map(|(n, chunk)| key.seal(n as u64, chunk).unwrap()).collect();
        (key, plain, sealed)
    }

    #[test]
    fn any_range_can_be_read() {
        let (key, plain, sealed) = sealed();
        assert_eq!(sealed.len() as u64, sealed_bytes(SIZE));
        for wanted in [0..1, 0..SIZE, 65_535..65_537, 131_072..SIZE, SIZE - 1..SIZE, 70_000..70_000] {
            let (bytes, chunks) = range(SIZE, wanted.clone());
            let bytes = &sealed[bytes.start as usize..bytes.end as usize];
            let mut opened = Vec::new();
            for (chunk, bytes) in chunks.clone().zip(bytes.chunks(SEALED_CHUNK_BYTES)) {
                opened.extend_from_slice(&key.open(chunk, bytes).unwrap());
            }
            let skip = (wanted.start - chunks.start * CHUNK_BYTES as u64) as usize;
            let length = (wanted.end - wanted.start) as usize;
            let found = opened.get(skip..skip + length).unwrap_or_default();
            assert!(found == &plain[wanted.start as usize..wanted.end as usize], "{wanted:?}");
        }
    }

    #[test]
    fn chunks_can_not_be_moved_cut_off_or_altered() {
        let (key, _, sealed) = sealed();
        let chunks: Vec<_> = sealed.chunks(SEALED_CHUNK_BYTES).collect();
        assert!(key.open(1, chunks[0]).is_err());
        assert!(key.open(0, chunks[2]).is_err());
        // Of a file that ends after two chunks the second is the last.
        let shorter = FileKey { key: key.key.clone(), chunks: 2 };
        assert!(shorter.open(1, chunks[1]).is_err());
        let mut bad = chunks[2].to_vec();
        bad[0] ^= 1;
        assert!(key.open(2, &bad).is_err());
        assert!(FileKey::new(&[1; 32], &[0; 32], SIZE).open(0, chunks[0]).is_err(), "a file with other bytes");
    }

    #[test]
    fn an_empty_file_has_a_chunk() {
        let key = FileKey::new(&[1; 32], &crypto::sha256(&[]), 0);
        let sealed = key.seal(0, &[]).unwrap();
        assert_eq!(sealed.len() as u64, sealed_bytes(0));
        assert!(key.open(0, &sealed).unwrap().is_empty());
        assert!(key.seal(1, &[]).is_err());
    }
}
