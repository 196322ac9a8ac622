import { stat } from 'node:fs/promises';
import type { Check, Finding } from './types.ts';

/** Files of the system hide what is in a folder that others may not enter. */
const OTHERS = 0o007;
const GROUP_WRITES = 0o020;

async function look(path: string, kind: 'folder' | 'file'): Promise<Finding> {
  let mode: number;
  try {
    const found = await stat(path);
    if (kind === 'folder' && !found.isDirectory()) return { level: 'problem', text: `${path} is no folder` };
    mode = found.mode & 0o777;
  } catch (error) {
    return { level: 'problem', text: `${path}: ${(error as NodeJS.ErrnoException).code ?? 'cannot be read'}` };
  }
  const shown = `${path} has mode 0${mode.toString(8)}`;
  const wanted = kind === 'folder' ? '0750' : '0640';
  if (mode & OTHERS)
    return {
      level: 'problem',
      text: `${shown}: every user of this computer gets at it`,
      advice: `chmod ${wanted} ${path}`,
    };
  if (mode & GROUP_WRITES)
    return { level: 'advice', text: `${shown}: its group may write`, advice: `chmod ${wanted} ${path}` };
  return { level: 'ok', text: shown };
}

export const permissions: Check = {
  id: 'permissions',
  title: 'Footage and catalogue',
  run: async ({ storages, catalog }) => {
    if (process.platform === 'win32') return [];
    const folders = await Promise.all(storages.map((folder) => look(folder, 'folder')));
    return catalog === null ? folders : [...folders, await look(catalog, 'file')];
  },
};
