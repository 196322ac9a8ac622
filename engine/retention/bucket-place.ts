/**
 * A tier that is a bucket of a server that speaks S3. Objects have the names that files have in folders. Loaded when the
 * first bucket is used: the library takes a second and 50 MB.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { crc32 } from '../media/crc32.ts';
import { EngineError } from '../types.ts';
import type { Place, Removal, Room, TakeJob } from './place.ts';
import type { BucketAccess } from './types.ts';

/** Larger files go in parts of this; what their ETag is follows from it. */
const PART_BYTES = 8 * 1024 * 1024;
const PARTS_AT_ONCE = 2;
const REMOVALS_AT_ONCE = 8;
const CONNECT_MS = 5000;
const SOCKET_MS = 20_000;

interface Sums {
  bytes: number;
  crc32: number;
  sha256: string;
  md5: string;
  /** As most servers have it for what came in parts: of the sums of these, with their number. */
  md5OfParts: string;
}

export class BucketPlace implements Place {
  private readonly access: BucketAccess;
  private readonly client: S3Client;

  constructor(access: BucketAccess) {
    this.access = access;
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

  /** Rejects with `away`, `gone` or `damaged` (the source), `bad-copy`. */
  async take({ from, path, bytes, hash }: TakeJob, alive: () => void): Promise<{ hash: string }> {
    const sums = await sumsOf(createReadStream(from), alive).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      throw new EngineError('gone', `${from} is not there any more`, { cause: error });
    });
    if (sums.bytes !== bytes || (hash !== null && sums.crc32 !== hash)) {
      throw new EngineError('damaged', `${from} is not what was recorded: it stays where it is`);
    }
    const upload = new Upload({
      client: this.client,
      params: {
        ...this.of(path),
        Body: createReadStream(from),
        ContentType: 'video/mp4',
        Metadata: { sha256: sums.sha256 },
      },
      ...{ partSize: PART_BYTES, queueSize: PARTS_AT_ONCE },
    });
    upload.on('httpUploadProgress', alive);
    await this.ask(() => upload.done());
    alive();
    await this.verify(path, sums, alive);
    return { hash: sums.sha256 };
  }

  /** By the ETag; where a bucket has others (those that encrypt do), by reading it back. */
  private async verify(path: string, sums: Sums, alive: () => void): Promise<void> {
    const { ContentLength, ETag } = await this.ask(() => this.client.send(new HeadObjectCommand(this.of(path))));
    const bad = (): EngineError =>
      new EngineError('bad-copy', `the bucket ${this.access.bucket} has other bytes than were sent`);
    if (ContentLength !== sums.bytes) throw bad();
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

  /** Parts of an upload that a crash cut short cost money until they are told to go. */
  private async abortUploads(path: string): Promise<void> {
    const { Bucket, Key } = this.of(path);
    const { Uploads = [] } = await this.ask(() =>
      this.client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: Key })),
    );
    for (const { UploadId } of Uploads.filter((upload) => upload.Key === Key)) {
      if (UploadId === undefined) continue;
      await this.ask(() => this.client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId })));
    }
  }

  /** Rejects with `away`, `not-found`, `bad-copy`. */
  async fetch(path: string, to: string, bytes: number, alive: () => void): Promise<void> {
    const { Body, Metadata } = await this.ask(() => this.client.send(new GetObjectCommand(this.of(path))));
    const partial = `${to}.partial`;
    try {
      await mkdir(dirname(to), { recursive: true });
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
        createWriteStream(partial),
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
      throw this.explain(error);
    }
  }

  /** What to tell: never what the server or the library wrote, which may hold parts of the request. */
  private explain(error: unknown): EngineError {
    const { name, code, $metadata } = error as Error & {
      code?: string;
      $metadata?: { httpStatusCode?: number };
    };
    const { bucket, endpoint } = this.access;
    const status = $metadata?.httpStatusCode;
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

async function sumsOf(stream: Readable, alive: () => void): Promise<Sums> {
  const [sha256, md5, ofParts] = [createHash('sha256'), createHash('md5'), createHash('md5')];
  let part = createHash('md5');
  let crc = 0;
  let parts = 0;
  let inPart = 0;
  let bytes = 0;
  const endPart = (): void => {
    ofParts.update(part.digest());
    part = createHash('md5');
    inPart = 0;
    parts++;
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
  const sums = { bytes, crc32: crc, sha256: sha256.digest('hex'), md5: md5.digest('hex') };
  return { ...sums, md5OfParts: `${ofParts.digest('hex')}-${parts}` };
}
