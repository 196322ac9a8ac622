/**
 * A tier that is a bucket of a server that speaks S3. Objects have the names that files have in folders. Loaded when the
 * first bucket is used: the library takes a second and 50 MB.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { crc32 } from '../media/crc32.ts';
import { DEFAULT_MODES, type Modes } from '../recording/file-modes.ts';
import { EngineError } from '../types.ts';
import { sourceError, type Place, type Removal, type Room, type TakeJob } from './place.ts';
import type { BucketAccess } from './types.ts';

/** Larger files go in parts of this (S3 takes 10,000 of them); what their ETag is follows from it. */
const PART_BYTES = 8 * 1024 * 1024;
const PARTS_AT_ONCE = 2;
const REMOVALS_AT_ONCE = 8;
const CONNECT_MS = 5000;
const SOCKET_MS = 20_000;

/** Bytes of the file that is sent. */
type ReadAt = (start: number, bytes: number) => Promise<Uint8Array>;

interface Sums {
  bytes: number;
  crc32: number;
  sha256: string;
  md5: string;
  md5OfPart: string[];
  /** As most servers have it for what came in parts: of the sums of these, with their number. */
  md5OfParts: string;
}

export class BucketPlace implements Place {
  private readonly access: BucketAccess;
  private readonly client: S3Client;
  private readonly modes: Modes;

  constructor(access: BucketAccess, modes: Modes = DEFAULT_MODES) {
    this.access = access;
    this.modes = modes;
    const { endpoint, region, pathStyle, accessKey, secretKey } = access;
    this.client = new S3Client({
      ...(endpoint === '' ? {} : { endpoint }),
      region: region || 'us-east-1',
      forcePathStyle: pathStyle,
      credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
      // Older servers do not know the checksums that the library adds by itself; ours are the ETag's.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      maxAttempts: 3,
      requestHandler: { connectionTimeout: CONNECT_MS, socketTimeout: SOCKET_MS },
    });
  }

  private of(path: string): { Bucket: string; Key: string } {
    const { bucket, prefix } = this.access;
    return { Bucket: bucket, Key: prefix === '' ? path : `${prefix}/${path}` };
  }

  async probe(): Promise<Room> {
    await this.ask(() => this.client.send(new HeadBucketCommand({ Bucket: this.access.bucket })));
    const { endpoint, bucket } = this.access;
    return { disk: `s3 ${endpoint} ${bucket}`, freeBytes: null, totalBytes: null };
  }

  /** Rejects with `away`, of the source `gone`, `unreadable` or `damaged`, `bad-copy`. */
  async take({ from, path, bytes, hash }: TakeJob, alive: () => void): Promise<{ hash: string }> {
    const ofSource = (error: unknown): never => {
      throw sourceError(from, error);
    };
    const sums = await sumsOf(createReadStream(from), alive).catch(ofSource);
    if (sums.bytes !== bytes || (hash !== null && sums.crc32 !== hash)) {
      throw new EngineError('damaged', `${from} is not what was recorded: it stays where it is`);
    }
    await this.ask(async () => {
      const file = await open(from).catch(ofSource);
      const readAt: ReadAt = (start, count) => read(file, start, count).catch(ofSource);
      try {
        if (bytes > PART_BYTES) await this.sendParts(readAt, path, sums, alive);
        else await this.client.send(new PutObjectCommand({ ...this.as(path, sums), Body: await readAt(0, bytes) }));
      } finally {
        await file.close();
      }
    });
    alive();
    await this.verify(path, sums, alive);
    return { hash: sums.sha256 };
  }

  private as(path: string, { sha256 }: Sums) {
    return { ...this.of(path), ContentType: 'video/mp4', Metadata: { sha256 } };
  }

