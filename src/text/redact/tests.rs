//! What is found of a secret, however it is spelled, and what is left alone.

use proptest::prelude::*;

use super::*;

fn check(values: &[&str], text: &str, expected: &str) {
    let redaction = Redaction::new(values.iter().map(|v| (*v).to_owned()));
    assert_eq!(redaction.apply_to(text), expected);
}

fn named(value: &str) -> Redaction {
    Redaction::of_variables([("K".to_owned(), value.to_owned())])
}

#[test]
fn every_place_of_a_secret_is_replaced() {
    check(&["sk-ant-123456"], "a sk-ant-123456 b sk-ant-123456", "a [redacted] b [redacted]");
    check(&["sk-ant-123456"], "nothing here", "nothing here");
}

#[test]
fn a_secret_that_begins_another_leaves_no_rest() {
    check(&["12345678", "12345678abcd"], "12345678abcd", "[redacted]");
}

#[test]
fn two_that_overlap_go_both() {
    check(&["12345678", "5678abcd"], "_12345678abcd_", "_[redacted]_");
}

#[test]
fn a_short_value_is_no_secret() {
    check(&["a", "true"], "a is true", "a is true");
}

#[test]
fn the_name_stands_in_the_place_of_a_variable() {
    let both = Redaction::new(["12345678".to_owned()]).with(&named("12345678"));
    assert_eq!(both.apply_to("a 12345678"), "a [K]");
}

#[test]
fn a_value_that_stands_in_a_placeholder_is_none() {
    let names = [("SHOP_KEY", "SHOP_KEY"), ("B", "abcdefgh")];
    let pairs = names.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let text = Redaction::of_variables(pairs).apply_to("SHOP_KEY abcdefgh");
    assert_eq!(text, "SHOP_KEY [B]");
}

/// The spellings that other programs made of `p@ss "wörd"\/9'x`.
#[test]
fn what_other_programs_made_of_a_value_is_found() {
    let value = "p@ss \"wörd\"\\/9'x";
    for spelling in [
        // python: quote, quote_plus, quote(safe=""), and of that again.
        "p%40ss%20%22w%C3%B6rd%22%5C/9%27x",
        "p%40ss+%22w%C3%B6rd%22%5C%2F9%27x",
        "p%40ss%20%22w%c3%b6rd%22%5c%2f9%27x",
        "p%2540ss%2520%2522w%25C3%25B6rd%2522%255C%252F9%2527x",
        // encodeURIComponent leaves the quote.
        "p%40ss%20%22w%C3%B6rd%22%5C%2F9'x",
        // JSON, ensure_ascii, with `\/`, and JSON in JSON.
        r#"p@ss \"wörd\"\\/9'x"#,
        r#"p@ss \"w\u00f6rd\"\\\/9'x"#,
        r#"p@ss \\\"w\\u00f6rd\\\"\\\\/9'x"#,
        // bash: printf %q, ${x@Q}, set -x, in a locale without ö.
        r#"p@ss\ \"wörd\"\\/9\'x"#,
        r#"p@ss "wörd"\/9'\''x"#,
        r#"p@ss "w\303\266rd"\\/9\'x"#,
        // repr in python, and of the bytes.
        r#"p@ss "wörd"\\/9\'x"#,
        r#"p@ss "w\xc3\xb6rd"\\/9\'x"#,
        // HTML and XML.
        "p@ss &quot;wörd&quot;\\/9&#39;x",
        "p@ss &#34;w&#xF6;rd&#34;\\/9&#x27;x",
        "p@ss &quot;wörd&quot;\\/9&#039;x",
        // SQL and CSV.
        "p@ss \"wörd\"\\/9''x",
        "p@ss \"\"wörd\"\"\\/9'x",
        // xxd -p.
        "70407373202277c3b67264225c2f392778",
        "70407373202277C3B67264225C2F392778",
    ] {
        assert_eq!(named(value).apply_to(&format!("<{spelling}>")), "<[K]>", "{spelling}");
    }
}

