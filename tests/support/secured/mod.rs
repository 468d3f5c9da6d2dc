//! A real broker with TLS and SASL, and what its clients need.
//!
//! Certificates, keys of tokens and clients' files are made anew, in a folder that goes away with the broker.

mod certificates;
mod tokens;

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use certificates::{Authority, Certified};
pub use tokens::TokenIssuer;

use super::Cluster;

/// Who sends: SASL's user name, a token's subject, and the common name of the client's certificate.
pub const USER: &str = "alice";
/// The user's password, with everything that has a meaning somewhere on its way: to JAAS, to `.properties`, to a shell.
pub const PASSWORD: &str = r#"it's "so" \ hidden; $HOME=1"#;

/// The listeners of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// TLS.
    Tls,
    /// TLS that wants a client's certificate.
    Mutual,
    /// SASL over TLS: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, and OAUTHBEARER with signed tokens.
    Sasl,
    /// SASL over TCP: PLAIN, and OAUTHBEARER with unsigned tokens.
    Bare,
    /// TLS with a certificate that has expired.
    Expired,
    /// TLS with a certificate for another host.
    Elsewhere,
}

impl Listener {
    /// Its name at the broker, and its protocol.
    const ALL: [(Self, &str, &str); 6] = [
        (Self::Tls, "TLS", "SSL"),
        (Self::Mutual, "MUTUAL", "SSL"),
        (Self::Sasl, "SASL", "SASL_SSL"),
        (Self::Bare, "BARE", "SASL_PLAINTEXT"),
        (Self::Expired, "EXPIRED", "SSL"),
        (Self::Elsewhere, "ELSEWHERE", "SSL"),
    ];

    fn entry(self) -> (Self, &'static str, &'static str) {
        let mut all = Self::ALL.into_iter();
        all.find(|(listener, ..)| *listener == self).unwrap()
    }

    /// Kafka's `security.protocol`.
    pub fn protocol(self) -> &'static str {
        self.entry().2
    }
}

/// A broker with all of these listeners beside its plain one, where the tests' own client makes topics and reads.
///
/// Its authorizer lets everybody do everything with what has no ACL; whoever comes over the plain listener is a super user.
pub struct Secured {
    cluster: Cluster,
    folder: PathBuf,
    /// Whom everybody trusts.
    pub authority: Authority,
    /// Whose tokens the broker believes.
    pub tokens: TokenIssuer,
}

impl Secured {
    /// The one that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Secured> = OnceLock::new();
        // Statics are never dropped; the script's watcher stops the broker.
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// One that belongs to a test, with further broker properties.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = format!("franking-secured-{}-{n}", std::process::id());
        let dir = std::env::temp_dir().join(dir);
        let folder = dir.join("files");
        fs::create_dir_all(&folder).unwrap();

        let authority = Authority::new("the tests' authority");
        let tokens = TokenIssuer::new();
        let alice = authority.client(USER);
        for (name, text) in [
            ("ca.pem", authority.pem()),
            ("other-ca.pem", Authority::new("another authority").pem()),
            ("broker.pem", authority.broker("127.0.0.1").store()),
            ("expired.pem", authority.expired_broker("127.0.0.1").store()),
            ("elsewhere.pem", authority.broker("kafka.invalid").store()),
            ("client.pem", alice.store()),
            ("client-key.pem", alice.key),
            ("client-certificate.pem", alice.certificate),
            ("jwks.json", tokens.jwks()),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }

