//! The plugins that are asked before a tool is called, one after the other: ContextForge's `tool_pre_invoke` hooks.

use std::time::Duration;

use serde_json::value::RawValue;

use crate::error::GatewayError;
use crate::settings::SlowWorkSettings;

/// Arguments longer than this are refused, in bytes.
const LONGEST_ARGUMENTS: usize = 256 * 1024;

/// Something that may refuse a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plugin {
    /// Refuses arguments that are longer than this, in bytes.
    SizeLimit(usize),
    /// Stands for a moderation service that is asked over the network: it takes this long, and has no objection.
    Moderation(Duration),
}

/// The plugins, in their order.
#[derive(Clone, Debug)]
pub struct Plugins(Vec<Plugin>);

impl Plugins {
    /// The plugins of a gateway.
    #[must_use]
    pub fn new(settings: &SlowWorkSettings) -> Self {
        let moderation = (!settings.hook.is_zero()).then_some(Plugin::Moderation(settings.hook));
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
                Plugin::Moderation(delay) => tokio::time::sleep(*delay).await,
            }
        }
        Ok(())
    }
}
