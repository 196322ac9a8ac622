import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { demandTime, share, type Times } from '../../engine/http/shares.ts';
import { allows, Tokens, type Access, type Right } from '../../engine/http/tokens.ts';

const [START, END] = [1_777_901_400_000, 1_777_901_460_000];

describe('links to a range of footage', () => {
  let folder: string;
  let tokens: Tokens;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'flow-nvr-shares-'));
    tokens = new Tokens(folder);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const access = (cameras: string[] | '*', rights: Right[]): Access => ({
    ...{ cameras, rights, id: 'me', expiresMs: Date.now() + 60_000 },
  });
  const wish = { cameras: ['front', 'gate'], start: START, end: END, minutes: 60 };

  it('have the range, the cameras and no more rights than who makes them', async () => {
    const { token, links, expires } = await share(
      tokens,
      access('*', ['live', 'playback', 'export', 'control', 'admin']),
      wish,
    );
    const shared = await tokens.verify(token);
    assert.deepEqual(
      [shared.cameras, shared.rights, shared.range],
      [['front', 'gate'], ['playback', 'export'], { start: START, end: END }],
    );
    assert.ok(Math.abs(shared.expiresMs - expires) < 2000);
    assert.ok(links[1]!.path.startsWith(`clip/gate.mp4?start=${START}&end=${END}&token=`));
    const narrow = await share(tokens, access(['front'], ['export']), { ...wish, cameras: ['front'] });
    assert.deepEqual((await tokens.verify(narrow.token)).rights, ['export']);
  });

  it('are not for cameras that who asks may not export, and cannot be shared on', async () => {
    await assert.rejects(share(tokens, access(['front'], ['export']), wish), { code: 'forbidden' });
    await assert.rejects(share(tokens, access('*', ['playback']), wish), { code: 'forbidden' });
    const { token } = await share(tokens, access('*', ['export']), wish);
    await assert.rejects(share(tokens, await tokens.verify(token), wish), { code: 'forbidden' });
  });

  it('are refused when they make no sense', async () => {
    const all = access('*', ['export']);
    for (const wrong of [
      { cameras: [] },
      { cameras: ['../x'] },
      { start: END, end: START },
      { end: START + 25 * 3_600_000 },
      { minutes: 0 },
      { minutes: 1e6 },
      { start: 'now' },
    ]) {
      await assert.rejects(share(tokens, all, { ...wish, ...wrong }), { code: 'bad-request' }, JSON.stringify(wrong));
    }
  });

  it('are not for what is still to come, which would be a live view', async () => {
    const all = access('*', ['live', 'export']);
    const until = (end: number) => share(tokens, all, { ...wish, start: end - 60_000, end });
    await assert.rejects(until(Date.now() + 3_600_000), { code: 'bad-request' });
    await assert.rejects(until(Date.now() + 120_000), { code: 'bad-request' });
    await until(Date.now() + 30_000); // a browser's clock may be ahead of ours
  });

  it('open no other time, and nothing without one', () => {
    const range = { start: START, end: END };
    const asked: Parameters<typeof demandTime>[2] = { start: null, end: null, at: null };
    const inside = { ...asked, start: START, end: END };
    assert.doesNotThrow(() => demandTime(range, 'range', inside));
    assert.doesNotThrow(() => demandTime(range, 'at', { ...asked, at: START + 5 }));
    assert.doesNotThrow(() => demandTime(range, 'part', asked)); // its name is looked up
    const wrong: [Times, object][] = [
      ...(['none', 'range', 'at'] as const).map((uses): [Times, object] => [uses, asked]),
      ['none', inside],
      ['none', { ...asked, at: START }],
      ['at', { ...asked, at: END + 5000 }],
      ['at', { ...inside, at: START }],
      ['at', inside],
      ['range', { ...asked, at: START }],
      ['range', { ...asked, start: START }],
      ['range', { ...asked, start: START, end: END + 5000 }],
      ['range', { ...asked, start: 0, end: END }],
      // A moment inside opens no range outside.
      ['range', { start: 0, end: END, at: START }],
      ['range', { ...inside, at: START }],
    ];
    for (const [uses, other] of wrong) {
      const demanding = (): void => demandTime(range, uses, other as typeof asked);
      assert.throws(demanding, { code: 'forbidden' }, `${uses} ${JSON.stringify(other)}`);
    }
  });

  it('never show what is live, whatever is in them', () => {
    const grant = { cameras: '*', rights: ['live', 'control', 'playback'], range: { start: START, end: END } } as const;
    assert.deepEqual(
      (['live', 'control', 'playback'] as const).map((right) => allows(grant, 'front', right)),
      [false, false, true],
    );
  });
});
