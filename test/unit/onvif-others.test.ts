/**
 * Held against what others wrote: our client against answers that a real device gave, as the npm package `onvif` brings them
 * for its own tests, and that package's client against our simulated device.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { OnvifClient } from '../../engine/onvif/client.ts';
import { describeDevice, streamUriOf } from '../../engine/onvif/device.ts';
import { ImagingService } from '../../engine/onvif/imaging.ts';
import { PtzService } from '../../engine/onvif/ptz-service.ts';
import { find, parseXml } from '../../engine/onvif/xml.ts';
import { OnvifCamera } from '../support/onvif-camera.ts';

const require = createRequire(import.meta.url);

/** The recorded answer to an action; conditions of the templates are taken as true, but for the broken ones. */
function recorded(folder: string, action: string): string | null {
  const file = ['', 'ptz.', 'imaging.', 'media.', 'device.', 'events.']
    .map((service) => join(folder, `${service}${action}.xml`))
    .find((name) => existsSync(name));
  if (!file) return null;
  return readFileSync(file, 'utf8')
    .replace(/\{\{\? it\.bad \}\}[\s\S]*?\{\{\?\}\}/g, '')
    .replace(/\{\{=it\.(hostname|port|pullPointUrl)\}\}/g, '127.0.0.1')
    .replace(/\{\{=[^}]*\}\}/g, new Date().toISOString())
    .replace(/\{\{\?[^}]*\}\}/g, '');
}

describe('ONVIF as others have it', function () {
  this.timeout(20_000);

  describe('answers that a real device gave', () => {
    let server: Server;
    let client: OnvifClient;
    const asked: string[] = [];
    before(async () => {
      const folder = join(dirname(require.resolve('onvif/package.json')), 'test', 'serverMockup');
      server = createServer((request, response) => {
        const chunks: Buffer[] = [];
        request.on('data', (chunk: Buffer) => chunks.push(chunk));
        request.on('end', () => {
          const action = find(parseXml(Buffer.concat(chunks).toString()), 'Body')!.children[0]!.name;
          asked.push(action);
          const answer = recorded(folder, action);
          response.writeHead(answer ? 200 : 500).end(answer ?? recorded(folder, 'Error'));
        });
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as AddressInfo;
      client = new OnvifClient({ address: `127.0.0.1:${port}`, account: { username: 'admin', password: '9999' } });
    });
    after(() => {
      client.close();
      server.closeAllConnections();
      server.close();
    });

    it('are understood: what it is, its streams, how it is steered, its presets and its picture', async () => {
      const device = await describeDevice(client);
      assert.ok(device.manufacturer && device.model && device.firmware);
      assert.deepEqual(Object.keys(device.services).sort(), [...['deviceIo', 'events', 'imaging', 'media', 'ptz']]);
      const [profile] = device.profiles;
      assert.ok(profile && profile.token === 'main' && profile.width > 0 && profile.hasPtz, JSON.stringify(profile));
      assert.match(await streamUriOf(client, device, profile.token), /^rtsp:\/\/127\.0\.0\.1/);
      assert.ok(device.ptz?.panTilt.continuous && device.ptz.panTilt.absolute && device.ptz.maxPresets > 0);
      const ptz = new PtzService(client, device.services.ptz!, device.ptz.profile);
      const { position, moving } = await ptz.status();
      assert.deepEqual(
        [position.panTilt, position.zoom, moving],
        [{ x: -0.864665985, y: 0.267444015 }, 0.211861998, false],
      );
      const presets = await ptz.presets();
      assert.ok(presets.length > 3 && presets.some(({ token }) => token === 'WasherPosition'));
      await ptz.gotoPreset('Home2', null);
      await ptz.perform({ action: 'Stop' });
      const imaging = new ImagingService(client, device.services.imaging!, profile.videoSource);
      assert.ok(Object.keys(await imaging.settings()).length > 2);
    });
  });

  describe('the client of the package onvif', () => {
    interface Cam {
      activeSource: { profileToken: string };
      [call: string]: unknown;
    }
    const { Cam } = require('onvif') as {
      Cam: new (options: object, done: (this: Cam, error: Error | null) => void) => Cam;
    };
    let sim: OnvifCamera;
    afterEach(() => sim.stop());

    // With tokens: its reader of digest challenges breaks at the comma in our realm.
    it('steers our simulated device', async () => {
      sim = await new OnvifCamera({ clockOffsetMs: 3_600_000, speeds: { pan: 5, tilt: 5, zoom: 5 } }).start();
      const { username, password } = sim.options;
      const cam = await new Promise<Cam>((resolve, reject) => {
        new Cam({ hostname: '127.0.0.1', port: sim.port, username, password, timeout: 5000 }, function (error) {
          if (error) reject(error);
          else resolve(this);
        });
      });
      const call = (name: string, options: object = {}): Promise<Record<string, unknown>> =>
        promisify((cam[name] as (options: object, done: () => void) => void).bind(cam))(options) as never;
      assert.match(cam.activeSource.profileToken, /^(main|sub)$/);
      assert.match(String((await call('getStreamUri', { protocol: 'RTSP' }))['uri']), /^rtsp:/);
      const presets = Object.values(await call('getPresets')) as { name: string }[];
      assert.deepEqual(
        presets.map(({ name }) => name),
        ['Door', 'Gate'],
      );
      await call('absoluteMove', { x: 0.5, y: -0.5, zoom: 0.25 });
      const deadline = Date.now() + 5000;
      while (sim.table.moving && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
      assert.deepEqual((await call('getStatus'))['position'], { x: 0.5, y: -0.5, zoom: 0.25 });
      await call('continuousMove', { x: 0.1, y: 0, zoom: 0 });
      await call('stop', { panTilt: true, zoom: true });
      assert.ok(!sim.table.moving);
      assert.equal((await call('getImagingSettings', { token: 'source-1' }))['brightness'], 50);
    });
  });
});
