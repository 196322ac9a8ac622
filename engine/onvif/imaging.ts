/** Picture settings and focus (ONVIF Imaging Service Specification, section 5). */
import { EngineError } from '../types.ts';
import type { OnvifClient } from './client.ts';
import { NS } from './names.ts';
import { escapeXml, find, formatNumber, numberAt, textAt } from './xml.ts';

/** Levels are in the device's own range, which `range` tells. */
export interface ImagingSettings {
  brightness?: number;
  saturation?: number;
  contrast?: number;
  sharpness?: number;
  irCutFilter?: 'ON' | 'OFF' | 'AUTO';
}

export type FocusWish = { mode: 'auto' | 'manual' } | { speed: number } | { position: number } | { stop: true };

/** In the order of tt:ImagingSettings20, which is a sequence. */
const FIELDS = [
  ['brightness', 'Brightness'],
  ['saturation', 'ColorSaturation'],
  ['contrast', 'Contrast'],
  ['irCutFilter', 'IrCutFilter'],
  ['sharpness', 'Sharpness'],
] as const;

export class ImagingService {
  private readonly client: OnvifClient;
  private readonly url: URL;
  private readonly source: string;

  constructor(client: OnvifClient, url: URL, videoSource: string) {
    this.client = client;
    this.url = url;
    this.source = `<VideoSourceToken>${escapeXml(videoSource)}</VideoSourceToken>`;
  }

  async settings(): Promise<ImagingSettings & { focus?: 'auto' | 'manual' }> {
    const settings = find(await this.call('GetImagingSettings', ''), 'ImagingSettings');
    const result: Record<string, unknown> = {};
    for (const [name, tag] of FIELDS) {
      const value = name === 'irCutFilter' ? textAt(settings, tag) || null : numberAt(settings, tag);
      if (value !== null) result[name] = value;
    }
    const focus = textAt(settings, 'Focus', 'AutoFocusMode').toLowerCase();
    if (focus === 'auto' || focus === 'manual') result['focus'] = focus;
    return result;
  }

  /** Rejects with `imaging-range` for a level that the device says it does not have. */
  async set(settings: ImagingSettings): Promise<void> {
    const options = find(await this.call('GetOptions', ''), 'ImagingOptions');
    const parts = FIELDS.map(([name, tag]) => {
      const value = settings[name];
      if (value === undefined) return '';
      const [min, max] = [numberAt(options, tag, 'Min'), numberAt(options, tag, 'Max')];
      if (typeof value === 'number' && ((min !== null && value < min) || (max !== null && value > max)))
        throw new EngineError('imaging-range', `${name} must be ${min ?? 'less'} to ${max ?? 'more'}`);
      return `<${tag} xmlns="${NS.schema}">${typeof value === 'number' ? formatNumber(value) : value}</${tag}>`;
    });
    await this.write(parts.join(''));
  }

  async focus(wish: FocusWish): Promise<void> {
    if ('stop' in wish) {
      await this.call('Stop', '');
    } else if ('mode' in wish) {
      const mode = `<AutoFocusMode>${wish.mode.toUpperCase()}</AutoFocusMode>`;
      await this.write(`<Focus xmlns="${NS.schema}">${mode}</Focus>`);
    } else {
      await this.move(wish);
    }
  }

  private async move(wish: { speed: number } | { position: number }): Promise<void> {
    const options = find(await this.call('GetMoveOptions', ''), 'MoveOptions');
    const [way, tag, unit] = 'speed' in wish ? ['Continuous', 'Speed', 'speed'] : ['Absolute', 'Position', 'position'];
    const range = find(options, way, tag);
    const [min, max] = [numberAt(range, 'Min'), numberAt(range, 'Max')];
    if (min === null || max === null)
      throw new EngineError('unsupported', `the camera's focus cannot be moved by ${unit}`);
    // The speed's sign is the direction; a position goes from near to far.
    const value =
      'speed' in wish ? (wish.speed >= 0 ? wish.speed * max : -wish.speed * min) : min + wish.position * (max - min);
    const body = `<Focus><${way} xmlns="${NS.schema}"><${tag}>${formatNumber(value)}</${tag}></${way}></Focus>`;
    await this.call('Move', body);
  }

  private async write(settings: string): Promise<void> {
    const force = '<ForcePersistence>false</ForcePersistence>';
    await this.call('SetImagingSettings', `<ImagingSettings>${settings}</ImagingSettings>${force}`);
  }

  private call(action: string, body: string): ReturnType<OnvifClient['call']> {
    return this.client.call(this.url, `<${action} xmlns="${NS.imaging}">${this.source}${body}</${action}>`);
  }
}
