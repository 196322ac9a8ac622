/** What a simulated device answers to each action, in the shapes of ONVIF's WSDLs. Prefixes are those of its envelope. */
import { NS, SPACE } from '../../engine/onvif/names.ts';
import { escapeXml, find, parseDuration, textAt, toNumber, type XmlElement } from '../../engine/onvif/xml.ts';
import type { OnvifCamera } from './onvif-camera.ts';
import type { Axis, Position, Range } from './onvif-turntable.ts';

export type Service = 'device' | 'media' | 'media2' | 'ptz' | 'imaging' | 'events' | 'deviceIo';

export class SoapFault extends Error {
  readonly code: 'Sender' | 'Receiver';
  /** Below `ter:`, outermost first, with `/` between. */
  readonly subcode: string;
  constructor(code: 'Sender' | 'Receiver', subcode: string, message: string) {
    super(message);
    this.code = code;
    this.subcode = subcode;
  }
}

export interface Request {
  body: XmlElement;
  path: string;
  header: XmlElement | undefined;
}

type Action = (camera: OnvifCamera, body: XmlElement, request: Request) => string | Promise<string>;

const PATHS: Record<Service, string> = {
  device: '/onvif/device_service',
  media: '/onvif/media',
  media2: '/onvif/media2',
  ptz: '/onvif/ptz',
  imaging: '/onvif/imaging',
  events: '/onvif/events',
  deviceIo: '/onvif/deviceio',
};
const VERSIONS: Record<Service, [number, number]> = {
  device: [19, 12],
  media: [19, 6],
  media2: [20, 6],
  ptz: [20, 6],
  imaging: [19, 6],
  events: [19, 6],
  deviceIo: [19, 6],
};

const invalid = (subcode: string, message: string): SoapFault =>
  new SoapFault('Sender', `InvalidArgVal/${subcode}`, message);

export async function answerOf(camera: OnvifCamera, request: Request): Promise<string> {
  const { body } = request;
  const service = (Object.keys(PATHS) as Service[]).find((name) => NS[name] === body.ns) ?? 'events';
  const action = Object.hasOwn(ACTIONS[service], body.name) ? ACTIONS[service][body.name] : undefined;
  const there = servicesOf(camera).includes(service);
  if (!action || !there) throw new SoapFault('Receiver', 'ActionNotSupported', `${body.name} is not supported`);
  return action(camera, body, request);
}

function servicesOf(camera: OnvifCamera): Service[] {
  const { missing, kind, media2 } = camera.options;
  const has = (name: Service): boolean => (name === 'ptz' ? kind !== 'fixed' : name === 'media2' ? media2 : true);
  return (Object.keys(PATHS) as Service[]).filter((name) => !missing.has(name) && has(name));
}

const xaddrOf = (camera: OnvifCamera, service: Service): string => `http://${camera.advertised}${PATHS[service]}`;

