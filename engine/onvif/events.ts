/** ONVIF's notifications as events with a start and an end, whatever the device calls them. Pure but for the clock given. */
import { find, findAll, localName, textAt, type XmlElement } from './xml.ts';

export type EventKind = 'motion' | 'line-crossing' | 'digital-input' | 'tamper';

/** A notification as it came (ONVIF Core Specification, section 9.5). */
export interface Notification {
  /** Without prefixes: `RuleEngine/CellMotionDetector/Motion`. */
  topic: string;
  operation: 'Initialized' | 'Changed' | 'Deleted' | null;
  source: Record<string, string>;
  data: Record<string, string>;
}

export interface DeviceEvent {
  kind: EventKind;
  phase: 'start' | 'end';
  /** The same for start and end. */
  eventId: string;
  topic: string;
  source: Record<string, string>;
  /** Epoch ms, our clock. */
  time: number;
  start: number;
}

/** Topic, kind, and the data item that says whether it is so; none for what is over as it happens. */
const TOPICS: readonly [RegExp, EventKind, readonly string[]][] = [
  [/^RuleEngine\/CellMotionDetector\/Motion$/, 'motion', ['IsMotion']],
  [/^VideoSource\/MotionAlarm$/, 'motion', ['State']],
  [/^RuleEngine\/MotionRegionDetector\/Motion$/, 'motion', ['State', 'IsMotion']],
  [/^VideoAnalytics\/Motion/, 'motion', ['State', 'IsMotion']],
  [/^RuleEngine\/FieldDetector\/ObjectsInside$/, 'motion', ['IsInside']],
  [/^RuleEngine\/LineDetector\/Crossed$/, 'line-crossing', []],
  [/^RuleEngine\/(\w+\/)?LineCross/i, 'line-crossing', ['State']],
  [/^Device\/Trigger\/DigitalInput$/, 'digital-input', ['LogicalState', 'State']],
  [/^Device\/IO\/(VirtualInput|Port)$/, 'digital-input', ['active', 'state']],
  [/^RuleEngine\/TamperDetector\/Tamper$/, 'tamper', ['IsTamper', 'State']],
  [/^VideoSource\/GlobalSceneChange\//, 'tamper', ['State']],
  [/^VideoSource\/(ImageTooBlurry|ImageTooDark|ImageTooBright|SignalLoss)/, 'tamper', ['State']],
];

const MAX_ITEMS = 32;
const MAX_TEXT = 200;
const MAX_OPEN = 200;
const MAX_KNOWN = 500;

/** The notifications in an answer to PullMessages. */
export function notificationsOf(answer: XmlElement): Notification[] {
  return findAll(answer, 'NotificationMessage').map((element) => {
    const message = find(element, 'Message', 'Message');
    const items = (part: string): Record<string, string> =>
      Object.fromEntries(
        findAll(find(message, part), 'SimpleItem')
          .slice(0, MAX_ITEMS)
          .map(({ attributes }) => [cut(attributes['Name']), cut(attributes['Value'])]),
      );
    const operation = message?.attributes['PropertyOperation'];
    return {
      topic: textAt(element, 'Topic').split('/').map(localName).join('/').slice(0, MAX_TEXT),
      operation: operation === 'Initialized' || operation === 'Changed' || operation === 'Deleted' ? operation : null,
      source: items('Source'),
      data: items('Data'),
    };
  });
}

const cut = (text = ''): string => text.slice(0, MAX_TEXT);

/** What a notification says: of which kind, and whether it begins, ends, or is over as it happens; null for other things. */
export function meaningOf({
  topic,
  operation,
  data,
}: Notification): { kind: EventKind; active: boolean | null } | null {
  const found = TOPICS.find(([pattern]) => pattern.test(topic));
  if (!found) return null;
  const [, kind, names] = found;
  if (operation === 'Deleted') return { kind, active: false };
  const item = Object.entries(data).find(([name]) => names.some((known) => known.toLowerCase() === name.toLowerCase()));
  if (!item) return names.length === 0 ? { kind, active: null } : null;
  return { kind, active: /^(true|1|active|on)$/i.test(item[1]) };
}

interface OpenEvent {
  event: DeviceEvent;
  closesAt: number;
}

export interface EventLimits {
  /** A device that never told an end is not believed for longer. */
  noEndMs: number;
  /** One that does tell ends is believed so long. */
  longestMs: number;
}

export const EVENT_LIMITS: EventLimits = { noEndMs: 30_000, longestMs: 600_000 };

/** The events of one device that are open. */
export class EventTracker {
  private readonly open = new Map<string, OpenEvent>();
  /** What has told an end before. */
  private readonly enders = new Set<string>();
  private readonly limits: EventLimits;
  private readonly newId: () => string;

  constructor(newId: () => string, limits: EventLimits = EVENT_LIMITS) {
    this.newId = newId;
    this.limits = limits;
  }

  /** When {@link tick} has something to do next; null when nothing is open. */
  get nextAt(): number | null {
    const times = [...this.open.values()].map(({ closesAt }) => closesAt);
    return times.length > 0 ? Math.min(...times) : null;
  }

  accept(notification: Notification, now: number): DeviceEvent[] {
    const meaning = meaningOf(notification);
    if (!meaning) return [];
    const { topic, source } = notification;
    const key = JSON.stringify([topic, Object.entries(source).sort(([a], [b]) => (a < b ? -1 : 1))]);
    const known = this.open.get(key);
    if (meaning.active === false) {
      this.learn(key);
      return known ? [this.close(key, known, now)] : [];
    }
    const limitMs = this.enders.has(key) ? this.limits.longestMs : this.limits.noEndMs;
    if (known) {
      known.closesAt = Math.max(known.closesAt, now + limitMs);
      return [];
    }
    const event: DeviceEvent = {
      ...{ kind: meaning.kind, phase: 'start', eventId: this.newId(), topic, source, time: now, start: now },
    };
    this.open.set(key, { event, closesAt: now + limitMs });
    const [oldest] = this.open;
    return this.open.size > MAX_OPEN && oldest ? [event, this.close(...oldest, now)] : [event];
  }

  /** Ends what has been open for too long. */
  tick(now: number): DeviceEvent[] {
    return [...this.open].filter(([, { closesAt }]) => closesAt <= now).map(([key, one]) => this.close(key, one, now));
  }

  /** Ends everything: nothing more will be heard of it. */
  closeAll(now: number): DeviceEvent[] {
    return [...this.open].map(([key, one]) => this.close(key, one, now));
  }

  private close(key: string, { event }: OpenEvent, now: number): DeviceEvent {
    this.open.delete(key);
    return { ...event, phase: 'end', time: now };
  }

  private learn(key: string): void {
    this.enders.add(key);
    if (this.enders.size > MAX_KNOWN) this.enders.delete(this.enders.values().next().value!);
  }
}
