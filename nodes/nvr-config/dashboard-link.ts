/** Links that let a browser into the dashboard, made for those who may change the NVR in the editor. */
import type { NodeAPI } from 'node-red';
import { EngineError } from '../../engine/types.ts';
import { adminRoute } from '../shared/admin-routes.ts';
import type { NvrConfigNode } from '../shared/nvr.ts';
import { gateFor } from './dashboard-access.ts';

/** `POST nvr/dashboard-link {nvr}` answers `{path}`: of a page that lets one browser in, once, for ten minutes. */
export function offerDashboardLinks(RED: NodeAPI): void {
  adminRoute(RED, 'post', '/nvr/dashboard-link', 'nvr-config.write', ({ body: { nvr }, from }) => {
    const node = typeof nvr === 'string' ? (RED.nodes.getNode(nvr) as NvrConfigNode | null) : null;
    const { httpNodeRoot } = RED.settings as { httpNodeRoot?: string | false };
    if (!node?.httpPath || httpNodeRoot === false)
      throw new EngineError('not-found', node?.problem ?? 'deploy this NVR configuration first');
    const root = (httpNodeRoot || '/').replace(/\/*$/, '/');
    RED.log.info(`nvr: a link to the dashboard for ${from}`);
    return { path: `${root}${node.httpPath}/enter?key=${gateFor(RED).keyForOne()}` };
  });
}
