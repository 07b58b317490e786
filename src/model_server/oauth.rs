//! A token endpoint: hands out access tokens, and takes each refresh token once.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::Request;
use super::script::OauthScript;
use crate::clock::Timestamp;
use crate::text::base64;

/// The login as it is now.
#[derive(Debug)]
pub(super) struct Oauth {
    script: OauthScript,
    access: String,
    until: Timestamp,
    refresh: String,
    used: BTreeSet<String>,
}

impl Oauth {
    /// Returns the login that is good at first; its time runs from `now`.
    pub(super) fn new(script: OauthScript, now: Timestamp) -> Self {
        let (access, refresh) = (script.access.clone(), script.refresh.clone());
        let until = later(now, script.expires_in);
        Self { script, access, until, refresh, used: BTreeSet::new() }
    }

    /// Returns whether `token` is the access token, and its time has not run out.
    pub(super) fn allows(&self, token: Option<&str>, now: Timestamp) -> bool {
        token == Some(&self.access) && now < self.until
    }

    /// Answers a request for a token: the status and the body.
    pub(super) fn token(&mut self, request: &Request, now: Timestamp) -> (u16, Value) {
        let fields = fields(request);
        if fields("grant_type").as_deref() != Some("refresh_token") {
            return (400, json!({"error": "unsupported_grant_type"}));
        }
        let Some(token) = fields("refresh_token") else {
            return (
                400,
                json!({"error": "invalid_request", "error_description": "no refresh_token"}),
            );
        };
        if token != self.refresh {
            let why = if self.used.contains(&token) {
                "refresh token was already used"
            } else {
                "refresh token is not known"
            };
            return (400, json!({"error": "invalid_grant", "error_description": why}));
        }
        self.used.insert(token);
        let count = self.used.len() + 1;
        self.until = later(now, self.script.expires_in);
        self.refresh = format!("{}-{count}", self.script.refresh);
        self.access = match self.script.jwt {
            true => jwt(&self.claims(count), now, self.until),
            false => format!("{}-{count}", self.script.access),
        };
        let mut answer = json!({
            "access_token": self.access,
            "refresh_token": self.refresh,
            "expires_in": self.script.expires_in,
            "token_type": "Bearer",
        });
        if self.script.jwt {
            answer["id_token"] = self.access.clone().into();
        }
        (200, answer)
    }

    fn claims(&self, count: usize) -> Value {
        json!({
            "jti": count,
            "email": "person@localhost",
            "https://api.openai.com/auth": {
                "chatgpt_plan_type": "plus", "chatgpt_account_id": "account", "chatgpt_user_id": "user",
            },
        })
    }
}

fn later(now: Timestamp, seconds: u64) -> Timestamp {
    let span = Duration::from_secs(seconds.min(10_000_000_000));
    let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 2);
    Timestamp::from_unix_millis(now.unix_millis().saturating_add(millis))
}

/// Returns a token of the form that agents look into; nobody has signed it.
fn jwt(claims: &Value, now: Timestamp, until: Timestamp) -> String {
    let mut claims = claims.clone();
    claims["iat"] = (now.unix_millis() / 1_000).into();
    claims["exp"] = (until.unix_millis() / 1_000).into();
    let part = |value: &Value| {
        let text = base64(value.to_string().as_bytes());
        text.trim_end_matches('=').replace('+', "-").replace('/', "_")
    };
    format!("{}.{}.c2lnbmF0dXJl", part(&json!({"alg": "none", "typ": "JWT"})), part(&claims))
}

/// Returns how to find a field of the request, which holds JSON or a form.
fn fields(request: &Request) -> impl Fn(&str) -> Option<String> {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let json: Option<Value> = serde_json::from_str(&body).ok();
    move |name| match &json {
        Some(json) => json[name].as_str().map(str::to_owned),
        None => body
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| unescaped(value)),
    }
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let escaped = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &more[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            (first, _) => bytes.push(*first),
        }
        rest = more;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oauth(jwt: bool) -> Oauth {
        let script =
            OauthScript { access: "a".to_owned(), refresh: "r/1".to_owned(), expires_in: 60, jwt };
        Oauth::new(script, at(0))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_millis(second * 1_000)
    }

    fn ask(oauth: &mut Oauth, body: &str, second: i64) -> (u16, Value) {
        let body = body.as_bytes().to_vec();
        oauth.token(&Request { body, ..Request::default() }, at(second))
    }

    #[test]
    fn a_refresh_token_is_good_once() {
        let mut oauth = oauth(false);
        let form = "grant_type=refresh_token&refresh_token=r%2F1";
        let (status, answer) = ask(&mut oauth, form, 1);
        assert_eq!((status, &answer["access_token"]), (200, &"a-2".into()));
        assert!(oauth.allows(Some("a-2"), at(2)) && !oauth.allows(Some("a"), at(2)));
        let (status, answer) = ask(&mut oauth, form, 2);
        assert_eq!((status, &answer["error"]), (400, &"invalid_grant".into()));
        let json = r#"{"grant_type": "refresh_token", "refresh_token": "r/1-2"}"#;
        assert_eq!(ask(&mut oauth, json, 3).1["refresh_token"], "r/1-3");
        assert_eq!(ask(&mut oauth, "grant_type=password", 4).0, 400);
    }

    #[test]
    fn an_access_token_has_its_time() {
        let oauth = oauth(false);
        assert!(oauth.allows(Some("a"), at(59)));
        assert!(!oauth.allows(Some("a"), at(60)) && !oauth.allows(None, at(0)));
    }

    #[test]
    fn a_token_that_agents_look_into_is_a_new_one_each_time() {
        let mut oauth = oauth(true);
        let (_, first) = ask(&mut oauth, "grant_type=refresh_token&refresh_token=r/1", 1);
        let (_, second) = ask(&mut oauth, "grant_type=refresh_token&refresh_token=r/1-2", 1);
        assert_ne!(first["access_token"], second["access_token"]);
        assert_eq!(first["id_token"].as_str().unwrap().split('.').count(), 3);
    }
}
