//! The origin that OpenTelemetry's environment describes, as `prov-origin` will say it.
//!
//! `OTEL_SERVICE_NAME=checkout cargo run -p franking-middleware --example origin_from_env`

use franking_middleware::origin::{Origin, OriginError};

fn main() -> Result<(), OriginError> {
    println!("{}", Origin::from_env()?.header());
    Ok(())
}
