/** A mover that is killed again and again, and what is left then. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { Reconciler } from '../../engine/catalog/reconcile.ts';
import { segmentPath } from '../../engine/recording/segment-path.ts';
import { KINDS, type RetentionSpec, type TierState } from '../../engine/retention/types.ts';
import { TestBucket } from './bucket.ts';

const MINUTE = 60_000;
const MOVER = fileURLToPath(new URL('mover.ts', import.meta.url));
/** The last has two parts in the bucket. */
const SIZES = [20_000, 2_000_000, 9_000_000];
/** Too old for the rules. */
const OLD = 'old';

export interface Wreck {
  /** Files that the rules keep, and that are not where their row says, whole. */
  lost: number;
  /** Files that the rules do not keep, and that are there. */
  undead: number;
  /** Files and objects that no row names. */
  unknown: string[];
  uploads: number;
  leftovers: number;
  /** What reconcile would change. */
  differences: number;
  files: number;
  /** Moved by each life, on average. */
  movedPerLife: number;
}

/** So many lives, each killed at a random moment, and one at the end that may finish. */
export async function killing(lives: number, random: () => number, log: (line: string) => void): Promise<Wreck> {
  const root = mkdtempSync(join(tmpdir(), 'flow-nvr-killing-'));
  const [hot, warm, cold] = ['hot', 'warm', 'cold'].map((name) => join(root, name)) as [string, string, string];
  mkdirSync(hot);
  writeFileSync(join(hot, '.flow-nvr'), '');
  const bucket = new TestBucket();
  await bucket.start();
  const remote = `s3://${bucket.bucket}/nvr`;
  const config = { storages: [hot], catalog: join(root, 'catalog.sqlite'), ffmpegPath: 'ffmpeg' };
  const spec: RetentionSpec = {
    ...{ node: 'n', vetoMs: 0, buckets: { [remote]: bucket.access('nvr') } },
    rules: {
      rules: [{ id: 'r', cameras: [OLD], keep: { continuousMs: 30 * MINUTE } }],
      tiers: [
        { to: warm, afterMs: MINUTE, least: 'continuous' },
        { to: cold, afterMs: 2 * MINUTE, least: 'motion' },
        // The younger half of it is copied, and let go as it ages.
        { to: remote, afterMs: 3 * MINUTE, least: 'event', keepMs: 300 * MINUTE },
      ],
    },
  };
  const base = Math.floor(Date.now() / MINUTE) * MINUTE;
  const hashes = new Map<string, string>();
  let made = 0;
  const add = (count: number): void => {
    const catalog = Catalog.open(config.catalog);
    for (let i = 0; i < count; i++, made++) {
      const bytes = SIZES[made % SIZES.length]!;
      const old = made % 7 === 6;
      // Some younger, some older than what is kept beside the bucket.
      const startMs = base - (10 + ((made * 37) % 600)) * MINUTE + made;
      const camera = old ? OLD : 'yard';
      const path = segmentPath(camera, 'main', old ? startMs - 100 * MINUTE : startMs);
      const data = randomBytes(bytes);
      mkdirSync(dirname(join(hot, path)), { recursive: true });
      writeFileSync(join(hot, path), data);
      catalog.openSegment({
        ...{ camera, stream: 'main', storage: hot, path, recordingId: null, init: Buffer.from('init') },
        ...{ startMs: old ? startMs - 100 * MINUTE : startMs, startTicks: 0 },
      });
      const endMs = (old ? startMs - 100 * MINUTE : startMs) + MINUTE;
      catalog.closeSegment({ storage: hot, path, endMs, bytes, frames: 1, gops: Buffer.from(path), hash: crc32(data) });
      const kind = KINDS.indexOf(KINDS[Math.floor(made / 3) % 3]!);
      catalog.db.prepare('UPDATE segment SET kind = ? WHERE path = ?').run(kind, path);
      if (!old) hashes.set(path, createHash('sha256').update(data).digest('hex'));
    }
    catalog.close();
  };
  let states: TierState[] = [];
  const begin = (): { child: ChildProcess; first: Promise<void> } => {
    const child = spawn(process.execPath, [MOVER, JSON.stringify({ config, spec })], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = createInterface(child.stdout);
    states = [];
    let begun: () => void;
    const first = new Promise<void>((resolve) => (begun = resolve));
    lines.on('line', (line) => {
      states = JSON.parse(line) as TierState[];
      if (states.some(({ state }) => state === 'ok')) begun();
    });
    return { child, first };
  };
  const end = async (child: ChildProcess): Promise<void> => {
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  const moved: number[] = [];
  const elsewhere = (): number => {
    const catalog = Catalog.open(config.catalog);
    const count = catalog.db
      .prepare(
        'SELECT count(*) FROM segment s JOIN storage st ON st.id = s.storage_id WHERE st.path <> ? OR copy_id IS NOT NULL',
      )
      .pluck()
      .get(hot) as number;
    catalog.close();
    return count;
  };
  try {
    add(1);
    for (let life = 0; life < lives; life++) {
      const before = elsewhere();
      const waiting = hashes.size - before;
      if (waiting < 24) add(24 - waiting);
      const { child, first } = begin();
      await first;
      await wait(random() * 1200);
      await end(child);
      moved.push(elsewhere() - before);
      if (life % 20 === 19) log(`${life + 1} of ${lives} killed, ${made} files`);
    }
    const { child, first } = begin();
    await first;
    const done = ({ waitingFiles, leftovers, state }: TierState): boolean =>
      waitingFiles === 0 && leftovers === 0 && state === 'ok';
    const deadline = performance.now() + 90_000;
    for (let calm = 0; calm < 10; calm = states.length === 3 && states.every(done) ? calm + 1 : 0) {
      if (performance.now() > deadline) {
        log(`it does not come to rest: ${JSON.stringify(states)}`);
        break;
      }
      await wait(100);
    }
    await end(child);
    return { ...wreck(), movedPerLife: moved.reduce((a, b) => a + b, 0) / Math.max(1, lives) };
  } finally {
    await bucket.dispose();
    rmSync(root, { recursive: true, force: true });
  }

  function wreck(): Omit<Wreck, 'movedPerLife'> {
    const catalog = Catalog.open(config.catalog);
    const rows = catalog.db
      .prepare(
        `SELECT s.path, st.path AS storage, (SELECT path FROM storage WHERE id = s.copy_id) AS copy
         FROM segment s JOIN storage st ON st.id = s.storage_id`,
      )
      .all() as { path: string; storage: string; copy: string | null }[];
    const known = new Set(rows.flatMap(({ path, storage, copy }) => [`${storage}/${path}`, `${copy}/${path}`]));
    const read = (storage: string, path: string): Buffer | null => {
      const key = `nvr/${path}`;
      if (storage === remote) return bucket.keys.includes(key) ? bucket.read(key) : null;
      return existsSync(join(storage, path)) ? readFileSync(join(storage, path)) : null;
    };
    const whole = (storage: string, path: string): boolean => {
      const data = read(storage, path);
      return data !== null && createHash('sha256').update(data).digest('hex') === hashes.get(path);
    };
    const at = new Map(rows.map((row) => [row.path, row]));
    let lost = 0;
    for (const path of hashes.keys()) {
      const row = at.get(path);
      if (!row || !whole(row.storage, path) || (row.copy !== null && !whole(row.copy, path))) lost++;
    }
    const names = [hot, warm, cold].flatMap((folder) =>
      existsSync(folder)
        ? readdirSync(folder, { recursive: true })
            .map((name) => join(folder, String(name)))
            .filter((name) => name.includes('.mp4'))
        : [],
    );
    const objects = bucket.keys.map((key) => `s3://${bucket.bucket}/${key}`);
    const leftovers = catalog.db.prepare('SELECT count(*) FROM leftover').pluck().get() as number;
    let gap = -1;
    const reconciler = new Reconciler(catalog, () => gap--);
    reconciler.finishOpen([hot, warm, cold]);
    for (const folder of [hot, warm, cold]) Array.from(reconciler.walk(folder, Infinity));
    const { indexed, missing, empty, doubles, copies } = reconciler.report;
    catalog.close();
    return {
      lost,
      undead: rows.filter(({ path }) => path.startsWith(OLD)).length,
      unknown: [...names, ...objects].filter((name) => !known.has(name)),
      uploads: bucket.uploads.length,
      leftovers,
      differences: indexed + missing + empty + doubles + copies,
      files: hashes.size,
    };
  }
}
