/** What somebody does who reaches the dashboard's socket, and has no business there: a client that speaks its protocol by hand. */
import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import { hashSync } from 'bcryptjs';
import { capture, dashboard, tab, TAB } from '../support/flow.ts';
import { DashboardSocket } from '../support/dashboard-socket.ts';
import { NodeRed, type FlowNode } from '../support/node-red.ts';

const AUTH = { Authorization: `Basic ${Buffer.from('eva:secret').toString('base64')}` };
const GRID = 'grid-widget';

describe("the dashboard's socket", function () {
  this.timeout(60_000);
  let red: NodeRed;
  let socket: DashboardSocket;

  const flow = (access: string): FlowNode[] => [
    ...tab(),
    ...dashboard(),
    ...capture('camera'),
    {
      ...{
        id: 'nvr-store',
        type: 'nvr-config',
        name: '',
        storage: 'nvr',
        catalog: '',
        httpPath: 'nvr',
        ffmpegPath: '',
      },
      dashboardAccess: access,
    },
    {
      ...{
        id: 'source-yard',
        type: 'camera-source',
        z: TAB,
        name: 'Yard',
        nvr: 'nvr-store',
        camera: 'yard',
        subUrl: '',
      },
      ...{ url: 'lavfi:testsrc2=size=160x90:rate=5', transport: 'tcp', audio: false, wires: [['capture-camera'], []] },
    },
    ...capture('camera'),
    // Of no dashboard: what it sends is the flow's own.
    { id: 'own-node', type: 'function', z: TAB, name: '', func: 'return null;', outputs: 1, wires: [['capture-grid']] },
  ];
  const token = async (): Promise<string> => {
    const answer = await fetch(`${red.url}/nvr/dashboard/token`, { headers: AUTH });
    assert.equal(answer.status, 200);
    return ((await answer.json()) as { token: string }).token;
  };
  const send = (payload: object, withToken?: unknown): Promise<void> =>
    socket.emit('widget-action', GRID, { payload, token: withToken });
  /** What the flow got until an action that is good, which comes last. */
  let seen = 0;
  const arrived = async (): Promise<Record<string, unknown>[]> => {
    await send({ type: 'enlarge', camera: 'yard', enlarged: true }, await token());
    for (;;) {
      const all = await red.captured('grid');
      const found = all.slice(seen).map(({ msg }) => msg);
      if (found.some(({ topic }) => topic === 'ui-nvr-grid/enlarge')) {
        seen = all.length;
        return found;
      }
      assert.ok(red.running, red.log);
      await wait(20);
    }
  };

  before(async () => {
    red = await NodeRed.create({
      dashboard: true,
      env: { HTTP_NODE_AUTH: JSON.stringify({ user: 'eva', pass: hashSync('secret', 4) }) },
    });
    await red.start();
    await red.deploy(flow('control'));
    await red.waitFor<{ camera?: string }>('camera', ({ camera }) => camera === 'yard', 20_000);
    socket = await DashboardSocket.open({ port: red.port });
  });
  after(() => red.dispose());

  it('passes on what was done on the page, with who did it', async () => {
    const [msg, ...others] = await arrived();
    assert.deepEqual(others, []);
    assert.deepEqual(msg!['payload'], { type: 'enlarge', camera: 'yard', enlarged: true });
    assert.equal(msg!['camera'], 'yard');
    assert.equal(typeof (msg!['_client'] as Record<string, unknown>)['socketId'], 'string');
    assert.ok(!JSON.stringify(msg).includes('token'));
  });

  it('takes nothing without a token, nor with one that is forged', async () => {
    const good = await token();
    const [head, body, signature] = good.split('.') as [string, string, string];
    const admin = Buffer.from(JSON.stringify({ cameras: '*', rights: ['control'], jti: 'x', exp: 4e9 })).toString(
      'base64url',
    );
    for (const wrong of [undefined, '', 7, {}, [good], `${head}.${admin}.${signature}`, `${head}.${body}.`]) {
      await send({ type: 'panic' }, wrong);
    }
    assert.equal((await arrived()).length, 1);
  });

  it('takes only actions that a page of this widget sends, as it sends them', async () => {
    const good = await token();
    const wrong: unknown[] = [
      ...[
        'panic',
        null,
        7,
        [],
        {},
        { type: 'alert', action: 'unread', count: 1 },
        { type: 'toString' },
        { type: '__proto__' },
      ],
      ...[
        { type: 'select', camera: '../x' },
        { type: 'select', camera: 'nowhere' },
        { type: 'select', camera: ['yard'] },
      ],
      ...[
        { type: 'layout', layout: '9x9' },
        { type: 'layout', layout: ['2x2'] },
        { type: 'select', camera: 'yard', more: 1 },
      ],
      ...[
        { type: 'order', cameras: 'yard' },
        { type: 'order', cameras: Array(501).fill('yard') },
      ],
      ...[
        { type: 'ptz', camera: 'yard', command: 'reboot' },
        { type: 'ptz', camera: 'yard', pan: 7 },
      ],
      { type: 'select', camera: 'yard', command: 'x'.repeat(100_000) },
    ];
    for (const payload of wrong) await send(payload as object, good);
    await socket.emit('widget-action', GRID, 'text');
    await socket.emit('widget-action', GRID);
    await socket.emit('widget-action', GRID, {
      payload: { type: 'panic' },
      token: good,
      topic: 'mine',
      _client: { user: 'root' },
    });
    const messages = await arrived();
    assert.deepEqual(
      messages.map(({ topic }) => topic),
      ['ui-nvr-grid/panic', 'ui-nvr-grid/enlarge'],
    );
    assert.ok(!JSON.stringify(messages).includes('root'), 'who it was is for the server to say');
  });

  it('lets nobody plant a message that pages get, nor send out of nodes of the flow', async () => {
    const { msg: before } = { msg: await socket.load(GRID) };
    const planted = {
      payload: {
        kept: [
          { command: 'order', cameras: 7 },
          { command: 'enlarge', camera: 'ghost' },
        ],
      },
    };
    for (const event of ['widget-change', 'widget-send']) {
      for (const id of [GRID, 'own-node', 'source-yard', 'live-group']) await socket.emit(event, id, planted);
    }
    await socket.emit('widget-action', 'own-node', planted);
    assert.equal((await arrived()).length, 1);
    assert.deepEqual(await socket.load(GRID), before);
  });

  it('keeps running whatever comes', async () => {
    for (const event of ['widget-load', 'widget-action', 'widget-change', 'widget-send', 'ui-control', 'x']) {
      for (const args of [
        [],
        [7],
        [null],
        [{}],
        [['a']],
        [true, 1],
        [GRID, null],
        [GRID, '__proto__'],
        ['x'.repeat(10_000)],
      ]) {
        await socket.emit(event, ...args);
      }
    }
    assert.equal((await arrived()).length, 1);
    assert.ok(red.running);
  });

  it('asks for the right to what was done', async () => {
    await red.deploy(flow('view'));
    const viewer = await token();
    await send({ type: 'panic' }, viewer);
    await send({ type: 'record', camera: 'yard' }, viewer);
    assert.equal((await arrived()).length, 1);
  });

  it('says in the log, not often, what it dropped, and no secret', () => {
    const lines = red.log.split('\n').filter((line) => line.includes("on the dashboard's socket were dropped"));
    assert.equal(lines.length, 1, lines.join('\n'));
    assert.ok(!/eyJ/.test(red.log), 'no token');
  });
});
