/**
 * The storage folders as they were last seen. Each is looked at by a thread of its own, since a disk that hangs (a share
 * whose server is gone) keeps whoever asks it: it is left out, as if it were not there, and all others go on.
 */
import { sep } from 'node:path';
import { EngineError } from '../types.ts';
import { diskOfFiles, type FileEffects } from './deletion.ts';
import type { Room } from './place.ts';
import type { PlaceLink } from './place-link.ts';

export interface FoldersEffects {
  /** That may have footage, whether they are there or not. */
  inUse(): string[];
  /** Rejects with `away` when it is not there, with `stalled` when it does not answer. */
  open(storage: string): Pick<PlaceLink, 'call' | 'close'>;
  /** Asked of those that are there only. */
  files?: FileEffects;
}

interface Folder {
  link: Pick<PlaceLink, 'call' | 'close'>;
  /** Null while it is not there. */
  room: Room | null;
  /** Why it is left out; null for one that is just not there, which whoever records there tells. */
  problem: string | null;
  stalled: boolean;
  /** Never more than one: each that hangs keeps a thread. */
  asking: Promise<void> | null;
}

export class Folders implements FileEffects {
  private readonly effects: FoldersEffects;
  private readonly files: FileEffects;
  private readonly all = new Map<string, Folder>();

  constructor(effects: FoldersEffects) {
    this.effects = effects;
    this.files = effects.files ?? diskOfFiles;
  }

  /** That are there. */
  get there(): string[] {
    return [...this.all].filter(([, { room }]) => room !== null).map(([storage]) => storage);
  }

  /** The first of what is wrong with them. */
  get problem(): string | null {
    return [...this.all.values()].find(({ problem }) => problem !== null)?.problem ?? null;
  }

  roomOf = (storage: string): Room | null => this.all.get(storage)?.room ?? null;

  present = (storage: string): boolean => this.roomOf(storage) !== null;

  /** As if its folder were gone, where that is left out. */
  unlink = (file: string): void => {
    if (!this.reaches(file)) throw Object.assign(new Error(`${file} is out of reach`), { code: 'ENOENT' });
    this.files.unlink(file);
  };

  removeEmpty = (folder: string): void => {
    if (this.reaches(folder)) this.files.removeEmpty(folder);
  };

  /** Resolves when all that there is to know is of now; what has hung for a while is asked, but not waited for. */
  async look(): Promise<void> {
    const wanted = new Set(this.effects.inUse());
    for (const [storage, { link }] of this.all) {
      if (wanted.has(storage)) continue;
      link.close();
      this.all.delete(storage);
    }
    for (const storage of wanted) {
      if (this.all.has(storage)) continue;
      const link = this.effects.open(storage);
      this.all.set(storage, { link, room: null, problem: null, stalled: false, asking: null });
    }
    await Promise.all([...this.all.values()].map((folder) => this.lookAt(folder)));
  }

  private async lookAt(folder: Folder): Promise<void> {
    // An answer that is on its way may be from before something was deleted: more would be deleted for it.
    if (!folder.stalled) await folder.asking;
    folder.asking ??= this.ask(folder).finally(() => (folder.asking = null));
    if (!folder.stalled) await folder.asking;
  }

  private async ask(folder: Folder): Promise<void> {
    try {
      folder.room = await folder.link.call('probe');
      folder.problem = null;
      folder.stalled = false;
    } catch (error) {
      const code = error instanceof EngineError ? error.code : '';
      folder.room = null;
      folder.stalled = code === 'stalled';
      folder.problem = code === 'away' ? null : (error as Error).message;
    }
  }

  private reaches(path: string): boolean {
    return this.there.some((storage) => path.startsWith(storage + sep));
  }
}
