/** The catalogue's schema, as a list of migrations; `user_version` counts those that were run. */
import type { Database } from 'better-sqlite3';

const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE camera (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE storage (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE init (id INTEGER PRIMARY KEY, data BLOB NOT NULL UNIQUE) STRICT;
  CREATE TABLE recording (
    id TEXT PRIMARY KEY,
    camera_id INTEGER NOT NULL REFERENCES camera,
    stream TEXT NOT NULL,
    trigger TEXT NOT NULL,
    start_ms INTEGER NOT NULL,
    end_ms INTEGER -- null while it goes on
  ) STRICT;
  CREATE INDEX recording_by_time ON recording (camera_id, stream, start_ms);
  CREATE INDEX recording_open ON recording (id) WHERE end_ms IS NULL;
  CREATE TABLE segment (
    id INTEGER PRIMARY KEY,
    camera_id INTEGER NOT NULL REFERENCES camera,
    stream TEXT NOT NULL,
    storage_id INTEGER NOT NULL REFERENCES storage,
    path TEXT NOT NULL, -- relative to the storage folder
    recording_id TEXT, -- null for a file that was found without its row
    init_id INTEGER REFERENCES init,
    start_ms INTEGER NOT NULL,
    end_ms INTEGER, -- null while it is written
    start_ticks INTEGER NOT NULL, -- of the stream's run, so that playback can join files without a seam
    bytes INTEGER NOT NULL DEFAULT 0,
    frames INTEGER NOT NULL DEFAULT 0,
    gops BLOB, -- see gop-index.ts
    state TEXT NOT NULL CHECK (state IN ('open', 'closed')),
    UNIQUE (storage_id, path)
  ) STRICT;
  CREATE INDEX segment_by_time ON segment (camera_id, stream, start_ms);
  CREATE INDEX segment_open ON segment (id) WHERE state = 'open';
  CREATE TABLE gap (
    id INTEGER PRIMARY KEY,
    camera_id INTEGER NOT NULL REFERENCES camera,
    stream TEXT NOT NULL,
    start_ms INTEGER NOT NULL,
    end_ms INTEGER, -- null while it lasts
    cause TEXT NOT NULL
  ) STRICT;
  CREATE INDEX gap_by_time ON gap (camera_id, stream, start_ms);
  CREATE INDEX gap_open ON gap (id) WHERE end_ms IS NULL;
  `,
  // Timelines of weeks are answered from the index alone.
  `
  DROP INDEX segment_by_time;
  CREATE INDEX segment_by_time ON segment (camera_id, stream, start_ms, end_ms);
  `,
  // Sums over a million files take more than a second; metrics ask for them every few seconds.
  `
  CREATE TABLE usage (
    storage_id INTEGER NOT NULL REFERENCES storage,
    camera_id INTEGER NOT NULL REFERENCES camera,
    bytes INTEGER NOT NULL, -- of closed files
    files INTEGER NOT NULL,
    PRIMARY KEY (storage_id, camera_id)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO usage SELECT storage_id, camera_id, sum(bytes), count(*) FROM segment GROUP BY storage_id, camera_id;
  CREATE TRIGGER segment_added AFTER INSERT ON segment BEGIN
    INSERT INTO usage VALUES (new.storage_id, new.camera_id, new.bytes, 1)
      ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes, files = files + 1;
  END;
  CREATE TRIGGER segment_removed AFTER DELETE ON segment BEGIN
    UPDATE usage SET bytes = bytes - old.bytes, files = files - 1
      WHERE storage_id = old.storage_id AND camera_id = old.camera_id;
  END;
  CREATE TRIGGER segment_changed AFTER UPDATE OF bytes, storage_id, camera_id ON segment BEGIN
    UPDATE usage SET bytes = bytes - old.bytes, files = files - 1
      WHERE storage_id = old.storage_id AND camera_id = old.camera_id;
    INSERT INTO usage VALUES (new.storage_id, new.camera_id, new.bytes, 1)
      ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes, files = files + 1;
  END;
  `,
  // What happened, whoever noticed it; and where something moved, for ever.
  `
  CREATE TABLE event (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    camera_id INTEGER REFERENCES camera,
    source TEXT, -- the node, or the machine that said so
    start_ms INTEGER NOT NULL,
    end_ms INTEGER, -- null while it lasts
    data TEXT NOT NULL -- JSON
  ) STRICT;
  CREATE INDEX event_by_time ON event (start_ms, row);
  CREATE INDEX event_by_camera ON event (camera_id, type, start_ms, end_ms);
  CREATE INDEX event_open ON event (id) WHERE end_ms IS NULL;
  CREATE TABLE activity (
    camera_id INTEGER NOT NULL REFERENCES camera,
    minute INTEGER NOT NULL, -- since 1970
    -- the cells of all its seconds, 48 bits each: SQLite looks for a region in a month of them in milliseconds
    c0 INTEGER NOT NULL, c1 INTEGER NOT NULL, c2 INTEGER NOT NULL, c3 INTEGER NOT NULL,
    c4 INTEGER NOT NULL, c5 INTEGER NOT NULL, c6 INTEGER NOT NULL, c7 INTEGER NOT NULL,
    c8 INTEGER NOT NULL, c9 INTEGER NOT NULL, c10 INTEGER NOT NULL, c11 INTEGER NOT NULL,
    seconds INTEGER NOT NULL, -- with motion
    peak INTEGER NOT NULL, -- most cells in a second
    PRIMARY KEY (camera_id, minute)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE activity_seconds (
    camera_id INTEGER NOT NULL REFERENCES camera,
    minute INTEGER NOT NULL,
    data BLOB NOT NULL, -- see motion/activity.ts
    PRIMARY KEY (camera_id, minute)
  ) STRICT, WITHOUT ROWID;
  `,
];

/** Brings a catalogue up to date. Throws for one that a later version wrote. */
export function migrate(db: Database): void {
  const version = db.pragma('user_version', { simple: true }) as number;
  if (version > MIGRATIONS.length) {
    throw new Error(`the catalogue was written by a later version (schema ${version}); install that or a newer one`);
  }
  db.transaction(() => {
    for (const sql of MIGRATIONS.slice(version)) db.exec(sql);
    db.pragma(`user_version = ${MIGRATIONS.length}`);
  }).immediate();
}
