import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { lastFileIn } from '../../engine/catalog/known.ts';
import { joinCrc32 } from '../../engine/media/crc32.ts';
import { FileWriter, type WriterReply } from '../../engine/recording/file-writer.ts';

describe('file writer', () => {
  let root: string;
  let replies: WriterReply[];
  let writer: FileWriter;
  const path = 'yard/2026-01-01/00/a.mp4';
  const events = (): string[] => replies.map(({ event }) => event);
  const open = (id = '1'): void => writer.handle({ op: 'open', id, path, header: Buffer.from('head') });
  const append = (text: string, id = '1'): void => writer.handle({ op: 'append', id, data: Buffer.from(text) });

  beforeEach(() => {
    root = join(mkdtempSync(join(tmpdir(), 'flow-nvr-writer-')), 'storage');
    replies = [];
    writer = new FileWriter(root, (reply) => replies.push(reply));
  });
  afterEach(() => rmSync(join(root, '..'), { recursive: true, force: true }));

  it('writes in order, seals the header, and tells the end when all is on disk', () => {
    open();
    append('one');
    append('two');
    writer.sync();
    writer.handle({ op: 'close', id: '1', writes: [{ offset: 0, bytes: Buffer.from('HE') }] });
    assert.equal(readFileSync(join(root, path), 'utf8'), 'HEadonetwo');
    assert.deepEqual(events(), ['appended', 'appended', 'closed']);
    const closed = replies.at(-1);
    assert.ok(closed?.event === 'closed' && closed.hash === crc32('HEadonetwo'), 'the sum is that of the file');
  });

  it('knows the sum of any two parts', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 }), (a, b) => {
        assert.equal(joinCrc32(crc32(a), crc32(b), b.length), crc32(Buffer.concat([a, b])));
      }),
    );
  });

  it('cuts a file that failed to what its row says', () => {
    open();
    append('one');
    writer.handle({ op: 'trim', id: 'x', path, size: 5, writes: [{ offset: 0, bytes: Buffer.from('HE') }] });
    assert.equal(readFileSync(join(root, path), 'utf8'), 'HEado');
    writer.handle({ op: 'trim', id: 'x', path, size: 50, writes: [{ offset: 0, bytes: Buffer.from('XX') }] });
    writer.handle({ op: 'trim', id: 'x', path: 'gone.mp4', size: 5, writes: [] });
    assert.equal(readFileSync(join(root, path), 'utf8'), 'HEado');
  });

  it('never writes into a file that is there already', () => {
    mkdirSync(join(root, 'yard/2026-01-01/00'), { recursive: true });
    writeFileSync(join(root, path), 'footage');
    open();
    append('x');
    assert.deepEqual(events(), ['failed', 'appended']);
    assert.equal(readFileSync(join(root, path), 'utf8'), 'footage');
  });

  it('notices a file that was removed while it was written, once, and takes the next', () => {
    open();
    append('one');
    unlinkSync(join(root, path));
    writer.sync();
    writer.sync();
    append('late');
    const failed = replies.filter((reply) => reply.event === 'failed');
    assert.equal(failed.length, 1);
    assert.ok(failed[0]!.cause === 'storage-missing' && failed[0]!.goodBytes === 0);
    open('2');
    append('again', '2');
    assert.equal(readFileSync(join(root, path), 'utf8'), 'headagain');
  });

  it('says where a folder is that it cannot make', () => {
    writeFileSync(root, 'a file where the folder should be');
    open();
    const [reply] = replies;
    assert.ok(reply?.event === 'failed' && reply.message.includes(root), JSON.stringify(reply));
  });

  it('makes a folder again that was deleted as a whole', () => {
    open();
    writer.handle({ op: 'close', id: '1', writes: [] });
    renameSync(root, `${root}-gone`);
    open('2');
    append('new', '2');
    assert.equal(readFileSync(join(root, path), 'utf8'), 'headnew');
  });

  it('does not take the mount point of a disk that is away at the start for its storage', () => {
    const before = 'yard/2026-01-01/00/before.mp4';
    const begin = (): void => {
      replies = [];
      writer = new FileWriter(
        root,
        (reply) => replies.push(reply),
        () => before,
      );
      open();
    };
    const here = (name: string): boolean => existsSync(join(root, name));
    for (const there of [false, true]) {
      if (there) mkdirSync(root);
      begin();
      const [failed] = replies;
      assert.ok(failed?.event === 'failed' && failed.cause === 'storage-missing', JSON.stringify(failed));
      assert.match(failed.message, /mounted.*\.flow-nvr/);
      assert.deepEqual([here(''), here('.flow-nvr')], [there, false]);
    }
    // Emptied on purpose, as its user says.
    writeFileSync(join(root, '.flow-nvr'), '');
    begin();
    append('x');
    assert.deepEqual([events(), here(path)], [['appended'], true]);
    // The footage without the marker, which is easily left behind when it is copied.
    rmSync(root, { recursive: true });
    mkdirSync(dirname(join(root, before)), { recursive: true });
    writeFileSync(join(root, before), 'footage');
    begin();
    assert.deepEqual([events(), here(path), here('.flow-nvr')], [[], true, true]);
  });

  it('asks the catalogue what was recorded to a folder', () => {
    mkdirSync(root);
    const file = join(root, 'catalog.sqlite');
    assert.equal(lastFileIn(file, root), null);
    assert.equal(existsSync(file), false);
    const catalog = Catalog.open(file);
    const add = (startMs: number): void => {
      const at = { storage: root, path: `${startMs}.mp4` };
      const init = Buffer.from('init');
      catalog.openSegment({
        ...{ ...at, camera: 'yard', stream: 'main', recordingId: null, init, startMs, startTicks: 0 },
      });
      catalog.closeSegment({ ...at, endMs: startMs + 1, bytes: 1, frames: 1, gops: Buffer.alloc(0) });
    };
    assert.equal(lastFileIn(file, root), null);
    add(1);
    add(2);
    assert.deepEqual([lastFileIn(file, root), lastFileIn(file, '/other')], ['2.mp4', null]);
    catalog.close();
    writeFileSync(file, 'no catalogue');
    assert.equal(lastFileIn(file, root), null);
  });
});
