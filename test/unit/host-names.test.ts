import assert from 'node:assert/strict';
import type { NodeAPI } from 'node-red';
import { hostNamesOf, readHostNames } from '../../nodes/shared/host-names.ts';

describe('host names', () => {
  it('are read from lists and texts, without ports, and without what is no name', () => {
    assert.deepEqual(readHostNames('NVR.example.com:1880, cam.example.com. ,,nvr.example.com'), [
      'nvr.example.com',
      'cam.example.com',
    ]);
    assert.deepEqual(readHostNames(['a.example', 7, 'b.example c.example', null]), [
      'a.example',
      'b.example',
      'c.example',
    ]);
    for (const nothing of [undefined, null, 7, '', '*', 'a@b', 'http://a/'])
      assert.deepEqual(readHostNames(nothing), []);
  });

  it('are those of settings.js and of all NVR configurations that are not disabled', () => {
    const nodes = [
      { type: 'nvr-config', hostNames: 'one.example' },
      { type: 'nvr-config', hostNames: 'two.example', d: true },
      { type: 'nvr-config' },
      { type: 'function', hostNames: 'three.example' },
    ];
    const RED = {
      settings: { flowNvr: { hostNames: ['four.example'] } },
      nodes: { eachNode: (tell: (node: object) => void) => nodes.forEach(tell) },
    };
    assert.deepEqual(hostNamesOf(RED as unknown as NodeAPI), ['four.example', 'one.example']);
    assert.deepEqual(hostNamesOf({ ...RED, settings: {} } as unknown as NodeAPI), ['one.example']);
  });
});
