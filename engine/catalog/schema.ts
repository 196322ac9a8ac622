/** The catalogue's schema, as a list of migrations; `user_version` counts those that were run. */
import type { Database } from 'better-sqlite3';

/** Footage so long before and after something happened belongs to it. */
const MARGIN_MS = 10_000;
/** Files and events look back no further for each other; longer events mark their files when they end. */
const LONGEST_FILE_MS = 2 * 3_600_000;
const LONGEST_EVENT_MS = 86_400_000;

/** Rows of `event` that touch the file `segment`; those of no camera concern no footage. */
const touching = (which: string): string => `
  SELECT 1 FROM event e WHERE e.camera_id = segment.camera_id AND e.type ${which}
    AND e.start_ms > segment.start_ms - ${LONGEST_EVENT_MS} AND e.start_ms < segment.end_ms + ${MARGIN_MS}
    AND coalesce(e.end_ms, segment.end_ms) > segment.start_ms - ${MARGIN_MS}`;
/** Place in KINDS of engine/retention/types.ts. */
const SEGMENT_IS_EVENT = `(
  EXISTS (SELECT 1 FROM recording r WHERE r.id = segment.recording_id AND r.trigger <> 'continuous')
  OR EXISTS (${touching("<> 'motion'")}))`;
const SEGMENT_IS_MOTION = `(
  EXISTS (SELECT 1 FROM activity a WHERE a.camera_id = segment.camera_id AND a.seconds > 0
    AND a.minute BETWEEN (segment.start_ms - ${MARGIN_MS}) / 60000 AND (segment.end_ms + ${MARGIN_MS}) / 60000)
  OR EXISTS (${touching("= 'motion'")}))`;
/** The same, where events have several cameras. */
const linked = (motion: 0 | 1): string => `
  SELECT 1 FROM event_camera l WHERE l.camera_id = segment.camera_id AND l.motion = ${motion}
    AND l.start_ms > segment.start_ms - ${LONGEST_EVENT_MS} AND l.start_ms < segment.end_ms + ${MARGIN_MS}
    AND coalesce(l.end_ms, segment.end_ms) > segment.start_ms - ${MARGIN_MS}`;
const SEGMENT_HAS_EVENT = SEGMENT_IS_EVENT.replace(touching("<> 'motion'"), linked(0));
const SEGMENT_HAS_MOTION = SEGMENT_IS_MOTION.replace(touching("= 'motion'"), linked(1));
/** Files of the new row's camera that touch a time become at least of that kind. */
const raiseKind = (kind: string, start: string, end: string): string => `
  UPDATE segment SET kind = ${kind} WHERE camera_id = new.camera_id AND stream IN ('main', 'sub')
    AND start_ms > ${start} - ${LONGEST_FILE_MS + MARGIN_MS} AND start_ms < ${end} + ${MARGIN_MS}
    AND end_ms > ${start} - ${MARGIN_MS} AND kind < ${kind}`;
