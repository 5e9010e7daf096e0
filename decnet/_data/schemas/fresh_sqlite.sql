CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
)
;
CREATE TABLE attacker (
	attacker_uuid TEXT NOT NULL, 
	ip TEXT, 
	first_seen DATETIME, 
	last_seen DATETIME, 
	ignored_by TEXT, told_at DATETIME, 
	PRIMARY KEY (attacker_uuid)
)
;
CREATE INDEX ix_attacker_ip ON attacker (ip)
;
CREATE INDEX ix_attacker_last_seen ON attacker (last_seen)
;
CREATE TABLE attribution_state (
	identity_uuid TEXT NOT NULL, 
	primitive TEXT NOT NULL, 
	state TEXT NOT NULL, 
	current_value JSON, 
	confidence FLOAT NOT NULL, 
	observation_count BIGINT NOT NULL, 
	last_change_ts FLOAT, 
	last_observation_ts FLOAT, 
	seq BIGINT NOT NULL, 
	PRIMARY KEY (identity_uuid, primitive)
)
;
CREATE TABLE behave_part (
	session_id TEXT NOT NULL, 
	generation TEXT NOT NULL, 
	part BIGINT NOT NULL, 
	parts BIGINT NOT NULL, 
	body JSON, 
	PRIMARY KEY (session_id, generation, part)
)
;
CREATE TABLE behave_session (
	session_id TEXT NOT NULL, 
	attacker_uuid TEXT NOT NULL, 
	rank TEXT NOT NULL, 
	version BIGINT NOT NULL, 
	started_at FLOAT NOT NULL, 
	ended_at FLOAT NOT NULL, 
	hours JSON, 
	PRIMARY KEY (session_id)
)
;
CREATE INDEX ix_behave_session_attacker ON behave_session (attacker_uuid, started_at, session_id)
;
CREATE INDEX ix_behave_session_version ON behave_session (version)
;
CREATE TABLE command (
	command_id TEXT NOT NULL, 
	session_id TEXT NOT NULL, 
	position BIGINT, 
	command_text TEXT NOT NULL, 
	ts DATETIME, 
	user TEXT, 
	uid TEXT, 
	src TEXT, 
	pwd TEXT, 
	success BOOLEAN, 
	PRIMARY KEY (command_id)
)
;
CREATE INDEX ix_command_session ON command (session_id, ts)
;
CREATE INDEX ix_command_ts ON command (ts)
;
CREATE TABLE credential (
	credential_id TEXT NOT NULL, 
	attacker_uuid TEXT, 
	decky_id TEXT, 
	service TEXT, 
	session_id TEXT, 
	username TEXT, 
	secret_hmac TEXT, 
	secret_kind TEXT, 
	success BOOLEAN, 
	first_seen DATETIME, 
	last_seen DATETIME, secret TEXT, key_id TEXT, 
	PRIMARY KEY (credential_id)
)
;
CREATE INDEX ix_credential_attacker ON credential (attacker_uuid, first_seen)
;
CREATE INDEX ix_credential_last_seen ON credential (last_seen)
;
CREATE INDEX ix_credential_secret ON credential (secret_kind, secret_hmac)
;
CREATE TABLE failure_count (
	worker TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	count BIGINT NOT NULL, 
	PRIMARY KEY (worker, seq)
)
;
CREATE TABLE fingerprint (
	fingerprint_id TEXT NOT NULL, 
	attacker_uuid TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	fields JSON, 
	first_seen DATETIME, 
	last_seen DATETIME, session_id TEXT, decky_id TEXT, 
	PRIMARY KEY (fingerprint_id)
)
;
CREATE INDEX ix_fingerprint_attacker ON fingerprint (attacker_uuid)
;
CREATE TABLE identity (
	identity_uuid TEXT NOT NULL, 
	attacker_uuid TEXT, 
	merged_into TEXT, 
	PRIMARY KEY (identity_uuid)
)
;
CREATE INDEX ix_identity_attacker ON identity (attacker_uuid)
;
CREATE INDEX ix_identity_merged_into ON identity (merged_into)
;
CREATE TABLE identity_merge (
	loser_uuid TEXT NOT NULL, 
	winner_uuid TEXT NOT NULL, seq BIGINT DEFAULT '0' NOT NULL, live BOOLEAN DEFAULT 1 NOT NULL, 
	PRIMARY KEY (loser_uuid, winner_uuid)
)
;
CREATE INDEX ix_identity_merge_winner ON identity_merge (winner_uuid)
;
CREATE TABLE lease (
	name TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	expires_at FLOAT NOT NULL, 
	PRIMARY KEY (name)
)
;
CREATE TABLE observation (
	observation_id TEXT NOT NULL, 
	evidence_ref TEXT NOT NULL, 
	primitive TEXT NOT NULL, 
	identity_uuid TEXT, 
	attacker_uuid TEXT, 
	session_id TEXT, 
	value JSON, 
	confidence FLOAT, 
	ts FLOAT NOT NULL, 
	window_start FLOAT, 
	window_end FLOAT, 
	source TEXT, 
	PRIMARY KEY (observation_id), 
	CONSTRAINT uq_observation_evidence_primitive UNIQUE (evidence_ref, primitive)
)
;
CREATE INDEX ix_observation_attacker ON observation (attacker_uuid, primitive, ts)
;
CREATE INDEX ix_observation_identity ON observation (identity_uuid, primitive, ts)
;
CREATE INDEX ix_observation_session ON observation (session_id)
;
CREATE TABLE outbox (
	row_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	topic TEXT NOT NULL, 
	body BLOB NOT NULL, 
	headers JSON
)
;
CREATE TABLE recording (
	"key" TEXT NOT NULL, 
	session_id TEXT, 
	data BLOB NOT NULL, 
	PRIMARY KEY ("key")
)
;
CREATE TABLE rule_change (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	rule_id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	ts DATETIME NOT NULL
)
;
CREATE TABLE schema_meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
)
;
CREATE TABLE sensor_checkpoint (
	sensor_key TEXT NOT NULL, 
	state JSON, 
	updated_at DATETIME NOT NULL, 
	PRIMARY KEY (sensor_key)
)
;
CREATE TABLE session (
	session_id TEXT NOT NULL, 
	attacker_uuid TEXT, 
	attacker_ip TEXT, 
	decky_id TEXT, 
	service TEXT, 
	protocol TEXT, 
	started_at DATETIME, 
	ended_at DATETIME, 
	end_reason TEXT, 
	duration_s FLOAT, 
	command_count BIGINT, 
	client JSON, 
	auth JSON, 
	downloads JSON, 
	uploads JSON, 
	forwards JSON, 
	keystrokes_ref TEXT, 
	tagged_at DATETIME, 
	ignored_by TEXT, sensor_session TEXT, inputs JSON, exploits JSON, joined JSON, extras JSON, facts JSON, commands_dropped BIGINT, items_dropped BIGINT, connected_at DATETIME, 
	PRIMARY KEY (session_id)
)
;
CREATE INDEX ix_session_keystrokes ON session (keystrokes_ref)
;
CREATE INDEX ix_session_started ON session (started_at)
;
CREATE INDEX ix_session_tagged ON session (tagged_at, ended_at)
;
CREATE TABLE session_part (
	session_id TEXT NOT NULL, 
	generation TEXT NOT NULL, 
	part BIGINT NOT NULL, 
	parts BIGINT NOT NULL, 
	digest TEXT NOT NULL, 
	body JSON, 
	PRIMARY KEY (session_id, generation, part)
)
;
CREATE TABLE ttp_rule (
	rule_id TEXT NOT NULL, 
	version BIGINT NOT NULL, 
	name TEXT NOT NULL, 
	yaml TEXT NOT NULL, 
	file TEXT NOT NULL, 
	error TEXT, 
	updated_at DATETIME NOT NULL, 
	PRIMARY KEY (rule_id)
)
;
CREATE TABLE ttp_rule_state (
	rule_id TEXT NOT NULL, 
	state TEXT NOT NULL, 
	confidence_max FLOAT, 
	expires_at DATETIME, 
	reason TEXT, 
	set_by TEXT, 
	set_at DATETIME, 
	PRIMARY KEY (rule_id)
)
;
CREATE TABLE ttp_tag (
	uuid TEXT NOT NULL, 
	source_kind TEXT NOT NULL, 
	source_id TEXT NOT NULL, 
	attacker_uuid TEXT, 
	identity_uuid TEXT, 
	session_id TEXT, 
	decky_id TEXT, 
	tactic TEXT NOT NULL, 
	technique_id TEXT NOT NULL, 
	sub_technique_id TEXT, 
	confidence FLOAT NOT NULL, 
	rule_id TEXT NOT NULL, 
	rule_version BIGINT NOT NULL, 
	evidence JSON, 
	attack_release TEXT NOT NULL, 
	mitre_url TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	superseded_by TEXT, seen_at DATETIME, replaced_by TEXT, 
	PRIMARY KEY (uuid), 
	CONSTRAINT ttp_tag_anchor CHECK (attacker_uuid IS NOT NULL OR identity_uuid IS NOT NULL), 
	CONSTRAINT ttp_tag_confidence CHECK (confidence >= 0 AND confidence <= 1)
)
;
CREATE INDEX ix_ttp_tag_created ON ttp_tag (created_at)
;
CREATE TABLE worker_heartbeat (
	worker TEXT NOT NULL, 
	payload JSON, 
	ts DATETIME NOT NULL, 
	PRIMARY KEY (worker)
)
;
CREATE TABLE session_feature (
	session_id TEXT NOT NULL, 
	attacker_uuid TEXT NOT NULL, 
	identity_uuid TEXT NOT NULL, 
	started_at FLOAT, 
	ended_at FLOAT NOT NULL, 
	rank TEXT NOT NULL, 
	client JSON, 
	playbook JSON, 
	tempo JSON, 
	credentials JSON, 
	typing JSON, 
	habit JSON, 
	hours JSON, 
	PRIMARY KEY (session_id)
)
;
CREATE INDEX ix_session_feature_attacker ON session_feature (attacker_uuid, ended_at, session_id)
;
CREATE TABLE multi_actor_evidence (
	identity_uuid TEXT NOT NULL, 
	version BIGINT NOT NULL, 
	due BOOLEAN NOT NULL, 
	suspected BOOLEAN NOT NULL, 
	reason TEXT, 
	primitives JSON, 
	verdict JSON, 
	PRIMARY KEY (identity_uuid)
)
;
CREATE INDEX ix_multi_actor_due ON multi_actor_evidence (due)
;
CREATE INDEX ix_multi_actor_suspected ON multi_actor_evidence (suspected)
;
CREATE TABLE attribution_alert (
	alert_id TEXT NOT NULL, 
	identity_uuid TEXT NOT NULL, 
	ordinal BIGINT NOT NULL, 
	revision BIGINT NOT NULL, 
	attacker_uuids JSON, 
	primitives JSON, 
	families JSON, 
	sides JSON, 
	confidence FLOAT NOT NULL, 
	state TEXT NOT NULL, 
	standing BOOLEAN NOT NULL, 
	ts DATETIME, 
	explanation JSON, 
	acknowledged_by TEXT, 
	acknowledged_at DATETIME, 
	resolved_by TEXT, 
	resolved_at DATETIME, verdict TEXT, 
	PRIMARY KEY (alert_id)
)
;
CREATE INDEX ix_attribution_alert_identity ON attribution_alert (identity_uuid, ordinal)
;
CREATE INDEX ix_attribution_alert_standing ON attribution_alert (standing)
;
CREATE INDEX ix_attribution_alert_ts ON attribution_alert (ts)
;
CREATE TABLE topology (
	topology_id TEXT NOT NULL, 
	status TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	substrate TEXT NOT NULL, 
	mutate_interval TEXT NOT NULL, 
	networks JSON, 
	wanted BOOLEAN NOT NULL, 
	updated_at DATETIME NOT NULL, 
	PRIMARY KEY (topology_id)
)
;
CREATE TABLE decky (
	name TEXT NOT NULL, 
	topology_id TEXT NOT NULL, 
	archetype TEXT, 
	pool JSON, 
	desired JSON, 
	observed JSON, 
	pinned JSON, 
	networks JSON, 
	ports JSON, 
	spec JSON, 
	cause JSON, 
	mutate_interval TEXT NOT NULL, 
	substrate TEXT NOT NULL, 
	address TEXT NOT NULL, 
	wanted BOOLEAN NOT NULL, 
	pending BOOLEAN NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	since DATETIME NOT NULL, 
	failures BIGINT NOT NULL, 
	retry_at DATETIME, 
	next_due DATETIME, 
	last_mutated DATETIME, 
	site TEXT, 
	site_until FLOAT, 
	lease_owner TEXT, 
	lease_until FLOAT, 
	PRIMARY KEY (name)
)
;
CREATE INDEX ix_decky_topology ON decky (topology_id)
;
CREATE INDEX ix_decky_due ON decky (next_due)
;
CREATE INDEX ix_decky_pending ON decky (pending, retry_at)
;
CREATE TABLE mutation (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	mutation_id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	topology_id TEXT, 
	target TEXT NOT NULL, 
	payload JSON, 
	state TEXT NOT NULL, 
	"trigger" TEXT NOT NULL, 
	requested_by TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	outcome JSON, 
	lease_owner TEXT, 
	lease_until FLOAT, 
	created_at DATETIME NOT NULL, 
	started_at DATETIME, 
	finished_at DATETIME, 
	CONSTRAINT uq_mutation_id UNIQUE (mutation_id)
)
;
CREATE INDEX ix_mutation_state ON mutation (state, seq)
;
CREATE INDEX ix_mutation_target ON mutation (target, seq)
;
CREATE INDEX ix_mutation_topology ON mutation (topology_id, seq)
;
CREATE TABLE ttp_window_hit (
	slot TEXT NOT NULL, 
	source_kind TEXT NOT NULL, 
	source_id TEXT NOT NULL, 
	pos BIGINT NOT NULL, 
	ts FLOAT NOT NULL, 
	steps BIGINT NOT NULL, 
	value TEXT NOT NULL, 
	who JSON, 
	why JSON, 
	keep_until FLOAT NOT NULL, 
	PRIMARY KEY (slot, source_kind, source_id, pos)
)
;
CREATE INDEX ix_ttp_window_hit_keep ON ttp_window_hit (keep_until)
;
CREATE TABLE ttp_window_fire (
	slot TEXT NOT NULL, 
	source_kind TEXT NOT NULL, 
	source_id TEXT NOT NULL, 
	ts FLOAT NOT NULL, 
	PRIMARY KEY (slot, source_kind, source_id)
)
;
CREATE TABLE journal (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	ts DATETIME NOT NULL, 
	operator TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	target TEXT NOT NULL, 
	what TEXT NOT NULL, 
	"before" JSON, 
	"after" JSON, 
	reason TEXT, 
	outcome TEXT NOT NULL, 
	detail TEXT, 
	undoes BIGINT
)
;
CREATE INDEX ix_journal_ts ON journal (ts)
;
CREATE INDEX ix_journal_target ON journal (kind, target)
;
CREATE TABLE email_body (
	attacker_uuid TEXT NOT NULL, 
	simhash TEXT NOT NULL, 
	source_id TEXT NOT NULL, 
	ts FLOAT NOT NULL, 
	rcpt_count BIGINT NOT NULL, 
	session_id TEXT, 
	decky_id TEXT, 
	PRIMARY KEY (attacker_uuid, simhash, source_id)
)
;
CREATE INDEX ix_email_body_ts ON email_body (ts)
;
CREATE TABLE ignored_source (
	ignore_id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	value TEXT NOT NULL, 
	reason TEXT, 
	set_by TEXT, 
	set_at DATETIME NOT NULL, 
	expires_at DATETIME, 
	PRIMARY KEY (ignore_id)
)
;
CREATE TABLE producer_due (
	consumer TEXT NOT NULL, 
	attacker_uuid TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	since FLOAT NOT NULL, 
	until FLOAT NOT NULL, 
	PRIMARY KEY (consumer, attacker_uuid)
)
;
CREATE TABLE announcement (
	"key" TEXT NOT NULL, 
	ts FLOAT NOT NULL, 
	PRIMARY KEY ("key")
)
;
CREATE TABLE attacker_intel (
	attacker_uuid TEXT NOT NULL, 
	version TEXT NOT NULL, 
	ts FLOAT NOT NULL, 
	payload JSON, parts JSON, oldest FLOAT, 
	PRIMARY KEY (attacker_uuid)
)
;
CREATE INDEX ix_attacker_intel_ts ON attacker_intel (ts)
;
CREATE INDEX ix_session_sensor_session ON session (sensor_session)
;
CREATE TABLE sensor_name (
	name TEXT NOT NULL, 
	token TEXT NOT NULL, 
	ts DATETIME NOT NULL, 
	PRIMARY KEY (name), 
	CONSTRAINT uq_sensor_name_token UNIQUE (token)
)
;
CREATE INDEX ix_ttp_tag_seen ON ttp_tag (seen_at)
;
CREATE TABLE "dead_letter" (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	worker TEXT NOT NULL, 
	topic TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	body BLOB NOT NULL, 
	ts DATETIME NOT NULL, 
	letter_key TEXT NOT NULL, 
	path TEXT, 
	value TEXT, 
	CONSTRAINT uq_dead_letter_key UNIQUE (letter_key)
)
;
CREATE INDEX ix_dead_letter_ts ON dead_letter (ts)
;
CREATE TABLE session_story (
	session_id TEXT NOT NULL, 
	attacker_uuid TEXT, 
	severity TEXT NOT NULL, 
	rank BIGINT NOT NULL, 
	reason TEXT NOT NULL, 
	line TEXT NOT NULL, 
	playbook TEXT, 
	story JSON, 
	seen_at DATETIME NOT NULL, 
	ended_at FLOAT NOT NULL, 
	lines BIGINT NOT NULL, 
	PRIMARY KEY (session_id)
)
;
CREATE INDEX ix_session_story_rank ON session_story (rank, seen_at)
;
CREATE INDEX ix_session_story_playbook ON session_story (playbook, seen_at)
;
CREATE TABLE session_thing (
	session_id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	value TEXT NOT NULL, 
	seen_at DATETIME NOT NULL, 
	PRIMARY KEY (session_id, kind, value)
)
;
CREATE INDEX ix_session_thing_first ON session_thing (kind, value, seen_at)
;
CREATE INDEX ix_ttp_tag_first ON ttp_tag (technique_id, sub_technique_id, seen_at)
;
CREATE INDEX ix_credential_first ON credential (secret_hmac, username, first_seen)
;
CREATE INDEX ix_credential_session ON credential (session_id)
;
CREATE TABLE ttp_part (
	session_id TEXT NOT NULL, 
	generation TEXT NOT NULL, 
	part BIGINT NOT NULL, 
	parts BIGINT NOT NULL, 
	body JSON, 
	keep_until FLOAT NOT NULL, 
	PRIMARY KEY (session_id, generation, part)
)
;
CREATE INDEX ix_ttp_part_keep ON ttp_part (keep_until)
;
CREATE TABLE link_due (
	session_id TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	PRIMARY KEY (session_id)
)
;
CREATE TABLE link_gone (
	attacker_uuid TEXT NOT NULL, 
	PRIMARY KEY (attacker_uuid)
)
;
CREATE TABLE link_address (
	attacker_uuid TEXT NOT NULL, 
	address TEXT NOT NULL, 
	identity_uuid TEXT NOT NULL, 
	linked_into TEXT, 
	founded_at FLOAT NOT NULL, 
	logins TEXT NOT NULL, 
	PRIMARY KEY (attacker_uuid)
)
;
CREATE INDEX ix_link_address_identity ON link_address (identity_uuid)
;
CREATE INDEX ix_link_address_into ON link_address (linked_into)
;
CREATE TABLE link_term (
	term_id TEXT NOT NULL, 
	family TEXT NOT NULL, 
	value TEXT NOT NULL, 
	campaign_root TEXT, 
	kit_root TEXT, 
	marks JSON, 
	PRIMARY KEY (term_id)
)
;
CREATE INDEX ix_link_term_campaign ON link_term (campaign_root)
;
CREATE INDEX ix_link_term_kit ON link_term (kit_root)
;
CREATE INDEX ix_link_term_value ON link_term (family, value)
;
CREATE TABLE link_value (
	attacker_uuid TEXT NOT NULL, 
	term_id TEXT NOT NULL, 
	first_at FLOAT, 
	kept BOOLEAN NOT NULL, 
	PRIMARY KEY (attacker_uuid, term_id)
)
;
CREATE INDEX ix_link_value_term ON link_value (term_id)
;
CREATE TABLE link_group (
	kind TEXT NOT NULL, 
	root TEXT NOT NULL, 
	founder TEXT NOT NULL, 
	founded_at FLOAT NOT NULL, 
	label TEXT NOT NULL, 
	campaign_uuid TEXT, 
	name TEXT, 
	addresses BIGINT NOT NULL, 
	PRIMARY KEY (kind, root)
)
;
CREATE INDEX ix_link_group_campaign ON link_group (campaign_uuid)
;
CREATE TABLE link_session (
	session_id TEXT NOT NULL, 
	attacker_uuid TEXT NOT NULL, 
	term_id TEXT NOT NULL, 
	PRIMARY KEY (session_id)
)
;
CREATE INDEX ix_link_session_term ON link_session (term_id)
;
CREATE TABLE campaign_merge (
	loser_uuid TEXT NOT NULL, 
	winner_uuid TEXT NOT NULL, 
	PRIMARY KEY (loser_uuid)
)
;
CREATE TABLE identity_link (
	identity_uuid TEXT NOT NULL, 
	confidence FLOAT NOT NULL, 
	addresses BIGINT NOT NULL, 
	reasons JSON, 
	against JSON, 
	PRIMARY KEY (identity_uuid)
)
;
CREATE TABLE link_said (
	one TEXT NOT NULL, 
	other TEXT NOT NULL, 
	same BOOLEAN NOT NULL, 
	reason TEXT NOT NULL, 
	said_by TEXT NOT NULL, 
	said_at DATETIME, 
	PRIMARY KEY (one, other)
)
;
CREATE TABLE link_state (
	name TEXT NOT NULL, 
	version BIGINT NOT NULL, 
	relink BIGINT NOT NULL, 
	relinked BIGINT NOT NULL, 
	PRIMARY KEY (name)
)
;
CREATE TABLE attribution_past (
	identity_uuid TEXT NOT NULL, 
	primitive TEXT NOT NULL, 
	state TEXT NOT NULL, 
	last_change_ts FLOAT, 
	seq BIGINT NOT NULL, 
	PRIMARY KEY (identity_uuid, primitive)
)
;
CREATE TABLE intel_service (
	service TEXT NOT NULL, 
	day BIGINT NOT NULL, 
	used BIGINT NOT NULL, 
	failures BIGINT NOT NULL, 
	rest_until FLOAT NOT NULL, 
	PRIMARY KEY (service)
)
;
CREATE TABLE intel_answer (
	service TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	value TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	known BOOLEAN NOT NULL, 
	said JSON, 
	PRIMARY KEY (service, kind, value)
)
;
CREATE INDEX ix_intel_answer_at ON intel_answer (at)
;
CREATE INDEX ix_intel_answer_value ON intel_answer (value)
;
CREATE TABLE intel_due (
	service TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	value TEXT NOT NULL, 
	attacker_uuid TEXT, 
	ts FLOAT NOT NULL, 
	tries BIGINT NOT NULL, 
	not_before FLOAT NOT NULL, 
	PRIMARY KEY (service, kind, value)
)
;
CREATE INDEX ix_intel_due_order ON intel_due (service, kind, ts)
;
CREATE INDEX ix_intel_due_value ON intel_due (value)
;
CREATE INDEX ix_intel_due_ts ON intel_due (ts)
;
CREATE INDEX ix_intel_due_attacker ON intel_due (attacker_uuid)
;
CREATE INDEX ix_ttp_tag_identity ON ttp_tag (identity_uuid)
;
CREATE INDEX ix_attacker_marked ON attacker (attacker_uuid) WHERE ignored_by IS NOT NULL
;
CREATE INDEX ix_session_marked ON session (session_id) WHERE ignored_by IS NOT NULL
;
CREATE TABLE tag_kind (
	kind_id INTEGER NOT NULL, 
	rule_id TEXT NOT NULL, 
	technique_id TEXT NOT NULL, 
	sub_technique_id TEXT NOT NULL, 
	tactic TEXT NOT NULL, 
	PRIMARY KEY (kind_id)
)
;
CREATE UNIQUE INDEX ix_tag_kind ON tag_kind (rule_id, technique_id, sub_technique_id, tactic)
;
CREATE TABLE tag_count (
	attacker_uuid TEXT NOT NULL, 
	identity_uuid TEXT NOT NULL, 
	kind_id BIGINT NOT NULL, 
	tags BIGINT NOT NULL, 
	last DATETIME, 
	PRIMARY KEY (attacker_uuid, identity_uuid, kind_id)
)
 WITHOUT ROWID


