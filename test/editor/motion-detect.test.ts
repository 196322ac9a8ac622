import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { loadEditorNode, validate } from '../support/editor.ts';

const SCRIPT = join(import.meta.dirname, '../../resources/zone-editor.js');

interface Point {
  x: number;
  y: number;
}

interface Geometry {
  moved: (points: Point[], dx: number, dy: number) => Point[];
  middles: (points: Point[]) => Point[];
  snap: (value: number, margin: number) => number;
  crossings: (points: Point[], y: number) => number[];
  labelSpot: (points: Point[]) => Point;
  sampleBox: (percent: number, width: number, height: number) => { width: number; height: number };
  usable: (zones: unknown) => { id: string }[];
  typedNumber: (text: string, least: number, most: number) => number | undefined;
  bitsOf: (base64: string, count: number) => number[];
  bytesOf: (base64: string) => Uint8Array;
  heat: (value: number) => string;
  tidyPoint: (point: Point) => Point;
}

/** Objects of another context have other prototypes, which is not what these tests are about. */
function plain<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

function loadGeometry(): Geometry {
  const script = readFileSync(SCRIPT, 'utf8');
  const window: { flowNvrZones?: { geometry: Geometry } } = {};
  runInNewContext(script, { window, atob });
  return window.flowNvrZones!.geometry;
}

const TRIANGLE = [
  { x: 0.1, y: 0.1 },
  { x: 0.5, y: 0.1 },
  { x: 0.3, y: 0.6 },
];
const zone = { id: 'z1', camera: 'yard', name: 'Door', kind: 'include', points: TRIANGLE };

describe("motion-detect's edit dialog", () => {
  const definition = loadEditorNode('motion-detect');
  const says = (property: string, node: Record<string, unknown>): unknown => validate(definition, property, node);

  it('wants numbers in their ranges, typed or stored', () => {
    for (const good of [0, '0', 50, '100']) assert.equal(says('sensitivity', { sensitivity: good }), true);
    for (const bad of ['', ' ', undefined, null, -1, 101, 'much']) {
      const key = 'motion-detect.invalid.sensitivity';
      assert.equal(says('sensitivity', { sensitivity: bad }), key, String(bad));
    }
    for (const good of [1, '8', 300]) assert.equal(says('hold', { hold: good }), true);
    for (const bad of ['', 0, 301]) assert.equal(says('hold', { hold: bad }), 'motion-detect.invalid.seconds');
    assert.equal(says('minSize', { minSize: '0.05' }), true);
    assert.equal(says('minSize', { minSize: '100.1' }), 'motion-detect.invalid.size');
  });

  it('wants the greatest size not below the least', () => {
    assert.equal(says('maxSize', { minSize: 0.05, maxSize: 90 }), true);
    assert.equal(says('maxSize', { minSize: '9', maxSize: '10' }), true);
    assert.equal(says('maxSize', { minSize: '10', maxSize: '9' }), 'motion-detect.invalid.sizes');
    assert.equal(says('maxSize', { minSize: 1, maxSize: '' }), 'motion-detect.invalid.size');
  });

  it('knows its modes', () => {
    for (const mode of ['full', 'adaptive', 'keyframes']) assert.equal(says('mode', { mode }), true);
    assert.equal(says('mode', { mode: 'most' }), false);
  });

  it('wants zones that can be drawn', () => {
    const zones = (...list: unknown[]): unknown => says('zones', { zones: list, minSize: 0.05, maxSize: '90' });
    assert.equal(zones(), true);
    assert.equal(zones(zone, { ...zone, id: 'z2', kind: 'ignore' }), true);
    assert.equal(zones({ ...zone, sensitivity: 80, minSize: 1, maxSize: 2, loiter: 10 }), true);
    const wrong = [
      null,
      { ...zone, id: '' },
      { ...zone, camera: '' },
      { ...zone, kind: 'both' },
      { ...zone, points: TRIANGLE.slice(1) },
      { ...zone, points: [...TRIANGLE, { x: 1.1, y: 0 }] },
      { ...zone, points: [...TRIANGLE, { x: '0.5', y: 0 }] },
      { ...zone, sensitivity: 101 },
      { ...zone, loiter: -1 },
    ];
    for (const one of wrong) assert.equal(zones(one), 'motion-detect.invalid.zone', JSON.stringify(one));
    assert.equal(zones({ ...zone, minSize: 2, maxSize: 1 }), 'motion-detect.invalid.zoneSizes');
    assert.equal(zones({ ...zone, minSize: 91 }), 'motion-detect.invalid.zoneSizes');
    assert.equal(zones(zone, zone), 'motion-detect.invalid.zones');
    assert.equal(says('zones', { zones: 'z1' }), 'motion-detect.invalid.zones');
  });
});

