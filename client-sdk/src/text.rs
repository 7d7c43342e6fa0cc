//! Text from others. A message's body, a name, a title is whatever its sender wrote: before it is shown, or becomes the name
//! of a file, an app asks here which characters of it are not what they seem.

/// Characters that are not seen themselves: controls, separators of lines and paragraphs, and those that Unicode has as
/// default ignorable (DerivedCoreProperties.txt) or as format controls that are not seen. Sorted.
const HIDDEN: [(u32, u32); 24] = [
    (0x0000, 0x001F),
    (0x007F, 0x009F),
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x2028, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xD800, 0xDFFF),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB),
    (0xFFFE, 0xFFFF),
    (0x13430, 0x1343F),
    (0x16FE4, 0x16FE4),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
    (0x10FFFE, 0x10FFFF),
];

/// Whether a character is not seen and may change what is seen, or make two names look the same: controls (what begins a
/// terminal's escape sequences is one), controls of the direction of writing, what has no width, tags. Line ends, joiners
/// and variation selectors are among them; where these have a meaning is for the app to say.
pub fn is_hidden(c: char) -> bool {
    let at = u32::from(c);
    let next = HIDDEN.partition_point(|(_, last)| *last < at);
    HIDDEN.get(next).is_some_and(|(first, _)| *first <= at)
}

/// Longest name that [`file_name`] gives, in bytes: room for an app's own additions below the 255 of file systems.
const FILE_NAME_BYTES_MAX: usize = 200;
/// Longest extension that is kept when a name is shortened.
const EXTENSION_BYTES_MAX: usize = 16;
/// What some systems take for devices, whatever the extension.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "clock$", "conin$"];

/// A name under which a file may be saved, made of the one that its sender chose: one part of a path on every system, not
/// hidden, no device's, no option of a command, nothing in it that is not seen, and not too long. Whether there is a file
/// of that name already is for the app to see to.
pub fn file_name(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = name.chars().filter(|c| !is_hidden(*c));
    let plain = plain.map(|c| if matches!(c, ':' | '<' | '>' | '"' | '|' | '?' | '*') { '_' } else { c });
    let plain: String = plain.map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let words: Vec<_> = plain.split(' ').filter(|word| !word.is_empty()).collect();
    let plain = words.join(" ");
    let plain = shortened(plain.trim_matches(['.', ' ']));
    let stem = plain.split('.').next().unwrap_or_default().trim_end().to_lowercase();
    let numbered = |kind: &str| stem.strip_prefix(kind).is_some_and(|rest| rest.chars().count() == 1);
    match () {
        () if plain.is_empty() => "file".to_owned(),
        () if DEVICES.contains(&&*stem) || numbered("com") || numbered("lpt") => format!("_{plain}"),
        () if plain.starts_with(['-', '~']) => format!("_{plain}"),
        () => plain,
    }
}

/// Without the end of what is before the extension, if it is too long.
fn shortened(name: &str) -> String {
    if name.len() <= FILE_NAME_BYTES_MAX {
        return name.to_owned();
    }
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let extension = if extension.len() > EXTENSION_BYTES_MAX { "" } else { extension };
    let room = FILE_NAME_BYTES_MAX - extension.len() - 1;
    let end = (0..=room).rev().find(|at| name.is_char_boundary(*at)).unwrap_or_default();
    let stem = name[..end].trim_end_matches(['.', ' ']);
    if extension.is_empty() { stem.to_owned() } else { format!("{stem}.{extension}") }
}

/// The same with a number, for when there is a file of that name: `photo (1).jpg`.
pub fn numbered_file_name(name: &str, number: u32) -> String {
    match name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()) {
        Some((stem, extension)) => format!("{stem} ({number}).{extension}"),
        None => format!("{name} ({number})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_known() {
        assert!(HIDDEN.is_sorted() && HIDDEN.windows(2).all(|pair| pair[0].1 < pair[1].0));
        let hidden = [
            '\0',
            '\x1b',
            '\n',
            '\x7f',
            '\u{9b}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{200b}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{206f}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{fff9}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e007f}',
            '\u{e01ef}',
            '\u{1d173}',
        ];
        assert_eq!(hidden.into_iter().filter(|c| !is_hidden(*c)).collect::<String>(), "");
        let seen = "a é ß Ω я א ع ह ไ 日 ✓ 😀 \u{301} \u{2068}".chars().filter(|c| *c != '\u{2068}');
        assert_eq!(seen.filter(|c| is_hidden(*c)).collect::<String>(), "");
    }

    #[test]
    fn names_of_files_are_made_safe() {
        let same = ["photo.jpg", "a name of my own.tar.gz", "日本語.txt", "été", "שלום.pdf", "v1.2"];
        assert_eq!(same.map(file_name), same);
        for (name, safe) in [
            ("../../etc/passwd", "passwd"),
            ("..\\..\\boot.ini", "boot.ini"),
            (".bashrc", "bashrc"),
            ("...", "file"),
            ("..", "file"),
            ("", "file"),
            ("/", "file"),
            ("photo\u{202e}gpj.exe", "photogpj.exe"),
            ("a\x1b[2Jb\n c.txt", "a[2Jb c.txt"),
            ("a\u{200b}b \t\u{3000} c", "ab c"),
            ("-rf", "_-rf"),
            ("~root", "_~root"),
            ("CON", "_CON"),
            ("nul .txt", "_nul .txt"),
            ("com1.txt", "_com1.txt"),
            ("comma", "comma"),
            ("C:evil", "C_evil"),
            ("what?*.jpg", "what__.jpg"),
            ("ends. . .", "ends"),
        ] {
            assert_eq!(file_name(name), safe, "{name:?}");
        }
        let long = file_name(&format!("{}.jpeg", "é".repeat(300)));
        assert!(long.len() <= FILE_NAME_BYTES_MAX && long.ends_with("é.jpeg"), "{long}");
        assert!(file_name(&"x".repeat(300)).len() <= FILE_NAME_BYTES_MAX);
        assert!(file_name(&format!("a.{}", "x".repeat(300))).len() <= FILE_NAME_BYTES_MAX);
    }

    #[test]
    fn a_second_file_of_a_name_has_a_number() {
        let numbered = ["photo.jpg", "photo", "a.tar.gz"].map(|name| numbered_file_name(name, 2));
        assert_eq!(numbered, ["photo (2).jpg", "photo (2)", "a.tar (2).gz"]);
    }
}
