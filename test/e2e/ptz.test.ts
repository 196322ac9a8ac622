/** A camera that is steered, with the picture that follows: what others see of its presets, and what its movement is not. */
import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import sharp from 'sharp';
import { TAB, capture, entrance, tab } from '../support/flow.ts';
import { NodeRed, type FlowNode } from '../support/node-red.ts';
import { OnvifCamera } from '../support/onvif-camera.ts';
import { PanningPicture } from '../support/panning-picture.ts';

interface Told {
  payload: {
    type: string;
    command?: string;
    moving?: boolean;
    phase?: string;
    label?: string;
    still?: { data: number[] };
  };
}

describe('ptz in Node-RED', function () {
  this.timeout(120_000);
  let red: NodeRed;
  let sim: OnvifCamera;
  let picture: PanningPicture;
  let token: string;

  const flow = (account: { username: string; password: string }): FlowNode[] => [
    ...tab(),
    { id: 'nvr-store', type: 'nvr-config', name: '', storage: 'nvr', catalog: '', httpPath: 'nvr', ffmpegPath: '' },
    {
      ...{ id: 'source', type: 'camera-source', z: TAB, name: 'Yard', nvr: 'nvr-store', camera: 'yard', subUrl: '' },
      ...{
        url: picture.address,
        transport: 'tcp',
        audio: false,
        onvif: `127.0.0.1:${sim.port}`,
        anyCertificate: false,
      },
      ...{ wires: [['motion'], []], credentials: account },
    },
    {
      ...{
        id: 'motion',
        type: 'motion-detect',
        z: TAB,
        nvr: 'nvr-store',
        mode: 'full',
        sensitivity: 60,
        minSize: 0.03,
      },
      ...{ maxSize: 100, hold: 1, stills: false, drawBoxes: false, levels: false, zones: [] },
      wires: [['capture-motion'], []],
    },
    {
      ...{
        id: 'steering',
        type: 'ptz',
        z: TAB,
        name: '',
        nvr: 'nvr-store',
        camera: 'yard',
        address: '',
        moveTimeout: 5,
      },
      ...{ panTiltTravel: '', zoomTravel: '', events: false, allEvents: false, idle: 0 },
      rules: [{ on: 'external', match: 'doorbell', camera: '', preset: 'Door', dwell: '3', back: 'before' }],
      wires: [['capture-ptz'], ['capture-visits']],
    },
    ...['motion', 'ptz', 'visits'].flatMap(capture),
    ...entrance('ptz', ['steering']),
  ];
  const api = (path: string): Promise<Response> =>
    fetch(`${red.url}/nvr/${path}`, { headers: { Authorization: `Bearer ${token}` } });
  const presets = async (): Promise<{ token: string; name: string; still: string | null }[]> =>
    // Until the catalogue is there, the answer is an error.
    (
      (await (await api('api/presets/yard')).json()) as {
        presets?: { token: string; name: string; still: string }[];
      }
    ).presets ?? [];
  async function until<T>(what: string, find: () => Promise<T | undefined>, ms = 20_000): Promise<T> {
    for (const end = Date.now() + ms; ; await wait(100)) {
      const found = await find();
      if (found !== undefined) return found;
      assert.ok(Date.now() < end, `${what}\n${red.log.slice(-2000)}`);
    }
  }
  /** JPEG of a preset, once it has one. */
  const stillOf = (name: string): Promise<Buffer> =>
    until(`still of ${name}`, async () => {
      const still = (await presets()).find((preset) => preset.name === name)?.still;
      return still ? Buffer.from(await (await api(still)).arrayBuffer()) : undefined;
    });

  before(async () => {
    sim = new OnvifCamera({ presets: {}, password: 'first', speeds: { pan: 0.6, tilt: 0.6, zoom: 0.6 } });
    sim.presets.set('a/b.jpg?ü', { name: 'Door', position: { pan: -0.9, tilt: -0.2, zoom: 0.6 } });
    sim.presets.set('2', { name: 'Yard', position: { pan: 0.8, tilt: -0.3, zoom: 0.5 } });
    await sim.start();
    picture = await new PanningPicture({ position: () => sim.table.position, traffic: false }).start();
    red = await NodeRed.create();
    await red.start();
    await red.deploy(flow({ username: 'admin', password: 'first' }));
    const grant = { nvr: 'nvr-store', cameras: ['yard'], rights: ['live'], minutes: 10 };
    ({ token } = (await red.post('/nvr/token', grant)) as { token: string });
  });
  after(async () => {
    await red.dispose();
    await picture.stop();
    await sim.stop();
  });

  it('shows its presets to others, with a picture of each where it was', async () => {
    await until('presets', async () => ((await presets()).length === 2 ? true : undefined));
    assert.deepEqual(
      (await presets()).map(({ name, still }) => [name, still]),
      [
        ['Yard', null],
        ['Door', null],
      ],
    );
    await wait(4000); // until motion detection knows what it sees
    for (const preset of ['Door', 'Yard']) {
      await red.send('ptz', { payload: { command: 'goto-preset', preset } });
      const jpeg = await stillOf(preset);
      const { width, format } = await sharp(jpeg).metadata();
      assert.deepEqual([width, format, jpeg.length <= 40 * 1024], [320, 'jpeg', true]);
    }
    const [door, yard] = await Promise.all(
      ['Door', 'Yard'].map(async (name) =>
        sharp(await stillOf(name))
          .raw()
          .toBuffer(),
      ),
    );
    const difference = door!.reduce((sum, value, i) => sum + Math.abs(value - yard![i]!), 0) / door!.length;
    assert.ok(difference > 20, `they show different places: ${difference}`);
    assert.equal((await fetch(`${red.url}/nvr/api/presets/yard`)).status, 401);
    assert.equal((await api('api/presets/gate')).status, 403);
    assert.equal((await api('api/presets/yard/none.jpg')).status, 404);
  });

  it('is sent to where something happens, tells it, and goes back', async () => {
    await until('rest', () => Promise.resolve(sim.table.moving ? undefined : true));
    const before = sim.table.position;
    await red.send('ptz', { payload: { type: 'external', label: 'Doorbell', eventId: 'ring-1' } });
    await red.waitFor<Told>('visits', ({ payload }) => payload.phase === 'start' && payload.label === 'Door', 20_000);
    await red.waitFor<Told>('visits', ({ payload }) => payload.phase === 'update' && !!payload.still, 20_000);
    await red.waitFor<Told>('visits', ({ payload }) => payload.phase === 'end', 20_000);
    await until('way back', () =>
      Promise.resolve(Math.abs(sim.table.position.pan - before.pan) < 0.01 && !sim.table.moving ? true : undefined),
    );
    await wait(3000);
    assert.deepEqual(await red.captured('motion'), [], 'its own movement was no motion');
  });

  it('takes a new account of its camera at the next Deploy of the camera alone', async () => {
    sim.options.password = 'second';
    await red.deploy(flow({ username: 'admin', password: 'second' }), 'nodes');
    await until('the new account', async () => {
      await red.send('ptz', { payload: { command: 'status' } });
      const answers = await red.captured<Told>('ptz');
      return answers.some(({ msg }) => msg.payload.command === 'status') ? true : undefined;
    });
  });
});