#[test]
fn base64_is_found_at_each_alignment_and_in_lines() {
    let value = "a value of which base64 is more than one line of what the program writes, ok?>";
    for before in ["", "u", "us", "user:"] {
        let whole = base64(format!("{before}{value}").as_bytes());
        let lines: Vec<&str> =
            (0..whole.len()).step_by(19).map(|at| &whole[at..whole.len().min(at + 19)]).collect();
        for text in [
            whole.clone(),
            lines.join("\n"),
            lines.join("\\n"),
            whole.replace('/', "_").replace('+', "-"),
        ] {
            let left = named(value).apply_to(&text);
            assert!(left.contains("[K]") && left.len() < before.len() + 16, "{before}: {left}");
        }
    }
}

#[test]
fn the_lines_of_a_value_are_found_without_each_other() {
    let key =
        "-----BEGIN KEY-----\nMIIBVgIBADANBgkq\nshort\n0123456789abcdef==\n-----END KEY-----\n";
    let redaction = named(key);
    let check = |text: &str, expected: &str| assert_eq!(redaction.apply_to(text), expected);
    check(&format!("<{key}>"), "<[K]\n>");
    check("1: MIIBVgIBADANBgkq\n2: short", "1: [K]\n2: short");
    check("-----BEGIN KEY-----", "-----BEGIN KEY-----");
    check(&serde_json::to_string(key).unwrap(), "\"[K]\\n\"");
    let in_one = r"-----BEGIN KEY-----\nMIIBVgIBADANBgkq\n0123456789abcdef==\n-----END KEY-----";
    assert_eq!(named(in_one).apply_to("MIIBVgIBADANBgkq"), "[K]");
}

#[test]
fn json_stays_json() {
    // Behind `\n` of JSON, `ext-token` is no `next-token`; and if it were, the escape goes with it.
    let redaction = named("next-token-1");
    for text in ["a\next-token-1", "a\\next-token-1", "a\\\\\\next-token-1", "\n\\\\next-token-1"] {
        let json = serde_json::to_string(text).unwrap();
        let clean = redaction.apply_to(&json);
        assert!(serde_json::from_str::<String>(&clean).is_ok(), "{json} became {clean}");
    }
}

#[test]
fn what_a_cut_has_left_of_a_value_is_replaced() {
    let redaction = named("0123456789abcdef");
    let check = |text: &str, start, end, expected: &str| {
        let left = redaction.apply_cut(text.into(), Cut { start, end });
        assert_eq!(String::from_utf8(left).unwrap(), expected);
    };
    check("89abcdef and", true, false, "[K] and");
    check("89abcdef and", false, true, "89abcdef and");
    check("and 0123456", false, true, "and [K]");
    check("and 0123456", true, false, "and 0123456");
    check("def and 01", true, true, "def and 01");
}

#[test]
fn what_may_go_on_is_held_and_all_else_is_not() {
    let mut stream = named("abcdefgh").stream();
    assert_eq!(stream.push(b"x: abc"), b"x: ");
    assert_eq!(stream.push(b"x and a"), b"abcx and ");
    assert_eq!(stream.push(b"bcdefgh!"), b"[K]!");
    // A program that says nothing more for now has been heard.
    assert_eq!(stream.push(b"a line\n"), b"a line\n");
    assert_eq!(stream.push(b"abcd"), b"");
    assert_eq!(stream.finish(), b"abcd");
}

#[test]
fn a_run_of_backslashes_is_looked_through_once() {
    let text = "\\".repeat(300_000);
    assert_eq!(named("ab\\cdefgh").apply_to(&text), text);
}

