/** The WS-Discovery side of simulated devices: one socket that answers probes for all of them. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { NS } from '../../engine/onvif/names.ts';
import { find, parseXml, textAt } from '../../engine/onvif/xml.ts';

export interface DiscoverableDevice {
  uuid: string;
  xaddrs: string[];
  scopes: string[];
  /** Sent in place of a ProbeMatch. */
  garbage?: string | Buffer;
  delayMs?: number;
  /** Copies of each answer, as from devices with several addresses. */
  copies?: number;
  /** Probes that never reach it. */
  deafTo?: number;
}

export class DiscoveryResponder {
  readonly probes: { messageId: string; types: string; from: RemoteInfo }[] = [];
  port = 0;
  private readonly devices: (DiscoverableDevice & { heard: number })[];
  private socket: Socket | null = null;

  constructor(devices: readonly DiscoverableDevice[]) {
    this.devices = devices.map((device) => ({ ...device, heard: 0 }));
  }

  /** @param group null for a device that hears unicast only */
  async start(port = 0, group: string | null = '239.255.255.250'): Promise<this> {
    const socket = createSocket({ type: 'udp4', reuseAddr: true });
    this.socket = socket;
    socket.on('message', (message, from) => this.onMessage(message, from));
    socket.on('error', () => undefined);
    await new Promise<void>((resolve) => socket.bind(port, resolve));
    if (group) socket.addMembership(group);
    this.port = socket.address().port;
    return this;
  }

  stop(): Promise<void> {
    const { socket } = this;
    this.socket = null;
    return new Promise((resolve) => (socket ? socket.close(() => resolve()) : resolve()));
  }

  private onMessage(message: Buffer, from: RemoteInfo): void {
    const envelope = parseXml(message.toString('utf8'));
    const [header, probe] = [find(envelope, 'Header'), find(envelope, 'Body', 'Probe')];
    if (probe?.ns !== NS.discovery) return;
    const messageId = textAt(header, 'MessageID');
    this.probes.push({ messageId, types: textAt(probe, 'Types'), from });
    for (const device of this.devices) {
      if (++device.heard <= (device.deafTo ?? 0)) continue;
      const answer = device.garbage ?? matchOf(device, messageId);
      setTimeout(() => {
        for (let copy = 0; copy < (device.copies ?? 1); copy++) this.socket?.send(answer, from.port, from.address);
      }, device.delayMs ?? 0);
    }
  }
}

function matchOf({ uuid, xaddrs, scopes }: DiscoverableDevice, relatesTo: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?><e:Envelope xmlns:e="${NS.soap}" xmlns:w="${NS.discoveryAddressing}" xmlns:d="${NS.discovery}" xmlns:dn="${NS.network}"><e:Header><w:MessageID>${uuid}-answer</w:MessageID><w:RelatesTo>${relatesTo}</w:RelatesTo><w:To>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</w:To><w:Action>${NS.discovery}/ProbeMatches</w:Action></e:Header><e:Body><d:ProbeMatches><d:ProbeMatch><w:EndpointReference><w:Address>${uuid}</w:Address></w:EndpointReference><d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>${scopes.join(' ')}</d:Scopes><d:XAddrs>${xaddrs.join(' ')}</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion></d:ProbeMatch></d:ProbeMatches></e:Body></e:Envelope>`;
}
