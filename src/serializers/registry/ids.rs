//! The ids of one schema, and the look-ups that bring them.

use std::{
    collections::HashMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::{Duration, Instant},
};

use franking_core::{BoxError, Preparing};
use tokio::sync::watch;

use super::{Registry, Schema, SchemaError, Subject};

/// How long a failure is told again before the registry is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// The ids of one schema: for each topic (or for all, as the [`Subject`] has it) what stands before a payload.
///
/// Cheap to clone; the clones know the same ids. The [module](super) says when the registry is asked.
#[derive(Clone)]
pub struct SchemaIds(Arc<Source>);

enum Source {
    Fixed(u32),
    Asked(Asked),
}

struct Asked {
    registry: Box<dyn Registry>,
    subject: Subject,
    schema: Schema,
    /// By topic; by the empty one if all have the same subject.
    answers: RwLock<HashMap<Box<str>, Answer>>,
}

enum Answer {
    Known(u32),
    /// Whoever waits has a copy.
    Coming(watch::Receiver<Option<Result<u32, SchemaError>>>),
    Failed(SchemaError, Instant),
}

impl SchemaIds {
    /// An id that is known: nobody is asked.
    pub fn fixed(id: u32) -> Self {
        Self(Arc::new(Source::Fixed(id)))
    }

    /// Ids of this schema from a registry.
    ///
    /// # Errors
    /// [`SchemaError::Invalid`] if the subject takes a full name and the schema has none.
    pub fn new(
        registry: impl Registry,
        subject: Subject,
        schema: Schema,
    ) -> Result<Self, SchemaError> {
        subject.name("", &schema)?;
        Ok(Self(Arc::new(Source::Asked(Asked {
            registry: Box::new(registry),
            subject,
            schema,
            answers: RwLock::default(),
        }))))
    }

    /// What stands before a payload for this topic: a byte 0 and the id. Looks only at what is known.
    ///
    /// # Errors
    /// [`SchemaError::NotReady`], or the error of the last look-up.
    pub fn frame(&self, topic: &str) -> Result<[u8; 5], SchemaError> {
        let [a, b, c, d] = self.id(topic)?.to_be_bytes();
        Ok([0, a, b, c, d])
    }

    /// The id for this topic. Looks only at what is known.
    ///
    /// # Errors
    /// As [`frame`](Self::frame).
    pub fn id(&self, topic: &str) -> Result<u32, SchemaError> {
        let asked = match &*self.0 {
            Source::Fixed(id) => return Ok(*id),
            Source::Asked(asked) => asked,
        };
        match asked.read().get(asked.key(topic)) {
            Some(Answer::Known(id)) => Ok(*id),
            Some(Answer::Failed(error, _)) => Err(error.clone()),
            Some(Answer::Coming(_)) | None => {
                let subject = asked.subject.name(topic, &asked.schema)?.into_owned();
                Err(SchemaError::NotReady { subject })
            }
        }
    }

    /// Begins to ask the registry, if the id for this topic is not known, and returns the wait for it: for
    /// [`Serializer::prepare`](crate::Serializer::prepare).
    pub fn prepare(&self, topic: &str) -> Option<Preparing> {
        let Source::Asked(asked) = &*self.0 else {
            return None;
        };
        if let Some(Answer::Known(_)) = asked.read().get(asked.key(topic)) {
            return None;
        }
        let mut answers = asked.write();
        let coming = match answers.get(asked.key(topic)) {
            Some(Answer::Known(_)) => return None,
            Some(Answer::Failed(error, at)) if at.elapsed() < PAUSE => {
                let error = error.clone();
                return Some(Box::pin(async move { Err(error.into()) }));
            }
            Some(Answer::Coming(coming)) => coming.clone(),
            Some(Answer::Failed(..)) | None => match self.ask(topic) {
                Ok(coming) => {
                    let entry = Answer::Coming(coming.clone());
                    answers.insert(asked.key(topic).into(), entry);
                    coming
                }
                Err(error) => return Some(Box::pin(async move { Err(error.into()) })),
            },
        };
        Some(Box::pin(wait(coming)))
    }

    /// Asks on a thread of its own, which keeps the answer, also if nobody waits any more.
    fn ask(
        &self,
        topic: &str,
    ) -> Result<watch::Receiver<Option<Result<u32, SchemaError>>>, SchemaError> {
        let (told, coming) = watch::channel(None);
        let (source, topic) = (Arc::clone(&self.0), topic.to_owned());
        let look_up = move || {
            let Source::Asked(asked) = &*source else {
                return;
            };
            let answer = asked.ask(&topic);
            let entry = match &answer {
                Ok(id) => Answer::Known(*id),
                Err(error) => Answer::Failed(error.clone(), Instant::now()),
            };
            asked.write().insert(asked.key(&topic).into(), entry);
            told.send_replace(Some(answer));
        };
        thread::Builder::new()
            .name("franking-schema".into())
            .spawn(look_up)
            .map_err(|error| SchemaError::unreachable(error.to_string()))?;
        Ok(coming)
    }
}

impl Asked {
    fn ask(&self, topic: &str) -> Result<u32, SchemaError> {
        let subject = self.subject.name(topic, &self.schema)?;
        // A registry is somebody else's code; whoever waits must hear an answer.
        catch_unwind(AssertUnwindSafe(|| {
            self.registry.id(&subject, &self.schema)
        }))
        .unwrap_or_else(|_| Err(SchemaError::unreachable("the registry's client panicked")))
    }

