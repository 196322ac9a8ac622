/** What is used of an `Image`. */
export interface Preloaded {
  onload: unknown;
  onerror: unknown;
  src: string;
}

/**
 * Loads a picture, or the first part of a stream, out of sight.
 * @param effects.loaded it can be shown now
 * @returns lets it go: a stream would otherwise have a second connection to the NVR for as long as it lasts
 */
export function preload(
  image: Preloaded,
  address: string,
  effects: { loaded: () => void; failed: () => void },
): () => void {
  image.onload = effects.loaded;
  image.onerror = effects.failed;
  image.src = address;
  return () => {
    // An empty address is an error, too.
    image.onload = null;
    image.onerror = null;
    image.src = '';
  };
}
