/** "Find cameras" of the edit dialog: ONVIF devices in the network, and the streams of one of them. */
import { OnvifClient } from '../../engine/onvif/client.ts';
import { NS } from '../../engine/onvif/names.ts';
import { parseTargets } from '../../engine/onvif/targets.ts';
import { describeDevice, setClock, snapshotOf, streamUriOf, type MediaProfile } from '../../engine/onvif/device.ts';
import { discover, type FoundDevice } from '../../engine/onvif/discovery.ts';
import { openJpeg } from '../../engine/media/jpeg.ts';
import { EngineError } from '../../engine/types.ts';

export interface OnvifProfile extends Pick<MediaProfile, 'token' | 'name' | 'encoding' | 'width' | 'height'> {
  /** Without an account. */
  uri: string;
}

export type ProfilesResult =
  | {
      ok: true;
      manufacturer: string;
      model: string;
      profiles: OnvifProfile[];
      main: string;
      sub: string;
      ptz: boolean;
      events: boolean;
      /** By how much the device's clock is ahead, ms. */
      clockOffsetMs: number;
    }
  | { ok: false; reason: string; message: string };

const TIMEOUT_MS = 8000;
const MAX_PROFILES = 12;
/** Where makers have their ONVIF: most; Hikvision and others; Reolink; Foscam and no-names; TP-Link. */
const PORTS = [80, 8000, 8080, 8899, 2020];
const KNOCK_MS = 1500;
const AT_ONCE = 64;

export interface OnvifAccess {
  address: string;
  account: { username: string; password: string } | null;
  anyCertificate: boolean;
}

/**
 * @param text nothing for the whole network; else hosts, ranges and networks, which are asked one by one, also where
 *   multicast does not get through. Rejects with `bad-address`.
 */
export async function findDevices(text: string): Promise<FoundDevice[]> {
  const targets = parseTargets(text);
  if (targets.length === 0) return discover();
  const answered = discover({ hosts: [...new Set(targets.map(({ host }) => host))], timeoutMs: 2000 });
  const knocks = targets.flatMap(({ host, port }) => (port ? [port] : PORTS).map((one) => `${host}:${one}`));
  const open: string[] = [];
  const worker = async (): Promise<void> => {
    for (let next = knocks.shift(); next; next = knocks.shift()) if (await hasOnvif(next)) open.push(next);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const devices = await answered;
  const known = new Set(devices.map(({ address }) => new URL(address).hostname));
  const more = open
    .filter((host) => !known.has(new URL(`http://${host}`).hostname))
    .map((host) => ({
      id: host,
      address: `http://${host}/onvif/device_service`,
      host,
      from: null,
      name: '',
      hardware: '',
    }));
  return [...devices, ...more].sort((a, b) => a.host.localeCompare(b.host, 'en', { numeric: true }));
}

/** Whether ONVIF answers there, be it with a refusal. */
async function hasOnvif(address: string): Promise<boolean> {
  const client = new OnvifClient({ address, timeoutMs: KNOCK_MS });
  try {
    await client.call(client.base, `<GetSystemDateAndTime xmlns="${NS.device}"/>`);
    return true;
  } catch (error) {
    return error instanceof EngineError && error.code === 'auth';
  } finally {
    client.close();
  }
}

async function using<T>({ address, account, anyCertificate }: OnvifAccess, work: (client: OnvifClient) => Promise<T>) {
  const client = new OnvifClient({ address, anyCertificate, timeoutMs: TIMEOUT_MS, ...(account ? { account } : {}) });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** A small picture of now, from the device itself. Rejects as {@link snapshotOf}. */
export function onvifStill(access: OnvifAccess): Promise<Buffer> {
  return using(access, async (client) => {
    const device = await describeDevice(client);
    const profile = device.profiles.at(-1);
    if (!profile) throw new EngineError('path', 'the camera lists no stream');
    const image = await snapshotOf(client, device, profile.token);
    return (await openJpeg(image)).resize({ width: 320, withoutEnlargement: true }).jpeg().toBuffer();
  });
}

/** Sets the camera's clock to ours; by how much it is ahead then, ms. */
export function onvifClock(access: OnvifAccess): Promise<number> {
  return using(access, setClock);
}

export async function onvifProfiles(access: OnvifAccess): Promise<ProfilesResult> {
  try {
    return await using(access, profilesOf);
  } catch (error) {
    const reason = error instanceof EngineError ? error.code : 'error';
    return { ok: false, reason, message: error instanceof Error ? error.message : String(error) };
  }
}

async function profilesOf(client: OnvifClient): Promise<ProfilesResult> {
  const device = await describeDevice(client);
  const profiles: OnvifProfile[] = [];
  // One after the other: small devices drop what comes at once.
  for (const { token, name, encoding, width, height } of device.profiles.slice(0, MAX_PROFILES)) {
    const uri = await streamUriOf(client, device, token).catch(() => '');
    if (uri && !profiles.some((other) => other.uri === uri))
      profiles.push({ token, name, encoding, width, height, uri });
  }
  const [main] = profiles;
  if (!main) throw new EngineError('path', 'the camera lists no stream');
  const sub = profiles.filter(({ width, encoding }) => width < main.width && encoding !== 'JPEG').at(-1);
  return {
    ...{ ok: true, manufacturer: device.manufacturer, model: device.model, profiles, main: main.uri },
    ...{ sub: sub?.uri ?? '', ptz: device.ptz !== null, events: device.services.events !== undefined },
    clockOffsetMs: Math.round(device.clockOffsetMs),
  };
}