;
CREATE INDEX ix_ttp_tag_attacker ON ttp_tag (attacker_uuid, seen_at)
;
CREATE INDEX ix_ttp_tag_rule ON ttp_tag (rule_id, seen_at, technique_id, sub_technique_id, tactic, superseded_by, replaced_by)
;
CREATE INDEX ix_ttp_tag_session ON ttp_tag (session_id, technique_id, sub_technique_id, superseded_by, replaced_by)
;
CREATE INDEX ix_ttp_tag_told ON ttp_tag (created_at) WHERE source_kind IN ('canary_fingerprint', 'email')
;
CREATE TRIGGER tag_comes AFTER INSERT ON ttp_tag WHEN NEW.superseded_by IS NULL AND NEW.replaced_by IS NULL BEGIN INSERT INTO tag_kind (rule_id, technique_id, sub_technique_id, tactic)
    SELECT NEW.rule_id, NEW.technique_id, COALESCE(NEW.sub_technique_id, ''), NEW.tactic
    WHERE NOT EXISTS (SELECT 1 FROM tag_kind WHERE rule_id = NEW.rule_id AND technique_id = NEW.technique_id AND sub_technique_id = COALESCE(NEW.sub_technique_id, '') AND tactic = NEW.tactic);
  INSERT INTO tag_count (attacker_uuid, identity_uuid, kind_id, tags, last)
    SELECT COALESCE(NEW.attacker_uuid, ''), COALESCE(NEW.identity_uuid, ''), kind_id, 1, NEW.seen_at
    FROM tag_kind WHERE rule_id = NEW.rule_id AND technique_id = NEW.technique_id AND sub_technique_id = COALESCE(NEW.sub_technique_id, '') AND tactic = NEW.tactic
    ON CONFLICT (attacker_uuid, identity_uuid, kind_id) DO UPDATE SET tags = tags + 1,
      last = MAX(COALESCE(last, excluded.last), COALESCE(excluded.last, last)); END
