//! Which of the variables that a product gets hold secrets.
//!
//! A person names variables in `env:` because the product needs them; many are no secrets, and to take
//! `production` or `/usr/bin` out of every text would hide what a reader has to see.

use std::path::Path;

use super::{Environment, PROXIES};
use crate::text::{Redaction, SHORTEST_SECRET};

/// Parts of the names of variables that hold secrets.
const TELLING: [&str; 7] =
    ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "APIKEY"];
/// Words in such names.
const TELLING_WORDS: [&str; 9] =
    ["KEY", "KEYS", "PASS", "PWD", "AUTH", "COOKIE", "SALT", "PAT", "SIGNATURE"];
/// Words at the end of a name which say that it tells of a secret and is none.
const ABOUT: [&str; 25] = [
    "ALGORITHM",
    "COUNT",
    "DIR",
    "ENABLED",
    "EXPIRY",
    "FILE",
    "FORMAT",
    "HEADER",
    "HOST",
    "ID",
    "LENGTH",
    "LIFETIME",
    "LIMIT",
    "MODE",
    "NAME",
    "PATH",
    "PORT",
    "REGION",
    "SIZE",
    "TIMEOUT",
    "TTL",
    "TYPE",
    "URL",
    "USER",
    "VERSION",
];
/// Values that stand in for secrets, and that texts are full of.
const ORDINARY: [&str; 20] = [
    "administrator",
    "anonymous",
    "changeit",
    "changeme",
    "database",
    "development",
    "disabled",
    "example",
    "insecure",
    "localhost",
    "minioadmin",
    "not-needed",
    "optional",
    "password",
    "passw0rd",
    "postgres",
    "postgresql",
    "production",
    "required",
    "undefined",
];
/// The longest of letters that is still a word.
const LONGEST_WORD: usize = 24;

/// Returns what keeps the secrets among the variables `names` out of texts: `[NAME]` stands in their
/// place. A password in the address of a proxy, which git and `curl` get, is one too.
pub fn redaction_of(env: &Environment, names: &[String]) -> Redaction {
    let exists = |path: &str| Path::new(path).exists();
    let mut found = Vec::new();
    for name in names {
        let Some(value) = env.get(name) else { continue };
        found.extend(secrets_in_variable(name, &value.to_string_lossy(), &exists));
    }
    for name in PROXIES {
        let Some(value) = env.get(name).map(|value| value.to_string_lossy()) else { continue };
        if password_in_url(&value).is_some() {
            found.extend(secrets_in_variable(name, &value, &exists));
        }
    }
    Redaction::of_variables(found)
}

/// Returns what of a variable is secret, each with the variable's name: its value, and the password in it
/// where it is an address. Empty where nothing is.
fn secrets_in_variable(
    name: &str,
    value: &str,
    exists: &dyn Fn(&str) -> bool,
) -> Vec<(String, String)> {
    let mut secrets = Vec::new();
    if is_secret(name, value, exists) {
        secrets.push((name.to_owned(), value.trim().to_owned()));
        if let Some(password) = password_in_url(value).filter(|one| is_password(one)) {
            secrets.push((name.to_owned(), password));
        }
    }
    secrets
}

/// Decides whether a variable of this name and value holds a secret.
///
/// Shorter than 8 bytes none is, nor a path that exists. Of one whose name says that it holds one, anything
/// else is but what everybody takes for a try. Any other is one where it looks made by chance: letters and
/// digits in no order, or an address with a password.
fn is_secret(name: &str, value: &str, exists: &dyn Fn(&str) -> bool) -> bool {
    let value = value.trim();
    if value.len() < SHORTEST_SECRET || is_path(value, exists) {
        return false;
    }
    if let Some(password) = password_in_url(value) {
        return !ORDINARY.contains(&password.to_lowercase().as_str());
    }
    match says_so(name) {
        true => is_password(value),
        false => looks_random(value),
    }
}

fn is_password(value: &str) -> bool {
    value.len() >= SHORTEST_SECRET && !ORDINARY.contains(&value.to_lowercase().as_str())
}

fn says_so(name: &str) -> bool {
    let name = name.to_uppercase();
    let words: Vec<&str> = name.split(['_', '-', '.']).collect();
    let is_about = words.last().is_some_and(|word| ABOUT.contains(word));
    let is_telling = TELLING.iter().any(|part| name.contains(part))
        || words.iter().any(|word| TELLING_WORDS.contains(word));
    is_telling && !is_about
}

/// Returns whether it is a path, or several with colons between, all of which exist.
fn is_path(value: &str, exists: &dyn Fn(&str) -> bool) -> bool {
    value.split(':').all(|path| path.starts_with('/') && exists(path))
}

