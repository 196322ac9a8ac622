/** A dashboard for the widgets of node tests: Dashboard's own nodes, and a page with the group `group`. */
import { createRequire } from 'node:module';
import type recorder from '../../nodes/recorder/recorder.ts';

const require = createRequire(import.meta.url);

export const DASHBOARD = ['base', 'theme', 'page', 'group'].map(
  (name) => require(`@flowfuse/node-red-dashboard/nodes/config/ui_${name}.js`) as typeof recorder,
);
export const PAGE = [
  { id: 'dash', type: 'ui-base', name: 'Dashboard', path: '/dashboard' },
  { id: 'colours', type: 'ui-theme', name: 'Theme', colors: {}, sizes: {} },
  { id: 'page', type: 'ui-page', name: 'Page', ui: 'dash', path: '/page', layout: 'grid', theme: 'colours' },
  { id: 'group', type: 'ui-group', name: 'Page', page: 'page', width: 12, height: 1, order: 1 },
];
