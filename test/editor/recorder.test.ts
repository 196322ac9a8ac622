import assert from 'node:assert/strict';
import { loadEditorNode, validate } from '../support/editor.ts';

describe("recorder's edit dialog", () => {
  const definition = loadEditorNode('recorder');

  it('wants seconds in their ranges, typed or stored', () => {
    for (const good of [0, '0', 5, '60']) assert.equal(validate(definition, 'preRoll', { preRoll: good }), true);
    for (const bad of ['', -1, 61, 'five']) {
      assert.equal(validate(definition, 'preRoll', { preRoll: bad }), 'recorder.invalid.seconds', String(bad));
    }
    assert.equal(validate(definition, 'segment', { segment: 1 }), 'recorder.invalid.seconds');
  });

  it('wants a schedule where it records by one', () => {
    const says = (schedule: unknown, mode = 'schedule'): unknown =>
      validate(definition, 'schedule', { schedule, mode });
    const entry = { days: [1], from: '22:00', to: '06:00', mode: 'event' };
    assert.equal(says([], 'continuous'), true);
    assert.equal(says([entry, { ...entry, from: '00:00', to: '24:00' }]), true);
    const wrong = [
      [],
      undefined,
      [{ ...entry, days: [] }],
      [{ ...entry, from: '24:00' }],
      [{ ...entry, to: '24:01' }],
      [{ ...entry, to: '6' }],
    ];
    for (const schedule of wrong) assert.equal(says(schedule), 'recorder.invalid.schedule', JSON.stringify(schedule));
  });
});
