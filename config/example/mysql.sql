CREATE TABLE app_user (
    id         bigint AUTO_INCREMENT PRIMARY KEY,
    entra_id   varchar(36) NOT NULL UNIQUE,
    login      varchar(120) NOT NULL,
    full_name  varchar(256) NOT NULL,
    department varchar(64),
    manager_id bigint,
    is_active  boolean NOT NULL DEFAULT true,
    changed_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (manager_id) REFERENCES app_user (id)
);
CREATE TABLE user_phone (
    user_id bigint NOT NULL,
    phone   varchar(64) NOT NULL,
    PRIMARY KEY (user_id, phone),
    FOREIGN KEY (user_id) REFERENCES app_user (id)
);
CREATE TABLE team (
    id       bigint AUTO_INCREMENT PRIMARY KEY,
    entra_id varchar(36) NOT NULL UNIQUE,
    name     varchar(256) NOT NULL
);
CREATE TABLE team_kind (
    team_id bigint NOT NULL,
    kind    varchar(64) NOT NULL,
    PRIMARY KEY (team_id, kind),
    FOREIGN KEY (team_id) REFERENCES team (id)
);
CREATE TABLE team_member (
    team_id bigint NOT NULL,
    user_id bigint NOT NULL,
    PRIMARY KEY (team_id, user_id),
    FOREIGN KEY (team_id) REFERENCES team (id),
    FOREIGN KEY (user_id) REFERENCES app_user (id)
);
