//! Tokens for OAUTHBEARER.

use std::ffi::CString;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Client;
use crate::oauthbearer::OAuthBearerToken;

impl<T: Send + 'static> Client<T> {
    /// Has brokers shown this token from now on, also those that wait for one. Says why not, without the token: that it
    /// has expired, or that OAUTHBEARER is not the mechanism.
    pub(crate) fn set_token(&self, token: &OAuthBearerToken) -> Result<(), String> {
        const NUL: &str = "a NUL character is in it";
        let text = |text: &str| CString::new(text).map_err(|_| NUL.to_owned());
        let expires = token.expires().duration_since(UNIX_EPOCH).ok();
        let expires = expires.and_then(|since| i64::try_from(since.as_millis()).ok());
        // librdkafka multiplies this by 1,000.
        let expires = expires.unwrap_or(0).min(i64::MAX / 1000);
        if token.expires() <= SystemTime::now() {
            return Err("it has expired".to_owned());
        }
        let extensions = token.extensions().iter();
        let extensions: Result<Vec<_>, _> = extensions
            .flat_map(|(name, value)| [text(name), text(value)])
            .collect();
        self.handle().set_token(
            &text(token.value())?,
            expires,
            &text(token.principal())?,
            &extensions?,
        )
    }

    /// There is no token. librdkafka tells it as an error, and asks again in ten seconds.
    pub(crate) fn token_failed(&self, reason: &str) {
        let reason = CString::new(reason.replace('\0', "")).unwrap_or_default();
        self.handle().token_failed(match reason.is_empty() {
            true => c"no reason was given",
            false => &reason,
        });
    }
}
