/** The module of a thread beside the caller's: `.ts` when run from source, `.js` when built. */
export function sibling(name: string, importerUrl: string): URL {
  return new URL(`./${name}${importerUrl.endsWith('.ts') ? '.ts' : '.js'}`, importerUrl);
}
