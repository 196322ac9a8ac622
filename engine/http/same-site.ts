/**
 * Whether a request was made by a page of another site in the user's browser. Where no login protects a route, this is
 * what does: the user's browser reaches it, and so does any page that the browser has open.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { isIP } from 'node:net';
import { hostname } from 'node:os';

/**
 * Suffixes that the public DNS hands out to nobody (RFC 6761, RFC 6762, RFC 8375, ICANN's `.internal`), so that no
 * stranger can point such a name at this computer.
 */
const PRIVATE_SUFFIX = /\.(local|localhost|lan|home|home\.arpa|internal|intranet|localdomain)$/;

/** The name in a `Host` header or an authority: lower case, without brackets, port and final dot. Null if malformed. */
export function hostNameOf(host: string | undefined): string | null {
  const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?$/i.exec(host ?? '');
  const name = (match?.[1] ?? match?.[2])?.toLowerCase().replace(/\.$/, '');
  return name || null;
}

/**
 * Whether a `Host` header names this computer in a way that DNS rebinding cannot: an IP address, `localhost`, its own
 * host name, a private name, or one that the user has set. In a rebinding attack the header has the attacker's name.
 *
 * @param names host names that the user has set, lower case
 */
export function isOwnHost(host: string | undefined, names: readonly string[] = []): boolean {
  const name = hostNameOf(host);
  if (name === null) return false;
  if (isIP(name) !== 0 || name === 'localhost' || name === hostname().toLowerCase()) return true;
  return PRIVATE_SUFFIX.test(name) || names.includes(name);
}

/** Why a request is refused: `host` is not one of ours, or the page that made it (`origin`) is another site's. */
export type ForeignReason = 'host' | 'origin';

/**
 * What marks a request as foreign, or null. Programs that are no browsers send neither `Origin` nor `Sec-Fetch-Site`
 * (Fetch Metadata, W3C) and pass. Another port of the same host is another site here, too.
 *
 * @param names host names that the user has set, lower case
 */
export function foreignReason(headers: IncomingHttpHeaders, names: readonly string[] = []): ForeignReason | null {
  if (!isOwnHost(headers.host, names)) return 'host';
  const { origin } = headers;
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return 'origin';
  if (origin === undefined) return null;
  return URL.parse(origin)?.host === headers.host?.toLowerCase() ? null : 'origin';
}
