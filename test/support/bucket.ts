/**
 * A server that speaks S3, from npm (s3rver), in this process. It lacks some of what ours asks for; that is added here:
 * uploads in parts and their parts can be listed, and aborted, and an object is whole when its upload is answered.
 */
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import type { AddressInfo, Server } from 'node:net';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { BucketAccess } from '../../engine/retention/types.ts';

interface Context {
  method: string;
  path: string;
  query: Record<string, string | undefined>;
  status: number;
  body: unknown;
}

interface StoredObject {
  bucket: string;
  key: string;
}

interface S3rver {
  httpServer: Server & { closeAllConnections(): void };
  middleware: ((context: Context, next: () => Promise<void>) => Promise<void>)[];
  store: {
    putObject(object: StoredObject): Promise<{ size: number; md5: string }>;
    getResourcePath(bucket: string, key: string | undefined, resource: string): string;
  };
  run(): Promise<AddressInfo>;
}

const S3rver = createRequire(import.meta.url)('s3rver') as new (options: object) => S3rver;

/** The keys that s3rver knows. */
const KEY = 'S3RVER';

export class TestBucket {
  readonly bucket = 'footage';
  readonly folder = mkdtempSync(join(tmpdir(), 'flow-nvr-bucket-'));
  port = 0;
  /** Requests that are answered with an error, for all or while it lasts. */
  refuse: ((method: string, path: string) => boolean) | null = null;
  /** Method and path of each request. */
  readonly requests: string[] = [];
  private server: S3rver | null = null;

  async start(): Promise<void> {
    const options = { address: '127.0.0.1', port: this.port, silent: true, directory: this.folder };
    const server = new S3rver({ ...options, configureBuckets: [{ name: this.bucket }] });
    server.middleware.unshift((context, next) => this.answer(context, next));
    const put = server.store.putObject.bind(server.store);
    server.store.putObject = async (object) => {
      const stored = await put(object);
      const file = server.store.getResourcePath(object.bucket, object.key, 'object');
      while (statSync(file, { throwIfNoEntry: false })?.size !== stored.size) await wait(2);
      return stored;
    };
    this.port = (await server.run()).port;
    this.server = server;
  }

  private async answer(context: Context, next: () => Promise<void>): Promise<void> {
    const { method, path, query } = context;
    this.requests.push(`${method} ${path}`);
    if (this.refuse?.(method, path)) {
      context.status = 503;
      context.body = '';
      return;
    }
    if (method === 'DELETE' && query['uploadId'] !== undefined) {
      rmSync(join(this.uploadsFolder, query['uploadId']), { recursive: true, force: true });
      context.status = 204;
      return;
    }
    if (method === 'GET' && query['uploads'] !== undefined) {
      const uploads = this.uploads.filter(({ key }) => key.startsWith(query['prefix'] ?? ''));
      const list = uploads.map(({ id, key }) => ({ Key: key, UploadId: id }));
      context.status = 200;
      const xml = list.map(({ Key, UploadId }) => `<Upload><Key>${Key}</Key><UploadId>${UploadId}</UploadId></Upload>`);
      context.body = `<?xml version="1.0"?><ListMultipartUploadsResult><Bucket>${this.bucket}</Bucket><IsTruncated>false</IsTruncated>${xml.join('')}</ListMultipartUploadsResult>`;
      return;
    }
    if (method === 'GET' && query['uploadId'] !== undefined) {
      const folder = join(this.uploadsFolder, query['uploadId']);
      const parts = readdirSync(folder).filter((name) => /^\d+$/.test(name));
      const xml = parts.map((number) => {
        const sum = createHash('md5')
          .update(readFileSync(join(folder, number)))
          .digest('hex');
        return `<Part><PartNumber>${number}</PartNumber><ETag>"${sum}"</ETag></Part>`;
      });
      context.status = 200;
      context.body = `<?xml version="1.0"?><ListPartsResult><Bucket>${this.bucket}</Bucket><IsTruncated>false</IsTruncated>${xml.join('')}</ListPartsResult>`;
      return;
    }
    await next();
  }

  private get uploadsFolder(): string {
    return join(this.folder, this.bucket, '._S3rver_uploads');
  }

  /** Uploads in parts that were begun and not ended. */
  get uploads(): { id: string; key: string }[] {
    if (!existsSync(this.uploadsFolder)) return [];
    return readdirSync(this.uploadsFolder).flatMap((id) => {
      const file = join(this.uploadsFolder, id, 'key');
      return existsSync(file) ? [{ id, key: readFileSync(file, 'utf8') }] : [];
    });
  }

  /** Names of all objects. */
  get keys(): string[] {
    const suffix = '._S3rver_object';
    return readdirSync(join(this.folder, this.bucket), { recursive: true })
      .map(String)
      .filter((name) => name.endsWith(suffix))
      .map((name) => name.slice(0, -suffix.length))
      .sort();
  }

  read(key: string): Buffer {
    return readFileSync(join(this.folder, this.bucket, `${key}._S3rver_object`));
  }

  access(prefix = ''): BucketAccess {
    const { bucket, port } = this;
    const secrets = { accessKey: KEY, secretKey: KEY };
    return { endpoint: `http://127.0.0.1:${port}`, region: '', bucket, prefix, pathStyle: true, ...secrets };
  }

  /** Nobody answers any more; `start` begins it again with what is in it. */
  async stop(): Promise<void> {
    const http = this.server?.httpServer;
    this.server = null;
    if (!http) return;
    http.closeAllConnections();
    await new Promise((resolve) => http.close(resolve));
  }

  async dispose(): Promise<void> {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
