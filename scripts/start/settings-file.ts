/** Node-RED's settings.js of `npm start`, and the link to the dashboard that it guards. */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gateOf } from '../../engine/http/gate.ts';

interface FlowNode {
  type: string;
  httpPath?: unknown;
}

const SETTINGS = `/** Node-RED's settings, made by npm start when there were none. Yours to change. */
const { guard } = (() => {
  try {
    return require('@flow-nvr/node-red-dashboard-2-nvr/dist/nodes/guard.js');
  } catch (error) {
    throw new Error('Flow NVR guards this Node-RED and cannot be loaded: run npm start in its folder, which builds it (' + error.message + ')');
  }
})();
const nvr = guard(__dirname);

module.exports = {
  // This computer only, unless npm start -- --host says more.
  uiHost: '127.0.0.1',
  flowFile: 'flows.json',
  flowFilePretty: true,
  // Encrypts the cameras' passwords in flows_cred.json. Without it they are lost.
  credentialSecret: 'SECRET',
  // The editor's login: npm start -- --login sets it.
  adminAuth: nvr.adminAuth,
  // Pages of other sites, which the browser would let speak to the editor, are refused.
  httpAdminMiddleware: nvr.editor,
  // The dashboard's pages and its socket are for browsers that came by a link: npm start prints it, the editor makes others.
  dashboard: { middleware: nvr.dashboard, ioMiddleware: nvr.socket },
  editorTheme: { tours: false, page: { title: 'Flow NVR' } },
  telemetry: { enabled: false, updateNotification: false },
};
`;

/** What earlier versions wrote. Only a file that nobody has changed is replaced. */
const EARLIER =
  /^\/\*\* Node-RED's settings, made by npm start when there were none\. Yours to change\. \*\/\nmodule\.exports = \{\n {2}flowFile: 'flows\.json',\n {2}flowFilePretty: true,\n {2}\/\/ Encrypts the cameras' passwords in flows_cred\.json\. Without it they are lost\.\n {2}credentialSecret: '([0-9a-f]{64})',\n {2}editorTheme: \{ tours: false, page: \{ title: 'Flow NVR' \} \},\n {2}telemetry: \{ enabled: false, updateNotification: false \},\n\};\n$/;

/**
 * Throws for a folder, or a settings.js in it, that another user could have written: Node-RED runs what is there. What belongs
 * to whom this project belongs to is as good as the project.
 */
export function refuseForeignFolder(userDir: string): void {
  const uid = process.getuid?.();
  if (uid === undefined) return; // Windows
  const trusted = [uid, 0, statSync(import.meta.dirname).uid];
  for (const path of [userDir, join(userDir, 'settings.js')]) {
    const found = statSync(path, { throwIfNoEntry: false });
    if (!found || (trusted.includes(found.uid) && (found.mode & 0o002) === 0)) continue;
    throw new Error(
      `${path} can be changed by other users of this computer, whose programs Node-RED would run: use another folder, or chown and chmod o-w it`,
    );
  }
}

/**
 * Settings are written once: whoever changes them keeps the change. Those of an earlier version get the guards if they are
 * as they were written; otherwise the terminal says what to add.
 *
 * @returns whether this is the folder's first start
 */
export function writeSettings(userDir: string): boolean {
  const file = join(userDir, 'settings.js');
  const found = existsSync(file) ? readFileSync(file, 'utf8') : null;
  const secret = found === null ? randomBytes(32).toString('hex') : EARLIER.exec(found)?.[1];
  if (secret !== undefined) {
    writeFileSync(file, SETTINGS.replace('SECRET', secret), { mode: 0o600 });
  } else if (found !== null && !found.includes('nodes/guard.js')) {
    console.warn(
      `${file} was changed, and has no guards for the editor and the dashboard. To have them, add to its top:\n\n` +
        `  const { guard } = require('@flow-nvr/node-red-dashboard-2-nvr/dist/nodes/guard.js');\n` +
        `  const nvr = guard(__dirname);\n\nand to module.exports:\n\n` +
        `  adminAuth: nvr.adminAuth, httpAdminMiddleware: nvr.editor,\n` +
        `  dashboard: { middleware: nvr.dashboard, ioMiddleware: nvr.socket },\n`,
    );
  }
  return found === null;
}

/** Path of a page that lets any browser into the dashboard that opens it within a day. */
export function dashboardLink(userDir: string): string {
  const flows = JSON.parse(readFileSync(join(userDir, 'flows.json'), 'utf8')) as FlowNode[];
  const path = flows.find(({ type }) => type === 'nvr-config')?.httpPath;
  const clean = typeof path === 'string' ? path.replace(/^\/|\/$/g, '') : '';
  return `/${clean || 'nvr'}/enter?key=${gateOf(userDir).keyToPrint()}`;
}
