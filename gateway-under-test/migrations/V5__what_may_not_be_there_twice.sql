-- A name is taken among what is public, and among what one owner has in one team.
CREATE UNIQUE INDEX uq_tools_public ON tools (name) WHERE visibility = 'public';
CREATE UNIQUE INDEX uq_tools_own ON tools (coalesce(team_id, ''), owner_email, name);
CREATE UNIQUE INDEX uq_servers_public ON servers (name) WHERE visibility = 'public';
CREATE UNIQUE INDEX uq_servers_own ON servers (coalesce(team_id, ''), owner_email, name);
CREATE UNIQUE INDEX uq_resources_public ON resources (uri) WHERE visibility = 'public';
CREATE UNIQUE INDEX uq_resources_own ON resources (coalesce(team_id, ''), owner_email, uri);
CREATE UNIQUE INDEX uq_prompts_public ON prompts (name) WHERE visibility = 'public';
CREATE UNIQUE INDEX uq_prompts_own ON prompts (coalesce(team_id, ''), owner_email, name);
CREATE UNIQUE INDEX uq_gateways_public ON gateways (name) WHERE visibility = 'public';
CREATE UNIQUE INDEX uq_gateways_own ON gateways (coalesce(team_id, ''), owner_email, name);
-- The address of a team that has ended may be taken again.
CREATE UNIQUE INDEX uq_email_teams_slug ON email_teams (slug) WHERE is_active;
