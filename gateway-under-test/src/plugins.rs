//! The plugins that are asked before a tool is called, one after the other: ContextForge's `tool_pre_invoke` hooks.

use serde_json::value::RawValue;

use crate::error::GatewayError;
use crate::waits::Wait;

/// Arguments longer than this are refused, in bytes.
const LONGEST_ARGUMENTS: usize = 256 * 1024;

/// Something that may refuse a call.
#[derive(Clone, Debug)]
enum Plugin {
    /// Refuses arguments that are longer than this, in bytes.
    SizeLimit(usize),
    /// Stands for a moderation service that is asked over the network: it takes its time, and has no objection.
    Moderation(Wait),
}

/// The plugins, in their order.
#[derive(Clone, Debug)]
pub struct Plugins(Vec<Plugin>);

impl Plugins {
    /// The plugins of a gateway; `moderation` is what the service behind the last one makes a call wait for.
    #[must_use]
    pub fn new(moderation: Wait) -> Self {
        let moderation = (!moderation.is_none()).then_some(Plugin::Moderation(moderation));
        Self(std::iter::once(Plugin::SizeLimit(LONGEST_ARGUMENTS)).chain(moderation).collect())
    }

    /// Asks each of them.
    ///
    /// # Errors
    /// [`GatewayError::Invalid`] from the first that objects.
    pub async fn before_tool(&self, params: &RawValue) -> Result<(), GatewayError> {
        for plugin in &self.0 {
            match plugin {
                Plugin::SizeLimit(limit) if params.get().len() > *limit => {
                    return Err(GatewayError::Invalid(format!("arguments: more than {limit} bytes")));
                }
                Plugin::SizeLimit(_) => {}
                Plugin::Moderation(wait) => wait.pass().await,
            }
        }
        Ok(())
    }
}