  /** Goes on with what an upload that was cut short has sent: a part that is there with the right sum is not sent again. */
  private async sendParts(readAt: ReadAt, path: string, sums: Sums, alive: () => void): Promise<void> {
    const of = this.of(path);
    const begun = await this.begunUpload(path, sums);
    const UploadId =
      begun?.id ?? (await this.client.send(new CreateMultipartUploadCommand(this.as(path, sums)))).UploadId;
    const there = begun?.parts ?? new Map<number, string>();
    const missing = sums.md5OfPart.map((_, i) => i + 1).filter((number) => !there.has(number));
    for (let at = 0; at < missing.length; at += PARTS_AT_ONCE) {
      const some = missing.slice(at, at + PARTS_AT_ONCE).map(async (PartNumber) => {
        const Body = await readAt((PartNumber - 1) * PART_BYTES, PART_BYTES);
        const { ETag } = await this.client.send(new UploadPartCommand({ ...of, UploadId, PartNumber, Body }));
        there.set(PartNumber, ETag ?? '');
        alive();
      });
      // The file is not closed under one when another fails.
      const failed = (await Promise.allSettled(some)).find(({ status }) => status === 'rejected');
      if (failed) throw (failed as PromiseRejectedResult).reason;
    }
    const Parts = [...there].sort(([a], [b]) => a - b).map(([PartNumber, ETag]) => ({ PartNumber, ETag }));
    await this.client.send(new CompleteMultipartUploadCommand({ ...of, UploadId, MultipartUpload: { Parts } }));
  }

  /** An upload of this file that did not end, with the parts of it that are right; null to begin anew. */
  private async begunUpload(
    path: string,
    { md5OfPart }: Sums,
  ): Promise<{ id: string; parts: Map<number, string> } | null> {
    try {
      const [id] = await this.uploadsOf(path);
      if (id === undefined) return null;
      const { Parts = [] } = await this.client.send(new ListPartsCommand({ ...this.of(path), UploadId: id }));
      const parts = new Map<number, string>();
      for (const { PartNumber = 0, ETag = '' } of Parts)
        if (ETag.replaceAll('"', '') === md5OfPart[PartNumber - 1]) parts.set(PartNumber, ETag);
      return { id, parts };
    } catch (error) {
      // There are keys that may write and not list, and servers that cannot.
      if ([403, 405, 501].includes(statusOf(error) ?? 0)) return null;
      throw error;
    }
  }

  /** By the ETag; where a bucket has others (those that encrypt do), by reading it back. */
  private async verify(path: string, sums: Sums, alive: () => void): Promise<void> {
    const { ContentLength, ETag, Metadata } = await this.ask(() =>
      this.client.send(new HeadObjectCommand(this.of(path))),
    );
    const bad = (): EngineError =>
      new EngineError('bad-copy', `the bucket ${this.access.bucket} has other bytes than were sent`);
    if (ContentLength !== sums.bytes || (Metadata?.['sha256'] ?? sums.sha256) !== sums.sha256) throw bad();
    const tag = (ETag ?? '').replaceAll('"', '');
    if (tag === sums.md5 || tag === sums.md5OfParts) return;
    const { Body } = await this.ask(() => this.client.send(new GetObjectCommand(this.of(path))));
    const back = await this.ask(() => sumsOf(Body as Readable, alive));
    if (back.sha256 !== sums.sha256) throw bad();
  }

  async remove(files: readonly Removal[], alive: () => void): Promise<(string | null)[]> {
    const results: (string | null)[] = [];
    for (let at = 0; at < files.length; at += REMOVALS_AT_ONCE) {
      const some = files.slice(at, at + REMOVALS_AT_ONCE).map(async (file): Promise<string | null> => {
        try {
          if (file.begun) await this.abortUploads(file.path);
          await this.ask(() => this.client.send(new DeleteObjectCommand(this.of(file.path))));
          return null;
        } catch (error) {
          return error instanceof Error ? error.message : String(error);
        }
      });
      results.push(...(await Promise.all(some)));
      alive();
    }
    return results;
  }

  /** Parts of an upload that was cut short cost money until they are told to go. */
  private async abortUploads(path: string): Promise<void> {
    await this.ask(async () => {
      for (const UploadId of await this.uploadsOf(path))
        await this.client.send(new AbortMultipartUploadCommand({ ...this.of(path), UploadId }));
    });
  }