const DEVICE: Record<string, Action> = {
  GetSystemDateAndTime: (camera) => {
    const now = new Date(camera.clock);
    const time = `<tt:Time><tt:Hour>${now.getUTCHours()}</tt:Hour><tt:Minute>${now.getUTCMinutes()}</tt:Minute><tt:Second>${now.getUTCSeconds()}</tt:Second></tt:Time>`;
    const date = `<tt:Date><tt:Year>${now.getUTCFullYear()}</tt:Year><tt:Month>${now.getUTCMonth() + 1}</tt:Month><tt:Day>${now.getUTCDate()}</tt:Day></tt:Date>`;
    return `<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>Manual</tt:DateTimeType><tt:DaylightSavings>false</tt:DaylightSavings><tt:TimeZone><tt:TZ>${escapeXml(camera.timeZone)}</tt:TZ></tt:TimeZone><tt:UTCDateTime>${time}${date}</tt:UTCDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>`;
  },
  SetSystemDateAndTime: (camera, body) => {
    if (textAt(body, 'DateTimeType') !== 'Manual') throw invalid('InvalidDateTime', 'DateTimeType');
    const at = (...path: string[]): number => toNumber(textAt(body, 'UTCDateTime', ...path)) ?? NaN;
    const date = [at('Date', 'Year'), at('Date', 'Month') - 1, at('Date', 'Day')] as const;
    const time = Date.UTC(...date, at('Time', 'Hour'), at('Time', 'Minute'), at('Time', 'Second'));
    if (!Number.isFinite(time)) throw invalid('InvalidDateTime', 'UTCDateTime');
    camera.timeZone = textAt(body, 'TimeZone', 'TZ');
    camera.options.clockOffsetMs = time - Date.now();
    return '<tds:SetSystemDateAndTimeResponse/>';
  },
  GetDeviceInformation: (camera) =>
    `<tds:GetDeviceInformationResponse><tds:Manufacturer>Flow NVR</tds:Manufacturer><tds:Model>${escapeXml(camera.options.name)}</tds:Model><tds:FirmwareVersion>1.0</tds:FirmwareVersion><tds:SerialNumber>${camera.port}</tds:SerialNumber><tds:HardwareId>sim</tds:HardwareId></tds:GetDeviceInformationResponse>`,
  GetServices: (camera) => {
    if (!camera.options.getServices) throw new SoapFault('Receiver', 'ActionNotSupported', 'GetServices');
    const services = servicesOf(camera).map((name) => {
      const [major, minor] = VERSIONS[name];
      return `<tds:Service><tds:Namespace>${NS[name]}</tds:Namespace><tds:XAddr>${xaddrOf(camera, name)}</tds:XAddr><tds:Version><tt:Major>${major}</tt:Major><tt:Minor>${minor}</tt:Minor></tds:Version></tds:Service>`;
    });
    return `<tds:GetServicesResponse>${services.join('')}</tds:GetServicesResponse>`;
  },
  GetCapabilities: (camera) => {
    const there = servicesOf(camera);
    const part = (service: Service, tag: string, more = ''): string =>
      there.includes(service) ? `<tt:${tag}><tt:XAddr>${xaddrOf(camera, service)}</tt:XAddr>${more}</tt:${tag}>` : '';
    const events =
      '<tt:WSSubscriptionPolicySupport>false</tt:WSSubscriptionPolicySupport><tt:WSPullPointSupport>true</tt:WSPullPointSupport><tt:WSPausableSubscriptionManagerInterfaceSupport>false</tt:WSPausableSubscriptionManagerInterfaceSupport>';
    const streaming =
      '<tt:StreamingCapabilities><tt:RTPMulticast>false</tt:RTPMulticast><tt:RTP_TCP>true</tt:RTP_TCP><tt:RTP_RTSP_TCP>true</tt:RTP_RTSP_TCP></tt:StreamingCapabilities>';
    return `<tds:GetCapabilitiesResponse><tds:Capabilities>${part('device', 'Device')}${part('events', 'Events', events)}${part('imaging', 'Imaging')}${part('media', 'Media', streaming)}${part('ptz', 'PTZ')}<tt:Extension>${part('deviceIo', 'DeviceIO', `<tt:VideoSources>1</tt:VideoSources><tt:VideoOutputs>0</tt:VideoOutputs><tt:AudioSources>0</tt:AudioSources><tt:AudioOutputs>0</tt:AudioOutputs><tt:RelayOutputs>${camera.relays.size}</tt:RelayOutputs>`)}</tt:Extension></tds:Capabilities></tds:GetCapabilitiesResponse>`;
  },
  GetScopes: (camera) => {
    const scopes = scopesOf(camera).map(
      (item) => `<tds:Scopes><tt:ScopeDef>Fixed</tt:ScopeDef><tt:ScopeItem>${item}</tt:ScopeItem></tds:Scopes>`,
    );
    return `<tds:GetScopesResponse>${scopes.join('')}</tds:GetScopesResponse>`;
  },
  GetRelayOutputs: (camera) => relayOutputs(camera, 'tds'),
  SetRelayOutputState: (camera, body) => setRelay(camera, body, 'tds'),
};

