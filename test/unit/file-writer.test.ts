import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
});
