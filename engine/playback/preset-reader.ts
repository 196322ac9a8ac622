/** The presets of cameras as the catalogue has them. Synchronous; in the query thread. */
import type { PresetRow } from '../catalog/catalog.ts';
import { EngineError } from '../types.ts';
import type { CatalogReader } from './catalog-reader.ts';

export interface KnownPreset extends PresetRow {
  /** When the camera last told of it, ms. */
  seen: number;
  /** When its still was taken, ms; null while there is none. */
  stillTime: number | null;
}

export class PresetReader {
  private readonly catalog: CatalogReader;

  constructor(catalog: CatalogReader) {
    this.catalog = catalog;
  }

  /** In the order of their tokens, numbers as numbers. */
  presets(camera: string): KnownPreset[] {
    const rows = this.catalog
      .sql(
        `SELECT p.token, p.name, p.position, p.seen_ms AS seen, p.still_ms AS stillTime
         FROM preset p JOIN camera c ON c.id = p.camera_id WHERE c.key = ?`,
      )
      .all(camera) as (Omit<KnownPreset, 'position'> & { position: string | null })[];
    return rows
      .map((row) => ({
        ...row,
        position: row.position === null ? null : (JSON.parse(row.position) as PresetRow['position']),
      }))
      .sort((a, b) => a.token.localeCompare(b.token, 'en', { numeric: true }));
  }

  /** JPEG. Throws `not-found`. */
  presetStill(camera: string, token: string): Uint8Array {
    const row = this.catalog
      .sql('SELECT p.still FROM preset p JOIN camera c ON c.id = p.camera_id WHERE c.key = ? AND p.token = ?')
      .get(camera, token) as { still: Uint8Array | null } | undefined;
    if (!row?.still) throw new EngineError('not-found', 'there is no picture of this preset yet: go there once');
    return row.still;
  }
}