  /** Ids of the uploads of this file that were begun and not ended. */
  private async uploadsOf(path: string): Promise<string[]> {
    const { Bucket, Key } = this.of(path);
    const { Uploads = [] } = await this.client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: Key }));
    return Uploads.flatMap((upload) => (upload.Key === Key ? (upload.UploadId ?? []) : []));
  }

  /** Rejects with `away`, `not-found`, `bad-copy`. */
  async fetch(path: string, to: string, bytes: number, alive: () => void): Promise<void> {
    const { Body, Metadata } = await this.ask(() => this.client.send(new GetObjectCommand(this.of(path))));
    const partial = `${to}.partial`;
    try {
      await mkdir(dirname(to), { recursive: true, mode: this.modes.folder });
      const sum = createHash('sha256');
      await pipeline(
        Body as Readable,
        async function* (chunks: AsyncIterable<Uint8Array>) {
          for await (const chunk of chunks) {
            sum.update(chunk);
            alive();
            yield chunk;
          }
        },
        createWriteStream(partial, { mode: this.modes.file }),
      );
      const { size } = await stat(partial);
      const wanted = Metadata?.['sha256'];
      if (size !== bytes || (wanted !== undefined && sum.digest('hex') !== wanted)) {
        throw new EngineError('bad-copy', 'the bucket has other bytes of this footage than were sent there');
      }
      await rename(partial, to);
    } catch (error) {
      await rm(partial, { force: true });
      throw error instanceof EngineError ? error : this.explain(error);
    }
  }

  private async ask<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      throw error instanceof EngineError ? error : this.explain(error);
    }
  }

  /** What to tell: never what the server or the library wrote, which may hold parts of the request. */
  private explain(error: unknown): EngineError {
    const { name, code } = error as NodeJS.ErrnoException;
    const { bucket, endpoint } = this.access;
    const status = statusOf(error);
    const told = (what: string, kind = 'away'): EngineError =>
      new EngineError(kind, `the bucket ${bucket}: ${what}`, { cause: error });
    if (name === 'NoSuchBucket') return told('there is none of this name on the server');
    if (name === 'NoSuchKey') return told('this footage is not there any more', 'not-found');
    if (status === 403 || status === 401)
      return told('access is refused: check access key, secret key and permissions');
    if (status === 404) return told('there is none of this name on the server, or the object is not in it');
    if (status === 501 || status === 405) return told(`the server cannot do what is needed (${name})`);
    if (status !== undefined && status >= 300) return told(`the server answers ${status} (${name})`);
    return told(`${endpoint || 'the server'} cannot be reached (${code ?? name})`);
  }
}

/** What the server answered; undefined where it did not. */
function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
}

async function read(file: FileHandle, start: number, bytes: number): Promise<Uint8Array> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, start);
  return buffer.subarray(0, bytesRead);
}

async function sumsOf(stream: Readable, alive: () => void): Promise<Sums> {
  const [sha256, md5, ofParts] = [createHash('sha256'), createHash('md5'), createHash('md5')];
  let part = createHash('md5');
  const md5OfPart: string[] = [];
  let crc = 0;
  let inPart = 0;
  let bytes = 0;
  const endPart = (): void => {
    const digest = part.digest();
    ofParts.update(digest);
    md5OfPart.push(digest.toString('hex'));
    part = createHash('md5');
    inPart = 0;
  };
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    sha256.update(chunk);
    md5.update(chunk);
    crc = crc32(chunk, crc);
    bytes += chunk.length;
    for (let at = 0; at < chunk.length;) {
      const piece = chunk.subarray(at, at + PART_BYTES - inPart);
      part.update(piece);
      at += piece.length;
      inPart += piece.length;
      if (inPart === PART_BYTES) endPart();
    }
    alive();
  }
  if (inPart > 0) endPart();
  const sums = { bytes, crc32: crc, sha256: sha256.digest('hex'), md5: md5.digest('hex'), md5OfPart };
  return { ...sums, md5OfParts: `${ofParts.digest('hex')}-${md5OfPart.length}` };
}
