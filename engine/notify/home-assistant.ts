/**
 * What Home Assistant's MQTT discovery is told: one device for the NVR, one for each camera. Pure.
 * https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
 */
import { topicsOf } from './topics.ts';

export interface DiscoveryOptions {
  /** Home Assistant's own default is `homeassistant`. */
  prefix: string;
  site: string;
  /** Whether the NVR takes commands: without it there is nothing to press. */
  commands: boolean;
  version: string;
}

interface Availability {
  topic: string;
  payload_available: string;
  payload_not_available: string;
  value_template?: string;
}

/** An entity's configuration; its keys are Home Assistant's. */
export interface Discovery {
  name: string;
  unique_id: string;
  availability: Availability[];
  availability_mode: 'all';
  device: {
    identifiers: string[];
    name: string;
    manufacturer: string;
    model: string;
    sw_version?: string;
    via_device?: string;
  };
  origin: { name: string; sw_version: string };
  [key: string]: unknown;
}

const ONLINE = { payload_available: 'online', payload_not_available: 'offline' };
const ON_OFF = { payload_on: 'ON', payload_off: 'OFF' };
const IS_ONLINE = (yes: string, no: string): string => `{{ '${yes}' if value_json.state == 'online' else '${no}' }}`;

/** Ids may have letters, digits, - and _ only. */
const idOf = (text: string): string => text.replace(/[^\w-]/g, '_');

type Entities = Map<string, Discovery>;

function entity(
  into: Entities,
  { prefix, site, version }: DiscoveryOptions,
  component: string,
  object: string,
  rest: Omit<Discovery, 'unique_id' | 'availability_mode' | 'origin'>,
): void {
  const node = `nvr_${idOf(site)}`;
  into.set(`${prefix}/${component}/${node}/${object}/config`, {
    ...(rest as Discovery),
    unique_id: `${node}_${object}`,
    availability_mode: 'all',
    origin: { name: 'Flow NVR', sw_version: version },
  });
}

/** By their topics, where they are retained. */
export function nvrDiscovery(options: DiscoveryOptions): Entities {
  const { site, commands, version } = options;
  const topics = topicsOf(site);
  const entities: Entities = new Map();
  const availability = [{ topic: topics.status, ...ONLINE }];
  const device = {
    ...{ identifiers: [`nvr_${idOf(site)}`], name: `NVR ${site}`, manufacturer: 'Flow NVR', model: 'NVR' },
    sw_version: version,
  };
  const common = { availability, device };
  entity(entities, options, 'binary_sensor', 'panic_state', {
    ...{ name: 'Panic recording', ...common, state_topic: topics.panic, ...ON_OFF, device_class: 'running' },
  });
  if (!commands) return entities;
  for (const [object, name, payload_press, icon] of [
    ['panic', 'Panic', 'ON', 'mdi:alarm-light'],
    ['panic_end', 'End panic', 'OFF', 'mdi:alarm-light-off'],
  ] as const) {
    entity(entities, options, 'button', object, {
      name,
      ...common,
      command_topic: topics.panicSet,
      payload_press,
      icon,
    });
  }
  return entities;
}

/** By their topics, where they are retained. */
export function cameraDiscovery(options: DiscoveryOptions, camera: { id: string; name: string }): Entities {
  const { site, commands } = options;
  const topics = topicsOf(site);
  const of = topics.camera(camera.id);
  const entities: Entities = new Map();
  const nvr = `nvr_${idOf(site)}`;
  const device = {
    ...{ identifiers: [`${nvr}_camera_${camera.id}`], name: camera.name || camera.id, manufacturer: 'Flow NVR' },
    ...{ model: 'Camera', via_device: nvr },
  };
  const nvrThere = [{ topic: topics.status, ...ONLINE }];
  const cameraThere = [...nvrThere, { topic: of.state, ...ONLINE, value_template: IS_ONLINE('online', 'offline') }];
  const add = (component: string, object: string, rest: { name: string; [key: string]: unknown }): void =>
    entity(entities, options, component, `${camera.id}_${object}`, { availability: cameraThere, device, ...rest });

  add('binary_sensor', 'motion', { name: 'Motion', state_topic: of.motion, ...ON_OFF, device_class: 'motion' });
  add('binary_sensor', 'online', {
    ...{ name: 'Online', availability: nvrThere, state_topic: of.state, ...ON_OFF, device_class: 'connectivity' },
    ...{ value_template: IS_ONLINE('ON', 'OFF'), entity_category: 'diagnostic' },
  });
  if (commands) {
    add('switch', 'recording', {
      ...{ name: 'Recording', availability: nvrThere, state_topic: of.recording, command_topic: of.recordingSet },
      ...{ ...ON_OFF, state_on: 'ON', state_off: 'OFF', icon: 'mdi:record-rec' },
    });
    add('button', 'snapshot', {
      name: 'Snapshot',
      command_topic: of.snapshotSet,
      payload_press: 'PRESS',
      icon: 'mdi:camera',
    });
  } else {
    add('binary_sensor', 'recording', {
      ...{ name: 'Recording', availability: nvrThere, state_topic: of.recording, ...ON_OFF, device_class: 'running' },
    });
  }
  add('image', 'last_event', {
    ...{ name: 'Last event', availability: nvrThere, image_topic: of.image, content_type: 'image/jpeg' },
  });
  return entities;
}
