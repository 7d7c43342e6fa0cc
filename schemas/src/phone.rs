//! Phone numbers, as ITU-T E.164 has them. Whoever is named by one is found by its hash: the server keeps no numbers.

use std::fmt;

/// Digits of a number, country code included.
const DIGITS: std::ops::RangeInclusive<usize> = 5..=15;

/// Why a number is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a phone number has 5 to 15 digits, the first of its country code not being 0")]
pub struct BadPhoneNumber;

/// A phone number with its country code. Shown only where that is asked for: `Debug` hides it, since logs must not have it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PhoneNumber(u64);

impl PhoneNumber {
    /// Reads a number with its plus sign, like `+4930123456`.
    ///
    /// # Errors
    /// [`BadPhoneNumber`] for anything else.
    pub fn parse(text: &str) -> Result<Self, BadPhoneNumber> {
        Self::parse_digits(text.strip_prefix('+').ok_or(BadPhoneNumber)?)
    }

    /// Reads a number without its plus sign, which no topic may have (MQTT-4.7.1-1).
    ///
    /// # Errors
    /// [`BadPhoneNumber`] for anything but digits.
    pub fn parse_digits(digits: &str) -> Result<Self, BadPhoneNumber> {
        let plain = DIGITS.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        let number = if plain && !digits.starts_with('0') { digits.parse().ok() } else { None };
        number.map(Self).ok_or(BadPhoneNumber)
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneNumber(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let number = PhoneNumber::parse("+4930123456").unwrap();
        assert_eq!(number, PhoneNumber::parse_digits("4930123456").unwrap());
        assert_eq!(number.to_string(), "+4930123456");
        assert_eq!(format!("{number:?}"), "PhoneNumber(..)");
        assert!(PhoneNumber::parse("+123456789012345").is_ok());
        for bad in ["", "+", "4930123456", "+4930 123456", "+1234", "+1234567890123456", "+0301234567", "++4930123456"]
        {
            assert_eq!(PhoneNumber::parse(bad), Err(BadPhoneNumber), "{bad}");
        }
    }
}
