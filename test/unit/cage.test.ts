import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import {
  cageArgv,
  childEnvironment,
  MEASURES,
  type CageTools,
  type Measure,
  type Need,
} from '../../engine/cage/cage.ts';
import { findTools, tryMeasures } from '../../engine/cage/detect.ts';
import { cageKnown, measuresInForce } from '../../engine/cage/state.ts';
import { DECODER, runJob, spawnFfmpeg, startFfmpeg } from '../../engine/ingest/ffmpeg-process.ts';
import { FedWatch, Retries } from '../../engine/ingest/fed-watch.ts';
import { H264Encoder } from '../../engine/playback/h264-encoder.ts';

const TOOLS: CageTools = { prlimit: '/p', setpriv: '/s', unshare: '/u' };
const INGEST: Need = { network: true, memoryBytes: 1000, cpuSeconds: null, output: null };
const JOB: Need = { network: false, memoryBytes: 1000, cpuSeconds: 29.5, output: null };
const CLIP: Need = { ...JOB, output: { folder: '/clips', bytes: 77 } };
const WRITES =
  'fs:write-file,remove-dir,remove-file,make-char,make-dir,make-reg,make-sock,make-fifo,make-block,make-sym,refer,truncate';

describe('the cage of FFmpeg', () => {
  const all = MEASURES;
  const rows: [string, readonly Measure[], Need, boolean, string][] = [
    ['nothing is given', [], JOB, false, ''],
    [
      'ingest',
      ['limits', 'privileges', 'network'],
      INGEST,
      false,
      '/p --core=0 --nofile=512 --data=1000 --fsize=0 /s --no-new-privs',
    ],
    [
      'a job',
      ['limits', 'privileges', 'network'],
      JOB,
      false,
      '/p --core=0 --nofile=512 --data=1000 --cpu=30:35 --fsize=0 /s --no-new-privs /u --user --map-current-user --net',
    ],
    [
      'a driver',
      ['limits'],
      { ...JOB, memoryBytes: null, cpuSeconds: null },
      false,
      '/p --core=0 --nofile=512 --fsize=0',
    ],
    [
      'a clip',
      all,
      CLIP,
      false,
      `/p --core=0 --nofile=512 --data=1000 --cpu=30:35 --fsize=77 /s --no-new-privs --landlock-access ${WRITES} --landlock-rule path-beneath:write-file:/dev --landlock-rule path-beneath:write-file,make-reg,remove-file,truncate:/clips /u --user --map-current-user --net`,
    ],
    ['a clip of root', ['network', 'rootNetwork'], CLIP, true, '/u --net'],
    ['a clip of root without that', ['network'], CLIP, true, ''],
    ['a picture for root', ['network', 'rootNetwork'], JOB, true, '/u --user --map-current-user --net'],
    ['no user namespaces', ['rootNetwork'], JOB, true, '/u --net'],
  ];
  for (const [name, given, need, root, line] of rows) {
    it(`becomes this command line: ${name}`, () => {
      assert.equal(cageArgv(TOOLS, new Set(given), need, root).join(' '), line);
    });
  }

  it('is none without its programs', () => {
    assert.deepEqual(cageArgv({ prlimit: null, setpriv: null, unshare: null }, new Set(MEASURES), JOB), []);
  });

  it('passes on what FFmpeg needs, and no secret', () => {
    const env = {
      ...{ PATH: '/bin', Path: 'C:', SystemRoot: 'C:', LD_LIBRARY_PATH: '/x', LIBVA_DRIVER_NAME: 'iHD', LC_ALL: 'C' },
      ...{ MQTT_PASSWORD: 'p', http_proxy: 'x', NODE_OPTIONS: '-r x', FLOW_NVR_FFMPEG_ENV: 'MORE, OTHER', MORE: '1' },
    };
    const kept = Object.keys(childEnvironment(env)).sort();
    assert.deepEqual(
      kept,
      ['LC_ALL', 'LD_LIBRARY_PATH', 'LIBVA_DRIVER_NAME', 'MORE', 'PATH', 'Path', 'SystemRoot'].sort(),
    );
  });
});

/** A program in FFmpeg's place that says what it may do. */
const PROBE = `#!/bin/sh
[ "$1" = -version ] && exit 0
echo "nnp $(grep NoNewPrivs /proc/self/status | cut -f2)"
echo "core $(ulimit -c) files $(ulimit -n) data $(ulimit -d) size $(ulimit -f)"
echo "interfaces $(grep -c : /proc/net/dev)"
echo "secret $SECRET_OF_NODE_RED"
(echo x > "$1") 2>/dev/null
if [ -s "$1" ]; then echo written; else echo refused; fi
`;

