//! Certificates, made anew for each run.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// Who signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A key and its certificate, in PEM.
pub struct Certified {
    pub key: String,
    pub certificate: String,
}

impl Certified {
    /// As Java's PEM key stores are: the key, then the certificate.
    pub fn store(&self) -> String {
        format!("{}{}", self.key, self.certificate)
    }
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate: what its clients trust.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate of a broker that is known by this name or address.
    pub fn broker(&self, host: &str) -> Certified {
        self.sign(
            named("broker", &[host]),
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    /// One that was valid until some years ago.
    pub fn expired_broker(&self, host: &str) -> Certified {
        let mut params = named("broker", &[host]);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate of a client, whom brokers then call `User:CN=name`.
    pub fn client(&self, name: &str) -> Certified {
        self.sign(named(name, &[]), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Certified {
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Certified {
            key: key.serialize_pem(),
            certificate: certificate.pem(),
        }
    }
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
