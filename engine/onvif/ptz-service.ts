/** The PTZ service's calls (ONVIF PTZ Service Specification, section 5). */
import { EngineError } from '../types.ts';
import type { OnvifClient } from './client.ts';
import { NS } from './names.ts';
import type { Motion, RawPosition, Vector } from './ptz.ts';
import { escapeXml, find, findAll, formatDuration, formatNumber, textAt, toNumber, type XmlElement } from './xml.ts';

export interface Preset {
  token: string;
  name: string;
  position: RawPosition;
}

export interface PtzStatus {
  position: RawPosition;
  /** Null: the device does not say. */
  moving: boolean | null;
}

const MAX_PRESETS = 500;
/** The schema says 64. */
const MAX_TOKEN = 200;

export class PtzService {
  private readonly client: OnvifClient;
  private readonly url: URL;
  private readonly profile: string;

  constructor(client: OnvifClient, url: URL, profile: string) {
    this.client = client;
    this.url = url;
    this.profile = `<ProfileToken>${escapeXml(profile)}</ProfileToken>`;
  }

  async perform(motion: Motion, signal?: AbortSignal): Promise<void> {
    switch (motion.action) {
      case 'Stop':
        await this.call('Stop', '<PanTilt>true</PanTilt><Zoom>true</Zoom>', signal);
        return;
      case 'ContinuousMove': {
        const timeout = `<Timeout>${formatDuration(motion.timeoutMs)}</Timeout>`;
        await this.call('ContinuousMove', `<Velocity>${vectorXml(motion.vector)}</Velocity>${timeout}`, signal);
        return;
      }
      case 'AbsoluteMove':
        await this.call(
          'AbsoluteMove',
          `<Position>${vectorXml(motion.vector)}</Position>${speedXml(motion.speed)}`,
          signal,
        );
        return;
      case 'RelativeMove': {
        const translation = `<Translation>${vectorXml(motion.vector)}</Translation>`;
        await this.call('RelativeMove', translation + speedXml(motion.speed), signal);
      }
    }
  }

  async status(signal?: AbortSignal): Promise<PtzStatus> {
    const status = find(await this.call('GetStatus', '', signal), 'PTZStatus');
    const states = [textAt(status, 'MoveStatus', 'PanTilt'), textAt(status, 'MoveStatus', 'Zoom')];
    const told = states.filter((state) => state === 'MOVING' || state === 'IDLE');
    return {
      position: positionOf(find(status, 'Position')),
      moving: told.length > 0 ? told.includes('MOVING') : null,
    };
  }

  async presets(): Promise<Preset[]> {
    return findAll(await this.call('GetPresets', ''), 'Preset')
      .slice(0, MAX_PRESETS)
      .map((preset) => ({
        token: (preset.attributes['token'] ?? '').slice(0, MAX_TOKEN),
        name: textAt(preset, 'Name').slice(0, 200),
        position: positionOf(find(preset, 'PTZPosition')),
      }));
  }

  /** The token that the device gave. */
  async setPreset(name: string, token: string | null): Promise<string> {
    const given = `${name ? `<PresetName>${escapeXml(name)}</PresetName>` : ''}${token === null ? '' : tokenXml(token)}`;
    const answer = await this.call('SetPreset', given);
    return textAt(answer, 'PresetToken') || (token ?? '');
  }

  async gotoPreset(token: string, speed: Vector | null, signal?: AbortSignal): Promise<void> {
    await this.call('GotoPreset', tokenXml(token) + speedXml(speed), signal);
  }

  async removePreset(token: string): Promise<void> {
    await this.call('RemovePreset', tokenXml(token));
  }

  async gotoHome(signal?: AbortSignal): Promise<void> {
    await this.call('GotoHomePosition', '', signal);
  }

  async setHome(): Promise<void> {
    await this.call('SetHomePosition', '');
  }

  async auxiliary(data: string): Promise<string> {
    const answer = await this.call('SendAuxiliaryCommand', `<AuxiliaryData>${escapeXml(data)}</AuxiliaryData>`);
    return textAt(answer, 'AuxiliaryResponse').slice(0, 200);
  }

  private call(action: string, body: string, signal?: AbortSignal): ReturnType<OnvifClient['call']> {
    const text = `<${action} xmlns="${NS.ptz}">${this.profile}${body}</${action}>`;
    return this.client.call(this.url, text, signal ? { signal } : {});
  }
}

function positionOf(element: XmlElement | undefined): RawPosition {
  const panTilt = find(element, 'PanTilt')?.attributes;
  const [x, y] = [toNumber(panTilt?.['x']), toNumber(panTilt?.['y'])];
  return {
    panTilt: x !== null && y !== null ? { x, y } : null,
    zoom: toNumber(find(element, 'Zoom')?.attributes['x']),
  };
}

const speedXml = (speed: Vector | null | undefined): string => (speed ? `<Speed>${vectorXml(speed)}</Speed>` : '');
const tokenXml = (token: string): string => `<PresetToken>${escapeXml(token)}</PresetToken>`;

export function vectorXml({ panTilt, zoom }: Vector): string {
  const space = (uri: string): string => (uri ? ` space="${escapeXml(uri)}"` : '');
  const parts = [
    panTilt &&
      `<PanTilt xmlns="${NS.schema}" x="${formatNumber(panTilt.x)}" y="${formatNumber(panTilt.y)}"${space(panTilt.space)}/>`,
    zoom && `<Zoom xmlns="${NS.schema}" x="${formatNumber(zoom.x)}"${space(zoom.space)}/>`,
  ];
  return parts.filter(Boolean).join('');
}

/** The preset that a token or a name means; a token counts before a name. Throws `no-preset`. */
export function findPreset<P extends Pick<Preset, 'token' | 'name'>>(presets: readonly P[], wanted: string): P {
  const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();
  const found = presets.find(({ token }) => token === wanted) ?? presets.find(({ name }) => same(name, wanted));
  if (found) return found;
  const names = presets.slice(0, 10).map(({ token, name }) => name || token);
  const has = names.length > 0 ? `it has ${names.join(', ')}` : 'it has none';
  throw new EngineError('no-preset', `the camera has no preset ${JSON.stringify(wanted.slice(0, 40))}: ${has}`);
}
