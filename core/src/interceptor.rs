//! Interceptors: two plain functions around a send, and the layer that runs them.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Code, Failure, Outcome, Parts, Produce, Record, RecordMetadata, SendError, Shares, Snapshot,
    guard::guarded, tokens::Paired,
};

/// Looks at a record on its way in, may change or refuse it, and hears its outcome.
///
/// - `on_send` runs on the caller's thread, outermost layer first. What it returns travels with the record.
/// - `on_outcome` gets that token back, **exactly once**, innermost layer first, on the thread that settles the record:
///   also if the caller dropped the future, if a layer further in refused the record, or at close.
/// - A failed `on_send` refuses the record: it is not sent, and the caller gets it back in the error. The interceptors
///   before it hear so; it does not.
/// - A panic in `on_send` refuses the record; one in `on_outcome` is caught and counted
///   ([`hooks_panicked`](crate::hooks_panicked)).
///
/// **Tuples of interceptors are interceptors**: `(trace, origin, audit)` runs as one layer that keeps one token. That
/// is the cheapest way to stack them.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use franking_core::{Failure, Interceptor, Outcome, Parts};
///
/// /// Counts the bytes that were acknowledged.
/// #[derive(Default)]
/// struct Bytes(AtomicUsize);
///
/// impl Interceptor for Bytes {
///     type Token = usize;
///
///     fn on_send(&self, record: &mut Parts) -> Result<usize, Failure> {
///         Ok(record.payload_len())
///     }
///
///     fn on_outcome(&self, len: usize, outcome: &Outcome<'_>) {
///         if outcome.result.is_ok() {
///             self.0.fetch_add(len, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait Interceptor: Send + Sync + 'static {
    /// What is known at the send and needed at the outcome; lies in the record, or in a box: see [`Intercepted`].
    type Token: Send + Sync + 'static;

    /// `false` for one that only stamps: it leaves no hook, and its `on_outcome` is never called.
    const OBSERVES: bool = true;

    /// Looks at the record, changes it, or refuses it.
    ///
    /// # Errors
    /// Why the record is refused.
    fn on_send(&self, record: &mut Parts) -> Result<Self::Token, Failure>;

    /// `on_send` of what is made of interceptors: if one of them refuses, those before it hear at once, and with how
    /// often the engine had the record before.
    #[doc(hidden)]
    fn on_attempt(&self, record: &mut Parts, attempts: u32) -> Result<Self::Token, Failure> {
        let _ = attempts;
        self.on_send(record)
    }

    /// Hears how it ended.
    fn on_outcome(&self, token: Self::Token, outcome: &Outcome<'_>) {
        let _ = (token, outcome);
    }
}

/// Lets several stacks share one interceptor, and the application keep it in view.
impl<I: Interceptor> Interceptor for Arc<I> {
    type Token = I::Token;
    const OBSERVES: bool = I::OBSERVES;

    fn on_send(&self, record: &mut Parts) -> Result<Self::Token, Failure> {
        (**self).on_send(record)
    }

    fn on_attempt(&self, record: &mut Parts, attempts: u32) -> Result<Self::Token, Failure> {
        (**self).on_attempt(record, attempts)
    }

    fn on_outcome(&self, token: Self::Token, outcome: &Outcome<'_>) {
        (**self).on_outcome(token, outcome);
    }
}

/// Nothing in between.
impl Interceptor for () {
    type Token = ();
    const OBSERVES: bool = false;

    fn on_send(&self, _: &mut Parts) -> Result<(), Failure> {
        Ok(())
    }
}

/// One that may be left out.
impl<I: Interceptor> Interceptor for Option<I> {
    type Token = Option<I::Token>;
    const OBSERVES: bool = I::OBSERVES;

    fn on_send(&self, record: &mut Parts) -> Result<Self::Token, Failure> {
        self.on_attempt(record, 0)
    }

    fn on_attempt(&self, record: &mut Parts, attempts: u32) -> Result<Self::Token, Failure> {
        self.as_ref()
            .map(|interceptor| interceptor.on_attempt(record, attempts))
            .transpose()
    }

    fn on_outcome(&self, token: Self::Token, outcome: &Outcome<'_>) {
        if let (Some(interceptor), Some(token)) = (self, token) {
            interceptor.on_outcome(token, outcome);
        }
    }
}

/// Runs `on_send`; a panic refuses the record.
fn on_send<I: Interceptor>(
    interceptor: &I,
    record: &mut Parts,
    attempts: u32,
) -> Result<I::Token, Failure> {
    guarded(|| interceptor.on_attempt(record, attempts)).unwrap_or_else(|| {
        Err(Failure::new(Code::Refused)
            .detail("an interceptor panicked in on_send")
            .advice("mend the interceptor; the record was not sent"))
    })
}

/// Runs `on_outcome` of one that observes; the token of another ends here.
fn on_outcome<I: Interceptor>(interceptor: &I, token: I::Token, outcome: &Outcome<'_>) {
    guarded(move || {
        if I::OBSERVES {
            interceptor.on_outcome(token, outcome);
        }
    });
}

