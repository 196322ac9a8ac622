/** Pieces of the flows that tests deploy. */
import type { FlowNode } from './node-red.ts';

export const TAB = 'test-tab';

/** The tab, with everything that its nodes say about themselves going to the capture names `status` and `error`. */
export function tab(): FlowNode[] {
  return [
    { id: TAB, type: 'tab', label: 'Test' },
    { id: 'all-status', type: 'status', z: TAB, scope: null, wires: [['capture-status']] },
    ...capture('status'),
    { id: 'all-errors', type: 'catch', z: TAB, scope: null, uncaught: false, wires: [['capture-error']] },
    ...capture('error'),
  ];
}

/** A node `capture-NAME` whose messages the test can read back under that name. */
export function capture(name: string): FlowNode[] {
  const func = `global.get('capture')(${JSON.stringify(name)}, msg);`;
  return [{ id: `capture-${name}`, type: 'function', z: TAB, func, outputs: 0, wires: [] }];
}

/** Lets `NodeRed.send(name, msg)` put messages on the canvas. */
export function entrance(name: string, to: string[]): FlowNode[] {
  const id = `entrance-${name}`;
  return [
    { id, type: 'http in', z: TAB, url: `/test/${name}`, method: 'post', wires: [[`${id}-msg`, `${id}-answer`]] },
    {
      id: `${id}-msg`,
      type: 'function',
      z: TAB,
      func: 'return msg.payload;',
      outputs: 1,
      wires: [to],
    },
    { id: `${id}-answer`, type: 'http response', z: TAB, statusCode: '204', wires: [] },
  ];
}

/**
 * A function node as users write them: `send('block', {ms: 5000})` keeps Node-RED's event loop busy that long,
 * with `asleep: true` as a synchronous read of a dead share does: without using the CPU.
 */
export function blocker(): FlowNode[] {
  const func = `
    if (msg.asleep) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, msg.ms);
    const end = Date.now() + (msg.asleep ? 0 : msg.ms);
    while (Date.now() < end);`;
  return [...entrance('block', ['blocker']), { id: 'blocker', type: 'function', z: TAB, func, outputs: 0, wires: [] }];
}

/** A dashboard whose page `/dashboard/live` has the camera grid; what is done there goes to the capture name `grid`. */
export function dashboard(grid: Record<string, unknown> = {}): FlowNode[] {
  return [
    { id: 'dash', type: 'ui-base', name: 'Dashboard', path: '/dashboard' },
    {
      ...{ id: 'colours', type: 'ui-theme', name: 'Theme' },
      colors: {
        surface: '#ffffff',
        primary: '#0d74ce',
        bgPage: '#eeeeee',
        groupBg: '#ffffff',
        groupOutline: '#cccccc',
      },
      sizes: { density: 'default', pagePadding: '12px', groupGap: '12px', groupBorderRadius: '4px', widgetGap: '12px' },
    },
    {
      ...{ id: 'live-page', type: 'ui-page', name: 'Live', ui: 'dash', path: '/live', icon: 'home', layout: 'grid' },
      ...{ theme: 'colours', order: 1, className: '', visible: 'true', disabled: 'false' },
      breakpoints: [{ name: 'Default', px: '0', cols: '12' }],
    },
    {
      ...{ id: 'live-group', type: 'ui-group', name: 'Cameras', page: 'live-page', width: '12', height: '1', order: 1 },
      ...{ showTitle: false, className: '', visible: 'true', disabled: 'false', groupType: 'default' },
    },
    {
      ...{ id: 'grid-widget', type: 'ui-nvr-grid', z: TAB, name: '', nvr: 'nvr-store', group: 'live-group', order: 1 },
      ...{ width: 12, height: 8, ...grid },
      wires: [['capture-grid']],
    },
    ...entrance('grid', ['grid-widget']),
    ...capture('grid'),
  ];
}
