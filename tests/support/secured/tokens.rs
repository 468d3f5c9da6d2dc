//! Signed tokens (JWT), and the keys by which brokers know them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};

/// Who makes tokens.
pub struct TokenIssuer(KeyPair);

impl TokenIssuer {
    pub fn new() -> Self {
        Self(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap())
    }

    /// The public key, as brokers read it from `sasl.oauthbearer.jwks.endpoint.url`.
    pub fn jwks(&self) -> String {
        // An uncompressed point: 4, x, y.
        let point = self.0.der_bytes();
        let (x, y) = (base64(&point[1..33]), base64(&point[33..65]));
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "tests", "x": x, "y": y,
        }]})
        .to_string()
    }

    /// A token for this user that is valid for so long from now.
    pub fn token(&self, user: &str, lifetime: Duration) -> String {
        let now = SystemTime::now();
        self.token_of(user, now, now + lifetime)
    }

    /// A token for this user from one time to another.
    pub fn token_of(&self, user: &str, from: SystemTime, to: SystemTime) -> String {
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let part = |part: Value| base64(part.to_string().as_bytes());
        let signed = format!(
            "{}.{}",
            part(json!({"alg": "ES256", "kid": "tests", "typ": "JWT"})),
            part(
                json!({"sub": user, "scope": ["write"], "iat": seconds(from), "exp": seconds(to)})
            ),
        );
        let signature = self.0.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64(&plain(&signature)))
    }
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token has the signature's two numbers in 32 bytes each; what signs gives them as ASN.1: a sequence of two integers.
fn plain(asn1: &[u8]) -> [u8; 64] {
    let mut plain = [0; 64];
    let mut rest = &asn1[2..];
    for half in plain.chunks_mut(32) {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        rest = &rest[2 + length..];
        // A zero before a number says that it is positive; zeros that it begins with are left out.
        let number = &number[length.saturating_sub(32)..];
        half[32 - number.len()..].copy_from_slice(number);
    }
    plain
}
