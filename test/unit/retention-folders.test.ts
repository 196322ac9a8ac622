import assert from 'node:assert/strict';
import { Folders } from '../../engine/retention/folders.ts';
import type { Room } from '../../engine/retention/place.ts';
import { EngineError } from '../../engine/types.ts';

describe('storage folders that are looked at', () => {
  const room: Room = { disk: 'd', freeBytes: 7, totalBytes: 9 };
  const hangs = new EngineError('stalled', 'the disk does not answer');
  const away = new EngineError('away', 'it is not there');
  let inUse: string[];
  /** Questions that have no answer yet. */
  let asked: { storage: string; answer: (free: number) => void; fail: (error: Error) => void }[];
  let closed: string[];
  let touched: string[];
  let folders: Folders;
  beforeEach(() => {
    [inUse, asked, closed, touched] = [['/local', '/nas'], [], [], []];
    folders = new Folders({
      inUse: () => inUse,
      open: (storage) => ({
        call: () =>
          new Promise<never>((resolve, fail) => {
            const answer = (freeBytes: number): void => resolve({ ...room, freeBytes } as never);
            asked.push({ storage, answer, fail });
          }),
        close: () => void closed.push(storage),
      }),
      files: {
        present: () => assert.fail('nobody waits for a disk'),
        unlink: (file) => void touched.push(file),
        removeEmpty: (folder) => void touched.push(folder),
      },
    });
  });
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const names = (): string[] => asked.map(({ storage }) => storage);
  const take = (storage: string): (typeof asked)[number] => {
    const at = asked.findIndex((one) => one.storage === storage);
    return asked.splice(at, 1)[0] ?? assert.fail(`nothing is asked of ${storage}`);
  };
  /** A look at a folder that hangs, after the others have answered. */
  const lookWithout = async (storage: string): Promise<void> => {
    const look = folders.look();
    await settle();
    for (const one of names().filter((name) => name !== storage)) take(one).answer(7);
    take(storage).fail(hangs);
    await look;
  };

  it('leaves out one that hangs, asks it one thing at a time, and waits for it no more', async () => {
    assert.deepEqual(folders.there, []);
    await lookWithout('/nas');
    assert.deepEqual([folders.there, folders.problem], [['/local'], hangs.message]);
    assert.deepEqual([folders.roomOf('/local'), folders.roomOf('/nas')], [room, null]);
    for (let i = 0; i < 3; i++) {
      const look = folders.look();
      await settle();
      assert.deepEqual(names().sort(), ['/local', '/nas']);
      take('/local').answer(7 + i);
      await look;
    }
    assert.equal(folders.roomOf('/local')?.freeBytes, 9);
    take('/nas').answer(5);
    await settle();
    assert.deepEqual([folders.there, folders.problem], [['/local', '/nas'], null]);
  });

  it('touches no file where nobody answers', async () => {
    await lookWithout('/nas');
    assert.throws(() => folders.unlink('/nas/a.mp4'), { code: 'ENOENT' });
    assert.equal(folders.present('/nas'), false, 'so that its row stays');
    folders.removeEmpty('/nas/2026');
    folders.removeEmpty('/local-not');
    folders.unlink('/local/a.mp4');
    folders.removeEmpty('/local/2026');
    assert.deepEqual(touched, ['/local/a.mp4', '/local/2026']);
  });

  it('takes no answer to a question from before', async () => {
    inUse = ['/local'];
    const first = folders.look();
    await settle();
    const second = folders.look();
    await settle();
    take('/local').answer(1);
    await first;
    await settle();
    assert.deepEqual([folders.roomOf('/local')?.freeBytes, names()], [1, ['/local']]);
    take('/local').answer(2);
    await second;
    assert.equal(folders.roomOf('/local')?.freeBytes, 2);
  });

  it('has no problem with one that is not there, and none with one that is in use no more', async () => {
    const look = folders.look();
    await settle();
    take('/local').fail(away);
    take('/nas').fail(hangs);
    await look;
    assert.deepEqual([folders.there, folders.problem], [[], hangs.message]);
    inUse = ['/local'];
    const next = folders.look();
    await settle();
    assert.deepEqual([closed, names(), folders.problem], [['/nas'], ['/local'], null]);
    take('/local').answer(7);
    await next;
    assert.deepEqual(folders.there, ['/local']);
  });
});