describe('the cage of this machine', function () {
  this.timeout(60_000);
  const folder = mkdtempSync(join(tmpdir(), 'flow-nvr-cage-'));
  const program = join(folder, 'ffmpeg');
  let given: ReadonlySet<Measure>;
  before(async () => {
    writeFileSync(program, PROBE);
    chmodSync(program, 0o755);
    process.env.SECRET_OF_NODE_RED = 'hunter22';
    while (!(given = measuresInForce()).size) {
      await cageKnown();
      if (process.platform !== 'linux') break;
    }
  });
  after(() => {
    delete process.env.SECRET_OF_NODE_RED;
    rmSync(folder, { recursive: true, force: true });
  });

  it('holds what it promises, and nothing else is refused', async () => {
    const target = join(folder, 'target');
    const said = (await runJob(program, [target], { timeoutMs: 20_000 })).stdout.toString();
    assert.match(said, /secret \n/);
    if (given.has('limits')) assert.match(said, /core 0 files 512 data \d+ size 0/);
    if (given.has('privileges')) assert.match(said, /nnp 1/);
    if (given.has('network')) assert.match(said, /interfaces [01]\n/);
    assert.match(said, given.has('limits') || given.has('files') ? /refused/ : /written/);
    rmSync(target, { force: true });
    const output = { folder, bytes: 1_000_000 };
    const wrote = await runJob(program, [target], { timeoutMs: 20_000, output });
    assert.match(wrote.stdout.toString(), /written/);
    rmSync(target);
    const other = join(folder, 'other');
    mkdirSync(other);
    const outside = await runJob(program, [target], { timeoutMs: 20_000, output: { ...output, folder: other } });
    assert.match(outside.stdout.toString(), given.has('files') ? /refused/ : /written/);
  });

  it('lets ingest to the network, and decoders not', async function () {
    if (!given.has('network')) this.skip();
    const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
    await once(server, 'listening');
    let calls = 0;
    server.on('connection', () => calls++);
    const args = ['-v', 'error', '-i', `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`, '-f', 'null', '-'];
    await runJob('ffmpeg', args, { timeoutMs: 20_000 });
    assert.equal(calls, 0);
    await runJob('ffmpeg', args, { timeoutMs: 20_000, network: true });
    assert.equal(calls, 1);
    server.close();
  });

  it('is FFmpeg’s own process: it answers `q`, and ends with its input', async () => {
    const child = spawnFfmpeg(
      'ffmpeg',
      ['-v', 'error', '-re', '-f', 'lavfi', '-i', 'testsrc', '-f', 'null', '-'],
      'pipe',
    );
    await once(child, 'spawn');
    const name = (): string => readFileSync(`/proc/${child.pid}/comm`, 'utf8').trim();
    if (process.platform === 'linux') while (name() !== 'ffmpeg') await new Promise(setImmediate);
    child.stdin.end('q\n');
    const [code] = (await once(child, 'close')) as [number | null];
    assert.equal(code, 0);
    const decoder = startFfmpeg('ffmpeg', ['-v', 'quiet', '-f', 'mp4', '-i', 'pipe:0', '-f', 'null', '-'], {
      need: DECODER,
    });
    decoder.stdin!.end();
    await once(decoder, 'close');
  });

  it('says in the usual words that FFmpeg is not there', async () => {
    await assert.rejects(runJob('/nowhere/ffmpeg', [], { timeoutMs: 5000 }), {
      code: 'ffmpeg',
      message: /install FFmpeg/,
    });
  });

  it('ends what takes too long, writes or complains without end, and all that it started', async () => {
    const script = (body: string): string => {
      writeFileSync(program, `#!/bin/sh\n${body}\n`);
      return program;
    };
    const pid = join(folder, 'pid');
    const output = { folder, bytes: 1000 };
    const hang = script(`(echo $$ > ${pid}; sleep 1000) & echo $! > ${pid}; sleep 1000`);
    await assert.rejects(runJob(hang, [], { timeoutMs: 1500, output }), { code: 'timeout' });
    const grandchild = Number(readFileSync(pid, 'utf8'));
    // It is gone, or waits for its new parent to notice.
    const state = (): string => {
      const file = `/proc/${grandchild}/stat`;
      return existsSync(file) ? readFileSync(file, 'utf8').split(' ')[2]! : 'Z';
    };
    if (process.platform === 'linux') while (state() !== 'Z') await new Promise(setImmediate);
    await assert.rejects(runJob(script('exec cat /dev/zero'), [], { timeoutMs: 30_000 }), {
      message: /more than 32 MB/,
    });
    await assert.rejects(runJob(script('exec cat /dev/zero >&2'), [], { timeoutMs: 30_000 }), {
      message: /without end/,
    });
    const left = new AbortController();
    const job = runJob(script('exec sleep 1000'), [], { timeoutMs: 30_000, signal: left.signal });
    left.abort();
    await assert.rejects(job, { name: 'AbortError' });
  });

  it('is known to all threads, and does not let the first of them wait for long', async () => {
    const file = new URL('../../engine/cage/state.ts', import.meta.url).href;
    const source = `import(${JSON.stringify(file)}).then(({ measuresInForce }) =>
      require('node:worker_threads').parentPort.postMessage([...measuresInForce()]))`;
    const worker = new Worker(source, { eval: true });
    const [measures] = (await once(worker, 'message')) as [Measure[]];
    assert.deepEqual(measures, [...measuresInForce()]);
    await worker.terminate();
  });
});