#[test]
fn much_output_takes_no_time_to_speak_of() {
    let values = (0..20).map(|i| (format!("K{i}"), format!("sk-{i}-{}", "aB3dE6gH9".repeat(4))));
    let redaction = Redaction::of_variables(values);
    let line =
        "2026-01-01T00:00:00Z INFO shop::cart: added item=42 for user=7, sk-, total: 13.50\n";
    let output = line.repeat(60);
    let began = crate::clock::Instant::now();
    for _ in 0..1_000 {
        assert_eq!(redaction.apply(output.clone().into_bytes()).len(), output.len());
    }
    // Without optimisation; 5 MB.
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

/// How programs write a value on.
fn spelled(value: &str, how: usize) -> String {
    let percent = |keep: &str, lower: bool| -> String {
        let one = |byte: u8| match char::from(byte) {
            c if c.is_ascii_alphanumeric() || keep.contains(c) => c.to_string(),
            _ if lower => format!("%{byte:02x}"),
            _ => format!("%{byte:02X}"),
        };
        value.bytes().map(one).collect()
    };
    let json = |text: &str| {
        let json = serde_json::to_string(text).unwrap();
        json[1..json.len() - 1].to_owned()
    };
    match how {
        0 => value.to_owned(),
        1 => percent("-_.~", false),
        2 => percent("-_.~/:@!$&'()*+,;=", true),
        3 => percent("*-._ ", false).replace(' ', "+"),
        4 => json(value),
        5 => json(&json(value)),
        6 => json(value).replace('/', "\\/"),
        7 => value
            .chars()
            .map(|c| {
                if c.is_ascii() {
                    json(&c.to_string())
                } else {
                    c.encode_utf16(&mut [0; 2]).iter().map(|u| format!("\\u{u:04x}")).collect()
                }
            })
            .collect(),
        8 => value.replace('\'', "'\\''"),
        9 => value
            .chars()
            .map(|c| if c.is_alphanumeric() { c.to_string() } else { format!("\\{c}") })
            .collect(),
        10 => value
            .bytes()
            .map(|b| {
                if b.is_ascii_alphanumeric() {
                    char::from(b).to_string()
                } else {
                    format!("\\{b:03o}")
                }
            })
            .collect(),
        11 => value
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
            .replace('\'', "&#39;"),
        12 => value.bytes().map(|b| format!("{b:02x}")).collect(),
        _ => value.replace('\'', "''"),
    }
}
const SPELLINGS: usize = 14;

fn secret() -> impl Strategy<Value = String> {
    "[!-~]([ -Z^-~\\\\]|[äß€🚀]){7,30}[!-~]".prop_filter("no base64 digit alone", |s| s.len() >= 8)
}

proptest! {
    #[test]
    fn no_spelling_survives(value in secret(), before in "[ -~\n]{0,40}", after in "[ -~\n]{0,40}", how in 0..SPELLINGS) {
        let spelling = spelled(&value, how);
        let redaction = named(&value);
        let clean = redaction.apply_to(&format!("{before}{spelling}{after}"));
        prop_assert!(clean.contains("[K]"), "{} in {}", spelling, clean);
        prop_assert!(!clean.contains(&spelling), "{} in {}", spelling, clean);
        prop_assert_eq!(redaction.apply_to(&clean), clean);
    }

    #[test]
    fn no_base64_survives(value in secret(), before in "[ -~]{0,7}", after in "[ -~]{0,7}") {
        let text = base64(format!("{before}{value}{after}").as_bytes());
        for text in [text.clone(), text.trim_end_matches('=').to_owned(), text.replace('+', "-").replace('/', "_")] {
            let clean = named(&value).apply_to(&text);
            prop_assert!(clean.contains("[K]"), "{}", clean);
            // What is left is what the value alone does not decide.
            prop_assert!(clean.len() <= (before.len() + after.len()) * 4 / 3 + 3 + 10, "{}", clean);
        }
    }

    #[test]
    fn text_without_a_secret_is_what_it_was(text in "\\PC{0,200}") {
        let redaction = named("a-value-that-is-nowhere");
        prop_assert_eq!(redaction.apply_to(&text), text);
    }

    #[test]
    fn no_chunk_boundary_lets_a_secret_through(
        value in secret(),
        how in 0..SPELLINGS,
        cuts in proptest::collection::vec(0..400usize, 0..6),
    ) {
        let text = format!("before {0} after {0}\\", spelled(&value, how)).into_bytes();
        let redaction = named(&value);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let mut stream = redaction.stream();
        let mut out: Vec<u8> = cuts.windows(2).flat_map(|pair| stream.push(&text[pair[0]..pair[1]])).collect();
        out.extend(stream.finish());
        let whole = redaction.apply(text);
        prop_assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&whole));
    }

    #[test]
    fn any_bytes_are_looked_through(bytes in proptest::collection::vec(any::<u8>(), 0..300), start: bool, end: bool) {
        let clean = named("\\\\''\"\"&&%%").apply_cut(bytes.clone(), Cut { start, end });
        prop_assert!(clean.len() <= bytes.len() + 300);
    }
}
