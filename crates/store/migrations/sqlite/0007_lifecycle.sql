-- The latest time whose dates were acted upon. A machine's clock that steps back between two processes undoes none of
-- them.
ALTER TABLE store ADD COLUMN clock_reached INTEGER NOT NULL DEFAULT 0;