describe('the texts of the zone editor', () => {
  it('are there', () => {
    type Texts = string | { [key: string]: Texts };
    const file = '../../nodes/motion-detect/locales/en-US/motion-detect.json';
    const texts = JSON.parse(readFileSync(join(import.meta.dirname, file), 'utf8')) as Record<string, Texts>;
    const textOf = (key: string): Texts | undefined =>
      key.split('.').reduce<Texts | undefined>((at, part) => (typeof at === 'object' ? at[part] : undefined), {
        ...(texts['motion-detect'] as object),
      });
    const script = readFileSync(SCRIPT, 'utf8');
    const named = [...script.matchAll(/'((?:zones|tuning)(?:\.\w+)+)'/g)].map(([, key]) => key!);
    assert.ok(named.length > 30);
    for (const key of named) assert.equal(typeof textOf(key), 'string', `no text ${key}`);
    for (const [, group] of script.matchAll(/t\(`([\w.]+)\.\$\{/g)) {
      assert.equal(typeof textOf(group!), 'object', `no texts ${group!}.*`);
    }
  });
});

describe('the geometry of the zone editor', () => {
  const geometry = loadGeometry();

  it('moves points together, as far as the picture reaches', () => {
    assert.deepEqual(plain(geometry.moved(TRIANGLE, 0.1, -0.05)), [
      { x: 0.2, y: 0.05 },
      { x: 0.6, y: 0.05 },
      { x: 0.4, y: 0.55 },
    ]);
    assert.deepEqual(plain(geometry.moved(TRIANGLE, -1, 1)), [
      { x: 0, y: 0.5 },
      { x: 0.4, y: 0.5 },
      { x: 0.2, y: 1 },
    ]);
  });

  it('rounds and keeps points in the picture', () => {
    assert.deepEqual(plain(geometry.tidyPoint({ x: 1.2, y: 0.123456 })), { x: 1, y: 0.1235 });
    assert.equal(geometry.snap(0.009, 0.01), 0);
    assert.equal(geometry.snap(0.991, 0.01), 1);
    assert.equal(geometry.snap(0.5, 0.01), 0.5);
  });

  it('finds the middle of each edge, also of the last', () => {
    const middles = geometry.middles(TRIANGLE);
    assert.equal(middles.length, 3);
    assert.ok(Math.abs(middles[0]!.x - 0.3) < 1e-9 && Math.abs(middles[0]!.y - 0.1) < 1e-9);
    assert.ok(Math.abs(middles[2]!.x - 0.2) < 1e-9 && Math.abs(middles[2]!.y - 0.35) < 1e-9);
  });

  it('puts the name inside, bent or self-crossing as the zone may be', () => {
    const shapes: [number, number][][] = [
      [[0.1, 0.1], [0.5, 0.1], [0.3, 0.6]],
      // like a U: its middle is outside
      [[0, 0], [0.2, 0], [0.2, 0.8], [0.8, 0.8], [0.8, 0], [1, 0], [1, 1], [0, 1]],
      // a bow tie
      [[0, 0], [1, 1], [1, 0], [0, 1]],
    ]; // prettier-ignore
    for (const shape of shapes) {
      const points = shape.map(([x, y]) => ({ x, y }));
      const spot = geometry.labelSpot(points);
      const before = geometry.crossings(points, spot.y).filter((x) => x < spot.x).length;
      assert.equal(before % 2, 1, JSON.stringify({ shape, spot }));
    }
    const flat = geometry.labelSpot([0.1, 0.2, 0.3].map((x) => ({ x, y: 0.5 })));
    assert.deepEqual([flat.x, flat.y], [0.1, 0.5]);
  });

  it('draws a size as square as the picture lets it be', () => {
    assert.deepEqual(plain(geometry.sampleBox(25, 200, 100)), {
      width: 5000 / Math.sqrt(5000),
      height: Math.sqrt(5000),
    });
    assert.deepEqual(plain(geometry.sampleBox(90, 200, 100)), { width: 180, height: 100 });
    assert.deepEqual(plain(geometry.sampleBox(0, 200, 100)), { width: 0, height: 0 });
  });

  it('leaves out what is no zone, and copies the others', () => {
    const wrong = [null, { ...zone, points: TRIANGLE.slice(1) }, { ...zone, points: [...TRIANGLE, {}] }];
    const copies = geometry.usable([...wrong, zone]);
    assert.deepEqual(plain(copies), [zone]);
    assert.notEqual(copies[0], zone);
    assert.deepEqual(plain(geometry.usable(undefined)), []);
  });

  it('reads typed numbers, none and wrong ones', () => {
    assert.equal(geometry.typedNumber('0,5', 0, 100), 0.5);
    assert.equal(geometry.typedNumber(' ', 0, 100), undefined);
    for (const bad of ['101', '-1', 'x']) assert.ok(Number.isNaN(geometry.typedNumber(bad, 0, 100)), bad);
  });

  it('reads bits row by row, the lowest of a byte first', () => {
    const base64 = Buffer.from([0b0000_0101, 0b1000_0000]).toString('base64');
    assert.deepEqual(plain(geometry.bitsOf(base64, 18)), [1, 0, 1, ...Array<number>(12).fill(0), 1, 0, 0]);
  });

  it('colours heat from violet to pale yellow', () => {
    assert.equal(geometry.heat(0), 'rgba(60, 20, 110, 0.120)');
    assert.equal(geometry.heat(255), 'rgba(255, 240, 150, 0.800)');
    assert.equal(geometry.heat(85), 'rgba(150, 40, 120, 0.500)');
  });
});
