//! What a token may be used for, beside what its bearer may do: the `scopes` claim.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize};

/// The `scopes` claim. What is missing, `null` or empty restricts nothing; what cannot be understood lets nobody in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Restrictions {
    /// The one virtual server that the token is for.
    pub server_id: Option<String>,
    /// Permissions it is for: `tools.read`, `tools.*`, `*`.
    #[serde(deserialize_with = "null_is_empty")]
    pub permissions: Vec<String>,
    /// Addresses and networks (CIDR) from which it may be used.
    #[serde(deserialize_with = "null_is_empty")]
    pub ip_restrictions: Vec<String>,
    /// When it may be used.
    #[serde(deserialize_with = "null_is_empty")]
    pub time_restrictions: TimeRestrictions,
}

/// When a token may be used. All times are UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeRestrictions {
    /// From 09:00 to 17:00.
    pub business_hours_only: bool,
    /// From Monday to Friday.
    pub weekdays_only: bool,
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(value: D) -> Result<T, D::Error> {
    Option::deserialize(value).map(Option::unwrap_or_default)
}

impl Restrictions {
    /// Whether the token is for `permission`: by its name, by its category (`tools.*`), or because it is for all. Who
    /// may use what servers offer may use the servers.
    #[must_use]
    pub fn allow_permission(&self, permission: &str) -> bool {
        const OFFERED: [&str; 3] = ["tools.", "resources.", "prompts."];
        let named = |granted: &String| {
            granted == permission
                || granted == "*"
                || granted
                    .strip_suffix('*')
                    .is_some_and(|category| category.ends_with('.') && permission.starts_with(category))
                || permission == "servers.use" && OFFERED.iter().any(|category| granted.starts_with(category))
        };
        self.permissions.is_empty() || self.permissions.iter().any(named)
    }

    /// Whether it may be used from `address`; an unknown address is none of those that are allowed.
    #[must_use]
    pub fn allow_address(&self, address: Option<IpAddr>) -> bool {
        let contains = |allowed: &String, address: IpAddr| {
            let network = allowed.parse::<IpNet>().or_else(|_no_network| allowed.parse::<IpAddr>().map(IpNet::from));
            network.is_ok_and(|network| network.contains(&address))
        };
        self.ip_restrictions.is_empty()
            || address.is_some_and(|address| {
                self.ip_restrictions.iter().any(|allowed| contains(allowed, address.to_canonical()))
            })
    }

    /// Whether it may be used at `time`.
    #[must_use]
    pub fn allow_time(&self, time: Timestamp) -> bool {
        let utc = TimeZone::UTC.to_datetime(time);
        let TimeRestrictions { business_hours_only, weekdays_only } = self.time_restrictions;
        let in_hours = (9..17).contains(&utc.hour());
        let in_week = utc.weekday().to_monday_one_offset() <= 5;
        (in_hours || !business_hours_only) && (in_week || !weekdays_only)
    }

    /// Whether it may be used for `path`: one for a server is for nothing outside of it.
    #[must_use]
    pub fn allow_path(&self, path: &str) -> bool {
        let Some(wanted) = &self.server_id else { return true };
        let mut parts = path.split('/').skip(1);
        parts.next() == Some("servers") && parts.next() == Some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn restrictions(claim: Value) -> Restrictions {
        serde_json::from_value(claim).unwrap()
    }

    #[test]
    fn a_token_without_restrictions_is_for_everything() {
        let nulls = json!({
            "server_id": null, "permissions": null, "ip_restrictions": null, "time_restrictions": null
        });
        for claim in [json!({}), nulls, json!({ "permissions": [], "ip_restrictions": [], "usage_limits": {} })] {
            assert_eq!(restrictions(claim), Restrictions::default());
        }
        let free = Restrictions::default();
        assert!(free.allow_permission("tools.read") && free.allow_address(None) && free.allow_path("/tools"));
        assert!(free.allow_time(Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn a_permission_is_allowed_by_name_by_category_or_by_the_star() {
        let cases = [
            ("tools.read", "tools.read", true),
            ("tools.read", "tools.execute", false),
            ("tools.*", "tools.execute", true),
            ("tools.*", "toolsmith.use", false),
            ("tools*", "tools.read", false),
            ("too*", "tools.read", false),
            ("*", "admin.system_config", true),
            ("tools.execute", "servers.use", true),
            ("gateways.read", "servers.use", false),
            ("", "tools.read", false),
        ];
        for (granted, asked, wanted) in cases {
            let restrictions = restrictions(json!({ "permissions": [granted] }));
            assert_eq!(restrictions.allow_permission(asked), wanted, "`{granted}` for `{asked}`");
        }
    }

    #[test]
    fn an_address_must_be_in_one_of_the_networks() {
        let cases = [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.0/8", "127.9.9.9", true),
            ("10.0.0.0/8", "127.0.0.1", false),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("2001:db8::/32", "2001:db8::1", true),
            ("anywhere", "127.0.0.1", false),
            ("0.0.0.0/0", "::1", false),
        ];
        for (allowed, address, wanted) in cases {
            let restrictions = restrictions(json!({ "ip_restrictions": [allowed] }));
            assert_eq!(restrictions.allow_address(address.parse().ok()), wanted, "{address} in {allowed}");
            assert!(!restrictions.allow_address(None), "an unknown address");
        }
    }

    #[test]
    fn office_hours_are_nine_to_five_in_utc_and_a_week_has_five_days() {
        let claim = |hours: bool, week: bool| {
            restrictions(json!({
                "time_restrictions": { "business_hours_only": hours, "weekdays_only": week }
            }))
        };
        // A Friday, and the Saturday after it.
        let cases = [
            ("2026-01-23T09:00:00Z", true, true),
            ("2026-01-23T16:59:59Z", true, true),
            ("2026-01-23T17:00:00Z", false, true),
            ("2026-01-23T08:59:59Z", false, true),
            ("2026-01-24T12:00:00Z", true, false),
        ];
        for (time, hours, week) in cases {
            let time: Timestamp = time.parse().unwrap();
            assert_eq!(claim(true, false).allow_time(time), hours, "{time}");
            assert_eq!(claim(false, true).allow_time(time), week, "{time}");
            assert_eq!(claim(true, true).allow_time(time), hours && week, "{time}");
        }
    }

    #[test]
    fn a_token_for_one_server_opens_nothing_else() {
        let restrictions = restrictions(json!({ "server_id": "s1" }));
        for (path, wanted) in [
            ("/servers/s1", true),
            ("/servers/s1/mcp", true),
            ("/servers/s2", false),
            ("/servers", false),
            ("/tools", false),
            ("/mcp", false),
            ("/x/servers/s1", false),
            ("//servers/s1", false),
        ] {
            assert_eq!(restrictions.allow_path(path), wanted, "{path}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_an_error() {
        for claim in [json!("tools.read"), json!({ "permissions": "tools.read" }), json!({ "ip_restrictions": [1] })] {
            assert!(serde_json::from_value::<Restrictions>(claim.clone()).is_err(), "{claim}");
        }
    }
}