    fn key<'t>(&self, topic: &'t str) -> &'t str {
        if self.subject.is_by_topic() {
            topic
        } else {
            ""
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Box<str>, Answer>> {
        self.answers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Box<str>, Answer>> {
        self.answers.write().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn wait(
    mut coming: watch::Receiver<Option<Result<u32, SchemaError>>>,
) -> Result<(), BoxError> {
    let answer = match coming.wait_for(Option::is_some).await {
        Ok(answer) => answer.clone(),
        Err(_) => None,
    };
    match answer {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(error.into()),
        None => Err(SchemaError::unreachable("the look-up ended without an answer").into()),
    }
}

impl fmt::Debug for SchemaIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("SchemaIds");
        match &*self.0 {
            Source::Fixed(id) => debug.field("id", id),
            Source::Asked(asked) => debug.field("subject", &asked.subject),
        };
        debug.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    };

    use franking_core::testing::block_on;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn ready(ids: &SchemaIds, topic: &str) -> Result<(), SchemaError> {
        match ids.prepare(topic) {
            None => Ok(()),
            Some(preparing) => block_on(preparing, PATIENCE)
                .expect("an answer in time")
                .map_err(|error| *error.downcast().unwrap()),
        }
    }

    /// A registry that counts who asks, and answers with the count.
    fn counting() -> (Arc<AtomicU32>, impl Registry) {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let registry = move |_: &str, _: &Schema| Ok(count.fetch_add(1, SeqCst) + 1);
        (asked, registry)
    }

    #[test]
    fn asks_once_a_subject() {
        let (asked, registry) = counting();
        let ids = SchemaIds::new(registry, Subject::TopicValue, Schema::avro("{}")).unwrap();
        for _ in 0..3 {
            ready(&ids, "a").unwrap();
            ready(&ids, "b").unwrap();
        }
        assert_eq!((ids.id("a"), ids.id("b")), (Ok(1), Ok(2)));
        assert_eq!(ids.frame("b").unwrap(), [0, 0, 0, 0, 2]);
        assert!(ids.prepare("a").is_none());
        assert_eq!(asked.load(SeqCst), 2);

        let (asked, registry) = counting();
        let one = Subject::Named("s".into());
        let ids = SchemaIds::new(registry, one, Schema::avro("{}")).unwrap();
        ready(&ids, "a").unwrap();
        assert!(ids.prepare("b").is_none());
        assert_eq!((ids.id("b"), asked.load(SeqCst)), (Ok(1), 1));
    }

    #[test]
    fn many_wait_for_one_look_up_that_begins_with_the_call() {
        let gate = Arc::new(Mutex::new(()));
        let asked = Arc::new(AtomicU32::new(0));
        let (behind, count) = (Arc::clone(&gate), Arc::clone(&asked));
        let registry = move |_: &str, _: &Schema| {
            count.fetch_add(1, SeqCst);
            drop(behind.lock());
            Ok(300)
        };
        let ids = SchemaIds::new(registry, Subject::TopicKey, Schema::avro("{}")).unwrap();
        let closed = gate.lock().unwrap();
        let first = ids.prepare("t").unwrap();
        let second = ids.prepare("t").unwrap();
        let subject = "t-key".to_owned();
        assert_eq!(ids.id("t"), Err(SchemaError::NotReady { subject }));
        // Dropped: it goes on for the other.
        drop(first);
        drop(closed);
        block_on(second, PATIENCE).unwrap().unwrap();
        assert_eq!(ids.frame("t").unwrap(), [0, 0, 0, 1, 44]);
        assert_eq!(asked.load(SeqCst), 1);
    }

    #[test]
    fn a_failure_is_told_for_a_second_and_then_asked_again() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let registry = move |_: &str, _: &Schema| match count.fetch_add(1, SeqCst) {
            0 => Err(SchemaError::unreachable("down")),
            1 => panic!("a client with a defect"),
            _ => Ok(9),
        };
        let ids = SchemaIds::new(registry, Subject::TopicKey, Schema::avro("{}")).unwrap();
        let down = SchemaError::unreachable("down");
        for _ in 0..3 {
            assert_eq!(ready(&ids, "t").unwrap_err(), down);
            assert_eq!(ids.id("t").unwrap_err(), down);
        }
        assert_eq!(asked.load(SeqCst), 1);
        thread::sleep(PAUSE);
        assert!(
            ready(&ids, "t")
                .unwrap_err()
                .to_string()
                .contains("panicked")
        );
        thread::sleep(PAUSE);
        ready(&ids, "t").unwrap();
        assert_eq!((ids.id("t"), asked.load(SeqCst)), (Ok(9), 3));
    }

    #[test]
    fn a_fixed_id_asks_nobody() {
        let ids = SchemaIds::fixed(u32::MAX);
        assert!(ids.prepare("t").is_none());
        assert_eq!(ids.frame("t").unwrap(), [0, 255, 255, 255, 255]);
    }

    #[test]
    fn a_subject_that_needs_a_name_is_refused_at_once() {
        let (_, registry) = counting();
        let refused = SchemaIds::new(registry, Subject::RecordName, Schema::avro("{}"));
        assert!(matches!(refused, Err(SchemaError::Invalid { .. })));
    }
}