/// Returns whether so much of a value is letters and digits in no order that it is no word of any kind.
fn looks_random(value: &str) -> bool {
    let parts = value.split(|c: char| !c.is_ascii_alphanumeric());
    parts.filter(|part| is_random(part)).map(str::len).sum::<usize>() >= SHORTEST_SECRET
}

fn is_random(part: &str) -> bool {
    let letters = part.bytes().filter(u8::is_ascii_alphabetic).count();
    let digits = part.len() - letters;
    if digits == 0 {
        let humps = part.as_bytes().windows(2);
        let humps =
            humps.filter(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
        return part.len() > LONGEST_WORD || part.len() >= 12 && humps.count() * 4 > part.len();
    }
    if letters == 0 {
        return false;
    }
    // `python3`, `cl100k`, `2fast`: a word and a number are no chance.
    let changes = part.as_bytes().windows(2);
    let changes =
        changes.filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count();
    changes > 2 || part.len() > 16 || changes > 1 && part.len() >= 8
}

/// Returns the password in an address, as it is without the address's escapes; none where there is none.
fn password_in_url(value: &str) -> Option<String> {
    let (_, rest) = value.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (login, _) = authority.rsplit_once('@')?;
    let (_, password) = login.split_once(':')?;
    (!password.is_empty()).then(|| decoded(password))
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = text.get(at + 1..at + 3).filter(|_| *byte == b'%');
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str, expected: bool) {
        let exists = |path: &str| ["/usr/bin", "/bin", "/etc/ssl/key.pem"].contains(&path);
        assert_eq!(is_secret(name, value, &exists), expected, "{name}={value}");
    }

    #[test]
    fn what_a_product_is_told_is_no_secret() {
        for (name, value) in [
            ("DEBUG", "1"),
            ("VERBOSE", "true"),
            ("RUST_LOG", "debug"),
            ("APP_ENV", "production"),
            ("EXTRA_PATH", "/usr/bin:/bin"),
            ("MAX_ROWS", "100000000"),
            ("API_URL", "http://localhost:8080/api/v1"),
            ("FEATURES", "new-checkout,old_cart"),
            ("IMAGE", "docker.io/library/postgres16:latest"),
            ("GREETING", "hello there everybody"),
            ("DB_PASSWORD", "postgres"),
            ("TLS_KEY", "/etc/ssl/key.pem"),
            ("API_TOKEN_TTL", "86400000"),
            ("SECRET_MODE", "kubernetes"),
            ("API_TOKEN", "short"),
            ("DATABASE_URL", "postgres://postgres:postgres@localhost:5432/shop"),
            ("SINCE", "2026-01-02T03:04:05Z"),
        ] {
            check(name, value, false);
        }
    }

    #[test]
    fn what_is_named_so_or_made_by_chance_is_one() {
        for (name, value) in [
            ("SHOP_API_KEY", "not_a_real_key_51Habcdefghij"),
            ("SHOP_DB_PASSWORD", "p@ss word/9xyz"),
            ("DB_PASSWORD_PROD", "swordfish"),
            ("db_pass", "correct horse"),
            ("PIN_SECRET", "48151623"),
            ("TLS_KEY", "/a/path/that/is/not/there"),
            ("DATABASE_URL", "postgres://shop:hunter2@db/shop"),
            ("STRIPE", "sk_live_51HabcDEF23ghij45"),
            ("HOOK", "https://hooks.example.com/services/T0A1B2C3D/B4E5F6/x"),
            ("ACCOUNT", "550e8400-e29b-41d4-a716-446655440000"),
            ("LICENCE", "A1B2-C3D4-E5F6"),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("OPAQUE", "kJhGfDsAqWeRtYuI"),
        ] {
            check(name, value, true);
        }
    }

    #[test]
    fn the_password_of_an_address_is_one_by_itself() {
        let found = secrets_in_variable("U", "amqp://a:p%40ssw%6Frd!@h:1/x", &|_| false);
        let values: Vec<&str> = found.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["amqp://a:p%40ssw%6Frd!@h:1/x", "p@ssword!"]);
    }

    #[test]
    fn variables_are_read_where_they_are_set() {
        let all = [
            ("API_KEY", "abcdefgh-1"),
            ("OTHER_KEY", "not-named-1"),
            ("HTTPS_PROXY", "http://me:s3cret-pw@proxy:3128"),
        ];
        let variables = all.map(|(name, value)| (name.into(), value.into())).into();
        let env = Environment::from_parts(variables, "/".into());
        let redaction = redaction_of(&env, &["API_KEY".to_owned(), "UNSET_KEY".to_owned()]);
        let text = "abcdefgh-1 not-named-1 http://me:s3cret-pw@proxy:3128 s3cret-pw";
        let expected = "[API_KEY] not-named-1 [HTTPS_PROXY] [HTTPS_PROXY]";
        assert_eq!(redaction.apply_to(text), expected);
    }
}
