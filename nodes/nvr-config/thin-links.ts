/** Node-RED sends a dashboard's 5 MB of scripts as they are: over 10 Mb/s that alone takes four seconds. */
import { constants } from 'node:zlib';
import compression from 'compression';
import type { NodeAPI } from 'node-red';

/** Of FlowFuse Dashboard, wherever its pages are. Nothing else that Node-RED serves is touched. */
const ASSET = /\/assets\/[\w.-]+\.(?:js|css)$/;

/** From 4, the library's, to 5 a tenth less; above that a hundredth for much longer. */
const QUALITY = 5;

/** To be called before flows start: Dashboard serves its files behind this. */
export function compressDashboards(RED: NodeAPI): void {
  const { httpNode } = RED as { httpNode?: NodeAPI['httpNode'] };
  httpNode?.use(
    compression({
      filter: ({ originalUrl }) => ASSET.test(originalUrl.replace(/\?.*$/, '')),
      brotli: { params: { [constants.BROTLI_PARAM_QUALITY]: QUALITY } },
    }),
  );
}
