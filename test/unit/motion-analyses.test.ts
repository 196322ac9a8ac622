import assert from 'node:assert/strict';
import { Analyses, type AnalysesBackend, type AnalysesSink, type Footage } from '../../engine/motion/analyses.ts';
import { DEFAULT_SETTINGS, type MotionEvent } from '../../engine/motion/types.ts';
import type { MotionReply } from '../../engine/thread/motion-thread.ts';
import { readTrigger } from '../../nodes/recorder/recorder-spec.ts';

describe('analyses of motion', () => {
  it('end what a thread that died had begun, with the last it told', () => {
    const told: [string, MotionEvent, number][] = [];
    let [reply, end]: [(reply: MotionReply) => void, (reason: string) => void] = [() => undefined, () => undefined];
    const backend: AnalysesBackend = {
      start: (onReply, onEnd) => {
        [reply, end] = [onReply, onEnd];
        return { send: () => undefined, stop: () => undefined };
      },
      after: () => () => undefined,
    };
    const footage: Footage = {
      ...{ initOf: () => null, streamOf: () => 'main', since: () => [], analysed: () => undefined },
    };
    const nothing = (): void => undefined;
    const sink: AnalysesSink = {
      ...{ frame: nothing, activity: nothing, state: nothing, problem: nothing },
      event: (of, event, time) => told.push([`${of.node} ${of.camera}`, event, time]),
    };
    const analyses = new Analyses(backend, footage, sink);
    analyses.set({ node: 'md', camera: 'yard', mode: 'full', settings: DEFAULT_SETTINGS, frames: false });
    const over = { eventId: 'over', start: 1000, end: null, score: 0.2, boxes: [], zones: ['door'] };
    const open = { ...over, eventId: 'open', start: 5000 };
    reply({ key: 'md yard', event: { ...over, phase: 'start' }, time: 1200 });
    reply({ key: 'md yard', event: { ...over, phase: 'end', end: 1500 }, time: 1500 });
    reply({ key: 'md yard', event: { ...open, phase: 'start' }, time: 5000 });
    reply({ key: 'md yard', event: { ...open, phase: 'update' }, time: 6000 });
    end('out of memory');
    assert.deepEqual(told.slice(4), [['md yard', { ...open, phase: 'end', end: 6000 }, 6000]]);
    end('again');
    assert.equal(told.length, 5);
  });
});

describe('what triggers a recorder', () => {
  it('is an event that begins, goes on or ends, but not a late picture of one that has ended', () => {
    const of = { type: 'motion', camera: 'yard', eventId: 'm', start: 1000 };
    assert.deepEqual(readTrigger({}, { ...of, phase: 'update', end: null }), {
      ...{ cameras: ['yard'], key: 'm', phase: 'update', start: 1000 },
    });
    assert.equal(readTrigger({}, { ...of, phase: 'end', end: 2000 })?.phase, 'end');
    assert.equal(readTrigger({}, { ...of, phase: 'update', end: 2000 }), null);
  });
});
