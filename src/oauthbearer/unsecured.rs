//! Tokens that nobody signed, for test clusters: Java's `OAuthBearerUnsecuredLoginCallbackHandler`, librdkafka's
//! `enable.sasl.oauthbearer.unsecure.jwt`.
//!
//! librdkafka's own are not used: with reports as events it makes one when it starts, and none when that expires.

use std::{
    error::Error,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use super::{OAuthBearerToken, TokenRetriever};

/// What the tokens say.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct UnsecuredRetriever {
    pub(crate) principal_claim: String,
    pub(crate) principal: String,
    pub(crate) scope_claim: String,
    pub(crate) scope: Vec<String>,
    pub(crate) lifetime: Duration,
    pub(crate) extensions: Vec<(String, String)>,
}

impl Default for UnsecuredRetriever {
    /// Java's and librdkafka's defaults; the principal is missing.
    fn default() -> Self {
        Self {
            principal_claim: "sub".to_owned(),
            principal: String::new(),
            scope_claim: "scope".to_owned(),
            scope: Vec::new(),
            lifetime: Duration::from_secs(3600),
            extensions: Vec::new(),
        }
    }
}

impl TokenRetriever for UnsecuredRetriever {
    fn retrieve(&self) -> Result<OAuthBearerToken, Box<dyn Error + Send + Sync>> {
        let now = SystemTime::now();
        let expires = now + self.lifetime;
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map(|t| t.as_secs_f64());
        let mut claims = Map::new();
        claims.insert("iat".to_owned(), json!(seconds(now)?));
        claims.insert("exp".to_owned(), json!(seconds(expires)?));
        if !self.scope.is_empty() {
            claims.insert(self.scope_claim.clone(), json!(self.scope));
        }
        claims.insert(self.principal_claim.clone(), json!(self.principal));
        let part = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let value = format!(
            "{}.{}.",
            part(json!({"alg": "none"})),
            part(Value::Object(claims))
        );
        let mut token = OAuthBearerToken::new(value, expires, &*self.principal)?;
        for (name, value) in &self.extensions {
            token = token.extension(name, value)?;
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_whose_it_is_and_how_long_it_holds() {
        let retriever = UnsecuredRetriever {
            principal: "alice".to_owned(),
            scope: vec!["a".to_owned(), "b".to_owned()],
            lifetime: Duration::from_secs(60),
            extensions: vec![("team".to_owned(), "till".to_owned())],
            ..UnsecuredRetriever::default()
        };
        let before = SystemTime::now();
        let token = retriever.retrieve().unwrap();
        let life = token.expires().duration_since(before).unwrap();
        assert!(life >= Duration::from_secs(60) && life < Duration::from_secs(70));
        assert_eq!(token.extensions(), retriever.extensions);

        let read = OAuthBearerToken::from_jwt(token.value()).unwrap();
        assert_eq!(read.principal(), "alice");
        let claims = token.value().split('.').nth(1).unwrap();
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims["scope"], json!(["a", "b"]));
        assert!(token.value().ends_with('.'));
    }
}
