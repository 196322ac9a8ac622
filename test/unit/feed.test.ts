import assert from 'node:assert/strict';
import { shownTo, type FeedMessage } from '../../engine/http/feed.ts';
import type { Access, Right } from '../../engine/http/tokens.ts';
import type { IndexedEvent } from '../../engine/events/types.ts';

type Kind = FeedMessage['type'];

/** Each kind of message about one camera, or about none; a new kind does not compile without being in here. */
const ABOUT: { [K in Kind]: (camera: string) => Extract<FeedMessage, { type: K }> } = {
  hello: (camera) => ({
    ...{ type: 'hello', now: 1, ptz: [camera], problem: 'the disk /secret/place is full' },
    cameras: [ABOUT.camera(camera)],
    recorders: [ABOUT.recorder(camera)],
    motions: [ABOUT.motion(camera)],
  }),
  camera: (camera) => ({ type: 'camera', camera, name: camera, state: 'online' }) as ReturnType<typeof ABOUT.camera>,
  'camera-removed': (camera) => ({ type: 'camera-removed', camera }),
  recorder: (camera) => ({
    ...{ type: 'recorder', camera, recording: true, since: 1, trigger: null, panic: false, problem: null },
  }),
  motion: (camera) => ({
    ...{ type: 'motion', camera, eventId: '1', phase: 'start', start: 1, end: null, time: 1, score: 1, boxes: [] },
  }),
  gap: (camera) => ({ type: 'gap', camera }) as ReturnType<typeof ABOUT.gap>,
  problem: () => ({ type: 'problem', message: 'the disk /secret/place is full' }),
  tick: () => ({ type: 'tick', now: 1 }),
  event: (camera) => ({ type: 'event', cameras: [camera], event: { label: camera } as unknown as IndexedEvent }),
};
const KINDS = Object.keys(ABOUT) as Kind[];

describe('what of the feed a token may know', () => {
  const access = (cameras: string[] | '*', rights: Right[] = ['live']): Access => ({
    ...{ cameras, rights, id: 'me', expiresMs: Date.now() + 60_000 },
  });

  it('is all of it for a token of all cameras', () => {
    for (const kind of KINDS) {
      const message = ABOUT[kind]('gate');
      assert.deepEqual(shownTo(message, access('*')), message);
    }
  });

  it('is nothing of another camera, and nothing of the NVR as a whole but that something is wrong', () => {
    for (const kind of KINDS) {
      const text = JSON.stringify(shownTo(ABOUT[kind]('gate'), access(['yard'])));
      assert.doesNotMatch(text, /gate|secret/, kind);
    }
    assert.match(JSON.stringify(shownTo(ABOUT.problem(''), access(['yard']))), /something is wrong/);
    assert.deepEqual(shownTo({ type: 'problem', message: null }, access(['yard'])), { type: 'problem', message: null });
  });

  it('is what concerns its own camera', () => {
    for (const kind of KINDS) {
      if (kind === 'tick' || kind === 'problem') continue;
      assert.match(JSON.stringify(shownTo(ABOUT[kind]('yard'), access(['yard']))), /yard/, kind);
    }
  });

  it('is no event without cameras, and none of a camera that is not its own', () => {
    const event = (cameras: unknown) => ({ ...ABOUT.event('yard'), cameras }) as FeedMessage;
    assert.equal(shownTo(event([]), access(['yard'])), null);
    assert.equal(shownTo(event(['yard', 'gate']), access(['yard'])), null);
    assert.ok(shownTo(event([]), access('*')));
    assert.ok(shownTo(event(['yard']), access(['yard', 'gate'])));
  });

  it('ends with the right to see what is live', () => {
    assert.equal(shownTo(ABOUT.motion('yard'), access(['yard'], ['playback'])), null);
  });
});