;
CREATE TRIGGER tag_goes AFTER DELETE ON ttp_tag WHEN OLD.superseded_by IS NULL AND OLD.replaced_by IS NULL BEGIN UPDATE tag_count SET tags = tags - 1,
      last = CASE WHEN last = OLD.seen_at THEN (SELECT t.seen_at FROM ttp_tag t WHERE t.attacker_uuid IS OLD.attacker_uuid
    AND t.identity_uuid IS OLD.identity_uuid AND t.rule_id = OLD.rule_id AND t.technique_id = OLD.technique_id
    AND t.sub_technique_id IS OLD.sub_technique_id AND t.tactic = OLD.tactic AND t.superseded_by IS NULL AND t.replaced_by IS NULL
    AND t.seen_at IS NOT NULL ORDER BY t.seen_at DESC LIMIT 1) ELSE last END
    WHERE attacker_uuid = COALESCE(OLD.attacker_uuid, '') AND identity_uuid = COALESCE(OLD.identity_uuid, '') AND kind_id = (SELECT kind_id FROM tag_kind WHERE rule_id = OLD.rule_id AND technique_id = OLD.technique_id AND sub_technique_id = COALESCE(OLD.sub_technique_id, '') AND tactic = OLD.tactic);
  DELETE FROM tag_count WHERE attacker_uuid = COALESCE(OLD.attacker_uuid, '') AND identity_uuid = COALESCE(OLD.identity_uuid, '') AND kind_id = (SELECT kind_id FROM tag_kind WHERE rule_id = OLD.rule_id AND technique_id = OLD.technique_id AND sub_technique_id = COALESCE(OLD.sub_technique_id, '') AND tactic = OLD.tactic) AND tags < 1; END
