import assert from 'node:assert/strict';
import {
  commanded,
  NO_OVERRIDES,
  profileAt,
  settingsAt,
  toMotionConfig,
  type MotionProperties,
  type Overrides,
} from '../../nodes/motion-detect/motion-spec.ts';

const POINTS = [
  { x: 0, y: 0 },
  { x: 1, y: 0 },
  { x: 0.5, y: 1 },
];
const DRIVE = { id: 'z1', camera: 'yard', name: 'drive', kind: 'include', points: POINTS, loiter: 3, minSize: '1' };
const PROPERTIES: MotionProperties = {
  ...{ mode: 'full', sensitivity: '40', minSize: 0.1, maxSize: 90, hold: 3, zones: [DRIVE] },
  ...{ stills: true, drawBoxes: false, levels: false },
};
const NOW = new Date(2026, 4, 4, 23, 30).getTime(); // a Monday

describe("motion-detect's settings", () => {
  const config = toMotionConfig(PROPERTIES);
  const after = (...commands: Record<string, unknown>[]): Overrides =>
    commands.reduce<Overrides>((before, command) => commanded(before, command, config.zones, NOW), NO_OVERRIDES);

  it('are shares and milliseconds for the engine', () => {
    assert.deepEqual(settingsAt(config, NO_OVERRIDES, 'yard', NOW), {
      ...{ sensitivity: 40, minSize: 0.001, maxSize: 0.9, holdMs: 3000 },
      zones: [
        { id: 'z1', camera: 'yard', name: 'drive', kind: 'include', points: POINTS, minSize: 0.01, loiterMs: 3000 },
      ],
    });
    assert.deepEqual(settingsAt(config, NO_OVERRIDES, 'gate', NOW)?.zones, []);
  });

  it('are refused with what is wrong', () => {
    const rows: [Partial<MotionProperties>, RegExp][] = [
      [{ mode: 'psychic' }, /unknown mode: use full, adaptive, keyframes/],
      [{ sensitivity: '' }, /sensitivity must be a number/],
      [{ minSize: 95 }, /smallest size must be below/],
      [{ hold: 0 }, /hold time must be/],
      [{ zones: {} }, /zones must be a list/],
      [{ zones: [{ ...DRIVE, points: POINTS.slice(1) }] }, /zone drive needs 3 to 200 points/],
      [{ zones: [{ ...DRIVE, points: [...POINTS, { x: 2, y: 0 }] }] }, /zone drive needs/],
      [{ zones: [{ ...DRIVE, camera: '../x' }] }, /must be the id of a camera/],
      [{ zones: [{ ...DRIVE, kind: 'maybe' }] }, /include or ignore/],
      [{ zones: [null] }, /needs an id/],
    ];
    for (const [wrong, says] of rows) assert.throws(() => toMotionConfig({ ...PROPERTIES, ...wrong }), says);
  });

  it('change by command: off for a time, for a camera or for all', () => {
    const off = after({ command: 'disable', minutes: 10, camera: 'yard' });
    assert.equal(settingsAt(config, off, 'yard', NOW + 599_000), null);
    assert.ok(settingsAt(config, off, 'gate', NOW));
    assert.ok(settingsAt(config, off, 'yard', NOW + 601_000));
    const all = after({ command: 'disable' });
    assert.equal(settingsAt(config, all, 'gate', NOW + 1e10), null);
    assert.ok(settingsAt(config, commanded(all, { command: 'enable' }, [], NOW), 'gate', NOW));
  });

  it('change by command: sensitivity, for a camera before all', () => {
    const sensitivity = (overrides: Overrides, camera: string): number | undefined =>
      settingsAt(config, overrides, camera, NOW)?.sensitivity;
    const changed = after({ command: 'sensitivity', value: 70 }, { command: 'sensitivity', value: 10, camera: 'yard' });
    assert.deepEqual([sensitivity(changed, 'yard'), sensitivity(changed, 'gate')], [10, 70]);
    const back = commanded(changed, { command: 'sensitivity', value: null }, [], NOW);
    assert.equal(sensitivity(back, 'gate'), 40);
    assert.throws(() => after({ command: 'sensitivity', value: 101 }), /value must be a number from 0 to 100/);
  });

  it('with all its zones snoozed nothing counts, and not everything', () => {
    const snoozed = after({ command: 'snooze', zone: 'drive', minutes: 5 });
    assert.equal(settingsAt(config, snoozed, 'yard', NOW), null);
    assert.ok(settingsAt(config, snoozed, 'yard', NOW + 301_000));
    assert.throws(() => after({ command: 'snooze', zone: 'roof', minutes: 5 }), /no such zone: use drive/);
    const two = toMotionConfig({ ...PROPERTIES, zones: [DRIVE, { ...DRIVE, id: 'z2', name: 'lawn' }] });
    const kinds = settingsAt(two, snoozed, 'yard', NOW)!.zones.map(({ kind }) => kind);
    assert.deepEqual(kinds, ['ignore', 'include']);
  });

  it('follow profiles, by hand or by the week', () => {
    const home = after({ command: 'profile', profile: 'home' });
    assert.equal(settingsAt(config, home, 'yard', NOW), null);
    const night = after(
      { command: 'profile', profile: 'night', sensitivity: 20 },
      { command: 'schedule', entries: [{ days: [1], from: '22:00', to: '06:00', profile: 'night' }] },
      { command: 'profile', profile: 'home' },
    );
    assert.equal(profileAt(night, NOW), 'night');
    assert.equal(settingsAt(config, night, 'yard', NOW)?.sensitivity, 20);
    assert.equal(profileAt(night, NOW + 12 * 3_600_000), 'home');
    const rows: [Record<string, unknown>, RegExp][] = [
      [{ command: 'profile', profile: 'party' }, /unknown profile: use home, away, night/],
      [{ command: 'profile', profile: '' }, /profile must be a name/],
      [{ command: 'schedule', entries: [{ days: [9], from: '1', to: '2', profile: 'home' }] }, /each entry needs/],
      [{ command: 'schedule', entries: [{ days: [1], from: '1', to: '2', profile: 'home' }] }, /HH:MM/],
      [{ command: 'dance' }, /use enable, disable/],
    ];
    for (const [command, says] of rows) assert.throws(() => after(command), says);
  });
});
