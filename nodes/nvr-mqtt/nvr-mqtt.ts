/** Config node: an NVR at an MQTT broker. Owns the connection that clip-notify delivers by. */
import { readFileSync } from 'node:fs';
import type { Node, NodeAPI, NodeDef } from 'node-red';
import { Bridge } from '../../engine/notify/bridge.ts';
import type { ChannelState, DeliveryMessage, TlsOptions } from '../../engine/notify/types.ts';
import { textOf, type NvrConfigNode } from '../shared/nvr.ts';
import { toMqttConfig, type NvrMqttConfig, type NvrMqttProperties } from './mqtt-spec.ts';

export interface NvrMqttNode extends Node {
  credentials: { username?: string; password?: string };
  /** What clip-notify needs of it; null when the configuration is wrong. */
  broker: { channel: string; site: string; nvr: NvrConfigNode } | null;
  problem: string | null;
}

/** Node-RED's own tls-config. */
interface TlsNode extends Node {
  valid?: boolean;
  addTLSOptions(options: TlsOptions): TlsOptions;
}

/** The version of this package; the folder is one deeper when it is built. */
function version(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      return (JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { version: string }).version;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return '0.0.0';
}

export default function register(RED: NodeAPI): void {
  type Properties = NodeDef & NvrMqttProperties & { nvr: string; tls: string };

  function NvrMqtt(this: NvrMqttNode, properties: Properties): void {
    RED.nodes.createNode(this, properties);
    this.broker = null;
    this.problem = null;
    const refuse = (problem: string): void => {
      this.problem = problem;
      this.error(problem);
    };
    const nvr = RED.nodes.getNode(properties.nvr) as NvrConfigNode | null;
    if (!nvr?.host || !nvr.service) {
      refuse(nvr?.problem ?? 'choose an NVR configuration for the MQTT broker');
      return;
    }
    let config: NvrMqttConfig;
    try {
      const tls = properties.tls ? (RED.nodes.getNode(properties.tls) as TlsNode | null) : null;
      if (properties.tls && !tls?.valid) throw new Error('the TLS configuration is missing or cannot be read');
      config = toMqttConfig(properties, this.credentials, tls ? tls.addTLSOptions({}) : null);
    } catch (error) {
      refuse(textOf(error));
      return;
    }
    const { site, commands, prefix } = config;
    const { host } = nvr;
    const { notify } = nvr.service;
    const channel = `mqtt-${this.id}`;
    this.broker = { channel, site, nvr };
    if (
      commands &&
      properties.commands === 'on' &&
      !this.credentials.username &&
      !/s:$/.test(new URL(config.spec.url).protocol)
    ) {
      this.warn('this broker asks nobody who they are: whoever reaches it can stop recordings');
    }
    const homeAssistant = prefix === null ? null : { prefix, site, commands, version: version() };
    const bridge = new Bridge(host, notify, { channel, site, commands, homeAssistant }, (message) =>
      this.warn(message),
    );
    let told: string | null = null;
    const onChannel = (state: ChannelState): void => {
      if (state.channel !== channel || state.problem === told) return;
      told = state.problem;
      if (told) this.error(told);
      else this.log(`connected to ${new URL(config.spec.url).host}`);
    };
    const onProblem = (problem: string): void => this.error(problem);
    // Of the events that it tells itself.
    const onDelivery = (node: string, message: DeliveryMessage): void => {
      if (node !== channel || message.type !== 'delivery') return;
      if (message.state === 'dead' || message.state === 'dropped')
        this.error(`an event was not delivered: ${message.problem ?? ''}`);
    };
    notify.on('channel', onChannel);
    notify.on('delivery', onDelivery);
    notify.on('problem', onProblem);
    notify.setChannel(channel, config.spec).catch((error: unknown) => this.error(textOf(error)));
    bridge.open();
    this.on('close', (removed: boolean, done: () => void) => {
      bridge.close();
      notify.off('channel', onChannel);
      notify.off('problem', onProblem);
      notify.off('delivery', onDelivery);
      notify.releaseChannel(channel, removed);
      done();
    });
  }
  RED.nodes.registerType('nvr-mqtt', NvrMqtt as never, {
    credentials: { username: { type: 'text' }, password: { type: 'password' } },
  });
}
