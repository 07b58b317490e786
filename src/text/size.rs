//! Sizes as people write and read them.

/// The units, each a thousand or 1,024 times the one before it.
const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("k", 1_000),
    ("kb", 1_000),
    ("m", 1_000_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
];

/// Reads a size in bytes: `500000`, `500kB`, `5 MB`, `1.5 GB`, `64MiB`; the case does not matter.
///
/// # Errors
/// The text is no size, or nothing.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let refuse = || {
        format!("`{text}` is no size; write bytes, or 500kB, 5MB, 1GB (64MiB is 64 x 1,048,576)")
    };
    let plain = text.trim();
    let split = plain.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(plain.len());
    let (number, unit) = plain.split_at(split);
    let number = number.trim().replace('_', "");
    let unit = unit.to_ascii_lowercase();
    let scale = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: f64 = number.parse().ok().filter(|_| plain).ok_or_else(refuse)?;
    let bytes = number * scale.ok_or_else(refuse)? as f64;
    // From here on a float no longer has every whole number.
    let fits = (1.0..9_007_199_254_740_992.0).contains(&bytes);
    if fits { Ok(bytes as u64) } else { Err(refuse()) }
}

/// Returns a size for people: `812 bytes`, `5 MB`, `6.4 MB`.
pub fn show_size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_000 => return super::plural(usize::try_from(bytes).unwrap_or(usize::MAX), "byte"),
        1_000..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    // Upwards, so that what is above a limit never reads as the limit itself.
    let tenths = bytes.div_ceil(unit / 10);
    match tenths % 10 {
        0 => format!("{} {name}", tenths / 10),
        tenth => format!("{}.{tenth} {name}", tenths / 10),
    }
}

/// Returns a number for people: `1,204`.
pub fn show_count(count: usize) -> String {
    let digits = count.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("5000000", 5_000_000),
            ("5MB", 5_000_000),
            (" 5 mb ", 5_000_000),
            ("1.5kB", 1_500),
            ("1_000", 1_000),
            ("1GB", 1_000_000_000),
            ("2MiB", 2 << 20),
            ("7B", 7),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_a_way_to_write_one() {
        for text in ["", "0", "-5MB", "5XB", "MB", "inf", "nan", "1e9", "5 MB more", "99999999GB"] {
            let said = parse_size(text).unwrap_err();
            assert!(said.contains(&format!("`{text}`")) && said.contains("5MB"), "{said}");
        }
    }

    #[test]
    fn sizes_are_shown_short_and_never_below_what_they_are() {
        for (bytes, shown) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (5_000_000, "5 MB"),
            (5_000_001, "5.1 MB"),
            (1_204, "1.3 kB"),
            (2_000_000_000, "2 GB"),
        ] {
            assert_eq!(show_size(bytes), shown);
        }
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        for (count, shown) in [(7, "7"), (999, "999"), (1_204, "1,204"), (2_000_000, "2,000,000")] {
            assert_eq!(show_count(count), shown);
        }
    }
}
