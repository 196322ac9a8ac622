/** nvr-mqtt's properties, checked. */
import { isSite, topicsOf } from '../../engine/notify/topics.ts';
import type { MqttSpec, TlsOptions } from '../../engine/notify/types.ts';
import { EngineError } from '../../engine/types.ts';

export interface NvrMqttProperties {
  url: string;
  version: string;
  site: string;
  homeAssistant: boolean;
  prefix: string;
  commands: string;
}

export interface NvrMqttConfig {
  spec: MqttSpec;
  site: string;
  /** Commands are taken. */
  commands: boolean;
  /** Prefix of the discovery topics; null where Home Assistant is not told. */
  prefix: string | null;
}

const PROTOCOLS = ['mqtt:', 'mqtts:', 'ws:', 'wss:'];
const PREFIX = /^[\w-]+(\/[\w-]+)*$/;

const bad = (message: string): EngineError => new EngineError('bad-mqtt', message);

/** Throws `bad-mqtt` that says what to enter. */
export function toMqttConfig(
  { url, version, site, homeAssistant, prefix, commands }: NvrMqttProperties,
  { username, password }: { username?: string; password?: string },
  tls: TlsOptions | null,
): NvrMqttConfig {
  const address = url.trim();
  const complete = /^[a-z]+:\/\//i.test(address) ? address : `mqtt://${address}`;
  const parsed = URL.canParse(complete) ? new URL(complete) : null;
  if (!parsed?.hostname) throw bad('enter the address of the broker, for example mqtt://192.168.1.5:1883');
  if (!PROTOCOLS.includes(parsed.protocol)) {
    throw bad('the address of a broker begins with mqtt://, mqtts://, ws:// or wss://');
  }
  if (parsed.username || parsed.password)
    throw bad('enter user name and password in their own fields, not in the address');
  const at = (site || 'home').trim();
  if (!isSite(at)) throw bad('use letters, digits, ".", - and _ for the site');
  const discovery = (prefix || 'homeassistant').trim();
  if (homeAssistant && !PREFIX.test(discovery)) throw bad('use letters, digits, -, _ and / for the discovery prefix');
  // Node's own list of authorities where no TLS configuration is chosen.
  const secure = parsed.protocol === 'mqtts:' || parsed.protocol === 'wss:';
  if (tls && !secure) throw bad('a TLS configuration needs an address that begins with mqtts:// or wss://');
  const takes = commands === 'on' || (commands !== 'off' && (secure || !!username));
  const topics = topicsOf(at);
  return {
    spec: {
      ...{ kind: 'mqtt', url: parsed.href, version: version === '4' ? 4 : 5, tls, statusTopic: topics.status },
      ...(username ? { username, password: password ?? '' } : {}),
      subscribe: takes ? topics.commands : [],
    },
    ...{ site: at, commands: takes, prefix: homeAssistant ? discovery : null },
  };
}
