/** PullPoint subscriptions of a simulated device (ONVIF Core Specification, section 9). */
import { escapeXml, find, parseDuration, textAt, type XmlElement } from '../../engine/onvif/xml.ts';
import type { OnvifCamera } from './onvif-camera.ts';
import { SoapFault } from './onvif-services.ts';

interface Subscription {
  id: string;
  endsMs: number;
  queue: string[];
  wake: (() => void) | null;
}

export interface SimEvent {
  /** `tns1:RuleEngine/CellMotionDetector/Motion`. */
  topic: string;
  source?: Record<string, string>;
  data?: Record<string, string>;
  operation?: 'Initialized' | 'Changed' | 'Deleted';
}

const MAX_SUBSCRIPTIONS = 10;

export class EventSource {
  private readonly camera: OnvifCamera;
  private readonly subscriptions = new Map<string, Subscription>();
  private next = 1;

  constructor(camera: OnvifCamera) {
    this.camera = camera;
  }

  get count(): number {
    this.expire();
    return this.subscriptions.size;
  }

  emit(event: SimEvent): void {
    const message = messageOf(event, new Date(this.camera.clock).toISOString());
    for (const subscription of this.subscriptions.values()) {
      subscription.queue.push(message);
      subscription.wake?.();
    }
  }

  /** As after a reboot: the device knows no subscription any more. */
  forget(): void {
    for (const { wake } of this.subscriptions.values()) wake?.();
    this.subscriptions.clear();
  }

  close(): void {
    this.forget();
  }

  private expire(): void {
    for (const [id, { endsMs }] of this.subscriptions) if (endsMs < Date.now()) this.subscriptions.delete(id);
  }

  create(body: XmlElement): string {
    this.expire();
    if (this.subscriptions.size >= MAX_SUBSCRIPTIONS) {
      throw new SoapFault('Receiver', 'Action/MaxPullPoints', 'too many subscriptions');
    }
    const id = String(this.next++);
    this.subscriptions.set(id, {
      id,
      endsMs: this.endOf(textAt(body, 'InitialTerminationTime')),
      queue: [],
      wake: null,
    });
    const { referenceParameters } = this.camera.options;
    const base = `http://${this.camera.advertised}/onvif/subscription`;
    const address = referenceParameters ? base : `${base}?id=${id}`;
    const parameters = referenceParameters
      ? `<wsa:ReferenceParameters><sim:SubscriptionId>${id}</sim:SubscriptionId></wsa:ReferenceParameters>`
      : '';
    return `<tev:CreatePullPointSubscriptionResponse><tev:SubscriptionReference><wsa:Address>${address}</wsa:Address>${parameters}</tev:SubscriptionReference>${this.times(id)}</tev:CreatePullPointSubscriptionResponse>`;
  }

  async pull(body: XmlElement, subscription: Subscription): Promise<string> {
    const timeoutMs = parseDuration(textAt(body, 'Timeout'));
    if (timeoutMs === null) throw new SoapFault('Sender', 'InvalidArgVal', 'Timeout');
    const limit = Number(textAt(body, 'MessageLimit'));
    if (!(limit >= 1)) throw new SoapFault('Sender', 'InvalidArgVal', 'MessageLimit');
    if (subscription.queue.length === 0 && !this.camera.options.impatientPull) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        subscription.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      subscription.wake = null;
    }
    const messages = subscription.queue.splice(0, limit);
    const [current, end] = [this.camera.clock, subscription.endsMs + this.camera.options.clockOffsetMs];
    return `<tev:PullMessagesResponse><tev:CurrentTime>${new Date(current).toISOString()}</tev:CurrentTime><tev:TerminationTime>${new Date(end).toISOString()}</tev:TerminationTime>${messages.join('')}</tev:PullMessagesResponse>`;
  }

  renew(body: XmlElement, subscription: Subscription): string {
    subscription.endsMs = this.endOf(textAt(body, 'TerminationTime'));
    return `<wsnt:RenewResponse>${this.times(subscription.id)}</wsnt:RenewResponse>`;
  }

  unsubscribe(subscription: Subscription): string {
    this.subscriptions.delete(subscription.id);
    subscription.wake?.();
    return '<wsnt:UnsubscribeResponse/>';
  }

  /** Of the address or of the reference parameters that were brought back. Faults when it is unknown. */
  of(path: string, header: XmlElement | undefined): Subscription {
    this.expire();
    const id = this.camera.options.referenceParameters
      ? (find(header, 'SubscriptionId')?.text ?? '')
      : (new URL(path, 'http://x').searchParams.get('id') ?? '');
    const subscription = this.subscriptions.get(id);
    if (!subscription) throw new SoapFault('Sender', 'InvalidArgVal', 'no such subscription');
    return subscription;
  }

  private endOf(text: string): number {
    const { maxSubscriptionMs, clockOffsetMs } = this.camera.options;
    const duration = text ? parseDuration(text) : maxSubscriptionMs;
    const wanted = duration ?? Date.parse(text) - Date.now() - clockOffsetMs;
    if (!(wanted > 0)) throw new SoapFault('Sender', 'InvalidArgVal', 'TerminationTime');
    return Date.now() + Math.min(wanted, maxSubscriptionMs);
  }

  private times(id: string): string {
    const end = this.subscriptions.get(id)!.endsMs + this.camera.options.clockOffsetMs;
    return `<wsnt:CurrentTime>${new Date(this.camera.clock).toISOString()}</wsnt:CurrentTime><wsnt:TerminationTime>${new Date(end).toISOString()}</wsnt:TerminationTime>`;
  }
}

function messageOf({ topic, source = {}, data = {}, operation }: SimEvent, time: string): string {
  const items = (values: Record<string, string>): string =>
    Object.entries(values)
      .map(([name, value]) => `<tt:SimpleItem Name="${escapeXml(name)}" Value="${escapeXml(value)}"/>`)
      .join('');
  const property = operation ? ` PropertyOperation="${operation}"` : '';
  return `<wsnt:NotificationMessage><wsnt:Topic Dialect="http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet">${escapeXml(topic)}</wsnt:Topic><wsnt:Message><tt:Message UtcTime="${time}"${property}><tt:Source>${items(source)}</tt:Source><tt:Data>${items(data)}</tt:Data></tt:Message></wsnt:Message></wsnt:NotificationMessage>`;
}
