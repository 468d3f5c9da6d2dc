//! What an origin says, and where from.

use std::sync::atomic::AtomicU64;

use uuid::Uuid;

use super::{
    Origin, OriginError, attributes,
    budget::Budget,
    cloud_events::CloudEvents,
    conflict::{Conflict, Reserved},
    path,
};
use crate::provenance::{Header, Names, Reader};

const NAMESPACE: &str = "service.namespace";
const NAME: &str = "service.name";
const VERSION: &str = "service.version";
const INSTANCE: &str = "service.instance.id";
const ENVIRONMENT: &str = "deployment.environment.name";
/// The name before semantic conventions 1.27, which much of the field still sets.
const OLD_ENVIRONMENT: &str = "deployment.environment";
/// In the order of `prov-origin`.
const KNOWN: [&str; 5] = [NAMESPACE, NAME, VERSION, INSTANCE, ENVIRONMENT];

/// What an [`Origin`] says; only the service's name is needed.
///
/// An attribute that is set twice has the later value; one that is set to the empty text is left out.
#[derive(Clone, Debug, Default)]
pub struct OriginBuilder {
    attributes: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    names: Names,
    budget: Option<usize>,
    limit: Option<usize>,
    event_type: Option<String>,
}

impl OriginBuilder {
    /// Begins with what `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say.
    ///
    /// # Errors
    /// [`OriginError::Malformed`] if the attributes cannot be read: a part of them would be a wrong origin.
    pub fn from_env() -> Result<Self, OriginError> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, OriginError> {
        let attributes = var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let mut builder = Self {
            environment: attributes::read(&attributes).ok_or(OriginError::Malformed)?,
            ..Self::default()
        };
        builder = builder.include(OLD_ENVIRONMENT);
        if let Some((name, _)) = builder.attributes.first_mut() {
            *name = ENVIRONMENT.to_owned();
        }
        for name in KNOWN {
            builder = builder.include(name);
        }
        match var("OTEL_SERVICE_NAME") {
            // As OpenTelemetry: it goes before the attribute, and empty is as good as not set.
            Some(name) if !name.is_empty() => Ok(builder.service_name(name)),
            _ => Ok(builder),
        }
    }

    /// `service.name`: the one that is needed.
    pub fn service_name(self, name: impl Into<String>) -> Self {
        self.attribute(NAME, name)
    }

    /// `service.namespace`: what the service belongs to.
    pub fn service_namespace(self, namespace: impl Into<String>) -> Self {
        self.attribute(NAMESPACE, namespace)
    }

    /// `service.version`.
    pub fn service_version(self, version: impl Into<String>) -> Self {
        self.attribute(VERSION, version)
    }

    /// `service.instance.id`; a random UUID if it is not set.
    pub fn instance_id(self, id: impl Into<String>) -> Self {
        self.attribute(INSTANCE, id)
    }

    /// `deployment.environment.name`, as `prod`.
    pub fn environment(self, name: impl Into<String>) -> Self {
        self.attribute(ENVIRONMENT, name)
    }

