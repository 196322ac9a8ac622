/** The attack: one link asks for everything. Real routes, pictures, clips, query thread and FFmpeg. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import express from 'express';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { createRouter } from '../../engine/http/router.ts';
import type { NvrService } from '../../engine/http/service.ts';
import { Tokens, type Grant } from '../../engine/http/tokens.ts';
import { askedBy } from '../../engine/playback/asker.ts';
import { Clips } from '../../engine/playback/clips.ts';
import type { Asker } from '../../engine/playback/fair-queue.ts';
import { QueryHost } from '../../engine/playback/query-host.ts';
import { Stills } from '../../engine/playback/stills.ts';
import { addFootage, numberedMedia } from '../support/footage.ts';

const START = 1_777_901_400_000;
const SECONDS = 12;

describe('a link that asks for everything', function () {
  this.timeout(120_000);
  let folder: string;
  let query: QueryHost;
  let clips: Clips;
  let tokens: Tokens;
  let server: Server;
  let base: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'flow-nvr-shares-'));
    const file = join(folder, 'catalog.sqlite');
    const catalog = Catalog.open(file);
    const media = numberedMedia({ seconds: SECONDS, width: 160, height: 90, kbps: 100 });
    addFootage(catalog, folder, media, { camera: 'yard', startMs: START, segmentMs: 5000 });
    catalog.close();
    query = new QueryHost({ catalog: file, cache: folder }, () => Promise.reject(new Error('no bucket')));
    clips = new Clips(query, 'ffmpeg', join(folder, 'clips'));
    const config = { storages: [folder], catalog: file, ffmpegPath: 'ffmpeg' };
    const picture = { image: new Uint8Array([0xff, 0xd8]), time: START };
    const stills = new Stills({ config, snapshot: () => Promise.resolve(picture) }, query, join(folder, 'strips'));
    tokens = new Tokens(folder);
    const nvr = { tokens, query, clips, stills } as unknown as NvrService;
    server = express()
      .use('/nvr', createRouter({ service: () => nvr, log: () => undefined }))
      .listen(0, '127.0.0.1');
    await once(server, 'listening');
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/nvr`;
  });
  after(async () => {
    server.closeAllConnections();
    server.close();
    clips.close();
    await query.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const range = { start: START, end: START + SECONDS * 1000 };
  const mint = (grant: Partial<Grant>): Promise<string> =>
    tokens.mint({ cameras: '*', rights: ['playback', 'export'], ...grant }, 60_000);
  const ask = async (path: string, token: string): Promise<Response> => {
    const answer = await fetch(`${base}/${path}`, { headers: { authorization: `Bearer ${token}` } });
    await answer.arrayBuffer();
    return answer;
  };
  const strip = (width: number): string =>
    `strip/yard.jpg?start=${range.start}&end=${range.end}&count=6&width=${width}`;

  it('for 300 strips leaves pictures to operators, viewers and other links', async () => {
    const [link, other] = [await mint({ range }), await mint({ range })];
    const viewer = await mint({});
    const operator = await mint({ rights: ['live', 'playback', 'control'] });
    let ended = 0;
    const attack = Array.from({ length: 300 }, async (_, i) => {
      const answer = await ask(strip(100 + i), link);
      ended++;
      return answer;
    });
    while (ended < 100) await new Promise(setImmediate); // those that are refused: the queue is full of the others
    const others = await Promise.all([
      ask('snapshot/yard.jpg', operator),
      ask(`snapshot/yard.jpg?at=${START + 5000}`, operator),
      ask(`snapshot/yard.jpg?at=${START + 6000}`, viewer),
      ask(`snapshot/yard.jpg?at=${START + 7000}`, other),
      ask(strip(99), other),
    ]);
    assert.deepEqual(
      others.map(({ status }) => status),
      [200, 200, 200, 200, 200],
    );
    const statuses = (await Promise.all(attack)).map((answer) => {
      assert.equal(answer.headers.has('retry-after'), answer.status === 429);
      return answer.status;
    });
    const made = statuses.filter((status) => status === 200).length;
    assert.ok(made >= 11 && made < 150, `${made} of 300 were made`);
    assert.ok(statuses.every((status) => status === 200 || status === 429));
  });

  it('for clips leaves turns to others, and an operator does not wait in its place for the same clip', async () => {
    const link: Asker = { id: 'link', kind: 'link' };
    const job = (asker: Asker, i: number) =>
      askedBy(asker, null, () =>
        clips.job({ camera: 'yard', stream: 'main', ...range, start: START + i, speed: 2 }, Date.now()),
      );
    const made: string[] = [];
    const noted = async (name: string, of: ReturnType<typeof job>): Promise<void> => {
      await (
        await of
      ).done;
      made.push(name);
    };
    const attack = Array.from({ length: 20 }, (_, i) => noted(`link ${i}`, job(link, i)));
    const all = Promise.allSettled(attack);
    // Some wait, the others were refused.
    await assert.rejects(attack[19]!, { code: 'busy' });
    await noted('operator', job({ id: 'me', kind: 'operator' }, 4));
    const before = made.filter((name) => name.startsWith('link')).length;
    assert.ok(before <= 3, `${made.join(', ')}: it was the last of the link`);
    const results = await all;
    assert.equal(results[4]!.status, 'fulfilled', 'they have it, too');
    assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 5);
  });
});