function relayOutputs(camera: OnvifCamera, prefix: string): string {
  const relays = [...camera.relays.keys()].map(
    (token) =>
      `<${prefix}:RelayOutputs token="${escapeXml(token)}"><tt:Properties><tt:Mode>Bistable</tt:Mode><tt:DelayTime>PT0S</tt:DelayTime><tt:IdleState>open</tt:IdleState></tt:Properties></${prefix}:RelayOutputs>`,
  );
  return `<${prefix}:GetRelayOutputsResponse>${relays.join('')}</${prefix}:GetRelayOutputsResponse>`;
}

function setRelay(camera: OnvifCamera, body: XmlElement, prefix: string): string {
  const [token, state] = [textAt(body, 'RelayOutputToken'), textAt(body, 'LogicalState')];
  if (!camera.relays.has(token)) throw invalid('RelayToken', 'unknown relay');
  if (state !== 'active' && state !== 'inactive') throw invalid('ModeError', 'LogicalState');
  camera.relays.set(token, state);
  return `<${prefix}:SetRelayOutputStateResponse/>`;
}

export function scopesOf({ options }: OnvifCamera): string[] {
  const base = 'onvif://www.onvif.org';
  const name = encodeURIComponent(options.name);
  return [`${base}/Profile/Streaming`, `${base}/name/${name}`, `${base}/hardware/sim`, `${base}/type/video_encoder`];
}

const MEDIA: Record<string, Action> = {
  GetVideoSources: () =>
    '<trt:GetVideoSourcesResponse><trt:VideoSources token="source-1"><tt:Framerate>25</tt:Framerate><tt:Resolution><tt:Width>1920</tt:Width><tt:Height>1080</tt:Height></tt:Resolution></trt:VideoSources></trt:GetVideoSourcesResponse>',
  GetProfiles: (camera) => {
    const profile = (token: string, name: string, width: number, height: number): string =>
      `<trt:Profiles token="${token}" fixed="true"><tt:Name>${name}</tt:Name><tt:VideoSourceConfiguration token="vsc"><tt:Name>vsc</tt:Name><tt:UseCount>2</tt:UseCount><tt:SourceToken>source-1</tt:SourceToken><tt:Bounds x="0" y="0" width="1920" height="1080"/></tt:VideoSourceConfiguration><tt:VideoEncoderConfiguration token="vec-${token}"><tt:Name>${name}</tt:Name><tt:UseCount>1</tt:UseCount><tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>${width}</tt:Width><tt:Height>${height}</tt:Height></tt:Resolution><tt:Quality>4</tt:Quality><tt:RateControl><tt:FrameRateLimit>25</tt:FrameRateLimit><tt:EncodingInterval>1</tt:EncodingInterval><tt:BitrateLimit>4096</tt:BitrateLimit></tt:RateControl><tt:SessionTimeout>PT60S</tt:SessionTimeout></tt:VideoEncoderConfiguration>${servicesOf(camera).includes('ptz') ? configuration(camera, 'tt:PTZConfiguration') : ''}</trt:Profiles>`;
    const sub = camera.options.subStream ? profile('sub', 'Sub', 640, 360) : '';
    return `<trt:GetProfilesResponse>${sub}${profile('main', 'Main', 1920, 1080)}</trt:GetProfilesResponse>`;
  },
  GetStreamUri: (camera, body) => {
    if (textAt(body, 'StreamSetup', 'Transport', 'Protocol') === '') throw invalid('InvalidStreamSetup', 'StreamSetup');
    return `<trt:GetStreamUriResponse>${mediaUri(camera, body, 'rtsp', '/stream/')}</trt:GetStreamUriResponse>`;
  },
  GetSnapshotUri: (camera, body) =>
    `<trt:GetSnapshotUriResponse>${mediaUri(camera, body, 'http', '/snapshot/')}</trt:GetSnapshotUriResponse>`,
};

