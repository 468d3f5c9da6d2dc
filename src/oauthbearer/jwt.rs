//! What a client reads of a JWT: until when it is valid, and whose it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;

use super::TokenError;

#[derive(Deserialize)]
struct Claims {
    /// Seconds since the epoch; fractions are allowed.
    exp: Option<f64>,
    sub: Option<Value>,
}

/// The claims `exp` and `sub`.
pub(super) fn claims(token: &str) -> Result<(SystemTime, String), TokenError> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError("a JWT has three parts with a `.` between them"));
    };
    // What serde says of wrong claims could quote them.
    let claims: Claims = URL_SAFE_NO_PAD
        .decode(claims)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or(TokenError(
            "the JWT's claims are not a JSON object in base64url",
        ))?;
    let expires = claims
        .exp
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .and_then(|since| UNIX_EPOCH.checked_add(since))
        .ok_or(TokenError("the JWT has no time in its claim `exp`"))?;
    match claims.sub {
        Some(Value::String(principal)) => Ok((expires, principal)),
        _ => Err(TokenError("the JWT has no text in its claim `sub`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_tokens_end_and_owner_are_read_and_what_is_wrong_is_said_without_it() {
        let (expires, principal) =
            claims(&jwt(r#"{"sub":"alice","exp":1700000000.5,"x":[]}"#)).unwrap();
        assert_eq!(principal, "alice");
        assert_eq!(
            expires,
            UNIX_EPOCH + Duration::from_millis(1_700_000_000_500)
        );

        let long = jwt(r#"{"sub":"hunter2","exp":1e300}"#);
        for (token, says) in [
            ("hunter2", "three parts"),
            ("e30.hunter2.e30.e30", "three parts"),
            ("e30.hunter2!.", "base64url"),
            (&*jwt("[\"hunter2\"]"), "JSON object"),
            (&*jwt(r#"{"sub":"hunter2"}"#), "`exp`"),
            (&*jwt(r#"{"sub":"hunter2","exp":-1}"#), "`exp`"),
            (&*long, "`exp`"),
            (&*jwt(r#"{"exp":1}"#), "`sub`"),
            (&*jwt(r#"{"exp":1,"sub":["hunter2"]}"#), "`sub`"),
        ] {
            let error = claims(token).unwrap_err().to_string();
            assert!(
                error.contains(says) && !error.contains("hunter2"),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "\\PC*|[a-zA-Z0-9_.-]{0,60}", inner in "\\PC*|\\{\"exp\":[0-9e.-]{0,12},\"sub\":\"a\"\\}") {
            let _ = claims(&text);
            let _ = claims(&jwt(&inner));
        }
    }
}
