/** WS-Discovery: which ONVIF devices are in the network (ONVIF Core Specification, section 7). */
import { randomUUID } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { BlockList } from 'node:net';
import { networkInterfaces } from 'node:os';
import { NS } from './names.ts';
import { find, findAll, parseXml, textAt, type XmlElement } from './xml.ts';

export interface FoundDevice {
  /** Endpoint reference: stable over restarts and addresses. */
  id: string;
  /** ONVIF address to use. */
  address: string;
  host: string;
  /** Who answered, if that is another host than the one it names; null: the same. */
  from: string | null;
  name: string;
  hardware: string;
}

export interface DiscoveryOptions {
  timeoutMs?: number;
  /** Ask these hosts only. */
  hosts?: readonly string[];
  port?: number;
}

const GROUP = '239.255.255.250';
const PORT = 3702;
const TIMEOUT_MS = 3500;
/** UDP gets lost, and devices that answer all at once lose each other's answers. */
const REPEAT_MS = [0, 400, 1200];
const MAX_DEVICES = 1000;
const MAX_ANSWERS = 20_000;
/** Of one answer, and of all: they are read on the thread that everything else runs on. Real ones have 1 to 4 kB. */
const MAX_BYTES = 16_384;
const MAX_ALL_BYTES = 16_000_000;
/** Of one answer; a proxy answers for several. */
const MAX_MATCHES = 32;
const RECEIVE_BUFFER = 1 << 20;
/** Some devices answer to one of these only, some to none but the empty one. */
const TYPES = [
  `<d:Types xmlns:dn="${NS.network}">dn:NetworkVideoTransmitter</d:Types>`,
  `<d:Types xmlns:tds="${NS.device}">tds:Device</d:Types>`,
  '',
];

/** Asks on all interfaces; what answers nonsense is left out. Never rejects for a network that is not there. */
export async function discover(options: DiscoveryOptions = {}): Promise<FoundDevice[]> {
  const { timeoutMs = TIMEOUT_MS, hosts = [GROUP], port = PORT } = options;
  const found = new Map<string, FoundDevice>();
  const asked = new Set<string>();
  let answers = 0;
  let bytes = 0;
  const onMessage = (message: Buffer, from: string): void => {
    if (++answers > MAX_ANSWERS || found.size >= MAX_DEVICES || message.length > MAX_BYTES) return;
    if ((bytes += message.length) > MAX_ALL_BYTES) return;
    for (const device of readMatches(message.toString('utf8'), from, asked)) merge(found, device);
  };
  const sources = hosts.includes(GROUP) ? ownAddresses() : [null];
  const sockets = (await Promise.all(sources.map((source) => open(source, onMessage)))).filter((one) => one !== null);
  const probe = (): void => {
    for (const types of TYPES) {
      const id = `urn:uuid:${randomUUID()}`;
      asked.add(id);
      const text = Buffer.from(probeOf(id, types));
      // A host name that is not known, an interface that went away: nothing is found there.
      for (const socket of sockets) for (const host of hosts) socket.send(text, port, host, () => undefined);
    }
  };
  const timers = REPEAT_MS.filter((ms) => ms < timeoutMs).map((ms) => setTimeout(probe, ms));
  await new Promise((resolve) => setTimeout(resolve, timeoutMs));
  for (const timer of timers) clearTimeout(timer);
  for (const socket of sockets) socket.close();
  return [...found.values()].sort((a, b) => a.host.localeCompare(b.host, 'en', { numeric: true }));
}

function ownAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return all.filter(({ family }) => family === 'IPv4').map(({ address }) => address);
}

/** Null when the interface cannot be used. */
function open(source: string | null, onMessage: (message: Buffer, from: string) => void): Promise<Socket | null> {
  return new Promise((resolve) => {
    const socket = createSocket({ type: 'udp4' });
    let ready = false;
    socket.on('error', () => {
      if (ready) return; // of one datagram; others may arrive
      ready = true; // `close` throws the second time
      socket.close();
      resolve(null);
    });
    socket.on('message', (message, { address }) => onMessage(message, address));
    socket.bind(0, source ?? '0.0.0.0', () => {
      try {
        if (source) socket.setMulticastInterface(source);
        socket.setMulticastTTL(4);
        socket.setRecvBufferSize(RECEIVE_BUFFER);
      } catch {
        // What cannot be set keeps its default.
      }
      ready = true;
      resolve(socket);
    });
  });
}

