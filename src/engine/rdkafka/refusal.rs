//! Why a broker does not let this client in, read from what librdkafka says.
//!
//! librdkafka has one code for whatever goes wrong with TLS and one for SASL, so the words decide. They are of three kinds:
//! librdkafka's own, which its source fixes; OpenSSL's numbers (of alerts, of verification errors), which RFC 8446 and
//! OpenSSL's headers fix; and the broker's, which are anything. Nothing of the last is passed on: it is remote input, and
//! may hold a user's name.
//!
//! Only what is **certain** counts as a refusal: the other side was there, and said no, or cannot be who it should be. A
//! connection that ends in the middle of a handshake is a broker that restarts as likely as one that was taken for
//! another: that is a **suspicion**, which is told beside a time-out and closes no door.

use franking_core::{Code, Failure};

use super::outcomes::codes::AUTHENTICATION;

/// What stands between this client and a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The broker's certificate, by OpenSSL's number of what is wrong with it; 0 if that is not known.
    Certificate(i32),
    /// The broker said this about the client's certificate, or the want of one, by TLS's number of the alert.
    ClientCertificate(u8),
    /// No version or cipher of TLS in common.
    NoCommonTls,
    /// Not TLS: the answer to a TLS greeting.
    NotTls,
    /// User and password.
    Credentials,
    /// A token, refused by the broker.
    Token,
    /// A token that had expired when it was handed in.
    ExpiredToken,
    /// The broker has other mechanisms.
    Mechanism,
    /// The listener is one without SASL.
    NoSasl,
    /// There is no token, as fetching it failed. That may pass: it is somebody else's service that is away.
    NoToken,
    /// Suspected: the connection ended where TLS should have begun.
    PerhapsNotTls,
    /// Suspected: the connection ended after a greeting without TLS.
    PerhapsOnlyTls,
    /// Suspected: the connection ended as one of a client does that did not log in.
    PerhapsSasl,
}

/// The numbers of TLS alerts that are about the other side's certificate.
const ABOUT_CERTIFICATES: [u8; 8] = [42, 43, 44, 45, 46, 48, 49, 116];
/// … about versions, ciphers and names.
const ABOUT_TLS: [u8; 4] = [40, 70, 71, 112];

/// What a failed connection says, if it says that the client is refused. `certificate` is what was found wrong with the
/// broker's certificate just before.
pub(super) fn read(code: i32, reason: &str, certificate: Option<i32>) -> Option<Refusal> {
    let says = |words| reason.contains(words);
    if code == AUTHENTICATION {
        return sasl(reason);
    }
    if says("certificate verify failed")
        || says("Failed to verify broker certificate")
        || says("Broker did not provide a certificate")
    {
        return Some(Refusal::Certificate(certificate.unwrap_or(0)));
    }
    if let Some(alert) = number_after(reason, "SSL alert number ") {
        return match u8::try_from(alert).ok()? {
            alert if ABOUT_CERTIFICATES.contains(&alert) => Some(Refusal::ClientCertificate(alert)),
            alert if ABOUT_TLS.contains(&alert) => Some(Refusal::NoCommonTls),
            _ => None,
        };
    }
    if says("SSL handshake failed")
        && (says("wrong version number") || says("packet length too long") || says("http request"))
    {
        return Some(Refusal::NotTls);
    }
    suspicion(reason)
}

/// Connections that are closed soon come from all sorts of causes, of which these are three. What librdkafka means to say
/// of them, it does not: it looks for the word in its format instead of the message.
fn suspicion(reason: &str) -> Option<Refusal> {
    const SOON: i64 = 2_000;
    if !reason.contains("Disconnected") {
        return None;
    }
    // By who hears of the end first, OpenSSL or librdkafka.
    let ends = ["PLAINTEXT broker listener?", "ms in state SSL_HANDSHAKE"];
    if ends.iter().any(|end| reason.contains(end)) {
        return Some(Refusal::PerhapsNotTls);
    }
    let tls = reason.contains("ssl://");
    if !tls && reason.contains("ms in state APIVERSION_QUERY") {
        return Some(Refusal::PerhapsOnlyTls);
    }
    let up = reason.contains("ms in state UP");
    let soon = number_after(reason, "(after ").is_some_and(|ms| ms < SOON);
    (up && soon && !reason.contains("sasl_")).then_some(Refusal::PerhapsSasl)
}