/** As Profile T devices have it: the same parts, with other names. */
const MEDIA2: Record<string, Action> = {
  GetProfiles: (camera) => {
    const profile = (token: string, name: string, width: number, height: number): string =>
      `<tr2:Profiles token="${token}" fixed="true"><tr2:Name>${name}</tr2:Name><tr2:Configurations><tr2:VideoSource token="vsc"><tt:Name>vsc</tt:Name><tt:UseCount>2</tt:UseCount><tt:SourceToken>source-1</tt:SourceToken><tt:Bounds x="0" y="0" width="1920" height="1080"/></tr2:VideoSource><tr2:VideoEncoder token="vec-${token}"><tt:Name>${name}</tt:Name><tt:UseCount>1</tt:UseCount><tt:Encoding>H265</tt:Encoding><tt:Resolution><tt:Width>${width}</tt:Width><tt:Height>${height}</tt:Height></tt:Resolution><tt:RateControl ConstantBitRate="false"><tt:FrameRateLimit>25</tt:FrameRateLimit><tt:BitrateLimit>4096</tt:BitrateLimit></tt:RateControl><tt:Quality>4</tt:Quality></tr2:VideoEncoder>${servicesOf(camera).includes('ptz') ? configuration(camera, 'tr2:PTZ') : ''}</tr2:Configurations></tr2:Profiles>`;
    const sub = camera.options.subStream ? profile('sub', 'Sub', 640, 360) : '';
    return `<tr2:GetProfilesResponse>${sub}${profile('main', 'Main', 1920, 1080)}</tr2:GetProfilesResponse>`;
  },
  GetStreamUri: (camera, body) => {
    if (textAt(body, 'Protocol') === '') throw invalid('InvalidStreamSetup', 'Protocol');
    return `<tr2:GetStreamUriResponse><tr2:Uri>${uriOf(camera, body, 'rtsp', '/stream/')}</tr2:Uri></tr2:GetStreamUriResponse>`;
  },
  GetSnapshotUri: (camera, body) =>
    `<tr2:GetSnapshotUriResponse><tr2:Uri>${uriOf(camera, body, 'http', '/snapshot/')}</tr2:Uri></tr2:GetSnapshotUriResponse>`,
};

/** As XML. */
function uriOf(camera: OnvifCamera, body: XmlElement, scheme: string, path: string): string {
  const token = profileOf(body);
  const own = camera.options.streams[token];
  if (own && scheme === 'rtsp') return escapeXml(own);
  const host = scheme === 'rtsp' ? camera.advertised.split(':')[0] : camera.advertised;
  const secret = `${camera.options.username}:secret@`;
  return `${scheme}://${secret}${host}${path}${token}?a=1&amp;b=2`;
}

function mediaUri(camera: OnvifCamera, body: XmlElement, scheme: string, path: string): string {
  return `<trt:MediaUri><tt:Uri>${uriOf(camera, body, scheme, path)}</tt:Uri><tt:InvalidAfterConnect>false</tt:InvalidAfterConnect><tt:InvalidAfterReboot>false</tt:InvalidAfterReboot><tt:Timeout>PT0S</tt:Timeout></trt:MediaUri>`;
}

function profileOf(body: XmlElement): string {
  const token = textAt(body, 'ProfileToken');
  if (token !== 'main' && token !== 'sub') throw invalid('NoProfile', 'no such profile');
  return token;
}

const range = (tag: string, { min, max }: Range): string =>
  `<tt:${tag}><tt:Min>${min}</tt:Min><tt:Max>${max}</tt:Max></tt:${tag}>`;
const space = (tag: string, uri: string, x: Range, y?: Range): string =>
  `<tt:${tag}><tt:URI>${uri}</tt:URI>${range('XRange', x)}${y ? range('YRange', y) : ''}</tt:${tag}>`;
const UNIT = { min: -1, max: 1 };