macro_rules! tuple {
    ($($type:ident $field:tt $token:ident),+) => {
        impl<$($type: Interceptor),+> Interceptor for ($($type,)+) {
            type Token = ($($type::Token,)+);
            const OBSERVES: bool = $($type::OBSERVES)||+;

            fn on_send(&self, record: &mut Parts) -> Result<Self::Token, Failure> {
                self.on_attempt(record, 0)
            }

            fn on_attempt(
                &self,
                record: &mut Parts,
                attempts: u32,
            ) -> Result<Self::Token, Failure> {
                tuple!(@send self record attempts [] $($field $token),+);
                Ok(($($token,)+))
            }

            // Inline, to read each token where it lies and not copy all of them first.
            #[inline(always)]
            fn on_outcome(&self, ($($token,)+): Self::Token, outcome: &Outcome<'_>) {
                tuple!(@outcome self outcome $($field $token),+);
            }
        }
    };
    // In order; when one refuses, those before it are paired in reverse.
    (@send $self:ident $record:ident $attempts:ident [$($done:tt $paired:ident),*]
        $field:tt $token:ident $(, $next:tt $later:ident)*) => {
        let $token = match on_send(&$self.$field, $record, $attempts) {
            Ok(token) => token,
            Err(failure) => {
                let _outcome = Outcome {
                    result: Err(&failure),
                    record: $record.view(),
                    attempts: $attempts,
                    at: Instant::now(),
                };
                $(on_outcome(&$self.$done, $paired, &_outcome);)*
                return Err(failure);
            }
        };
        tuple!(@send $self $record $attempts [$field $token $(, $done $paired)*] $($next $later),*);
    };
    (@send $self:ident $record:ident $attempts:ident [$($done:tt $paired:ident),*]) => {};
    // Innermost, that is last, first.
    (@outcome $self:ident $outcome:ident $field:tt $token:ident $(, $next:tt $later:ident)*) => {
        tuple!(@outcome $self $outcome $($next $later),*);
        on_outcome(&$self.$field, $token, $outcome);
    };
    (@outcome $self:ident $outcome:ident) => {};
}

tuple!(A 0 a);
tuple!(A 0 a, B 1 b);
tuple!(A 0 a, B 1 b, C 2 c);
tuple!(A 0 a, B 1 b, C 2 c, D 3 d);
tuple!(A 0 a, B 1 b, C 2 c, D 3 d, E 4 e);
tuple!(A 0 a, B 1 b, C 2 c, D 3 d, E 4 e, F 5 f);
tuple!(A 0 a, B 1 b, C 2 c, D 3 d, E 4 e, F 5 f, G 6 g);
tuple!(A 0 a, B 1 b, C 2 c, D 3 d, E 4 e, F 5 f, G 6 g, H 7 h);

/// The layer that runs an [`Interceptor`], or a tuple of them.
#[derive(Debug)]
pub struct InterceptorLayer<I>(Arc<I>);

impl<I: Interceptor> InterceptorLayer<I> {
    /// A layer of this interceptor; every stack made with it shares it.
    pub fn new(interceptor: I) -> Self {
        Self(Arc::new(interceptor))
    }
}

impl<I> From<I> for InterceptorLayer<I> {
    fn from(interceptor: I) -> Self {
        Self(Arc::new(interceptor))
    }
}

impl<I> Clone for InterceptorLayer<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I: Interceptor, S> Layer<S> for InterceptorLayer<I> {
    type Service = Intercepted<I, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Intercepted {
            interceptor: Shares::of(Arc::clone(&self.0)),
            inner,
        }
    }
}

/// A service with an [`Interceptor`] around it. It wraps no future.
///
/// The first two tokens of a record lie in its own memory, if they take no more than six words as an `Option`, aligned as a
/// word; so does the first hook or recoverer. Others take an allocation, and one more where there is a second hook, recoverer or
/// token without a place.
pub struct Intercepted<I: Interceptor, S> {
    interceptor: Shares<I>,
    inner: S,
}

impl<I: Interceptor, S: Clone> Clone for Intercepted<I, S> {
    fn clone(&self) -> Self {
        Self {
            interceptor: self.interceptor.clone(),
            inner: self.inner.clone(),
        }
    }
}

impl<I: Interceptor, S: fmt::Debug> fmt::Debug for Intercepted<I, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intercepted")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<I: Interceptor, S: Produce> Service<Record> for Intercepted<I, S> {
    type Response = RecordMetadata;
    type Error = SendError;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut record: Record) -> S::Future {
        let attempts = record.attempts();
        match on_send(&**self.interceptor.all(), &mut record, attempts) {
            Ok(token) => {
                if I::OBSERVES {
                    record.push_token(Paired::new(self.interceptor.share(), token));
                }
                self.inner.call(record)
            }
            Err(failure) => record.fail(failure).into(),
        }
    }
}
