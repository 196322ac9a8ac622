/** `npm run reconcile -- <folder>`: makes the catalogue of a storage folder agree with its files, or makes it anew. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Catalog } from '../engine/catalog/catalog.ts';
import { Reconciler } from '../engine/catalog/reconcile.ts';

const [folder, ...more] = process.argv.slice(2);
if (!folder || more.length > 0 || !existsSync(folder)) {
  console.error(`usage: npm run reconcile -- <storage folder>${folder ? `\n${folder} is not there` : ''}`);
  process.exit(2);
}
const storage = resolve(folder);
const catalog = Catalog.open(join(storage, 'catalog.sqlite'));
let gapId = Date.now() * 1000;
const reconciler = new Reconciler(catalog, () => gapId++);
reconciler.finishOpen([storage]);
for (const hour of reconciler.walk(storage, Infinity)) console.error(hour);
catalog.close();
const { indexed, missing, empty } = reconciler.report;
console.log(`${indexed} files indexed, ${missing} rows without a file, ${empty} files without a picture`);