function node(camera: OnvifCamera): string {
  const { panRange, tiltRange, zoomRange, degrees, maxPresets, home, auxiliary } = camera.options;
  const spaces = [
    camera.can('pan', 'absolute') && space('AbsolutePanTiltPositionSpace', SPACE.panTiltPosition, panRange, tiltRange),
    camera.can('pan', 'absolute') &&
      degrees &&
      space('AbsolutePanTiltPositionSpace', SPACE.panTiltDegrees, degrees.pan, degrees.tilt),
    camera.can('zoom', 'absolute') && space('AbsoluteZoomPositionSpace', SPACE.zoomPosition, zoomRange),
    camera.can('pan', 'relative') && space('RelativePanTiltTranslationSpace', SPACE.panTiltTranslation, UNIT, UNIT),
    camera.can('zoom', 'relative') && space('RelativeZoomTranslationSpace', SPACE.zoomTranslation, UNIT),
    camera.can('pan', 'continuous') && space('ContinuousPanTiltVelocitySpace', SPACE.panTiltVelocity, UNIT, UNIT),
    camera.can('zoom', 'continuous') && space('ContinuousZoomVelocitySpace', SPACE.zoomVelocity, UNIT),
    camera.can('pan', 'absolute') && space('PanTiltSpeedSpace', SPACE.panTiltSpeed, { min: 0, max: 1 }),
    camera.can('zoom', 'absolute') && space('ZoomSpeedSpace', SPACE.zoomSpeed, { min: 0, max: 1 }),
  ];
  const commands = auxiliary.map((name) => `<tt:AuxiliaryCommands>${escapeXml(name)}</tt:AuxiliaryCommands>`);
  return `<tptz:PTZNode token="node-1" FixedHomePosition="false"><tt:Name>node-1</tt:Name><tt:SupportedPTZSpaces>${spaces.filter(Boolean).join('')}</tt:SupportedPTZSpaces><tt:MaximumNumberOfPresets>${maxPresets}</tt:MaximumNumberOfPresets><tt:HomeSupported>${home}</tt:HomeSupported>${commands.join('')}</tptz:PTZNode>`;
}

function configuration(camera: OnvifCamera, tag: string): string {
  const { panRange, tiltRange, zoomRange } = camera.options;
  const given = (axis: Axis, way: 'absolute' | 'relative' | 'continuous', name: string, uri: string): string =>
    camera.can(axis, way) ? `<tt:${name}>${uri}</tt:${name}>` : '';
  const defaults = [
    // "Pant" is how the schema spells it.
    given('pan', 'absolute', 'DefaultAbsolutePantTiltPositionSpace', SPACE.panTiltPosition),
    given('zoom', 'absolute', 'DefaultAbsoluteZoomPositionSpace', SPACE.zoomPosition),
    given('pan', 'relative', 'DefaultRelativePanTiltTranslationSpace', SPACE.panTiltTranslation),
    given('zoom', 'relative', 'DefaultRelativeZoomTranslationSpace', SPACE.zoomTranslation),
    given('pan', 'continuous', 'DefaultContinuousPanTiltVelocitySpace', SPACE.panTiltVelocity),
    given('zoom', 'continuous', 'DefaultContinuousZoomVelocitySpace', SPACE.zoomVelocity),
  ].join('');
  return `<${tag} token="ptz-1"><tt:Name>ptz-1</tt:Name><tt:UseCount>2</tt:UseCount><tt:NodeToken>node-1</tt:NodeToken>${defaults}<tt:DefaultPTZTimeout>PT5S</tt:DefaultPTZTimeout><tt:PanTiltLimits>${space('Range', SPACE.panTiltPosition, panRange, tiltRange)}</tt:PanTiltLimits><tt:ZoomLimits>${space('Range', SPACE.zoomPosition, zoomRange)}</tt:ZoomLimits></${tag}>`;
}

