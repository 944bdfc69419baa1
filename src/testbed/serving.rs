//! A testbed that serves by itself, without a load: what `rbac-bench gateway` runs.

use super::{DatabaseSource, Testbed, TestbedConfig, TestbedError, limits, seed, sweep_leftovers};
use crate::scenario::{Scenario, SessionScope};

/// Clients that a gateway served alone should be able to take at once.
const GATEWAY_CLIENTS: u32 = 1000;

/// A testbed that serves by itself: what `rbac-bench gateway` runs.
#[derive(Debug)]
pub struct ServedGateway {
    pub testbed: Testbed,
    pub scope: SessionScope,
    /// A token of the demo platform administrator.
    pub admin_token: String,
    /// A token of a regular user, who is let through by roles alone.
    pub user_token: String,
    /// The password of every user; `None` when the data were there before.
    pub password: Option<String>,
    /// Holds the logs of a gateway whose database is the user's own.
    _logs: Option<tempfile::TempDir>,
}

impl ServedGateway {
    /// Starts the first variant of a scenario, its first replica on `port`; `jwt_secret` as in [`TestbedConfig`].
    ///
    /// # Errors
    /// [`TestbedError`].
    pub async fn start(
        scenario: &Scenario,
        port: u16,
        database: DatabaseSource,
        jwt_secret: Option<String>,
    ) -> Result<Self, TestbedError> {
        let scope = scenario.variants.first().copied().unwrap_or_default();
        limits::raise_descriptor_limit(GATEWAY_CLIENTS)?;
        sweep_leftovers().await;
        let logs = match database {
            DatabaseSource::Private { .. } => None,
            DatabaseSource::Own(_) => Some(tempfile::tempdir().map_err(TestbedError::Logs)?),
        };
        let password = format!("{:016x}", rand::random::<u64>());
        let premises = TestbedConfig {
            database,
            logs: logs.as_ref().map(|folder| folder.path().to_owned()),
            port,
            password: Some(password.clone()),
            jwt_secret,
        };
        let testbed = Box::pin(Testbed::start(scenario, scope, &premises)).await?;
        let admin_token = seed::admin_token(&testbed.jwt_secret)?;
        let user_token = testbed.callers.user_token.clone();
        let password = testbed.callers.loaded.then_some(password);
        Ok(Self { testbed, scope, admin_token, user_token, password, _logs: logs })
    }

    /// Ends everything.
    ///
    /// # Errors
    /// As [`Testbed::stop`].
    pub async fn stop(self) -> Result<(), TestbedError> {
        self.testbed.stop().await
    }
}
