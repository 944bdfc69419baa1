-- Not served by this gateway: there so that the schema is ContextForge's.
CREATE TABLE a2a_agents (
    id varchar(36) PRIMARY KEY,
    name varchar(255) NOT NULL,
    slug varchar(255) NOT NULL,
    description text,
    endpoint_url varchar(767) NOT NULL,
    agent_type varchar(50) NOT NULL DEFAULT 'generic',
    auth_type varchar(20),
    auth_value text,
    enabled boolean NOT NULL DEFAULT true,
    reachable boolean NOT NULL DEFAULT true,
    tags json NOT NULL DEFAULT '[]',
    version integer NOT NULL DEFAULT 1,
    team_id varchar(36) REFERENCES email_teams (id) ON DELETE SET NULL,
    owner_email varchar(255),
    visibility varchar(20) NOT NULL DEFAULT 'public',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by varchar(255),
    modified_by varchar(255)
);
CREATE INDEX idx_a2a_agents_created_at_id ON a2a_agents (created_at, id);

CREATE TABLE server_a2a_association (
    server_id varchar(36) NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    a2a_agent_id varchar(36) NOT NULL REFERENCES a2a_agents (id) ON DELETE CASCADE,
    PRIMARY KEY (server_id, a2a_agent_id)
);

CREATE TABLE token_usage_logs (
    id bigserial PRIMARY KEY,
    token_jti varchar(36) NOT NULL,
    user_email varchar(255) NOT NULL,
    timestamp timestamptz NOT NULL DEFAULT now(),
    endpoint varchar(255),
    method varchar(10),
    ip_address varchar(45),
    user_agent text,
    status_code integer,
    response_time_ms integer
);

-- One row for each call.
CREATE TABLE tool_metrics (
    id serial PRIMARY KEY,
    tool_id varchar(36) NOT NULL REFERENCES tools (id) ON DELETE CASCADE,
    timestamp timestamptz NOT NULL DEFAULT now(),
    response_time double precision NOT NULL,
    is_success boolean NOT NULL,
    error_message text
);