/** The values of a PTZVector or PTZSpeed; degrees become units of the generic space. Faults outside the range. */
function vectorOf(camera: OnvifCamera, vector: XmlElement | undefined, limit: boolean): Partial<Position> {
  const { panRange, tiltRange, zoomRange, degrees } = camera.options;
  const [panTilt, zoom] = [find(vector, 'PanTilt'), find(vector, 'Zoom')];
  const check = (value: number | null, { min, max }: Range): number => {
    if (value === null || (limit && (value < min - 1e-6 || value > max + 1e-6)))
      throw invalid('InvalidPosition', 'the position is out of bounds');
    return value;
  };
  const result: Partial<Position> = {};
  if (panTilt) {
    const inDegrees = panTilt.attributes['space'] === SPACE.panTiltDegrees ? degrees : null;
    const scale = (value: string | undefined, from: Range, to: Range): number =>
      inDegrees
        ? to.min + ((check(toNumber(value), from) - from.min) / (from.max - from.min)) * (to.max - to.min)
        : check(toNumber(value), to);
    result.pan = scale(panTilt.attributes['x'], inDegrees?.pan ?? panRange, panRange);
    result.tilt = scale(panTilt.attributes['y'], inDegrees?.tilt ?? tiltRange, tiltRange);
  }
  if (zoom) result.zoom = check(toNumber(zoom.attributes['x']), zoomRange);
  return result;
}

function demand(camera: OnvifCamera, vector: Partial<Position>, way: 'continuous' | 'absolute' | 'relative'): void {
  for (const [axis, value] of Object.entries(vector) as [Axis, number][]) {
    // Zeros for an axis it does not have are what many devices take.
    if (!camera.can(axis, way) && value !== 0) throw invalid('SpaceNotSupported', `no ${way} ${axis}`);
  }
}

function presetOf(camera: OnvifCamera, body: XmlElement): { token: string; name: string; position: Position } {
  const token = textAt(body, 'PresetToken');
  const preset = camera.presets.get(token);
  if (!preset) throw invalid('NoToken', 'the preset does not exist');
  return { token, ...preset };
}

function moveAll(camera: OnvifCamera, position: Position): void {
  for (const axis of ['pan', 'tilt', 'zoom'] as const) camera.table.moveTo(axis, position[axis]);
}