function probeOf(id: string, types: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="${NS.soap}" xmlns:a="${NS.discoveryAddressing}" xmlns:d="${NS.discovery}"><s:Header><a:Action s:mustUnderstand="1">${NS.discovery}/Probe</a:Action><a:MessageID>${id}</a:MessageID><a:ReplyTo><a:Address>${NS.discoveryAddressing}/role/anonymous</a:Address></a:ReplyTo><a:To s:mustUnderstand="1">urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To></s:Header><s:Body><d:Probe>${types}</d:Probe></s:Body></s:Envelope>`;
}

/**
 * The devices in one answer; none in what is no answer to us.
 * @param asked message ids of our probes
 */
export function readMatches(text: string, from: string, asked: ReadonlySet<string>): FoundDevice[] {
  let root: XmlElement;
  try {
    root = parseXml(text);
  } catch {
    return [];
  }
  const related = textAt(root, 'Header', 'RelatesTo');
  // Some leave `urn:` or `uuid:` out.
  const ours = [...asked].some((id) => related === id || (related.length >= 36 && id.endsWith(related.slice(-36))));
  if (!ours) return [];
  const matches = findAll(find(root, 'Body', 'ProbeMatches'), 'ProbeMatch').slice(0, MAX_MATCHES);
  return matches.flatMap((match) => {
    const device = deviceOf(match, from);
    return device ? [device] : [];
  });
}

function deviceOf(match: XmlElement, from: string): FoundDevice | null {
  const urls = textAt(match, 'XAddrs')
    .split(/\s+/)
    .filter((text) => /^https?:\/\//i.test(text) && text.length < 300 && URL.canParse(text))
    .map((text) => new URL(text))
    .filter(({ username, password }) => !username && !password)
    .filter(({ hostname }) => hostname === from || isPrivate(hostname));
  // One that answered from there is reachable there; link-local and IPv6 addresses often are not.
  const rank = ({ hostname }: URL): number =>
    hostname === from ? 0 : hostname.startsWith('[') ? 3 : hostname.startsWith('169.254.') ? 2 : 1;
  const url = urls.sort((a, b) => rank(a) - rank(b))[0];
  if (!url) return null;
  const scopes = textAt(match, 'Scopes').split(/\s+/).slice(0, 64);
  const scope = (kind: string): string => {
    const start = `onvif://www.onvif.org/${kind}/`;
    const found = scopes.find((text) => text.toLowerCase().startsWith(start))?.slice(start.length) ?? '';
    return decode(found).slice(0, 100);
  };
  const id = textAt(match, 'EndpointReference', 'Address').slice(0, 200) || url.href;
  const other = url.hostname === from ? null : from;
  return { id, address: url.href, host: url.host, from: other, name: scope('name'), hardware: scope('hardware') };
}

/** An address of a network at home: no answer from there makes anybody look for a camera somewhere else. */
function isPrivate(hostname: string): boolean {
  return PRIVATE.check(hostname, 'ipv4') || PRIVATE.check(hostname.replace(/^\[|\]$/g, ''), 'ipv6');
}

const PRIVATE = new BlockList();
// RFC 1918, RFC 3927, RFC 6598, RFC 4193, RFC 4291.
for (const [network, bits] of [
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['169.254.0.0', 16],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
] as const)
  PRIVATE.addSubnet(network, bits, 'ipv4');
PRIVATE.addSubnet('fc00::', 7, 'ipv6');
PRIVATE.addSubnet('fe80::', 10, 'ipv6');

function decode(text: string): string {
  try {
    return decodeURIComponent(text).replaceAll('_', ' ');
  } catch {
    return text;
  }
}

/**
 * Devices answer each probe, on each interface; one with two ids at one address is one device. Who answers from the address
 * that it names is believed before others; two that do, at different addresses and with one id, are both listed: one of
 * them may only claim to be the other.
 */
function merge(found: Map<string, FoundDevice>, device: FoundDevice): void {
  const known = found.get(device.id) ?? [...found.values()].find(({ address }) => address === device.address);
  if (!known) found.set(device.id, device);
  else if (known.address === device.address && device.from === null) known.from = null;
  else if (device.from !== null || known.address === device.address) return;
  else if (known.from !== null) Object.assign(known, { address: device.address, host: device.host, from: null });
  else found.set(`${device.id} ${device.address}`, device);
}