fn sasl(reason: &str) -> Option<Refusal> {
    let says = |words| reason.contains(words);
    if says("token: it has expired") || says("last error: it has expired") {
        return Some(Refusal::ExpiredToken);
    }
    if says("Failed to acquire SASL OAUTHBEARER token") {
        return Some(Refusal::NoToken);
    }
    if says("Failed to initialize SASL authentication") {
        // Without an error of the last time, the first token is still on its way.
        return (says("no token available") && !says("last error: (not available)"))
            .then_some(Refusal::NoToken);
    }
    if says("mechanism handshake failed") {
        // The others are time-outs and broken connections, which get the same code.
        return match () {
            () if says("Broker: Unsupported SASL mechanism") => Some(Refusal::Mechanism),
            () if says("Broker: Request not valid in current SASL state") => Some(Refusal::NoSasl),
            () => None,
        };
    }
    let broken = says("SaslAuthenticateRequest failed: ")
        || says("SaslAuthenticateResponse parsing failed: ");
    if broken || !says("SASL authentication error: ") {
        return None;
    }
    match says("OAUTHBEARER") || says("invalid_token") {
        true => Some(Refusal::Token),
        false => Some(Refusal::Credentials),
    }
}

/// The number behind these words.
fn number_after(text: &str, words: &str) -> Option<i64> {
    let (_, rest) = text.rsplit_once(words)?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// OpenSSL's numbers of what can be wrong with a certificate.
mod x509 {
    pub(super) const NOT_YET_VALID: i32 = 9;
    pub(super) const EXPIRED: i32 = 10;
    pub(super) const REVOKED: i32 = 23;
    pub(super) const HOST: i32 = 62;
    pub(super) const ADDRESS: i32 = 64;
    /// Signed by itself, or by somebody who is not known.
    pub(super) const UNKNOWN_AUTHORITY: [i32; 6] = [2, 18, 19, 20, 21, 27];
    /// No list of what was revoked, or an old one.
    pub(super) const REVOCATION_LIST: [i32; 5] = [3, 8, 11, 12, 33];
}

impl Refusal {
    /// Whether it cannot be a broker that is just not there.
    pub(super) fn is_certain(self) -> bool {
        !matches!(
            self,
            Refusal::NoToken
                | Refusal::PerhapsNotTls
                | Refusal::PerhapsOnlyTls
                | Refusal::PerhapsSasl
        )
    }

    /// The failure of records that cannot be sent for it.
    pub(super) fn failure(self, broker: &str) -> Failure {
        let (what, advice, setting) = self.texts();
        // In part it is what a cluster says of itself, so it can be long; failures escape what cannot be shown.
        let broker: String = broker.chars().take(100).collect();
        let colon = if broker.is_empty() { "" } else { ": " };
        Failure::new(Code::Authentication)
            .detail(format!("{broker}{colon}{what}"))
            .advice(advice)
            .setting(setting)
    }

    /// What is wrong, what to do, and the setting that matters.
    fn texts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Refusal::Certificate(x509::EXPIRED) => (
                "the broker's certificate, or its authority's, has expired",
                "have it renewed (the broker's ssl.keystore.location); if only the authority's in ssl.ca.location is old, write the new one there",
                "ssl.ca.location",
            ),
            Refusal::Certificate(x509::NOT_YET_VALID) => (
                "the broker's certificate is not valid yet",
                "check the clock of this machine, and the certificate in the broker's ssl.keystore.location",
                "ssl.ca.location",
            ),
            Refusal::Certificate(x509::HOST | x509::ADDRESS) => (
                "the broker's certificate is for another host name",
                "write the name that is in the certificate in bootstrap.servers and in the broker's advertised.listeners, or have a certificate issued for this name; ssl.endpoint.identification.algorithm=none gives up the check",
                "ssl.endpoint.identification.algorithm",
            ),
            Refusal::Certificate(x509::REVOKED) => (
                "the broker's certificate was revoked",
                "have a new one issued for the broker; ssl.crl.location is the list that has it",
                "ssl.crl.location",
            ),
            Refusal::Certificate(number) if x509::REVOCATION_LIST.contains(&number) => (
                "whether the broker's certificate was revoked cannot be told: the list is missing, old or not valid",
                "write the authority's newest list as ssl.crl.location",
                "ssl.crl.location",
            ),
            Refusal::Certificate(number) if x509::UNKNOWN_AUTHORITY.contains(&number) => (
                "the broker's certificate is signed by an authority that is not trusted here",
                "write the certificate of the broker's authority as ssl.ca.location (or ssl.truststore.certificates)",
                "ssl.ca.location",
            ),
            Refusal::Certificate(_) => (
                "the broker's certificate could not be verified",
                "check ssl.ca.location, and the certificate in the broker's ssl.keystore.location",
                "ssl.ca.location",
            ),
            Refusal::ClientCertificate(116) => (
                "the broker wants a certificate of this client, and got none",
                "write ssl.certificate.location and ssl.key.location (or ssl.keystore.location)",
                "ssl.certificate.location",
            ),
            Refusal::ClientCertificate(45) => (
                "this client's certificate has expired, the broker says",
                "have it renewed: ssl.certificate.location (or ssl.keystore.location)",
                "ssl.certificate.location",
            ),
            Refusal::ClientCertificate(48) => (
                "this client's certificate is signed by an authority that the broker does not trust",
                "have it issued by one that the broker's ssl.truststore.location has: ssl.certificate.location (or ssl.keystore.location)",
                "ssl.certificate.location",
            ),
            Refusal::ClientCertificate(_) => (
                "the broker refuses this client's certificate, or wants one and got none",
                "check ssl.certificate.location and ssl.key.location (or ssl.keystore.location); the broker's log says what it does not like",
                "ssl.certificate.location",
            ),
            Refusal::NoCommonTls => (
                "the broker and this client have no version or cipher of TLS in common, or the broker wants a certificate",
                "check ssl.cipher.suites here, ssl.enabled.protocols and ssl.client.auth of the broker, and ssl.certificate.location",
                "ssl.cipher.suites",
            ),
            Refusal::NotTls => (
                "what answers there does not speak TLS",
                "check the port in bootstrap.servers, or write security.protocol without SSL",
                "security.protocol",
            ),
            Refusal::Credentials => (
                "the broker does not take this user and password",
                "check sasl.username and sasl.password (in sasl.jaas.config, if you write that), and that the user exists for this sasl.mechanism",
                "sasl.password",
            ),
            Refusal::Token => (
                "the broker does not take the OAuth token",
                "check that what gives the tokens (ProducerBuilder::oauthbearer_token, or sasl.oauthbearer.token.endpoint.url) gives one that has not expired, from the issuer and for the audience that the broker expects; its log says more",
                "sasl.oauthbearer.token.endpoint.url",
            ),
            Refusal::ExpiredToken => (
                "the OAuth token has expired",
                "check what gives the tokens: ProducerBuilder::oauthbearer_token, or sasl.oauthbearer.token.endpoint.url; and the clock of this machine",
                "sasl.oauthbearer.token.endpoint.url",
            ),
            Refusal::NoToken => (
                "there is no OAuth token to log in with: fetching it failed",
                "check what gives the tokens: ProducerBuilder::oauthbearer_token, or sasl.oauthbearer.token.endpoint.url; the log says why it failed",
                "sasl.oauthbearer.token.endpoint.url",
            ),
            Refusal::Mechanism => (
                "the broker does not have this mechanism of SASL",
                "write another sasl.mechanism, or have it added to the broker's sasl.enabled.mechanisms",
                "sasl.mechanism",
            ),
            Refusal::NoSasl => (
                "the broker's listener has no SASL",
                "write security.protocol without SASL, or check the port in bootstrap.servers",
                "security.protocol",
            ),
            Refusal::PerhapsNotTls => (
                "the connection ended where TLS should have begun: perhaps the listener speaks no TLS",
                "check security.protocol and the port in bootstrap.servers",
                "security.protocol",
            ),
            Refusal::PerhapsOnlyTls => (
                "the connection ended at the first request: perhaps the listener speaks TLS only",
                "check security.protocol and the port in bootstrap.servers",
                "security.protocol",
            ),
            Refusal::PerhapsSasl => (
                "the connection ended soon after the first request: perhaps the listener wants SASL",
                "check security.protocol and the port in bootstrap.servers",
                "security.protocol",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Refusal::*;
    use super::*;

    const SSL: i32 = -181;
    const TRANSPORT: i32 = -195;

    /// librdkafka 2.12's words, with what its format strings have in them, and OpenSSL 3's.
    #[test]
    fn reads_librdkafkas_words() {
        let verify = "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not be verified, verify that ssl.ca.location is correctly configured or root CA certificates are installed (install ca-certificates package) (after 5ms in state SSL_HANDSHAKE)";
        let lines = [
            (SSL, verify, Some(Certificate(0))),
            (
                SSL,
                "Failed to verify broker certificate: certificate has expired (after 1ms in state SSL_HANDSHAKE)",
                Some(Certificate(0)),
            ),
            (
                SSL,
                "SSL handshake failed: error:0A000418:SSL routines::tlsv1 alert unknown ca: SSL alert number 48 (after 9ms in state SSL_HANDSHAKE)",
                Some(ClientCertificate(48)),
            ),
            (
                SSL,
                "SSL handshake failed: error:0A000412:SSL routines::sslv3 alert bad certificate: SSL alert number 42",
                Some(ClientCertificate(42)),
            ),
            (
                TRANSPORT,
                "Receive failed: error:0A00045C:SSL routines::tlsv13 alert certificate required: SSL alert number 116 (after 4ms in state APIVERSION_QUERY)",
                Some(ClientCertificate(116)),
            ),
            (
                SSL,
                "SSL handshake failed: error:0A000410:SSL routines::sslv3 alert handshake failure: SSL alert number 40",
                Some(NoCommonTls),
            ),
            // An error inside the broker is nobody's refusal.
            (
                SSL,
                "SSL handshake failed: error:0A000438:SSL routines::tlsv1 alert internal error: SSL alert number 80",
                None,
            ),
            (
                SSL,
                "SSL handshake failed: error:0A00010B:SSL routines::wrong version number",
                Some(NotTls),
            ),
            (
                TRANSPORT,
                "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener? (after 2ms in state SSL_HANDSHAKE)",
                Some(PerhapsNotTls),
            ),
            (
                TRANSPORT,
                "ssl://h:1/bootstrap: Disconnected: SSL connection closed by peer (after 1ms in state SSL_HANDSHAKE)",
                Some(PerhapsNotTls),
            ),
            (
                TRANSPORT,
                "SSL handshake failed: Connection reset by peer",
                None,
            ),
            (
                TRANSPORT,
                "Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
                None,
            ),
            (
                AUTHENTICATION,
                "SASL authentication error: Authentication failed: Invalid username or password (after 9ms in state AUTH_REQ)",
                Some(Credentials),
            ),
            (
                AUTHENTICATION,
                "SASL authentication error: Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256",
                Some(Credentials),
            ),
            (
                AUTHENTICATION,
                "SASL authentication error: SASL SCRAM authentication failed: ServerSignature mismatch (server's a != ours b)",
                Some(Credentials),
            ),
            (
                AUTHENTICATION,
                "SASL authentication error: {\"status\":\"invalid_token\"}",
                Some(Token),
            ),
            (
                AUTHENTICATION,
                "SASL authentication error: SASL OAUTHBEARER authentication failed (principal=bob): x",
                Some(Token),
            ),
            (
                AUTHENTICATION,
                "SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: SCRAM-SHA-256",
                Some(Mechanism),
            ),
            (
                AUTHENTICATION,
                "SASL PLAIN mechanism handshake failed: Broker: Request not valid in current SASL state: broker's supported mechanisms: ",
                Some(NoSasl),
            ),
            // The code of a refusal, for connections that broke in the middle of it.
            (
                AUTHENTICATION,
                "SASL PLAIN mechanism handshake failed: Local: Broker transport failure: broker's supported mechanisms: ",
                None,
            ),
            (
                AUTHENTICATION,
                "SASL PLAIN mechanism handshake failed: Local: Timed out: broker's supported mechanisms: ",
                None,
            ),
            (
                TRANSPORT,
                "SASL authentication error: SaslAuthenticateRequest failed: Local: Broker transport failure",
                None,
            ),
            (
                AUTHENTICATION,
                "SASL authentication error: SaslAuthenticateRequest failed: Local: Timed out",
                None,
            ),
            // The first token is being fetched; and it could not be.
            (
                AUTHENTICATION,
                "Failed to initialize SASL authentication: OAUTHBEARER cannot log in because there is no token available; last error: (not available)",
                None,
            ),
            (
                AUTHENTICATION,
                "Failed to initialize SASL authentication: OAUTHBEARER cannot log in because there is no token available; last error: boom",
                Some(NoToken),
            ),
            (
                AUTHENTICATION,
                "Failed to acquire SASL OAUTHBEARER token: it has expired",
                Some(ExpiredToken),
            ),
            (
                AUTHENTICATION,
                "Failed to initialize SASL authentication: OAUTHBEARER cannot log in because there is no token available; last error: it has expired (after 0ms in state AUTH_REQ)",
                Some(ExpiredToken),
            ),
            (
                AUTHENTICATION,
                "Failed to acquire SASL OAUTHBEARER token: boom",
                Some(NoToken),
            ),
        ];
        for (code, reason, expected) in lines {
            let reason = format!("sasl_ssl://h:9093/bootstrap: {reason}");
            assert_eq!(read(code, &reason, None), expected, "{reason}");
        }
        assert_eq!(read(SSL, verify, Some(10)), Some(Certificate(10)));
    }

    #[test]
    fn suspects_what_closes_connections_soon() {
        let closed = "Disconnected: connection closed by peer: receive 0 after POLLIN";
        for (broker, state, expected) in [
            (
                "h:1/1",
                "after 3ms in state APIVERSION_QUERY",
                Some(PerhapsOnlyTls),
            ),
            (
                "sasl_plaintext://h:1/1",
                "after 3ms in state APIVERSION_QUERY",
                Some(PerhapsOnlyTls),
            ),
            ("ssl://h:1/1", "after 3ms in state APIVERSION_QUERY", None),
            (
                "ssl://h:1/1",
                "after 303ms in state UP, 1 identical error(s) suppressed",
                Some(PerhapsSasl),
            ),
            ("h:1/1", "after 303ms in state UP", Some(PerhapsSasl)),
            ("h:1/1", "after 3003ms in state UP", None),
            ("sasl_ssl://h:1/1", "after 303ms in state UP", None),
        ] {
            let reason = format!("{broker}: {closed} ({state})");
            assert_eq!(read(TRANSPORT, &reason, None), expected, "{reason}");
        }
    }

    #[test]
    fn a_suspicion_is_not_certain() {
        for refusal in [NoToken, PerhapsNotTls, PerhapsOnlyTls, PerhapsSasl] {
            assert!(!refusal.is_certain());
        }
        for refusal in [Certificate(0), ClientCertificate(42), Credentials, Token] {
            assert!(refusal.is_certain());
        }
    }

    #[test]
    fn every_refusal_names_its_setting_and_shows_nothing_raw() {
        let mut all = vec![
            NoCommonTls,
            NotTls,
            Credentials,
            Token,
            ExpiredToken,
            NoToken,
            Mechanism,
            NoSasl,
            PerhapsNotTls,
            PerhapsOnlyTls,
            PerhapsSasl,
        ];
        all.extend((0..=100).map(Certificate));
        all.extend(ABOUT_CERTIFICATES.map(ClientCertificate));
        for refusal in all {
            let failure = refusal.failure("ssl://h\u{1b}[2J\u{202e}\n:9093/1");
            let text = failure.to_string();
            assert_eq!(*failure.code(), Code::Authentication);
            assert!(!failure.is_transient());
            assert!(text.contains(failure.setting_name().unwrap()), "{text}");
            let shown = r"ssl://h\u{1b}[2J\u{202e}\n:9093/1: ";
            assert!(text.contains(shown), "{text}");
            assert!(text.chars().all(|c| (' '..='~').contains(&c)), "{text}");
        }
        let long = Credentials.failure(&"x".repeat(10_000)).to_string();
        assert!(long.len() < 600, "{long}");
    }
}