const KIND_OF_EVENT = "CASE new.type WHEN 'motion' THEN 1 ELSE 2 END";

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
  // Retention: what a file shows, files on their way out, what went, and what must stay.
  `
  ALTER TABLE segment ADD COLUMN kind INTEGER NOT NULL DEFAULT 0; -- 0 nothing in it, 1 motion, 2 an event
  ALTER TABLE segment ADD COLUMN doomed TEXT; -- why it is being deleted; null while it is not
  CREATE INDEX event_but_motion ON event (camera_id, start_ms, end_ms) WHERE type <> 'motion';
  UPDATE segment SET kind = 2 WHERE ${SEGMENT_IS_EVENT};
  UPDATE segment SET kind = 1 WHERE kind = 0 AND ${SEGMENT_IS_MOTION};
  -- What may go is found, sorted and summed in this index alone.
  CREATE INDEX segment_by_kind ON segment (camera_id, kind, start_ms, end_ms, storage_id, bytes)
    WHERE state = 'closed' AND doomed IS NULL;
  CREATE INDEX segment_doomed ON segment (id) WHERE doomed IS NOT NULL;
  CREATE TRIGGER segment_closed AFTER UPDATE OF state ON segment WHEN new.state = 'closed' AND old.state <> 'closed' BEGIN
    UPDATE segment SET kind = CASE WHEN ${SEGMENT_IS_EVENT} THEN 2 WHEN ${SEGMENT_IS_MOTION} THEN 1 ELSE 0 END
      WHERE id = new.id;
  END;
  CREATE TRIGGER event_added AFTER INSERT ON event WHEN new.camera_id IS NOT NULL BEGIN
    ${raiseKind(KIND_OF_EVENT, 'new.start_ms', 'coalesce(new.end_ms, new.start_ms)')};
  END;
  CREATE TRIGGER event_ended AFTER UPDATE OF end_ms ON event
    WHEN new.camera_id IS NOT NULL AND new.end_ms IS NOT NULL AND new.end_ms IS NOT old.end_ms BEGIN
    ${raiseKind(KIND_OF_EVENT, 'new.start_ms', 'new.end_ms')};
  END;
  CREATE TRIGGER activity_added AFTER INSERT ON activity WHEN new.seconds > 0 BEGIN
    ${raiseKind('1', 'new.minute * 60000', '(new.minute + 1) * 60000')};
  END;
  CREATE TABLE deleted (
    id INTEGER PRIMARY KEY,
    camera_id INTEGER NOT NULL REFERENCES camera,
    stream TEXT NOT NULL,
    start_ms INTEGER NOT NULL,
    end_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at_ms INTEGER NOT NULL, -- the last time that something of it was deleted
    bytes INTEGER NOT NULL,
    files INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX deleted_by_time ON deleted (camera_id, stream, start_ms);
  CREATE TABLE hold (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL, -- of the case
    camera_id INTEGER REFERENCES camera, -- null for all
    start_ms INTEGER NOT NULL,
    end_ms INTEGER NOT NULL,
    until_ms INTEGER, -- null for ever
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    created_ms INTEGER NOT NULL
  ) STRICT;
  `,
  // The presets of cameras that can be steered, as the cameras last told them.
  `
  CREATE TABLE preset (
    camera_id INTEGER NOT NULL REFERENCES camera,
    token TEXT NOT NULL,
    name TEXT NOT NULL,
    position TEXT, -- JSON: pan and tilt -1..1, zoom 0..1; null where the camera does not say
    seen_ms INTEGER NOT NULL,
    still BLOB, -- JPEG of what it shows there; null until it was there once
    still_ms INTEGER,
    PRIMARY KEY (camera_id, token)
  ) STRICT;
  `,
  // What files are checked against; and headers that no file has any more are found at once.
  `
  ALTER TABLE segment ADD COLUMN hash INTEGER; -- CRC-32 of the whole file; null where it is not known
  CREATE INDEX segment_by_init ON segment (init_id);
  `,
  // Timelines count recordings that were asked for: from the index alone.
  `
  CREATE INDEX recording_asked ON recording (camera_id, start_ms) WHERE trigger <> 'continuous';
  `,
  // The event index: events of several cameras, found by words, held and completed; values of the process.
  `
  CREATE TABLE event_place (old INTEGER PRIMARY KEY, place INTEGER NOT NULL) STRICT;
  INSERT INTO event_place SELECT row, start_ms * 1024 + row_number() OVER (PARTITION BY start_ms ORDER BY row) - 1 FROM event;
  -- Rows are in the order of time, 1024 to a millisecond: every list of them is read from its newest or oldest end.
  UPDATE event SET row = (SELECT place FROM event_place WHERE old = event.row);
  DROP TABLE event_place;
  DROP TRIGGER event_added;
  DROP TRIGGER event_ended;
  DROP TRIGGER segment_closed;
  DROP INDEX event_by_time;
  DROP INDEX event_by_camera;
  DROP INDEX event_but_motion;
  ALTER TABLE event ADD COLUMN correlation_id TEXT; -- the source's own
  ALTER TABLE event ADD COLUMN node TEXT; -- the event-index that tells of it
  ALTER TABLE event ADD COLUMN due_ms INTEGER; -- when its footage should be complete; null when that was told
  ALTER TABLE event ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0; -- whether it has words
  CREATE UNIQUE INDEX event_by_correlation ON event (correlation_id, coalesce(source, '')) WHERE correlation_id IS NOT NULL;
  CREATE INDEX event_due ON event (due_ms) WHERE due_ms IS NOT NULL;
  CREATE INDEX event_unindexed ON event (row) WHERE indexed = 0;
  CREATE VIRTUAL TABLE event_words USING fts5
    (words, content = '', contentless_delete = 1, detail = none, tokenize = 'unicode61 remove_diacritics 2');
  CREATE TABLE event_camera (
    camera_id INTEGER NOT NULL REFERENCES camera,
    motion INTEGER NOT NULL, -- 1: that kind, which counts less than any other
    start_ms INTEGER NOT NULL, -- of its footage
    end_ms INTEGER, -- null while it lasts
    event INTEGER NOT NULL REFERENCES event (row) ON DELETE CASCADE,
    PRIMARY KEY (camera_id, motion, start_ms, event)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX event_camera_of ON event_camera (event);
  INSERT INTO event_camera SELECT camera_id, type = 'motion', start_ms, end_ms, row FROM event WHERE camera_id IS NOT NULL;
  CREATE TRIGGER segment_closed AFTER UPDATE OF state ON segment WHEN new.state = 'closed' AND old.state <> 'closed' BEGIN
    UPDATE segment SET kind = CASE WHEN ${SEGMENT_HAS_EVENT} THEN 2 WHEN ${SEGMENT_HAS_MOTION} THEN 1 ELSE 0 END
      WHERE id = new.id;
  END;
  CREATE TRIGGER event_linked AFTER INSERT ON event_camera BEGIN
    ${raiseKind('(2 - new.motion)', 'new.start_ms', 'coalesce(new.end_ms, new.start_ms)')};
  END;
  CREATE TABLE event_hold (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- ever higher: retention asks for those that came since it planned
    event INTEGER NOT NULL REFERENCES event (row) ON DELETE CASCADE,
    camera_id INTEGER NOT NULL REFERENCES camera,
    start_ms INTEGER NOT NULL,
    end_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX event_hold_of ON event_hold (event);
  CREATE INDEX event_hold_until ON event_hold (until_ms);
  CREATE TABLE event_source ( -- see events/clock.ts
    source TEXT PRIMARY KEY,
    samples TEXT NOT NULL, -- JSON
    at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE tag (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    name TEXT NOT NULL,
    unit TEXT,
    boolean INTEGER NOT NULL,
    last_ms INTEGER NOT NULL, -- the latest value that was told, kept or not
    UNIQUE (source, name)
  ) STRICT;
  CREATE TABLE tag_block (
    tag_id INTEGER NOT NULL REFERENCES tag ON DELETE CASCADE,
    start_ms INTEGER NOT NULL,
    data BLOB NOT NULL, -- see events/tag-block.ts
    PRIMARY KEY (tag_id, start_ms)
  ) STRICT, WITHOUT ROWID;
  `,
  // Tiers: files move to other folders and to buckets.
  `
  ALTER TABLE segment ADD COLUMN copy_id INTEGER REFERENCES storage; -- where a second copy is, verified
  CREATE INDEX segment_by_place ON segment (storage_id, kind, start_ms, copy_id)
    WHERE state = 'closed' AND doomed IS NULL;
  -- Files that may be there and that no row names: half made by a move, or to be removed after one.
  CREATE TABLE leftover (
    storage_id INTEGER NOT NULL REFERENCES storage,
    path TEXT NOT NULL,
    bytes INTEGER NOT NULL, -- that its removal frees
    PRIMARY KEY (storage_id, path)
  ) STRICT, WITHOUT ROWID;
  `,
  // Cameras that count pictures instead of time.
  `
  ALTER TABLE segment ADD COLUMN tick_ms REAL; -- length of a tick; null: what the timescale says
  `,
  // Clocks that are wrong when a machine starts.
  `
  CREATE TABLE believed (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at_ms INTEGER NOT NULL -- the latest time that retention believed, see retention/age-clock.ts
  ) STRICT;
  `,
  // Words of events begin with their kind. Those of old events are made anew a few at a time, from the newest to the oldest: until
  // then the old ones find them.
  `
  CREATE TABLE event_reword (below INTEGER NOT NULL) STRICT; -- rows before this have old words; empty: none has
  INSERT INTO event_reword SELECT row + 1 FROM event ORDER BY row DESC LIMIT 1;
  CREATE VIRTUAL TABLE event_terms USING fts5vocab (event_words, instance); -- what words there are; takes no room
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
