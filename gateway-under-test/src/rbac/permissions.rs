//! The permissions that there are: those of ContextForge 1.0.

/// Every permission, by category, in the order of its list.
pub const PERMISSIONS: &[(&str, &[&str])] = &[
    ("users", &["users.create", "users.read", "users.update", "users.delete", "users.invite"]),
    ("teams", &["teams.create", "teams.read", "teams.update", "teams.delete", "teams.join", "teams.manage_members"]),
    (
        "tools",
        &[
            "tools.create",
            "tools.read",
            "tools.update",
            "tools.delete",
            "tools.execute",
            "tools.preview",
            "tools.manage_plugins",
        ],
    ),
    ("resources", &["resources.create", "resources.read", "resources.update", "resources.delete", "resources.share"]),
    ("gateways", &["gateways.create", "gateways.read", "gateways.update", "gateways.delete"]),
    ("prompts", &["prompts.create", "prompts.read", "prompts.update", "prompts.delete", "prompts.execute"]),
    (
        "servers",
        &["servers.create", "servers.read", "servers.update", "servers.delete", "servers.manage", "servers.use"],
    ),
    ("tokens", &["tokens.create", "tokens.read", "tokens.update", "tokens.revoke"]),
    ("a2a", &["a2a.create", "a2a.read", "a2a.update", "a2a.delete", "a2a.invoke"]),
    ("llm", &["llm.read", "llm.invoke"]),
    ("tags", &["tags.read", "tags.create", "tags.update", "tags.delete"]),
    ("plugins", &["plugins.read"]),
    (
        "admin",
        &[
            "admin.system_config",
            "admin.user_management",
            "admin.security_audit",
            "admin.compliance",
            "admin.overview",
            "admin.dashboard",
            "admin.events",
            "admin.grpc",
            "admin.plugins",
            "admin.metrics",
            "admin.export",
            "admin.import",
            "admin.sso_providers:create",
            "admin.sso_providers:read",
            "admin.sso_providers:update",
            "admin.sso_providers:delete",
            "admin.oauth_clients:read",
            "admin.oauth_clients:delete",
        ],
    ),
    ("logs", &["logs:read"]),
    ("security", &["security:read"]),
    ("audit", &["audit:read"]),
    ("metrics", &["metrics:read"]),
];

pub const ALL: &str = "*";

/// True if there is such a permission.
#[must_use]
pub fn is_known(permission: &str) -> bool {
    permission == ALL || PERMISSIONS.iter().any(|(_, permissions)| permissions.contains(&permission))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permission_is_in_its_category_and_once() {
        let mut seen = std::collections::BTreeSet::new();
        for (category, permissions) in PERMISSIONS {
            for permission in *permissions {
                assert!(seen.insert(permission), "{permission} twice");
                assert_eq!(permission.split(['.', ':']).next(), Some(*category));
            }
        }
    }
}