;
CREATE TRIGGER tag_changes AFTER UPDATE OF attacker_uuid, identity_uuid, tactic, technique_id, sub_technique_id, rule_id, seen_at, superseded_by, replaced_by ON ttp_tag BEGIN UPDATE tag_count SET tags = tags - 1,
      last = CASE WHEN last = OLD.seen_at THEN (SELECT t.seen_at FROM ttp_tag t WHERE t.attacker_uuid IS OLD.attacker_uuid
    AND t.identity_uuid IS OLD.identity_uuid AND t.rule_id = OLD.rule_id AND t.technique_id = OLD.technique_id
    AND t.sub_technique_id IS OLD.sub_technique_id AND t.tactic = OLD.tactic AND t.superseded_by IS NULL AND t.replaced_by IS NULL
    AND t.seen_at IS NOT NULL ORDER BY t.seen_at DESC LIMIT 1) ELSE last END
    WHERE OLD.superseded_by IS NULL AND OLD.replaced_by IS NULL AND attacker_uuid = COALESCE(OLD.attacker_uuid, '') AND identity_uuid = COALESCE(OLD.identity_uuid, '') AND kind_id = (SELECT kind_id FROM tag_kind WHERE rule_id = OLD.rule_id AND technique_id = OLD.technique_id AND sub_technique_id = COALESCE(OLD.sub_technique_id, '') AND tactic = OLD.tactic);
  DELETE FROM tag_count WHERE attacker_uuid = COALESCE(OLD.attacker_uuid, '') AND identity_uuid = COALESCE(OLD.identity_uuid, '') AND kind_id = (SELECT kind_id FROM tag_kind WHERE rule_id = OLD.rule_id AND technique_id = OLD.technique_id AND sub_technique_id = COALESCE(OLD.sub_technique_id, '') AND tactic = OLD.tactic) AND tags < 1; INSERT INTO tag_kind (rule_id, technique_id, sub_technique_id, tactic)
    SELECT NEW.rule_id, NEW.technique_id, COALESCE(NEW.sub_technique_id, ''), NEW.tactic
    WHERE NEW.superseded_by IS NULL AND NEW.replaced_by IS NULL AND NOT EXISTS (SELECT 1 FROM tag_kind WHERE rule_id = NEW.rule_id AND technique_id = NEW.technique_id AND sub_technique_id = COALESCE(NEW.sub_technique_id, '') AND tactic = NEW.tactic);
  INSERT INTO tag_count (attacker_uuid, identity_uuid, kind_id, tags, last)
    SELECT COALESCE(NEW.attacker_uuid, ''), COALESCE(NEW.identity_uuid, ''), kind_id, 1, NEW.seen_at
    FROM tag_kind WHERE NEW.superseded_by IS NULL AND NEW.replaced_by IS NULL AND rule_id = NEW.rule_id AND technique_id = NEW.technique_id AND sub_technique_id = COALESCE(NEW.sub_technique_id, '') AND tactic = NEW.tactic
    ON CONFLICT (attacker_uuid, identity_uuid, kind_id) DO UPDATE SET tags = tags + 1,
      last = MAX(COALESCE(last, excluded.last), COALESCE(excluded.last, last)); END
