/** "Find cameras" of the edit dialog: ONVIF devices in the network, and the streams of one of them. */
import { OnvifClient, parseAddress } from '../../engine/onvif/client.ts';
import { describeDevice, streamUriOf, type MediaProfile } from '../../engine/onvif/device.ts';
import { discover, type FoundDevice } from '../../engine/onvif/discovery.ts';
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

/** @param address asks this device only, also where multicast does not get through */
export function findDevices(address: string): Promise<FoundDevice[]> {
  return address ? discover({ host: parseAddress(address).hostname, timeoutMs: 2000 }) : discover();
}

export async function onvifProfiles(
  address: string,
  account: { username: string; password: string } | null,
): Promise<ProfilesResult> {
  let client: OnvifClient | null = null;
  try {
    client = new OnvifClient({ address, timeoutMs: TIMEOUT_MS, ...(account ? { account } : {}) });
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
  } catch (error) {
    const reason = error instanceof EngineError ? error.code : 'error';
    return { ok: false, reason, message: error instanceof Error ? error.message : String(error) };
  } finally {
    client?.close();
  }
}
