/** Files summed up by camera and reason. */
import type { DeletionReason, Share } from './types.ts';

export class Shares<R extends string = DeletionReason> {
  private readonly byKey = new Map<string, Share<R>>();
  files = 0;
  bytes = 0;

  add(file: { camera: string; reason: R; start: number; end: number; bytes: number }): void {
    const { camera, reason, start, end, bytes } = file;
    this.files++;
    this.bytes += bytes;
    const key = `${camera} ${reason}`;
    const share = this.byKey.get(key);
    if (!share) {
      this.byKey.set(key, { camera, reason, start, end, files: 1, bytes });
      return;
    }
    share.start = Math.min(share.start, start);
    share.end = Math.max(share.end, end);
    share.files++;
    share.bytes += bytes;
  }

  /** Of each camera, oldest first. */
  get list(): Share<R>[] {
    return [...this.byKey.values()].sort((a, b) => a.start - b.start);
  }
}

export function sharesOf<R extends string>(files: readonly Parameters<Shares<R>['add']>[0][]): Shares<R> {
  const shares = new Shares<R>();
  for (const file of files) shares.add(file);
  return shares;
}
