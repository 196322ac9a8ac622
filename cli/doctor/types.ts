/** What the doctor looks at. A check is a file in this folder, and a line in checks.ts. */

export type Level = 'ok' | 'advice' | 'problem';

export interface Finding {
  level: Level;
  /** One sentence; no secrets. */
  text: string;
  /** What to do about it. */
  advice?: string;
}

/** What the command line says; everything may be missing. */
export interface DoctorOptions {
  ffmpeg: string;
  /** Storage folders. */
  storages: readonly string[];
  catalog: string | null;
  /** Node-RED's settings file. */
  settings: string | null;
}

export interface Check {
  id: string;
  title: string;
  /** Never rejects for what it finds; an empty list when there is nothing to look at. */
  run: (options: DoctorOptions) => Promise<Finding[]>;
}
