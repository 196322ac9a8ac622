/** Links that let a browser into the dashboard, made for those who may change the NVR in the editor. */
import type { NodeAPI } from 'node-red';
import { foreignReason } from '../../engine/http/same-site.ts';
import { hostNamesOf } from '../shared/host-names.ts';
import { textOf, type NvrConfigNode } from '../shared/nvr.ts';
import { gateFor } from './dashboard-access.ts';

/** `POST nvr/dashboard-link {nvr}` answers `{path}`: of a page that lets one browser in, once, for ten minutes. */
export function offerDashboardLinks(RED: NodeAPI): void {
  RED.httpAdmin.post('/nvr/dashboard-link', RED.auth.needsPermission('nvr-config.write'), (request, response) => {
    const refuse = (status: number, message: string): void => void response.status(status).json({ message });
    if (foreignReason(request.headers, hostNamesOf(RED))) {
      refuse(403, 'this is for the editor of this Node-RED only');
      return;
    }
    if (!request.is('json')) {
      refuse(415, 'the body must be application/json');
      return;
    }
    const { nvr } = (request.body ?? {}) as { nvr?: unknown };
    const node = typeof nvr === 'string' ? (RED.nodes.getNode(nvr) as NvrConfigNode | null) : null;
    const { httpNodeRoot } = RED.settings as { httpNodeRoot?: string | false };
    if (!node?.httpPath || httpNodeRoot === false) {
      refuse(404, node?.problem ?? 'deploy this NVR configuration first');
      return;
    }
    try {
      const root = (httpNodeRoot || '/').replace(/\/*$/, '/');
      response.set('Cache-Control', 'no-store');
      response.json({ path: `${root}${node.httpPath}/enter?key=${gateFor(RED).keyForOne()}` });
    } catch (error) {
      refuse(500, textOf(error));
    }
  });
}
