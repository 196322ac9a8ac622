/** What a device is and can do, asked once: services, profiles, PTZ spaces, relays. */
import { EngineError } from '../types.ts';
import type { OnvifClient } from './client.ts';
import { NS, SPACE } from './names.ts';
import { escapeXml, find, findAll, numberAt, textAt, type XmlElement } from './xml.ts';

export type ServiceName = 'media' | 'media2' | 'ptz' | 'imaging' | 'events' | 'deviceIo';

export interface Interval {
  min: number;
  max: number;
}

/** One coordinate space; `y` only for pan and tilt. */
export interface Space {
  uri: string;
  x: Interval;
  y: Interval | null;
}

/** What can be done with pan and tilt, or with zoom; null is what the device cannot do. */
export interface AxisAbilities {
  absolute: Space | null;
  degrees: Space | null;
  relative: Space | null;
  continuous: Space | null;
}

export interface PtzAbilities {
  /** Media profile that commands name. */
  profile: string;
  panTilt: AxisAbilities;
  zoom: AxisAbilities;
  maxPresets: number;
  home: boolean;
  auxiliary: string[];
  /** Ranges of the speeds that positions are gone to with; null: the device's own speed. */
  speed: { panTilt: Space | null; zoom: Space | null };
}

export interface MediaProfile {
  token: string;
  name: string;
  encoding: string;
  width: number;
  height: number;
  videoSource: string;
  hasPtz: boolean;
  /** Token of the PTZ node that turns it. */
  ptzNode: string;
}

export interface DeviceDescription {
  manufacturer: string;
  model: string;
  firmware: string;
  serial: string;
  clockOffsetMs: number;
  services: Partial<Record<ServiceName, URL>>;
  /** Largest picture first. */
  profiles: MediaProfile[];
  ptz: PtzAbilities | null;
  relays: string[];
}

/** More of any of these is not believed. */
const MAX_ITEMS = 64;

/** Rejects as {@link OnvifClient.call} when the device cannot be talked to; a service that fails is left out. */
export async function describeDevice(client: OnvifClient): Promise<DeviceDescription> {
  const services = await servicesOf(client);
  const info = await client.call(client.base, `<GetDeviceInformation xmlns="${NS.device}"/>`);
  const profiles = await profilesOf(client, services);
  const ptz = services.ptz ? await optional(ptzOf(client, services.ptz, profiles), null) : null;
  const relays = await optional(relaysOf(client), []);
  return {
    manufacturer: textAt(info, 'Manufacturer').slice(0, 100),
    model: textAt(info, 'Model').slice(0, 100),
    firmware: textAt(info, 'FirmwareVersion').slice(0, 100),
    serial: textAt(info, 'SerialNumber').slice(0, 100),
    clockOffsetMs: client.clockOffsetMs,
    ...{ services, profiles, ptz, relays },
  };
}

/** The fallback where the device refuses or does not know a call; other trouble is passed on. */
async function optional<T>(promise: Promise<T>, fallback: T): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof EngineError && ['unsupported', 'device', 'bad-xml'].includes(error.code)) return fallback;
    throw error;
  }
}

/** GetServices, or GetCapabilities of devices from before ONVIF 2.0. */
export async function servicesOf(client: OnvifClient): Promise<Partial<Record<ServiceName, URL>>> {
  const names = ['media', 'media2', 'ptz', 'imaging', 'events', 'deviceIo'] as const;
  const result: Partial<Record<ServiceName, URL>> = {};
  const body = `<GetServices xmlns="${NS.device}"><IncludeCapability>false</IncludeCapability></GetServices>`;
  const listed = await optional(client.call(client.base, body), null);
  if (listed) {
    for (const service of findAll(listed, 'Service')) {
      const name = names.find((candidate) => NS[candidate] === textAt(service, 'Namespace'));
      if (name) result[name] = client.resolve(textAt(service, 'XAddr'));
    }
    return result;
  }
  const request = `<GetCapabilities xmlns="${NS.device}"><Category>All</Category></GetCapabilities>`;
  const capabilities = find(await client.call(client.base, request), 'Capabilities');
  const tags: [ServiceName, ...string[]][] = [
    ['media', 'Media'],
    ['ptz', 'PTZ'],
    ['imaging', 'Imaging'],
    ['events', 'Events'],
    ['deviceIo', 'Extension', 'DeviceIO'],
  ];
  for (const [name, ...path] of tags) {
    const xaddr = textAt(capabilities, ...path, 'XAddr');
    if (xaddr) result[name] = client.resolve(xaddr);
  }
  return result;
}