describe('a cage that breaks', function () {
  this.timeout(60_000);

  it('is left out where it does not work, alone or with the rest', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'flow-nvr-cage-'));
    const tool = (name: string, body: string): string => {
      const file = join(folder, name);
      writeFileSync(file, `#!/bin/sh\n${body}\n`);
      chmodSync(file, 0o755);
      return file;
    };
    const pass = 'while [ "${1#-}" != "$1" ] || [ "${1#*:}" != "$1" ]; do shift; done; exec "$@"';
    const tools = {
      prlimit: tool('prlimit', pass),
      setpriv: tool(
        'setpriv',
        'case "$*" in *landlock*|*unshare*) echo "setpriv: no" >&2; exit 127;; esac; shift; exec "$@"',
      ),
      unshare: tool('unshare', pass),
    };
    const { given, reasons } = await tryMeasures(tools);
    assert.deepEqual([...given], ['limits', 'privileges']);
    assert.match(reasons.get('files')!, /setpriv: no/);
    assert.match(reasons.get('network')!, /not with the others/);
    rmSync(folder, { recursive: true, force: true });
  });

  it('costs a job nothing but time, and is told once', function () {
    if (findTools().prlimit === null) this.skip();
    // A process of its own: what breaks stays broken for the process.
    const folder = mkdtempSync(join(tmpdir(), 'flow-nvr-cage-'));
    const file = join(folder, 'prlimit');
    const works = join(folder, 'works');
    writeFileSync(works, '');
    writeFileSync(
      file,
      `#!/bin/sh\n[ -e ${works} ] || { echo "prlimit: failed" >&2; exit 1; }\nexec ${findTools().prlimit!} "$@"\n`,
    );
    chmodSync(file, 0o755);
    const root = new URL('../../engine/', import.meta.url).href;
    const source = `
      import { rmSync } from 'node:fs';
      const { cageKnown, measuresInForce } = await import('${root}cage/state.ts');
      const { runJob } = await import('${root}ingest/ffmpeg-process.ts');
      while (!measuresInForce().size) await cageKnown();
      const before = measuresInForce().has('limits');
      rmSync(${JSON.stringify(works)});
      const jobs = [];
      for (let i = 0; i < 3; i++) jobs.push((await runJob('ffmpeg', ['-version'], { timeoutMs: 20000 })).code);
      console.log(JSON.stringify({ before, jobs, after: measuresInForce().has('limits') }));`;
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', source], {
      ...{ encoding: 'utf8', env: { ...process.env, PATH: `${folder}:${process.env.PATH}` } },
    });
    assert.deepEqual(JSON.parse(child.stdout), { before: true, jobs: [0, 0, 0], after: false }, child.stderr);
    assert.equal(child.stderr.match(/without a part of its cage/g)?.length, 1);
    rmSync(folder, { recursive: true, force: true });
  });

  it('is not given up because a camera makes FFmpeg say so', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'flow-nvr-cage-'));
    const program = join(folder, 'ffmpeg');
    writeFileSync(program, '#!/bin/sh\n[ "$1" = -version ] && exit 0\necho "unshare: failed" >&2; exit 1\n');
    chmodSync(program, 0o755);
    const before = [...measuresInForce()];
    assert.equal((await runJob(program, [], { timeoutMs: 20_000 })).code, 1);
    assert.deepEqual([...measuresInForce()], before);
    rmSync(folder, { recursive: true, force: true });
  });
});

describe('encoders for viewers', function () {
  this.timeout(60_000);

  it('that write anything but MP4 fail, and nothing else does', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'flow-nvr-cage-'));
    const program = join(folder, 'ffmpeg');
    writeFileSync(program, '#!/bin/sh\necho "this is no MP4 and never was one"\nexec cat >/dev/null\n');
    chmodSync(program, 0o755);
    const failure = Promise.withResolvers<string>();
    const encoder = new H264Encoder(program, { media: () => undefined, failed: failure.resolve });
    const data = new Uint8Array(10);
    encoder.init({ kind: 'init', data, codecs: 'hvc1', width: 320, height: 180, hasAudio: false });
    assert.match(await failure.promise, /encoding for this viewer ended: .* box/);
    encoder.close();
    rmSync(folder, { recursive: true, force: true });
  });
});

describe('decoders that hang', () => {
  it('are noticed by what they are fed, however seldom that is', () => {
    for (const everyMs of [120, 1000, 10_000]) {
      const watch = new FedWatch(15_000);
      for (let at = 0; at < 200_000; at += everyMs) {
        assert.equal(watch.fed(at), false);
        watch.gave();
      }
      let at = 200_000;
      const since = at;
      while (!watch.fed(at)) at += everyMs;
      assert.ok(at - since >= 15_000 && at - since <= Math.max(15_000 + everyMs, 8 * everyMs), `${at - since}`);
    }
  });

  it('are started again later each time, and soon after they had worked', () => {
    const retries = new Retries();
    const waits = [0, 1, 2, 3, 4, 5, 6].map(() => {
      retries.started(0);
      return retries.failed(20_000);
    });
    assert.deepEqual(waits, [2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    retries.started(0);
    assert.equal(retries.failed(60_000), 2000);
  });
});
