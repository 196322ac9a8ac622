/**
 * Runs Node-RED as a child of `npm start`, and ends it in order when that is gone, however it went: what is being recorded is
 * closed. Arguments: the path of Node-RED's `red.js`, and what it is started with.
 */
import { createRequire } from 'node:module';

/** Node-RED gives its nodes 15 s to close. */
const PATIENCE_MS = 25_000;

const [node, , red, ...args] = process.argv;
process.argv = [node!, red!, ...args];

process.once('disconnect', () => {
  setTimeout(() => process.exit(1), PATIENCE_MS).unref();
  // Before Node-RED listens there is nothing to close.
  if (process.listenerCount('SIGTERM') === 0) process.exit(0);
  process.emit('SIGTERM');
});
for (const stream of [process.stdout, process.stderr]) {
  // A terminal that was closed must not end Node-RED in the middle of closing its files; nobody is left to tell.
  stream.on('error', () => undefined);
}
// Its parent may have gone before anybody listened.
if (process.connected) createRequire(import.meta.url)(red!);
