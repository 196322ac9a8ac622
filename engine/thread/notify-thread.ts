/**
 * Thread that owns the outbox: its file, the brokers and webhooks it delivers to. Neither a slow disk nor a slow server
 * holds up Node-RED. `workerData`: {@link NotifyThreadData}.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../clock.ts';
import { Notify, type NotifyEvent } from '../notify/notify.ts';
import { NotifyStore, openNotifyFile } from '../notify/notify-store.ts';
import type { Modes } from '../recording/file-modes.ts';
import { EngineError } from '../types.ts';

export type NotifyCalls = Pick<
  Notify,
  | 'setNode'
  | 'submit'
  | 'later'
  | 'finish'
  | 'put'
  | 'counts'
  | 'outbox'
  | 'resend'
  | 'discard'
  | 'setChannel'
  | 'setState'
  | 'pruneStates'
  | 'close'
>;

export interface NotifyRequest {
  id: number;
  call: keyof NotifyCalls;
  args: unknown[];
}

export type NotifyReply =
  { id: number; result: unknown } | { id: number; error: { code: string; message: string } } | NotifyEvent;

export interface NotifyThreadData {
  file: string;
  /** Of its folder; the file itself is its owner's alone, for its messages have tokens in them. */
  modes: Modes;
}

const { file, modes } = workerData as NotifyThreadData;
const port = parentPort!;
const tell = (reply: NotifyReply): void => port.postMessage(reply);

mkdirSync(dirname(file), { recursive: true, mode: modes.folder });
const db = openNotifyFile(file, (message) => tell({ event: 'problem', message }), Date.now());
const notify = new Notify(new NotifyStore(db), { clock: systemClock, random: Math.random, tell });

async function answer({ id, call, args }: NotifyRequest): Promise<void> {
  try {
    const calls = notify as unknown as Record<keyof NotifyCalls, (...args: unknown[]) => unknown>;
    tell({ id, result: await calls[call](...args) });
  } catch (error) {
    const code = error instanceof EngineError ? error.code : 'notify';
    tell({ id, error: { code, message: error instanceof Error ? error.message : String(error) } });
  }
}

port.on('message', (request: NotifyRequest) => void answer(request));