/** Of Media 2 where Media is missing, fails, or cannot describe what there is: it knows no H.265. */
async function profilesOf(
  client: OnvifClient,
  { media, media2 }: Partial<Record<ServiceName, URL>>,
): Promise<MediaProfile[]> {
  const ask = async (url: URL | undefined, body: string): Promise<MediaProfile[]> => {
    if (!url) return [];
    const answer = await optional(client.call(url, body), null);
    return findAll(answer ?? undefined, 'Profiles')
      .slice(0, MAX_ITEMS)
      .map(profileOf);
  };
  const first = await ask(media, `<GetProfiles xmlns="${NS.media}"/>`);
  const second = first.some(({ width }) => width > 0)
    ? []
    : await ask(media2, `<GetProfiles xmlns="${NS.media2}"><Type>All</Type></GetProfiles>`);
  return (second.length > 0 ? second : first).sort((a, b) => b.width * b.height - a.width * a.height);
}

/** Media 2 has the same parts, with other names, below `Configurations`. */
function profileOf(profile: XmlElement): MediaProfile {
  const second = find(profile, 'Configurations');
  const part = (first: string, other: string): XmlElement | undefined =>
    second ? find(second, other) : find(profile, first);
  const encoder = part('VideoEncoderConfiguration', 'VideoEncoder');
  const ptz = part('PTZConfiguration', 'PTZ');
  return {
    token: profile.attributes['token'] ?? '',
    name: textAt(profile, 'Name').slice(0, 100),
    encoding: textAt(encoder, 'Encoding').toUpperCase().slice(0, 20),
    width: numberAt(encoder, 'Resolution', 'Width') ?? 0,
    height: numberAt(encoder, 'Resolution', 'Height') ?? 0,
    videoSource: textAt(part('VideoSourceConfiguration', 'VideoSource'), 'SourceToken'),
    hasPtz: ptz !== undefined,
    ptzNode: textAt(ptz, 'NodeToken'),
  };
}

async function ptzOf(client: OnvifClient, url: URL, profiles: readonly MediaProfile[]): Promise<PtzAbilities | null> {
  const profile = profiles.find(({ hasPtz }) => hasPtz) ?? profiles[0];
  const answer = await client.call(url, `<GetNodes xmlns="${NS.ptz}"/>`);
  const nodes = findAll(answer, 'PTZNode');
  const node = nodes.find(({ attributes }) => attributes['token'] === profile?.ptzNode) ?? nodes[0];
  if (!profile || !node) return null;
  const spaces = find(node, 'SupportedPTZSpaces');
  const pick = (tag: string, uri: string | null): Space | null => {
    const all = findAll(spaces, tag)
      .map(spaceOf)
      .filter((space) => space !== null);
    const degrees = (space: Space): boolean => space.uri.includes('Spherical');
    return all.find((space) => space.uri === uri) ?? (uri ? null : (all.find((space) => !degrees(space)) ?? null));
  };
  const generic = (tag: string, uri: string): Space | null => pick(tag, uri) ?? pick(tag, null);
  return {
    profile: profile.token,
    panTilt: {
      absolute: generic('AbsolutePanTiltPositionSpace', SPACE.panTiltPosition),
      degrees: pick('AbsolutePanTiltPositionSpace', SPACE.panTiltDegrees),
      relative: generic('RelativePanTiltTranslationSpace', SPACE.panTiltTranslation),
      continuous: generic('ContinuousPanTiltVelocitySpace', SPACE.panTiltVelocity),
    },
    zoom: {
      absolute: generic('AbsoluteZoomPositionSpace', SPACE.zoomPosition),
      degrees: null,
      relative: generic('RelativeZoomTranslationSpace', SPACE.zoomTranslation),
      continuous: generic('ContinuousZoomVelocitySpace', SPACE.zoomVelocity),
    },
    maxPresets: numberAt(node, 'MaximumNumberOfPresets') ?? 0,
    home: textAt(node, 'HomeSupported') === 'true',
    auxiliary: findAll(node, 'AuxiliaryCommands')
      .slice(0, MAX_ITEMS)
      .map(({ text }) => text),
    speed: { panTilt: pick('PanTiltSpeedSpace', null), zoom: pick('ZoomSpeedSpace', null) },
  };
}

/** Null for a space without an extent: nothing can be computed in it. */
function spaceOf(element: XmlElement): Space | null {
  const interval = (tag: string): Interval | null => {
    const [min, max] = [numberAt(element, tag, 'Min'), numberAt(element, tag, 'Max')];
    return min !== null && max !== null && max > min ? { min, max } : null;
  };
  const x = interval('XRange');
  return x ? { uri: textAt(element, 'URI'), x, y: interval('YRange') } : null;
}

