-- Part of ContextForge's schema, under its own names. Types follow what SQLAlchemy emits for PostgreSQL: `json` (not
-- `jsonb`), `varchar`, `timestamptz`.

CREATE TABLE roles (
    id varchar(36) PRIMARY KEY,
    name varchar(255) NOT NULL,
    description text,
    scope varchar(20) NOT NULL CHECK (scope IN ('global', 'team', 'personal')),
    permissions json NOT NULL,
    inherits_from varchar(36) REFERENCES roles (id),
    created_by varchar(255) NOT NULL,
    is_system_role boolean NOT NULL DEFAULT false,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX uq_roles_name_scope ON roles (name, scope);

CREATE TABLE email_users (
    email varchar(255) PRIMARY KEY,
    password_hash varchar(255) NOT NULL,
    full_name varchar(255),
    is_admin boolean NOT NULL DEFAULT false,
    is_active boolean NOT NULL DEFAULT true,
    auth_provider varchar(50) NOT NULL DEFAULT 'local',
    failed_login_attempts integer NOT NULL DEFAULT 0,
    locked_until timestamptz,
    password_change_required boolean NOT NULL DEFAULT false,
    last_login timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE email_teams (
    id varchar(36) PRIMARY KEY,
    name varchar(255) NOT NULL,
    slug varchar(255) NOT NULL,
    description text,
    is_personal boolean NOT NULL DEFAULT false,
    visibility varchar(20) NOT NULL DEFAULT 'public' CHECK (visibility IN ('private', 'public')),
    max_members integer,
    is_active boolean NOT NULL DEFAULT true,
    created_by varchar(255) NOT NULL REFERENCES email_users (email),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE email_team_members (
    id varchar(36) PRIMARY KEY,
    team_id varchar(36) NOT NULL REFERENCES email_teams (id) ON DELETE CASCADE,
    user_email varchar(255) NOT NULL REFERENCES email_users (email),
    role varchar(50) NOT NULL DEFAULT 'member' CHECK (role IN ('owner', 'member')),
    is_active boolean NOT NULL DEFAULT true,
    joined_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_team_member UNIQUE (team_id, user_email)
);
CREATE INDEX idx_email_team_members_user ON email_team_members (user_email);

CREATE TABLE user_roles (
    id varchar(36) PRIMARY KEY,
    user_email varchar(255) NOT NULL REFERENCES email_users (email),
    role_id varchar(36) NOT NULL REFERENCES roles (id),
    scope varchar(20) NOT NULL CHECK (scope IN ('global', 'team', 'personal')),
    scope_id varchar(36), -- the team of a `team` assignment; null counts in every team
    granted_by varchar(255) NOT NULL REFERENCES email_users (email),
    granted_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz, -- null: never
    is_active boolean NOT NULL DEFAULT true
);
CREATE INDEX idx_user_roles_user_email ON user_roles (user_email);
CREATE INDEX idx_user_roles_role_id ON user_roles (role_id);
CREATE INDEX idx_user_roles_scope ON user_roles (scope, scope_id);

CREATE TABLE permission_audit_log (
    id serial PRIMARY KEY,
    timestamp timestamptz NOT NULL DEFAULT now(),
    user_email varchar(255),
    permission varchar(100) NOT NULL,
    resource_type varchar(50),
    resource_id varchar(255),
    team_id varchar(36),
    granted boolean NOT NULL,
    roles_checked json,
    ip_address varchar(45),
    user_agent text
);
CREATE INDEX idx_permission_audit_log_user ON permission_audit_log (user_email);
CREATE INDEX idx_permission_audit_log_timestamp ON permission_audit_log (timestamp);