const PTZ: Record<string, Action> = {
  GetNodes: (camera) => `<tptz:GetNodesResponse>${node(camera)}</tptz:GetNodesResponse>`,
  GetNode: (camera) => `<tptz:GetNodeResponse>${node(camera)}</tptz:GetNodeResponse>`,
  GetConfigurations: (camera) =>
    `<tptz:GetConfigurationsResponse>${configuration(camera, 'tptz:PTZConfiguration')}</tptz:GetConfigurationsResponse>`,
  ContinuousMove: (camera, body) => {
    profileOf(body);
    const velocity = vectorOf(camera, find(body, 'Velocity'), false);
    demand(camera, velocity, 'continuous');
    const timeoutMs = parseDuration(textAt(body, 'Timeout')) ?? camera.options.defaultTimeoutMs;
    for (const [axis, value] of Object.entries(velocity) as [Axis, number][]) {
      if (Math.abs(value) > 1) throw invalid('InvalidVelocity', 'the velocity is out of bounds');
      camera.table.turn(axis, value, timeoutMs);
    }
    return '<tptz:ContinuousMoveResponse/>';
  },
  AbsoluteMove: (camera, body) => {
    profileOf(body);
    const position = vectorOf(camera, find(body, 'Position'), true);
    demand(camera, position, 'absolute');
    for (const [axis, value] of Object.entries(position) as [Axis, number][]) camera.table.moveTo(axis, value);
    return '<tptz:AbsoluteMoveResponse/>';
  },
  RelativeMove: (camera, body) => {
    profileOf(body);
    const translation = vectorOf(camera, find(body, 'Translation'), false);
    demand(camera, translation, 'relative');
    const from = camera.table.position;
    const ranges = { pan: camera.options.panRange, tilt: camera.options.tiltRange, zoom: camera.options.zoomRange };
    for (const [axis, value] of Object.entries(translation) as [Axis, number][]) {
      camera.table.moveTo(axis, Math.min(Math.max(from[axis] + value, ranges[axis].min), ranges[axis].max));
    }
    return '<tptz:RelativeMoveResponse/>';
  },
  Stop: (camera, body) => {
    profileOf(body);
    if (textAt(body, 'PanTilt') !== 'false') {
      camera.table.stop('pan');
      camera.table.stop('tilt');
    }
    if (textAt(body, 'Zoom') !== 'false') camera.table.stop('zoom');
    return '<tptz:StopResponse/>';
  },
  GetStatus: (camera, body) => {
    profileOf(body);
    const { pan, tilt, zoom } = camera.table.position;
    const panTilt =
      camera.options.kind === 'zoom' ? '' : `<tt:PanTilt x="${pan}" y="${tilt}" space="${SPACE.panTiltPosition}"/>`;
    const position = camera.options.position
      ? `<tt:Position>${panTilt}<tt:Zoom x="${zoom}" space="${SPACE.zoomPosition}"/></tt:Position>`
      : '';
    const turning = camera.table.isMoving('pan') || camera.table.isMoving('tilt');
    const zooming = camera.table.isMoving('zoom');
    return `<tptz:GetStatusResponse><tptz:PTZStatus>${position}<tt:MoveStatus><tt:PanTilt>${turning ? 'MOVING' : 'IDLE'}</tt:PanTilt><tt:Zoom>${zooming ? 'MOVING' : 'IDLE'}</tt:Zoom></tt:MoveStatus><tt:UtcTime>${new Date(camera.clock).toISOString()}</tt:UtcTime></tptz:PTZStatus></tptz:GetStatusResponse>`;
  },
  GetPresets: (camera, body) => {
    profileOf(body);
    const presets = [...camera.presets].map(
      ([
        token,
        {
          name,
          position: { pan, tilt, zoom },
        },
      ]) =>
        `<tptz:Preset token="${escapeXml(token)}">${name ? `<tt:Name>${escapeXml(name)}</tt:Name>` : ''}<tt:PTZPosition><tt:PanTilt x="${pan}" y="${tilt}"/><tt:Zoom x="${zoom}"/></tt:PTZPosition></tptz:Preset>`,
    );
    return `<tptz:GetPresetsResponse>${presets.join('')}</tptz:GetPresetsResponse>`;
  },
  SetPreset: (camera, body) => {
    profileOf(body);
    const wanted = textAt(body, 'PresetToken');
    if (wanted && !camera.presets.has(wanted)) throw invalid('NoToken', 'the preset does not exist');
    if (!wanted && camera.presets.size >= camera.options.maxPresets)
      throw new SoapFault('Receiver', 'Action/TooManyPresets', 'maximum number of presets reached');
    let number = 1;
    while (camera.presets.has(String(number))) number++;
    const token = wanted || String(number);
    const name = textAt(body, 'PresetName') || (camera.presets.get(token)?.name ?? '');
    camera.presets.set(token, { name, position: camera.table.position });
    return `<tptz:SetPresetResponse><tptz:PresetToken>${escapeXml(token)}</tptz:PresetToken></tptz:SetPresetResponse>`;
  },
  GotoPreset: (camera, body) => {
    profileOf(body);
    moveAll(camera, presetOf(camera, body).position);
    return '<tptz:GotoPresetResponse/>';
  },
  RemovePreset: (camera, body) => {
    profileOf(body);
    camera.presets.delete(presetOf(camera, body).token);
    return '<tptz:RemovePresetResponse/>';
  },
  GotoHomePosition: (camera, body) => {
    profileOf(body);
    if (!camera.options.home) throw new SoapFault('Receiver', 'Action/NoHomePosition', 'no home position');
    moveAll(camera, camera.homePosition);
    return '<tptz:GotoHomePositionResponse/>';
  },
  SetHomePosition: (camera, body) => {
    profileOf(body);
    if (!camera.options.home)
      throw new SoapFault('Receiver', 'Action/CannotOverwriteHome', 'the home position is fixed');
    camera.homePosition = camera.table.position;
    return '<tptz:SetHomePositionResponse/>';
  },
  SendAuxiliaryCommand: (camera, body) => {
    const data = textAt(body, 'AuxiliaryData');
    if (!camera.options.auxiliary.includes(data)) throw invalid('AuxiliaryData', 'unknown auxiliary command');
    camera.auxiliary.push(data);
    return '<tptz:SendAuxiliaryCommandResponse><tptz:AuxiliaryResponse>ok</tptz:AuxiliaryResponse></tptz:SendAuxiliaryCommandResponse>';
  },
};

