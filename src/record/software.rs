//! What a service is made of, as far as it shows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The software of a service, as it shows from outside. `None` where it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Software {
    /// The process that listens, with its script: `uvicorn`, `node server.js`.
    pub process: Option<String>,
    /// Header `Server` of its health check.
    pub server: Option<String>,
    /// Header `X-Powered-By` of its health check.
    pub powered_by: Option<String>,
}
