//! The ways in, said with properties as people write them.

use std::time::Duration;

use franking::config::Properties;

use crate::support::secured::{Listener, PASSWORD, Secured, USER, in_jaas, in_properties};

/// How a client comes in, and as whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// TLS; the broker knows nobody.
    Tls,
    /// TLS with a client's certificate.
    Mutual,
    Plain,
    Scram256,
    Scram512,
    Token,
}

impl Way {
    pub(crate) const ALL: [Self; 6] = [
        Self::Tls,
        Self::Mutual,
        Self::Plain,
        Self::Scram256,
        Self::Scram512,
        Self::Token,
    ];

    pub(crate) fn listener(self) -> Listener {
        match self {
            Self::Tls => Listener::Tls,
            Self::Mutual => Listener::Mutual,
            _ => Listener::Sasl,
        }
    }

    /// The mechanism of SASL, and Java's login module for it.
    fn sasl(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Tls | Self::Mutual => None,
            Self::Plain => Some(("PLAIN", "plain.PlainLoginModule")),
            Self::Scram256 => Some(("SCRAM-SHA-256", "scram.ScramLoginModule")),
            Self::Scram512 => Some(("SCRAM-SHA-512", "scram.ScramLoginModule")),
            Self::Token => Some(("OAUTHBEARER", "oauthbearer.OAuthBearerLoginModule")),
        }
    }

    /// Who the broker says that it is, where it knows.
    pub(crate) fn principal(self) -> String {
        match self {
            Self::Tls => "User:ANONYMOUS".to_owned(),
            Self::Mutual => format!("User:CN={USER}"),
            _ => format!("User:{USER}"),
        }
    }

    /// Properties by librdkafka's names where Java's are long-winded. Tokens are somebody else's affair.
    pub(crate) fn properties(self, broker: &Secured) -> Properties {
        let mut all = Properties::new();
        all.set("bootstrap.servers", broker.at(self.listener()))
            .set("security.protocol", self.listener().protocol())
            .set("security.require.tls", "true")
            .set("ssl.ca.location", broker.path("ca.pem"));
        if self == Self::Mutual {
            all.set(
                "ssl.certificate.location",
                broker.path("client-certificate.pem"),
            )
            .set("ssl.key.location", broker.path("client-key.pem"));
        }
        if let Some((mechanism, _)) = self.sasl() {
            all.set("sasl.mechanism", mechanism);
            if self != Self::Token {
                all.set("sasl.username", USER)
                    .set("sasl.password", PASSWORD);
            }
        }
        all
    }

    /// A file as Java's tools take it; what it says of tokens is in a file beside it.
    pub(crate) fn java_file(self, broker: &Secured) -> String {
        let mut text = format!(
            "# As Java's tools take it.\n\
             bootstrap.servers = {}\n\
             security.protocol = {}\n\
             ssl.truststore.type = PEM\n\
             ssl.truststore.location = {}\n",
            broker.at(self.listener()),
            self.listener().protocol(),
            broker.path("ca.pem"),
        );
        if self == Self::Mutual {
            text += "ssl.keystore.type=PEM\n";
            text += &format!("ssl.keystore.location={}\n", broker.path("client.pem"));
        }
        if let Some((mechanism, module)) = self.sasl() {
            let options = match self {
                Self::Token => String::new(),
                _ => format!(
                    " \\\n    username=\"{USER}\" \\\n    password={}",
                    in_properties(&in_jaas(PASSWORD))
                ),
            };
            text += &format!(
                "sasl.mechanism={mechanism}\n\
                 sasl.jaas.config=org.apache.kafka.common.security.{module} required{options};\n"
            );
        }
        if self == Self::Token {
            let package = "org.apache.kafka.common.security.oauthbearer";
            text += &format!(
                "sasl.login.callback.handler.class={package}.OAuthBearerLoginCallbackHandler\n\
                 sasl.oauthbearer.jwt.retriever.class={package}.FileJwtRetriever\n\
                 sasl.oauthbearer.token.endpoint.url=file://{}\n",
                self.token_file(broker)
            );
        }
        broker.file(&format!("{self:?}.properties"), &text)
    }

    /// A file with a token that holds for an hour.
    pub(crate) fn token_file(self, broker: &Secured) -> String {
        let token = broker.tokens.token(USER, Duration::from_secs(3600));
        broker.file(&format!("{self:?}.jwt"), &format!("{token}\n"))
    }
}
