-- The application of the demonstration: a table as applications have them, with a row that is nobody's business.
CREATE TABLE app_user (
    id INTEGER PRIMARY KEY,
    login VARCHAR(120) NOT NULL UNIQUE,
    full_name VARCHAR(256) NOT NULL,
    first_name VARCHAR(64),
    last_name VARCHAR(64),
    email VARCHAR(256),
    employee_no VARCHAR(16),
    department VARCHAR(64),
    job_title VARCHAR(128),
    city VARCHAR(128),
    hired_on DATE,
    is_active BOOLEAN NOT NULL DEFAULT 1,
    theme TEXT NOT NULL DEFAULT 'light'
);
INSERT INTO app_user (login, full_name, theme) VALUES ('svc-backup', 'Backup service', 'dark');
