import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseCamera, withCameras, type FlowNode } from '../../scripts/demo-flow.ts';
import { instructions } from '../../scripts/install-needs.ts';

const bundled = JSON.parse(readFileSync(join(import.meta.dirname, '../../flows/nvr.json'), 'utf8')) as FlowNode[];

describe('npm start -- --camera', () => {
  it('takes an id and an address, also with = in it', () => {
    assert.deepEqual(parseCamera('front=rtsp://host/x?a=b'), { id: 'front', url: 'rtsp://host/x?a=b' });
  });

  const wrong: [argument: string, says: RegExp][] = [
    ['rtsp://u:secret@host/x', /takes id=url/],
    ['Front door=rtsp://u:secret@host/x', /takes id=url/],
    ['front=', /front: no address/],
    ['front=gopher://u:secret@host/x', /gopher: is not supported/],
    ['front=secret', /not a URL/],
  ];
  for (const [argument, says] of wrong) {
    it(`refuses ${argument} without repeating its password`, () => {
      assert.throws(
        () => parseCamera(argument),
        (error: Error) => says.test(error.message) && !error.message.includes('secret'),
      );
    });
  }

  it('puts the cameras in place of the demo, wired as they were', () => {
    const flow = withCameras(bundled, [
      { id: 'front', url: 'rtsp://host/1' },
      { id: 'gate', url: 'rtsp://host/2' },
      { id: 'yard', url: 'rtsp://host/3' },
    ]);
    const cameras = flow.filter(({ type }) => type === 'camera-source');
    assert.deepEqual(
      cameras.map(({ camera, url }) => [camera, url]),
      [
        ['front', 'rtsp://host/1'],
        ['gate', 'rtsp://host/2'],
        ['yard', 'rtsp://host/3'],
      ],
    );
    const demo = bundled.find(({ type }) => type === 'camera-source')!;
    for (const camera of cameras) assert.deepEqual(camera.wires, demo.wires);
    assert.equal(new Set(flow.map(({ id }) => id)).size, flow.length);
    assert.equal(new Set(cameras.map(({ x, y }) => `${x} ${y}`)).size, 3);
    assert.doesNotMatch(JSON.stringify(flow), /demo|lavfi/i);
  });

  it('keeps nodes from lying on each other, however many cameras there are', () => {
    for (const count of [1, 2, 12]) {
      const cameras = Array.from({ length: count }, (_, i) => ({ id: `c${i}`, url: 'rtsp://host/1' }));
      const flow = withCameras(bundled, cameras);
      const lowest = Math.max(...flow.filter(({ type }) => type === 'camera-source').map(({ y }) => y!));
      const ask = flow.find(({ id }) => id === 'nvr-ask')!;
      assert.ok(ask.y! >= lowest + 60, `${count} cameras: ${lowest}, ${ask.y}`);
    }
  });

  it('moves user and password into credentials, and leaves none where there are none', () => {
    const flow = withCameras(bundled, [
      { ...parseCamera('front=rtsp://admin@host/x'), password: 'p@ss' },
      parseCamera('gate=rtsp://host/y'),
    ]);
    const [front, gate] = flow.filter(({ type }) => type === 'camera-source');
    assert.deepEqual(front!.credentials, { username: 'admin', password: 'p@ss' });
    assert.equal(front!['url'], 'rtsp://host/x');
    assert.ok(!('credentials' in gate!));
  });

  it('refuses two cameras of one id', () => {
    const camera = { id: 'front', url: 'rtsp://host/1' };
    assert.throws(() => withCameras(bundled, [camera, camera]), /front is given twice/);
  });
});

describe('what to install where apt-get cannot', () => {
  it('is said for every system', () => {
    const text = instructions(['ffmpeg', 'gstreamer']);
    for (const words of [
      'apt-get install',
      'dnf install',
      'brew install ffmpeg',
      'winget install',
      'gir1.2-gst-rtsp-server-1.0',
    ]) {
      assert.ok(text.includes(words), words);
    }
  });
});
