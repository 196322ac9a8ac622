/** hls.js, which is as large as all widgets together: a page loads it when it plays what was recorded for the first time. */
import type Hls from 'hls.js';

/** The address of the widgets' script (scripts/build.ts); the player lies beside it. */
declare const flowNvrScript: string;

type Library = typeof Hls;
let loading: Promise<Library> | null = null;

/** Rejects when it cannot be loaded; the next call tries again. */
export function loadHls(): Promise<Library> {
  const { href } = new URL('hls.light.min.mjs', flowNvrScript);
  loading ??= import(/* @vite-ignore */ href)
    .then((module: { default: Library }) => module.default)
    .catch((error: unknown) => {
      loading = null;
      throw error;
    });
  return loading;
}
