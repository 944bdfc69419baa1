//! Settings of the children: a scenario in the words of the gateway and of the backend.

use gateway_under_test::settings::{
    BackendSettings, DelaySettings, PoolSettings, PrePing, Settings, SlowWorkSettings, UsageCounterSettings,
};

use super::database::Database;
use super::seed;
use super::service::Service;
use crate::scenario::{Scenario, SessionScope};

pub(super) fn backend_settings(scenario: &Scenario) -> BackendSettings {
    let delays = scenario.backend.delays.iter().map(|(tool, delay)| {
        let settings = DelaySettings {
            min: delay.min.duration(),
            exponential_mean: delay.exponential_mean.duration(),
            max: delay.max.duration(),
        };
        (tool.clone(), settings)
    });
    let tool_prefixes = scenario.gateway.tool_prefixes.iter().map(ToString::to_string).collect();
    BackendSettings { port: 0, delays: delays.collect(), seed: scenario.load.seed, tool_prefixes }
}

pub(super) fn replica_settings(
    name: &str,
    scenario: &Scenario,
    scope: SessionScope,
    database: &Database,
    backend: &Service,
    jwt_secret: &str,
) -> Settings {
    let gateway = &scenario.gateway;
    Settings {
        name: name.to_owned(),
        port: 0,
        workers: gateway.workers.get(),
        session_scope: scope,
        also: gateway.also.clone(),
        checkout: gateway.checkout,
        pool: PoolSettings {
            size: gateway.pool.size.get(),
            max_overflow: gateway.pool.max_overflow,
            timeout: gateway.pool.timeout.duration(),
            pre_ping: PrePing::Off,
            recycle: None,
        },
        database: database.settings(scenario),
        backend_url: format!("{}/mcp", backend.listening().url),
        jwt_secret: jwt_secret.to_owned(),
        platform_admin_email: seed::PLATFORM_ADMIN.to_owned(),
        usage_counter: UsageCounterSettings {
            share: gateway.usage_counter.share.get(),
            rows: gateway.usage_counter.rows.map_or(0, crate::units::Count::get),
        },
        slow_work: SlowWorkSettings { hook: gateway.hook_delay.duration(), render: gateway.render_delay.duration() },
        audit: gateway.audit,
        masks: gateway.masks,
        garbage_after: gateway.garbage_after.duration(),
        header_timeout: gateway.header_timeout.duration(),
    }
}
