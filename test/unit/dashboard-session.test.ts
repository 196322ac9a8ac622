import assert from 'node:assert/strict';
import { Feed, type FeedSocket } from '../../dashboard/shared/feed.ts';
import { NvrError, Session, type SessionAnswer } from '../../dashboard/shared/session.ts';

type Reply = SessionAnswer | 'no answer';

const answer = (status: number, body: object = {}): SessionAnswer => ({ status, json: () => Promise.resolve(body) });
const grant = (token: string, rights: string[] = ['live']): SessionAnswer =>
  answer(200, { token, rights, cameras: '*', expiresInMs: 600_000 });

/** Time that passes when it is told to, and a Node-RED that answers what it is told to. */
class World {
  nowMs = 0;
  readonly asked: string[] = [];
  reply: (path: string) => Reply = () => 'no answer';
  private timers: { at: number; run: () => void }[] = [];

  readonly after = (ms: number, run: () => void): (() => void) => {
    const timer = { at: this.nowMs + ms, run };
    this.timers.push(timer);
    return () => (this.timers = this.timers.filter((other) => other !== timer));
  };

  readonly fetch = (address: string): Promise<SessionAnswer> => {
    this.asked.push(address);
    const reply = this.reply(address.split('?')[0]!);
    return reply === 'no answer' ? Promise.reject(new TypeError('fetch failed')) : Promise.resolve(reply);
  };

  async pass(ms: number): Promise<void> {
    const end = this.nowMs + ms;
    await settled();
    for (;;) {
      const next = this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.timers = this.timers.filter((other) => other !== next);
      this.nowMs = next.at;
      next.run();
      await settled();
    }
    this.nowMs = end;
  }

  tokens(): number {
    return this.asked.filter((address) => address.includes('/dashboard/token')).length;
  }
}

const settled = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

describe("a page's session", () => {
  let world: World;
  let session: Session;
  beforeEach(() => {
    world = new World();
    session = new Session('/nvr/', world);
  });

  it('gets a token and renews it before it ends', async () => {
    world.reply = () => grant(`t${world.tokens()}`, ['live', 'control']);
    const told: string[] = [];
    session.onToken((token) => told.push(token));
    await session.refresh();
    assert.equal(session.state, 'ready');
    assert.ok(session.may('control') && !session.may('admin'));
    assert.equal(session.url('api/cameras', { a: 1, b: null }), '/nvr/api/cameras?a=1&token=t1');
    await world.pass(449_000);
    assert.equal(world.tokens(), 1);
    await world.pass(2000);
    assert.deepEqual(told, ['t1', 't2']);
    await world.pass(3_600_000);
    assert.equal(world.tokens(), 2 + 8);
  });

  it('says why it is denied, refuses at once, and looks again now and then', async () => {
    world.reply = () => answer(403, { error: 'closed', message: 'set httpNodeAuth' });
    await session.refresh();
    assert.deepEqual([session.state, session.reason], ['denied', 'set httpNodeAuth']);
    await assert.rejects(session.get('api/cameras'), (error: NvrError) => error.message === 'set httpNodeAuth');
    world.reply = () => grant('t');
    await world.pass(21_000);
    assert.equal(session.state, 'ready');
  });

  it('comes back after a restart, with what was asked meanwhile answered', async () => {
    await session.refresh();
    assert.equal(session.state, 'offline');
    const waiting = session.get<{ cameras: string[] }>('api/cameras');
    await world.pass(60_000);
    const tries = world.tokens();
    assert.ok(tries >= 6 && tries <= 10, `${tries} tries in a minute`);
    world.reply = (path) => (path.endsWith('token') ? grant('t') : answer(200, { cameras: ['a'] }));
    await world.pass(16_000);
    assert.deepEqual(await waiting, { cameras: ['a'] });
  });

  it('asks once more with a new token when the old one is not taken', async () => {
    world.reply = () => grant('old');
    await session.refresh();
    world.reply = (path) =>
      path.endsWith('token') ? grant('new') : world.asked.at(-1)!.includes('new') ? answer(200, {}) : answer(401);
    await session.get('api/cameras');
    assert.equal(session.url('x'), '/nvr/x?token=new');
    world.reply = (path) => (path.endsWith('token') ? grant('new') : answer(401, { error: 'unauthorized' }));
    await assert.rejects(session.get('api/cameras'), (error: NvrError) => error.status === 401);
  });

  it('passes on what an error says', async () => {
    world.reply = (path) => (path.endsWith('token') ? grant('t') : answer(404, { error: 'not-found', coverage: 1 }));
    await session.refresh();
    await assert.rejects(session.get('clip/a.mp4'), (error: NvrError) => {
      assert.deepEqual([error.status, error.code, error.body['coverage']], [404, 'not-found', 1]);
      return true;
    });
  });

  it('takes a 204, and an answer that is no JSON', async () => {
    world.reply = (path) =>
      path.endsWith('token') ? grant('t') : { status: 502, json: () => Promise.reject(new SyntaxError('<html>')) };
    await session.refresh();
    await assert.rejects(session.post('api/control', {}), /HTTP 502/);
    world.reply = () => answer(204);
    assert.deepEqual(await session.post('api/control', {}), {});
  });
});

