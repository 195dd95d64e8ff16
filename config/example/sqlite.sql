CREATE TABLE app_user (
    id         INTEGER PRIMARY KEY,
    entra_id   varchar(36) NOT NULL UNIQUE,
    login      varchar(120) NOT NULL,
    full_name  varchar(256) NOT NULL,
    department varchar(64),
    manager_id INTEGER REFERENCES app_user (id),
    is_active  boolean NOT NULL DEFAULT true,
    changed_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE user_phone (
    user_id INTEGER NOT NULL REFERENCES app_user (id),
    phone   varchar(64) NOT NULL,
    PRIMARY KEY (user_id, phone)
);
CREATE TABLE team (
    id       INTEGER PRIMARY KEY,
    entra_id varchar(36) NOT NULL UNIQUE,
    name     varchar(256) NOT NULL
);
CREATE TABLE team_kind (
    team_id INTEGER NOT NULL REFERENCES team (id),
    kind    varchar(64) NOT NULL,
    PRIMARY KEY (team_id, kind)
);
CREATE TABLE team_member (
    team_id INTEGER NOT NULL REFERENCES team (id),
    user_id INTEGER NOT NULL REFERENCES app_user (id),
    PRIMARY KEY (team_id, user_id)
);
