//! A token in a file, as Java's `FileJwtRetriever` has it.

use std::{error::Error, fs, path::PathBuf};

use super::{OAuthBearerToken, TokenRetriever};

/// Reads the file each time: somebody else puts a new token there before the old one expires.
pub(crate) struct FileRetriever(PathBuf);

impl FileRetriever {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

impl TokenRetriever for FileRetriever {
    fn retrieve(&self) -> Result<OAuthBearerToken, Box<dyn Error + Send + Sync>> {
        let of = |error: &dyn Error| {
            let path = self.0.display();
            format!("{path}, which `sasl.oauthbearer.token.endpoint.url` names: {error}")
        };
        let text = fs::read_to_string(&self.0).map_err(|error| of(&error))?;
        Ok(OAuthBearerToken::from_jwt(text.trim()).map_err(|error| of(&error))?)
    }
}
