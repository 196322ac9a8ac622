/** A clip's message in the form that other nodes take. `msg.clip` has the plain one. */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { clipRecord } from '../../engine/notify/topics.ts';
import type { ClipMessage, MadeClip } from '../../engine/notify/types.ts';
import type { Shape } from './clip-notify-spec.ts';

/** Read into memory only up to this: a messenger takes no more anyway. */
const MAX_BODY_BYTES = 50e6;

/** What is sent: the small version if there is one. */
function sent({ small, file, bytes }: MadeClip): { file: string; bytes: number } | null {
  if (small) return small;
  return file === null ? null : { file, bytes };
}

const withoutLineBreaks = (text: string): string => text.replace(/[\r\n]+/g, ' ');

/** One line for a subject or caption. */
export function captionOf({ label, kind, cameras, eventStart }: ClipMessage): string {
  const what = label ?? kind;
  return withoutLineBreaks(`${what}: ${cameras.join(', ')}, ${new Date(eventStart).toLocaleString()}`);
}

export function textOf(message: ClipMessage): string {
  const lines = message.clips.map(({ camera, url, reason, file }) =>
    [`${camera}: ${url ?? (file === null ? 'no clip' : basename(file))}`, ...(reason ? [`  ${reason}`] : [])].join(
      '\n',
    ),
  );
  return [captionOf(message), ...lines].join('\n');
}

/** node-red-node-email: `topic` is the subject, `attachments` are nodemailer's. */
function email(message: ClipMessage): object {
  const attachments = message.clips.flatMap((clip) => {
    const file = sent(clip);
    const picture = clip.thumbnail
      ? [{ filename: `${clip.camera}.jpg`, content: clip.thumbnail, contentType: 'image/jpeg' }]
      : [];
    // Only what is meant for it is sent along: a mail server takes a few megabytes.
    return clip.small && file ? [...picture, { filename: `${clip.camera}.mp4`, path: file.file }] : picture;
  });
  return { topic: captionOf(message), payload: textOf(message), attachments };
}

/** node-red-contrib-telegrambot's sender: a video by its path, or the picture, or words. */
function telegram(message: ClipMessage, clip: MadeClip, chatId: string): object {
  const to = chatId === '' ? {} : { chatId };
  const text = [captionOf({ ...message, cameras: [clip.camera] }), ...(clip.reason ? [clip.reason] : [])].join('\n');
  const caption = { caption: [text, ...(clip.url ? [clip.url] : [])].join('\n').slice(0, 1000) };
  const file = sent(clip);
  if (file && file.bytes <= MAX_BODY_BYTES) {
    return { payload: { ...to, type: 'video', content: file.file, options: { ...caption, supports_streaming: true } } };
  }
  if (clip.thumbnail) return { payload: { ...to, type: 'photo', content: clip.thumbnail, options: caption } };
  return { payload: { ...to, type: 'message', content: caption.caption } };
}

/** The core's http request: a form with the clip, its picture, and what is known of it. */
async function http(message: ClipMessage, clip: MadeClip): Promise<object> {
  const file = sent(clip);
  const video = file && file.bytes <= MAX_BODY_BYTES ? await readFile(file.file) : null;
  const part = (value: Buffer, filename: string, contentType: string): object => ({
    value,
    options: { filename, contentType },
  });
  return {
    method: 'POST',
    headers: { 'content-type': 'multipart/form-data' },
    payload: {
      ...{ meta: JSON.stringify(clipRecord(message)), camera: clip.camera, caption: captionOf(message) },
      ...(video ? { clip: part(video, `${clip.camera}.mp4`, 'video/mp4') } : {}),
      ...(clip.thumbnail ? { thumbnail: part(clip.thumbnail, `${clip.camera}.jpg`, 'image/jpeg') } : {}),
    },
  };
}

/** The messages for a shape: one, or one for each clip where the node behind takes one file at a time. */
export async function shaped(shape: Shape, message: ClipMessage, chatId: string): Promise<object[]> {
  const plain = { topic: `clip/${message.camera}`, camera: message.camera };
  switch (shape) {
    case 'plain':
      return [{ ...plain, payload: message }];
    case 'email':
      return [{ ...plain, clip: message, ...email(message) }];
    case 'telegram':
      return message.clips.map((clip) => ({
        ...plain,
        camera: clip.camera,
        clip: message,
        ...telegram(message, clip, chatId),
      }));
    case 'http':
      return Promise.all(
        message.clips.map(async (clip) => ({
          ...plain,
          camera: clip.camera,
          clip: message,
          ...(await http(message, clip)),
        })),
      );
  }
}
