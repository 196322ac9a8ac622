/** Messages to an HTTP server: signed, and delivered when it answers 2xx. docs/mqtt.md has how to check the signature. */
import { createHmac } from 'node:crypto';
import type { Clock } from '../clock.ts';
import { Refused, type Channel } from './outbox.ts';
import type { Parcel, WebhookSpec } from './types.ts';

const TIMEOUT_MS = 15_000;
const IN_FLIGHT = 4;
const MAX_RETRY_AFTER_MS = 3_600_000;

/** `sha256=` and HMAC-SHA-256, in hex, of the time (s), a point, and the body. */
export function signatureOf(secret: string, timestamp: number, body: string): string {
  return `sha256=${createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')}`;
}

/** Of an attempt at a time: whoever records one cannot send it again later. */
export function headersFor({ secret }: WebhookSpec, { id, body }: Parcel, nowMs: number): Record<string, string> {
  const timestamp = Math.floor(nowMs / 1000);
  return {
    'Content-Type': 'application/json',
    'User-Agent': 'flow-nvr',
    'X-NVR-Id': id,
    'X-NVR-Timestamp': `${timestamp}`,
    ...(secret ? { 'X-NVR-Signature': signatureOf(secret, timestamp, body) } : {}),
  };
}

/** RFC 9110 §10.2.3: seconds or a date. */
export function retryAfterMs(value: string | null, nowMs: number): number | null {
  if (value === null) return null;
  const wait = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMs;
  return Number.isFinite(wait) ? Math.min(MAX_RETRY_AFTER_MS, Math.max(0, wait)) : null;
}

export class WebhookChannel implements Channel {
  readonly limit = IN_FLIGHT;
  readonly ready = true;
  private readonly spec: WebhookSpec;
  private readonly clock: Clock;
  private readonly ended = new AbortController();
  private readonly state: (connected: boolean, problem: string | null) => void;

  constructor(spec: WebhookSpec, clock: Clock, state: (connected: boolean, problem: string | null) => void) {
    this.spec = spec;
    this.clock = clock;
    this.state = state;
  }

  async deliver(parcel: Parcel): Promise<void> {
    const { host } = new URL(this.spec.url);
    const now = this.clock.now();
    let response: Response;
    try {
      response = await fetch(this.spec.url, {
        ...{ method: 'POST', body: parcel.body, headers: headersFor(this.spec, parcel, now) },
        // What is signed for one server is not for whomever it names.
        redirect: 'manual',
        signal: AbortSignal.any([AbortSignal.timeout(TIMEOUT_MS), this.ended.signal]),
      });
    } catch (error) {
      const cause = (error as { cause?: { code?: string } }).cause?.code;
      const why = (error as Error).name === 'TimeoutError' ? `no answer in ${TIMEOUT_MS / 1000} s` : cause;
      const problem = `${host} cannot be reached: ${why ?? (error as Error).message}`;
      this.state(false, problem);
      throw new Error(problem, { cause: error });
    }
    await response.body?.cancel();
    this.state(true, null);
    if (response.ok) return;
    const told =
      response.status >= 300 && response.status < 400 ? 'enter the address it redirects to' : response.statusText;
    throw new Refused(
      `${host} answers ${response.status} ${told}`,
      retryAfterMs(response.headers.get('retry-after'), now),
    );
  }

  close(): Promise<void> {
    this.ended.abort();
    return Promise.resolve();
  }
}