function sourceOf(body: XmlElement): void {
  if (textAt(body, 'VideoSourceToken') !== 'source-1') throw invalid('NoSource', 'no such video source');
}

const IMAGING: Record<string, Action> = {
  GetImagingSettings: (camera, body) => {
    sourceOf(body);
    const { imaging } = camera;
    const plain = (name: string): string => (imaging[name] ? `<tt:${name}>${imaging[name]}</tt:${name}>` : '');
    return `<timg:GetImagingSettingsResponse><timg:ImagingSettings>${plain('Brightness')}${plain('ColorSaturation')}${plain('Contrast')}<tt:Focus><tt:AutoFocusMode>${camera.autoFocus}</tt:AutoFocusMode></tt:Focus>${plain('IrCutFilter')}${plain('Sharpness')}</timg:ImagingSettings></timg:GetImagingSettingsResponse>`;
  },
  SetImagingSettings: (camera, body) => {
    sourceOf(body);
    const settings = find(body, 'ImagingSettings');
    if (!settings) throw invalid('SettingsInvalid', 'no settings');
    for (const { name, text, children } of settings.children) {
      if (name === 'Focus') camera.autoFocus = children[0]?.text ?? camera.autoFocus;
      else if (!(name in camera.imaging)) throw invalid('SettingsInvalid', `${name} is not supported`);
      else if (name !== 'IrCutFilter' && !(Number(text) >= 0 && Number(text) <= 100))
        throw invalid('SettingsInvalid', name);
      else camera.imaging[name] = text;
    }
    return '<timg:SetImagingSettingsResponse/>';
  },
  GetOptions: (_camera, body) => {
    sourceOf(body);
    const levels = ['Brightness', 'ColorSaturation', 'Contrast', 'Sharpness'].map((name) =>
      range(name, { min: 0, max: 100 }),
    );
    const modes = ['ON', 'OFF', 'AUTO'].map((mode) => `<tt:IrCutFilterModes>${mode}</tt:IrCutFilterModes>`).join('');
    return `<timg:GetOptionsResponse><timg:ImagingOptions>${levels.slice(0, 3).join('')}${modes}${levels[3]}</timg:ImagingOptions></timg:GetOptionsResponse>`;
  },
  GetMoveOptions: (_camera, body) => {
    sourceOf(body);
    const speed = range('Speed', { min: -7, max: 7 });
    return `<timg:GetMoveOptionsResponse><timg:MoveOptions><tt:Absolute>${range('Position', { min: 0, max: 100 })}</tt:Absolute><tt:Continuous>${speed}</tt:Continuous></timg:MoveOptions></timg:GetMoveOptionsResponse>`;
  },
  Move: (_camera, body) => {
    sourceOf(body);
    const way = find(body, 'Focus')?.children[0];
    if (!way || way.children.length === 0) throw invalid('InvalidMove', 'Focus');
    return '<timg:MoveResponse/>';
  },
  Stop: (_camera, body) => {
    sourceOf(body);
    return '<timg:StopResponse/>';
  },
};

const EVENTS: Record<string, Action> = {
  CreatePullPointSubscription: (camera, body) => camera.events.create(body),
  PullMessages: (camera, body, { path, header }) => camera.events.pull(body, camera.events.of(path, header)),
  Renew: (camera, body, { path, header }) => camera.events.renew(body, camera.events.of(path, header)),
  Unsubscribe: (camera, _body, { path, header }) => camera.events.unsubscribe(camera.events.of(path, header)),
};

const DEVICE_IO: Record<string, Action> = {
  GetRelayOutputs: (camera) => relayOutputs(camera, 'tmd'),
  SetRelayOutputState: (camera, body) => setRelay(camera, body, 'tmd'),
};

const ACTIONS: Record<Service, Record<string, Action>> = {
  ...{ device: DEVICE, media: MEDIA, media2: MEDIA2, ptz: PTZ, imaging: IMAGING, events: EVENTS, deviceIo: DEVICE_IO },
};
