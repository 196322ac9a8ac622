/** Routes about the NVR itself: how it is doing, what it says, what to send to somebody who helps. */
import type { RetentionStateMessage } from '../retention/types.ts';
import { localDays } from '../playback/local-days.ts';
import { EngineError } from '../types.ts';
import { integerOf, rangeOf, streamOf, textOf } from './params.ts';
import type { Handler, Permitted, Route } from './guard.ts';

const DAY_MS = 86_400_000;
/** A year and the hours that its first and last day may be longer than they look. */
const MAX_REPORT_MS = 367 * DAY_MS;
const MAX_ID = Number.MAX_SAFE_INTEGER;

export function systemRoutes(route: Route, permitted: Permitted): void {
  route('get', '/api/coverage/daily', 'playback', 'none', async (nvr, request, response, access) => {
    const range = rangeOf(request.query, MAX_REPORT_MS);
    const stream = streamOf(request.query);
    const timeZone = textOf(request.query, 'tz') ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
    const days = localDays(range, timeZone);
    const report = [];
    // One after the other: a month of twenty cameras lets others ask in between.
    for (const camera of await permitted(nvr, request, access)) {
      report.push({ camera, days: await nvr.query.call('daily', camera, stream, days, Date.now()) });
    }
    response.json({ timeZone, stream, days, cameras: report });
  });

  route('get', '/api/retention', 'admin', 'none', async (nvr, _request, response) => {
    const folders = await nvr.storage(Date.now());
    const state = nvr.host.retentionState;
    response.json({ retention: state && byNumber(state, new Map(folders.map(({ path }, i) => [path, i + 1]))) });
  });

  route('get', '/api/system', 'admin', 'none', async (nvr, _request, response) => {
    response.json(await nvr.diagnostics.state());
  });

  route('get', '/api/log', 'admin', 'none', async (nvr, request, response) => {
    const after = integerOf(request.query, 'after', 0, MAX_ID, null);
    const before = integerOf(request.query, 'before', 1, MAX_ID, null);
    if (after !== null && before !== null) throw new EngineError('bad-request', 'give after or before, not both');
    const limit = integerOf(request.query, 'limit', 1, 5000, 1000);
    response.json(await nvr.diagnostics.log({ after, before, limit }));
  });

  const configuration: Handler = (nvr, _request, response) => {
    response.set('Content-Disposition', `attachment; filename="flow-nvr-configuration-${today()}.json"`);
    response.type('json').send(JSON.stringify(nvr.diagnostics.configuration(), null, 2));
  };
  route('get', '/api/config', 'admin', 'none', configuration, { what: () => 'download of the configuration' });

  const support: Handler = async (nvr, _request, response) => {
    const bundle = await nvr.diagnostics.bundle();
    response.set('Content-Disposition', `attachment; filename="flow-nvr-support-${today()}.json.gz"`);
    response.type('application/gzip').end(bundle);
  };
  route('get', '/api/support', 'admin', 'none', support, { what: () => 'download of the support bundle' });
}

function today(): string {
  return new Date().toISOString().slice(0, 10);
}

/** Folders by number, as in `api/storage`: where they are on the disk is nobody's business here. */
function byNumber(state: RetentionStateMessage, numbers: ReadonlyMap<string, number>): object {
  const numberOf = (path: string): number | null => numbers.get(path) ?? null;
  return {
    ...state,
    storages: state.storages.map(({ storage, disk, ...rest }) => {
      const onDisk = state.storages.filter((other) => other.disk === disk).map((other) => numberOf(other.storage));
      return { ...rest, storage: numberOf(storage), sameDisk: onDisk };
    }),
    unmet: state.unmet.map(({ of, ...rest }) => ({ ...rest, of: numberOf(of) ?? of })),
  };
}
