/** ONVIF's notifications as events with a start and an end, whatever the device calls them. Pure but for the clock given. */
import { find, findAll, localName, textAt, type XmlElement } from './xml.ts';

export type EventKind = 'motion' | 'line-crossing' | 'object' | 'visitor' | 'sound' | 'digital-input' | 'tamper';

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
  /** Of an `object`: person, vehicle, animal, face or package. */
  label: string | null;
  phase: 'start' | 'end';
  /** The same for start and end. */
  eventId: string;
  topic: string;
  source: Record<string, string>;
  /** Epoch ms, our clock. */
  time: number;
  start: number;
}

/**
 * Topic, kind, the data item that says whether it is so (none for what is over as it happens), and what it is. Makers have
 * topics of their own: Axis below its namespace, Reolink `MyRuleDetector`, Hanwha `OpenApp` and `VideoAnalytics`, TP-Link
 * `TPSmartEvent`, where one message says yes or no for each kind of object.
 */
const TOPICS: readonly [RegExp, EventKind, readonly string[], string?][] = [
  [/^RuleEngine\/CellMotionDetector\/Motion$/, 'motion', ['IsMotion']],
  [/^VideoSource\/MotionAlarm$/, 'motion', ['State']],
  [/^RuleEngine\/MotionRegionDetector\/Motion$/, 'motion', ['State', 'IsMotion']],
  [/^VideoAnalytics\/Motion/, 'motion', ['State', 'IsMotion']],
  [/^RuleEngine\/VMD3\//, 'motion', ['active']],
  [/^CameraApplicationPlatform\/(VMD|MotionGuard|FenceGuard|LoiteringGuard)\//, 'motion', ['active']],
  [/^CameraApplicationPlatform\/ObjectAnalytics\//, 'motion', ['active']],
  [
    /^RuleEngine\/(\w+\/)?(Peds?|People|Person|Human)(Detect\w*|Shape)?(\/\w+)?$/i,
    'object',
    ['State', 'IsPeople'],
    'person',
  ],
  [/^RuleEngine\/(\w+\/)?(Vehicle|Car)(Detect\w*)?(\/\w+)?$/i, 'object', ['State', 'IsVehicle', 'IsCar'], 'vehicle'],
  [
    /^RuleEngine\/(\w+\/)?(DogCat|Animal|Pet)(Detect\w*)?(\/\w+)?$/i,
    'object',
    ['State', 'IsPet', 'IsAnimal'],
    'animal',
  ],
  [/^RuleEngine\/(\w+\/)?Face(Detect\w*)?(\/\w+)?$/i, 'object', ['State', 'IsFace'], 'face'],
  [/^RuleEngine\/(\w+\/)?Package(Detect\w*)?(\/\w+)?$/i, 'object', ['State', 'IsPackage'], 'package'],
  [/^RuleEngine\/TPSmartEventDetector\/TPSmartEvent$/, 'object', ['IsPeople'], 'person'],
  [/^RuleEngine\/TPSmartEventDetector\/TPSmartEvent$/, 'object', ['IsVehicle'], 'vehicle'],
  [/^RuleEngine\/TPSmartEventDetector\/TPSmartEvent$/, 'object', ['IsPet'], 'animal'],
  [/^RuleEngine\/(\w+\/)?Visitor$/, 'visitor', ['State']],
  [/^RuleEngine\/(\w+\/)?Intrusion(Detector)?(\/\w+)?$/i, 'motion', ['IsIntrusion', 'State']],
  [/^AudioAnalytics\/Audio\/DetectedSound$/, 'sound', ['IsSoundDetected', 'State']],
  [/^AudioSource\/(TriggerLevel|AudioDetection)$/, 'sound', ['triggered', 'State']],
  [/^RuleEngine\/FieldDetector\/ObjectsInside$/, 'motion', ['IsInside']],
  [/^RuleEngine\/LineDetector\/Crossed$/, 'line-crossing', []],
  [/^RuleEngine\/(\w+\/)?LineCross/i, 'line-crossing', ['State', 'IsLineCross']],
  [/^Device\/Trigger\/DigitalInput$/, 'digital-input', ['LogicalState', 'State']],
  [/^Device\/IO\/(VirtualInput|Port)$/, 'digital-input', ['active', 'state']],
  [/^RuleEngine\/TamperDetector\/Tamper$/, 'tamper', ['IsTamper', 'State']],
  [/^VideoSource\/GlobalSceneChange\//, 'tamper', ['State']],
  [/^VideoSource\/(ImageTooBlurry|ImageTooDark|ImageTooBright|SignalLoss)/, 'tamper', ['State']],
];

/** In one answer; it was asked for 100. */
const MAX_MESSAGES = 500;
const MAX_ITEMS = 32;
const MAX_TEXT = 200;
const MAX_OPEN = 200;
const MAX_KNOWN = 500;

/** The notifications in an answer to PullMessages. */
export function notificationsOf(answer: XmlElement): Notification[] {
  const messages = findAll(answer, 'NotificationMessage').slice(0, MAX_MESSAGES);
  return messages.map((element) => {
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
}: Notification): { kind: EventKind; label: string | null; active: boolean | null } | null {
  for (const [pattern, kind, names, label = null] of TOPICS) {
    if (!pattern.test(topic)) continue;
    if (operation === 'Deleted') return { kind, label, active: false };
    const item = Object.entries(data).find(([name]) =>
      names.some((known) => known.toLowerCase() === name.toLowerCase()),
    );
    if (item) return { kind, label, active: /^(true|1|active|on)$/i.test(item[1]) };
    if (names.length === 0) return { kind, label, active: null };
  }
  return null;
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
    const key = JSON.stringify([topic, meaning.label, Object.entries(source).sort(([a], [b]) => (a < b ? -1 : 1))]);
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
      ...{
        kind: meaning.kind,
        label: meaning.label,
        phase: 'start',
        eventId: this.newId(),
        topic,
        source,
        time: now,
        start: now,
      },
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