async function relaysOf(client: OnvifClient): Promise<string[]> {
  const answer = await client.call(client.base, `<GetRelayOutputs xmlns="${NS.device}"/>`);
  return findAll(answer, 'RelayOutputs')
    .slice(0, MAX_ITEMS)
    .map(({ attributes }) => attributes['token'] ?? '');
}

type Services = Pick<DeviceDescription, 'services'>;

/** What Media, or Media 2 where that is missing or refuses, answers about a profile. */
async function uriOf(
  client: OnvifClient,
  { services: { media, media2 } }: Services,
  action: 'GetStreamUri' | 'GetSnapshotUri',
  profile: string,
): Promise<string> {
  const token = `<ProfileToken>${escapeXml(profile)}</ProfileToken>`;
  const setup = `<StreamSetup><Stream xmlns="${NS.schema}">RTP-Unicast</Stream><Transport xmlns="${NS.schema}"><Protocol>RTSP</Protocol></Transport></StreamSetup>`;
  const stream = action === 'GetStreamUri';
  const first = `<${action} xmlns="${NS.media}">${stream ? setup : ''}${token}</${action}>`;
  const second = `<${action} xmlns="${NS.media2}">${stream ? '<Protocol>RTSP</Protocol>' : ''}${token}</${action}>`;
  if (!media && !media2) throw new EngineError('unsupported', `${client.base.host} has no media service`);
  const asked = media ? client.call(media, first) : client.call(media2!, second);
  const answer = media && media2 ? ((await optional(asked, null)) ?? (await client.call(media2, second))) : await asked;
  return textAt(answer, 'MediaUri', 'Uri') || textAt(answer, 'Uri');
}

/** RTSP address of a profile, at the host that was configured, without an account. Rejects as the call. */
export async function streamUriOf(client: OnvifClient, device: Services, profile: string): Promise<string> {
  const text = await uriOf(client, device, 'GetStreamUri', profile);
  // Not URL: it would percent-encode what some cameras want as it is.
  const match = /^(rtsps?:\/\/)(?:[^@/?#]*@)?(\[[^\]]*\]|[^:/?#]*)(.*)$/i.exec(text);
  if (!match) throw new EngineError('device', `${client.base.host} gave no stream address`);
  return `${match[1]}${client.base.hostname}${match[3]}`.slice(0, 2000);
}

/** A picture of now, JPEG, as the device itself makes it. Rejects as the calls, `device` for something else than a JPEG. */
export async function snapshotOf(client: OnvifClient, device: Services, profile: string): Promise<Buffer> {
  const uri = await uriOf(client, device, 'GetSnapshotUri', profile);
  const data = await client.get(client.resolve(uri));
  if (data[0] === 0xff && data[1] === 0xd8) return data;
  throw new EngineError('device', `${client.base.host} sent something that is no picture`);
}

/**
 * Sets the device's clock to ours. Its time zone stays; it takes its time from nowhere else any more.
 * @returns by how much it is ahead now, ms
 */
export async function setClock(client: OnvifClient): Promise<number> {
  const known = find(
    await client.call(client.base, `<GetSystemDateAndTime xmlns="${NS.device}"/>`),
    'SystemDateAndTime',
  );
  const now = new Date();
  const item = (tag: string, value: string | number): string => `<${tag} xmlns="${NS.schema}">${value}</${tag}>`;
  const zone = textAt(known, 'TimeZone', 'TZ');
  const saving = textAt(known, 'DaylightSavings') === 'true';
  const time =
    item('Hour', now.getUTCHours()) + item('Minute', now.getUTCMinutes()) + item('Second', now.getUTCSeconds());
  const date =
    item('Year', now.getUTCFullYear()) + item('Month', now.getUTCMonth() + 1) + item('Day', now.getUTCDate());
  const body =
    `<DateTimeType>Manual</DateTimeType><DaylightSavings>${saving}</DaylightSavings>` +
    (zone ? `<TimeZone>${item('TZ', escapeXml(zone))}</TimeZone>` : '') +
    `<UTCDateTime>${item('Time', time)}${item('Date', date)}</UTCDateTime>`;
  await client.call(client.base, `<SetSystemDateAndTime xmlns="${NS.device}">${body}</SetSystemDateAndTime>`);
  await client.readClock();
  return client.clockOffsetMs;
}
