CREATE TABLE app_user (
    id         bigint IDENTITY PRIMARY KEY,
    entra_id   nvarchar(36) NOT NULL UNIQUE,
    login      nvarchar(120) NOT NULL,
    full_name  nvarchar(256) NOT NULL,
    department nvarchar(64),
    manager_id bigint REFERENCES app_user (id),
    is_active  bit NOT NULL DEFAULT 1,
    changed_at datetime2 NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE user_phone (
    user_id bigint NOT NULL REFERENCES app_user (id),
    phone   nvarchar(64) NOT NULL,
    PRIMARY KEY (user_id, phone)
);
CREATE TABLE team (
    id       bigint IDENTITY PRIMARY KEY,
    entra_id nvarchar(36) NOT NULL UNIQUE,
    name     nvarchar(256) NOT NULL
);
CREATE TABLE team_kind (
    team_id bigint NOT NULL REFERENCES team (id),
    kind    nvarchar(64) NOT NULL,
    PRIMARY KEY (team_id, kind)
);
CREATE TABLE team_member (
    team_id bigint NOT NULL REFERENCES team (id),
    user_id bigint NOT NULL REFERENCES app_user (id),
    PRIMARY KEY (team_id, user_id)
);