describe("a page's feed", () => {
  const camera = (id: string, state = 'online'): object => ({
    type: 'camera',
    camera: id,
    name: id,
    state,
    streams: {},
    metrics: {},
  });
  const hello = (...cameras: object[]): object => ({
    ...{ type: 'hello', now: 1_000_000, cameras, recorders: [], motions: [], ptz: ['a'], problem: null },
  });
  let world: World;
  let feed: Feed;
  let opened: { text: (message: object) => void; close: () => void; sent: string[] }[];

  beforeEach(async () => {
    world = new World();
    world.reply = () => grant(`t${world.tokens()}`);
    const session = new Session('/nvr', world);
    await session.refresh();
    opened = [];
    feed = new Feed(session, {
      after: world.after,
      now: () => world.nowMs,
      open: (_path, on): FeedSocket => {
        const sent: string[] = [];
        opened.push({ text: (message) => on.text(JSON.stringify(message)), close: on.close, sent });
        return { send: (text) => sent.push(text), close: () => undefined };
      },
    });
    await world.pass(0);
  });

  it('knows what is true now', () => {
    opened[0]!.text(hello(camera('a'), camera('b')));
    assert.equal(feed.view.connected, true);
    assert.equal(feed.now(), 1_000_000);
    assert.deepEqual([feed.view.cameras.get('a')!.ptz, feed.view.cameras.get('b')!.ptz], [true, false]);
    opened[0]!.text({ type: 'recorder', camera: 'a', recording: true, since: 5 });
    opened[0]!.text({ type: 'motion', camera: 'a', phase: 'start', boxes: [] });
    opened[0]!.text(camera('a', 'offline'));
    assert.equal(feed.view.cameras.get('a')!.state, 'offline');
    assert.equal(feed.view.cameras.get('a')!.recorder!.recording, true);
    opened[0]!.text({ type: 'motion', camera: 'a', phase: 'end', boxes: [] });
    assert.equal(feed.view.cameras.get('a')!.motion, null);
    opened[0]!.text({ type: 'camera-removed', camera: 'b' });
    assert.deepEqual([...feed.view.cameras.keys()], ['a']);
  });

  it('comes back, and forgets what is gone', async () => {
    opened[0]!.text(hello(camera('a'), camera('b')));
    opened[0]!.close();
    assert.equal(feed.view.connected, false);
    assert.equal(feed.view.cameras.size, 2, 'what was known stays on show');
    await world.pass(1000);
    opened[1]!.text(hello(camera('b')));
    assert.deepEqual([...feed.view.cameras.keys()], ['b']);
  });

  it('notices a connection that is dead, and keeps one whose token is renewed', async () => {
    opened[0]!.text(hello());
    for (let i = 0; i < 60; i++) {
      await world.pass(10_000);
      opened[0]!.text({ type: 'tick', now: 0 });
    }
    const before = opened.length;
    assert.equal(before, 1);
    assert.ok(opened[0]!.sent.includes('{"token":"t2"}'));
    await world.pass(40_000);
    assert.ok(opened.length > before);
  });
});
