CREATE TABLE email_api_tokens (
    id varchar(36) PRIMARY KEY,
    user_email varchar(255) NOT NULL REFERENCES email_users (email) ON DELETE CASCADE,
    team_id varchar(36) REFERENCES email_teams (id) ON DELETE SET NULL,
    name varchar(255) NOT NULL,
    jti varchar(36) NOT NULL UNIQUE,
    token_hash varchar(255) NOT NULL,
    server_id varchar(36) REFERENCES servers (id) ON DELETE CASCADE,
    resource_scopes json,
    ip_restrictions json,
    time_restrictions json,
    usage_limits json,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    last_used timestamptz,
    is_active boolean NOT NULL DEFAULT true,
    CONSTRAINT uq_email_api_tokens_user_name UNIQUE (user_email, name)
);

CREATE TABLE token_revocations (
    jti varchar(36) PRIMARY KEY,
    revoked_at timestamptz NOT NULL DEFAULT now(),
    revoked_by varchar(255) NOT NULL REFERENCES email_users (email),
    reason varchar(255)
);
