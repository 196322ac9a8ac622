/** The properties of nvr-config, made absolute and checked. */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import type { Right } from '../../engine/http/tokens.ts';
import { READERS, type Readers } from '../../engine/recording/file-modes.ts';
import type { EngineConfig } from '../../engine/types.ts';

export interface NvrConfigProperties {
  storage: string;
  catalog: string;
  ffmpegPath: string;
  httpPath: string;
  /** Who may read what is stored; missing in flows of older versions. */
  readers?: Readers;
  /** What those who may open the dashboard may do there; missing in flows of older versions. */
  dashboardAccess?: DashboardAccess;
  /** The dashboard shows cameras to everybody who reaches it, though nothing asks who they are. */
  openToNetwork?: boolean;
  /** Names under which people reach this Node-RED, with commas between; read by {@link readHostNames}. */
  hostNames?: string;
}

export const DASHBOARD_RIGHTS = {
  view: ['live', 'playback'],
  control: ['live', 'playback', 'export', 'control'],
  admin: ['live', 'playback', 'export', 'control', 'admin'],
} as const satisfies Record<string, readonly Right[]>;
export type DashboardAccess = keyof typeof DASHBOARD_RIGHTS;

export interface Problem {
  field: keyof NvrConfigProperties;
  message: string;
}

const PATH = /^[a-z0-9_-]+(\/[a-z0-9_-]+)*$/i;

/** One folder a line; relative ones are inside Node-RED's user folder. */
export function toEngineConfig(properties: NvrConfigProperties, userDir: string): EngineConfig {
  const storages = (properties.storage || 'nvr')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line) => resolve(userDir, line));
  return {
    storages: [...new Set(storages)],
    catalog: resolve(userDir, properties.catalog || join(storages[0] ?? 'nvr', 'catalog.sqlite')),
    ffmpegPath: properties.ffmpegPath || 'ffmpeg',
    // Whatever else a flow says is not to give more to others than is usual.
    readers: READERS.find((readers) => readers === properties.readers) ?? 'group',
  };
}

/** What is wrong with the folders and the path; no processes are started. */
export function checkPaths(properties: NvrConfigProperties, userDir: string): Problem[] {
  const problems: Problem[] = [];
  const config = toEngineConfig(properties, userDir);
  if (config.storages.length === 0) problems.push({ field: 'storage', message: 'enter at least one storage folder' });
  for (const storage of config.storages) {
    const message = unwritable(storage);
    if (message) problems.push({ field: 'storage', message });
  }
  const catalog = unwritable(dirname(config.catalog));
  if (catalog && !config.storages.includes(dirname(config.catalog)))
    problems.push({ field: 'catalog', message: catalog });
  if (existsSync(config.catalog) && statSync(config.catalog).isDirectory()) {
    problems.push({ field: 'catalog', message: `${config.catalog} is a folder: enter a file name` });
  }
  if (!PATH.test((properties.httpPath || 'nvr').replace(/^\/|\/$/g, ''))) {
    problems.push({ field: 'httpPath', message: 'use letters, digits, - and _ for the HTTP path, for example nvr' });
  }
  return problems;
}

function unwritable(folder: string): string | null {
  if (!isAbsolute(folder)) return `${folder} is not an absolute path`;
  let existing = folder;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  if (!statSync(existing).isDirectory()) return `${existing} is a file: choose a folder`;
  try {
    accessSync(existing, constants.W_OK | constants.X_OK);
    return null;
  } catch {
    return `${existing} cannot be written by Node-RED: change its owner or permissions, or choose another folder`;
  }
}