    /// Any other attribute; it stands behind those with a setter of their own.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.attributes.retain(|(other, _)| *other != name);
        self.attributes.push((name, value));
        self
    }

    /// Takes an attribute over from `OTEL_RESOURCE_ATTRIBUTES` that is not taken by itself, as `host.name`. Nothing
    /// happens if it is not there, or the builder was not made [from the environment](Self::from_env).
    pub fn include(self, name: &str) -> Self {
        let found = self.environment.iter().rfind(|(other, _)| other == name);
        match found.cloned() {
            Some((name, value)) => self.attribute(name, value),
            None => self,
        }
    }

    /// What is known at build time, for whatever nothing else says: `service.name` and `service.version`. The application
    /// gives both, for only its own crate knows them:
    ///
    /// ```
    /// # fn main() -> Result<(), franking_middleware::origin::OriginError> {
    /// use franking_middleware::origin::OriginBuilder;
    ///
    /// let origin = OriginBuilder::from_env()?
    ///     .build_info(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
    ///     .build()?;
    /// # let _ = origin; Ok(()) }
    /// ```
    pub fn build_info(mut self, name: &str, version: &str) -> Self {
        for (attribute, value) in [(NAME, name), (VERSION, version)] {
            let said = |(known, value): &(String, String)| known == attribute && !value.is_empty();
            if !self.attributes.iter().any(said) {
                self = self.attribute(attribute, value);
            }
        }
        self
    }

    /// Writes the headers under an organisation's own names. Readers take the same map, and so does the audit
    /// (`AuditBuilder::names`).
    pub fn names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// How many bytes of a record the stack's headers may take, before what can be missed is left out; 512 by default,
    /// at most the [limit](Self::header_limit). In this order: the oldest hops of the path, `tracestate`, and, over the
    /// limit, the newest hop. Never `traceparent`, `prov-id`, `prov-origin`.
    pub fn header_budget(mut self, bytes: usize) -> Self {
        self.budget = Some(bytes);
        self
    }

    /// How many bytes of a record the stack's headers may take at all; 1,024 by default.
    pub fn header_limit(mut self, bytes: usize) -> Self {
        self.limit = Some(bytes);
        self
    }

    /// Makes each record a CloudEvents event of this type, in the binary mode of its Kafka binding: adds
    /// `ce_specversion`, `ce_id` (which is `prov-id`), `ce_source` (`//namespace/name`) and `ce_type`. A record that has
    /// a `ce_type` keeps it; one that is an event already (it has a `ce_id` or `ce_specversion`, or the `content-type` of
    /// the structured mode) stays as it is.
    pub fn cloud_events(mut self, event_type: impl Into<String>) -> Self {
        self.event_type = Some(event_type.into());
        self
    }

    /// As [`Origin::overriding`].
    ///
    /// # Errors
    /// [`OriginError`] if the service has no name, an attribute has none, or all of it is too long for a record.
    pub fn build(self) -> Result<Origin, OriginError> {
        Origin::overriding(self)
    }

    pub(super) fn finish(mut self, conflict: Conflict) -> Result<Origin, OriginError> {
        self.attributes.retain(|(_, value)| !value.is_empty());
        if !self.attributes.iter().any(|(name, _)| name == NAME) {
            return Err(OriginError::MissingServiceName);
        }
        if self.attributes.iter().any(|(name, _)| name.is_empty()) {
            return Err(OriginError::MissingAttributeName);
        }
        if let Some(header) = Header::ALL.iter().find(|header| {
            let same = |other: &&Header| self.names.get(**other) == self.names.get(**header);
            Header::ALL.iter().filter(same).count() > 1
        }) {
            let name = self.names.get(*header).to_owned();
            return Err(OriginError::SameName { name });
        }
        let instance_id = match self.get(INSTANCE) {
            Some(id) => id.to_owned(),
            None => {
                let id = Uuid::new_v4().to_string();
                self.attributes.push((INSTANCE.to_owned(), id.clone()));
                id
            }
        };
        // A stable sort: those that are not known keep their order.
        self.attributes.sort_by_key(|(name, _)| {
            let known = KNOWN.iter().position(|known| known == name);
            known.unwrap_or(KNOWN.len())
        });
        let value = attributes::write(&self.attributes);
        let budget = Budget::new(&self.names, &value, &instance_id, self.budget, self.limit)?;
        let (namespace, name) = (self.get(NAMESPACE), self.get(NAME).unwrap_or_default());
        let events = match self.event_type.as_deref() {
            None => None,
            Some("") => return Err(OriginError::MissingEventType),
            Some(event_type) => Some(CloudEvents::new(namespace, name, event_type)),
        };
        Ok(Origin {
            id: self.names.encoded(Header::Id),
            origin: self.names.encoded(Header::Origin),
            path: self.names.encoded(Header::Path),
            me: path::who(namespace, name),
            reserved: Reserved::new(&self.names),
            reader: Reader::new().names(self.names),
            value,
            instance_id,
            conflict,
            budget,
            events,
            removed: AtomicU64::new(0),
            shed: AtomicU64::new(0),
        })
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| &**value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars<'a>(vars: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| {
            let found = vars.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    fn from(env: &[(&str, &str)]) -> Result<Origin, OriginError> {
        OriginBuilder::from_vars(vars(env))?
            .instance_id("i")
            .build()
    }

    #[test]
    fn the_environment_names_the_service() {
        let origin = from(&[
            ("OTEL_SERVICE_NAME", "checkout"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=other, service.namespace=shop%20eu,host.name=secret,deployment.environment.name=prod,",
            ),
        ])
        .unwrap();
        assert_eq!(
            origin.header(),
            "service.namespace=shop%20eu,service.name=checkout,service.instance.id=i,deployment.environment.name=prod"
        );
    }

    #[test]
    fn an_old_environment_name_is_understood() {
        let old = "service.name=a,deployment.environment=test";
        let origin = from(&[("OTEL_RESOURCE_ATTRIBUTES", old)]).unwrap();
        assert!(
            origin
                .header()
                .ends_with(",deployment.environment.name=test")
        );
        let both = "deployment.environment.name=new,service.name=a,deployment.environment=old";
        let origin = from(&[("OTEL_RESOURCE_ATTRIBUTES", both)]).unwrap();
        assert!(origin.header().ends_with("=new"), "{origin:?}");
    }

    #[test]
    fn a_host_goes_out_only_on_request() {
        let env = [(
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=a,host.name=h,k8s.pod.name=p",
        )];
        let builder = OriginBuilder::from_vars(vars(&env)).unwrap();
        let origin = builder
            .include("host.name")
            .include("absent")
            .instance_id("i")
            .build()
            .unwrap();
        assert_eq!(
            origin.header(),
            "service.name=a,service.instance.id=i,host.name=h"
        );
    }

    #[test]
    fn what_cannot_be_an_origin_says_why() {
        let none = from(&[]).unwrap_err();
        assert_eq!(none, OriginError::MissingServiceName);
        assert!(none.to_string().contains("OTEL_SERVICE_NAME"));
        let empty = [("OTEL_SERVICE_NAME", "")];
        assert_eq!(from(&empty).unwrap_err(), OriginError::MissingServiceName);
        for malformed in ["service.name", "=a", "service.name=%zz", "service.name=%ff"] {
            let env = [("OTEL_RESOURCE_ATTRIBUTES", malformed)];
            assert_eq!(from(&env).unwrap_err(), OriginError::Malformed);
        }
        assert_eq!(
            Origin::new("é".repeat(200)).unwrap_err(),
            OriginError::TooLong {
                // traceparent, prov-id, prov-seq with 14 digits and the instance; the origin's name and lengths;
                // service.name= and six bytes for each letter, and the instance's id.
                bytes: 68 + 45 + (10 + 14 + 1 + 36) + 14 + 13 + 1200 + 1 + 20 + 36,
                limit: 1024,
            }
        );
        let nameless = Origin::builder().service_name("a").attribute("", "b");
        assert_eq!(
            nameless.build().unwrap_err(),
            OriginError::MissingAttributeName
        );
    }

    #[test]
    fn what_is_known_at_build_time_fills_in() {
        let known = |env: &[(&str, &str)]| {
            let builder = OriginBuilder::from_vars(vars(env)).unwrap();
            let origin = builder
                .build_info("crate", "1.2.3")
                .instance_id("i")
                .build();
            origin.unwrap().header().to_owned()
        };
        assert_eq!(
            known(&[]),
            "service.name=crate,service.version=1.2.3,service.instance.id=i"
        );
        let env = [
            ("OTEL_SERVICE_NAME", "checkout"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.version="),
        ];
        assert_eq!(
            known(&env),
            "service.name=checkout,service.version=1.2.3,service.instance.id=i"
        );
    }

    #[test]
    fn two_headers_cannot_have_one_name() {
        let names = Names::new().name(Header::Path, "prov-id").unwrap();
        let error = Origin::builder()
            .service_name("a")
            .names(names)
            .build()
            .unwrap_err();
        let name = "prov-id".to_owned();
        assert_eq!(error, OriginError::SameName { name });
    }
}