        let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let mut all = broker_settings(&path);
        all.extend(settings.iter().map(|(k, v)| ((*k).into(), (*v).into())));
        let all: Vec<_> = all.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let listeners = Listener::ALL.map(|(_, name, protocol)| (name, protocol));
        let secured = Self {
            cluster: Cluster::with_listeners(&listeners, &all, &dir),
            folder,
            authority,
            tokens,
        };
        secured.set_scram_password(USER, PASSWORD);
        secured
    }

    /// Where the plain listener is.
    pub fn plain(&self) -> &str {
        self.cluster.direct()
    }

    /// Where this listener is.
    pub fn at(&self, listener: Listener) -> &str {
        self.cluster.listener(listener.entry().1)
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The path of a file in the broker's folder: `ca.pem`, `other-ca.pem`, `client.pem` (key and certificate),
    /// `client-key.pem`, `client-certificate.pem`, and what [`file`](Self::file) made.
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    /// Makes a file there, or takes another's place, and gives its path. Whoever reads it meanwhile reads a whole one.
    pub fn file(&self, name: &str, text: &str) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let path = self.path(name);
        let new = format!("{path}.{}", NEXT.fetch_add(1, Ordering::Relaxed));
        fs::write(&new, text).unwrap();
        fs::rename(new, &path).unwrap();
        path
    }

    /// Gives a user this password, for both of SCRAM's mechanisms.
    pub fn set_scram_password(&self, user: &str, password: &str) {
        for_both(|mechanism| {
            let config = format!("{mechanism}=[password={password}]");
            self.configure_user(user, "--add-config", &config);
        });
    }

    /// Takes a user's SCRAM passwords away.
    pub fn remove_scram_user(&self, user: &str) {
        for_both(|mechanism| self.configure_user(user, "--delete-config", mechanism));
    }

    fn configure_user(&self, user: &str, what: &str, config: &str) {
        let args = [
            "--alter",
            "--entity-type",
            "users",
            "--entity-name",
            user,
            what,
            config,
        ];
        self.cluster
            .tool("kafka.admin.ConfigCommand", &args.map(OsStr::new));
    }

    /// Adds or removes an ACL of a topic, as Kafka's tool takes it: `--add --allow-principal User:alice --operation Write`.
    pub fn acl(&self, topic: &str, what: &[&str]) {
        // Removing asks otherwise.
        let force: &[&str] = if what.contains(&"--remove") {
            &["--force"]
        } else {
            &[]
        };
        let args: Vec<_> = [what, &["--topic", topic], force]
            .concat()
            .into_iter()
            .map(OsStr::new)
            .collect();
        self.cluster
            .tool("org.apache.kafka.tools.AclCommand", &args);
    }
}

/// Side by side: the tool takes one of a user's mechanisms at a time, and a second or two.
fn for_both(change: impl Fn(&str) + Sync) {
    let change = &change;
    std::thread::scope(|scope| {
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            scope.spawn(move || change(mechanism));
        }
    });
}

/// What the broker is told.
fn broker_settings(path: &dyn Fn(&str) -> String) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut set = |name: &str, value: &str| all.push((name.to_owned(), value.to_owned()));
    for (listener, keys) in [
        ("tls", "broker.pem"),
        ("mutual", "broker.pem"),
        ("sasl", "broker.pem"),
        ("expired", "expired.pem"),
        ("elsewhere", "elsewhere.pem"),
    ] {
        let name = |name: &str| format!("listener.name.{listener}.ssl.{name}");
        set(&name("keystore.type"), "PEM");
        set(&name("keystore.location"), &path(keys));
    }
    set("listener.name.mutual.ssl.client.auth", "required");
    set("listener.name.mutual.ssl.truststore.type", "PEM");
    set(
        "listener.name.mutual.ssl.truststore.location",
        &path("ca.pem"),
    );
    // `CN=alice` and no more.
    set(
        "listener.name.mutual.ssl.principal.mapping.rules",
        "DEFAULT",
    );

    const MODULES: &str = "org.apache.kafka.common.security";
    for listener in ["sasl", "bare"] {
        let name = |name: &str| format!("listener.name.{listener}.{name}");
        let all = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER";
        set(&name("sasl.enabled.mechanisms"), all);
        let plain = format!(
            "{MODULES}.plain.PlainLoginModule required user_{USER}={};",
            in_jaas(PASSWORD)
        );
        set(&name("plain.sasl.jaas.config"), &in_properties(&plain));
        let scram = format!("{MODULES}.scram.ScramLoginModule required;");
        set(&name("scram-sha-256.sasl.jaas.config"), &scram);
        set(&name("scram-sha-512.sasl.jaas.config"), &scram);
        let token = format!("{MODULES}.oauthbearer.OAuthBearerLoginModule required;");
        set(&name("oauthbearer.sasl.jaas.config"), &token);
    }
    // The other listener keeps the default, which believes tokens that nobody signed.
    set(
        "listener.name.sasl.oauthbearer.sasl.server.callback.handler.class",
        &format!("{MODULES}.oauthbearer.OAuthBearerValidatorCallbackHandler"),
    );
    let keys = format!("file://{}", path("jwks.json"));
    set(
        "listener.name.sasl.sasl.oauthbearer.jwks.endpoint.url",
        &keys,
    );

    // The default one checks no signature here.
    set(
        "listener.name.sasl.sasl.oauthbearer.jwt.validator.class",
        &format!("{MODULES}.oauthbearer.BrokerJwtValidator"),
    );

    set(
        "authorizer.class.name",
        "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    );
    set("super.users", "User:ANONYMOUS");
    set("allow.everyone.if.no.acl.found", "true");
    all
}

/// A value in a JAAS configuration.
pub fn in_jaas(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A value in a `.properties` file.
pub fn in_properties(value: &str) -> String {
    value.replace('\\', "\\\\")
}
