CREATE TABLE server_resource_association (
    server_id varchar(36) NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    resource_id varchar(36) NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    PRIMARY KEY (server_id, resource_id)
);
CREATE INDEX idx_server_resource_association_resource_id ON server_resource_association (resource_id);

CREATE TABLE server_prompt_association (
    server_id varchar(36) NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    prompt_id varchar(36) NOT NULL REFERENCES prompts (id) ON DELETE CASCADE,
    PRIMARY KEY (server_id, prompt_id)
);
CREATE INDEX idx_server_prompt_association_prompt_id ON server_prompt_association (prompt_id);

CREATE TABLE resource_subscriptions (
    resource_id varchar(36) NOT NULL REFERENCES resources (id) ON DELETE CASCADE,
    subscriber_id varchar(255) NOT NULL REFERENCES email_users (email) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (resource_id, subscriber_id)
);
