//! Keys in a person's hands: numbers that are compared, and codes by which devices are linked. A code is a text, so that it can be
//! copied where nothing scans.

use godwit_client::ids::UserId;
use godwit_client::{Client, EncryptionFailure, Error};

use crate::shown::{Shown, shown};

/// Digits of a group, as they are read out.
const GROUP: usize = 5;
/// Groups in a line.
const LINE: usize = 4;

/// What is compared with a user.
pub(crate) async fn number(client: &Client, user: &UserId) -> Result<Shown, Error> {
    let number = client.safety_number(user).await?;
    let digits: Vec<_> = number.digits.as_bytes().chunks(GROUP).map(String::from_utf8_lossy).collect();
    let lines = digits.chunks(LINE).map(|line| Shown::line(line.join(" ")));
    let verified = if number.verified { "verified" } else { "not verified" };
    Ok(shown![Shown::join(lines, "\n"), "\n", verified, "; the same number on ", user.clone(), "'s screen?"])
}

/// What this device shows to be linked.
pub(crate) async fn offer(client: &Client) -> Result<Shown, Error> {
    let offer = client.link_offer().await?;
    Ok(shown!["on another of your devices: /link ", Shown::line(to_text(&offer))])
}

/// Links the device that shows this, if the user is `sure`; or says which device it is, and asks.
pub(crate) async fn accept(client: &Client, code: &str, sure: bool) -> Result<Shown, Error> {
    let offer = from_text(code).ok_or_else(|| EncryptionFailure::Code("this is no code of a device".to_owned()))?;
    let device = client.offered_device(&offer)?;
    if !sure {
        let name = Shown::name(device);
        return Ok(shown![
            "link ",
            name,
            "? It will read everything that you read. If it is yours and in front of you: /link ",
            Shown::line(to_text(&offer)),
            " yes"
        ]);
    }
    client.link_accept(&offer).await?;
    Ok(shown![Shown::name(device), " is linked: it reads what you read"])
}

/// Hexadecimal: letters and digits that no terminal breaks or bends.
fn to_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_text(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8]| u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok();
    if digits.len().is_multiple_of(2) { digits.chunks(2).map(byte).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_it_was_written() {
        assert_eq!(from_text(&to_text(&[0, 1, 0xab])), Some(vec![0, 1, 0xab]));
        assert_eq!(from_text(" 00 01\nAB "), Some(vec![0, 1, 0xab]));
        for bad in ["0", "zz", "+1"] {
            assert_eq!(from_text(bad), None, "{bad}");
        }
    }
}