;
CREATE TABLE canary_token (
	token_id TEXT NOT NULL, 
	slug TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	decky_id TEXT NOT NULL, 
	path TEXT, 
	memo TEXT, 
	watched TEXT, 
	minted_at DATETIME NOT NULL, 
	placed_at DATETIME, 
	revoked_at DATETIME, 
	first_trip_at DATETIME, 
	last_trip_at DATETIME, 
	trips BIGINT NOT NULL, 
	window_at DATETIME, 
	window_trips BIGINT NOT NULL, 
	PRIMARY KEY (token_id)
)
;
CREATE UNIQUE INDEX ix_canary_token_slug ON canary_token (slug)
;
CREATE INDEX ix_canary_token_watched ON canary_token (watched)
;
CREATE TABLE canary_trigger (
	trigger_id TEXT NOT NULL, 
	token_id TEXT NOT NULL, 
	peer TEXT NOT NULL, 
	peer_kind TEXT NOT NULL, 
	via TEXT NOT NULL, 
	first_at DATETIME NOT NULL, 
	last_at DATETIME NOT NULL, 
	hits BIGINT NOT NULL, 
	echo BOOLEAN NOT NULL, 
	user_agent TEXT, 
	request_path TEXT, 
	dns_qname TEXT, 
	label TEXT, 
	session_id TEXT, 
	report JSON, 
	PRIMARY KEY (trigger_id)
)
;
CREATE INDEX ix_canary_trigger_peer ON canary_trigger (token_id, peer, first_at)
;
CREATE INDEX ix_canary_trigger_label ON canary_trigger (token_id, label)
;
CREATE INDEX ix_canary_trigger_session ON canary_trigger (session_id)
;
CREATE INDEX ix_canary_trigger_last ON canary_trigger (last_at)
;
CREATE TABLE bait_read (
	token_id TEXT NOT NULL, 
	session_id TEXT NOT NULL, 
	command_id TEXT NOT NULL, 
	attacker_uuid TEXT, 
	attacker_ip TEXT, 
	decky_id TEXT NOT NULL, 
	path TEXT NOT NULL, 
	at DATETIME NOT NULL, 
	PRIMARY KEY (token_id, session_id)
)
;
CREATE INDEX ix_bait_read_session ON bait_read (session_id)
;
CREATE INDEX ix_bait_read_at ON bait_read (token_id, at)
;
CREATE TABLE own_decoy (
	decky TEXT NOT NULL, 
	service TEXT NOT NULL, 
	plays TEXT NOT NULL, 
	transport TEXT NOT NULL, 
	address TEXT NOT NULL, 
	port BIGINT NOT NULL, 
	site TEXT NOT NULL, 
	opened BOOLEAN NOT NULL, 
	trouble TEXT NOT NULL, 
	PRIMARY KEY (decky, service)
)
;
CREATE TABLE publish_outbox (
	row_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	target TEXT NOT NULL, 
	ident TEXT NOT NULL, 
	topic TEXT NOT NULL, 
	ts FLOAT NOT NULL, 
	body TEXT NOT NULL, 
	stored_at FLOAT NOT NULL, 
	CONSTRAINT uq_publish_outbox_ident UNIQUE (target, ident)
)
;
CREATE TABLE hour_count (
	name TEXT NOT NULL, 
	hour BIGINT NOT NULL, 
	count BIGINT NOT NULL, 
	PRIMARY KEY (name, hour)
)
;
CREATE TABLE note (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	ts DATETIME NOT NULL, 
	operator TEXT NOT NULL, 
	about TEXT NOT NULL, 
	target TEXT NOT NULL, 
	body TEXT NOT NULL
)
;
CREATE INDEX ix_note_target ON note (about, target)
;
CREATE INDEX ix_session_story_ended ON session_story (ended_at, attacker_uuid, rank, playbook, seen_at, session_id)
;
CREATE INDEX ix_session_thing_seen ON session_thing (seen_at, kind, value, session_id)
;
CREATE INDEX ix_session_story_attacker ON session_story (attacker_uuid, rank, seen_at, ended_at, playbook, session_id)
;
CREATE INDEX ix_session_story_seen ON session_story (seen_at, ended_at) WHERE attacker_uuid IS NOT NULL
;
CREATE INDEX ix_credential_let_in ON credential (secret_hmac, username, first_seen, last_seen, session_id) WHERE success IS 1
;
CREATE INDEX ix_session_attacker ON session (attacker_uuid, ignored_by, decky_id)
;
INSERT INTO alembic_version (version_num) VALUES ('0030')
;
