/** What keys do. Pure. */

export interface KeyActions {
  toggle: () => void;
  frame: (by: 1 | -1) => void;
  skip: (ms: number) => void;
  mark: (side: 'in' | 'out') => void;
  zoom: (factor: number) => void;
  event: (direction: 'next' | 'previous') => void;
  /** By its place in the list of speeds, from 0. */
  speed: (place: number) => void;
  live: () => void;
  reverse: () => void;
  help: () => void;
  escape: () => void;
}

export interface Key {
  key: string;
  shiftKey: boolean;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
  target: unknown;
}

const SKIP_MS = 10_000;
/** In these keys are for writing and choosing. */
const OWN_KEYS = ['INPUT', 'SELECT', 'TEXTAREA'];

/** Does what a key is for. @returns whether it was one of ours */
export function pressed({ key, shiftKey, ctrlKey, metaKey, altKey, target }: Key, actions: KeyActions): boolean {
  const { tagName = '' } = (target ?? {}) as { tagName?: string };
  if (ctrlKey || metaKey || (OWN_KEYS.includes(tagName) && key !== 'Escape')) return false;
  const arrow = (by: 1 | -1): void => {
    if (shiftKey) actions.skip(by * SKIP_MS);
    else actions.frame(by);
  };
  // AltGr makes brackets on many keyboards.
  if (key === '[') actions.mark('in');
  else if (key === ']') actions.mark('out');
  else if (altKey) return false;
  // A button that has the focus is pressed by it.
  else if (key === ' ' && tagName === 'BUTTON') return false;
  else if (key === ' ' || key === 'k') actions.toggle();
  else if (key === 'ArrowLeft') arrow(-1);
  else if (key === 'ArrowRight') arrow(1);
  else if (key === '+' || key === '=') actions.zoom(2);
  else if (key === '-') actions.zoom(0.5);
  else if (key === 'n') actions.event('next');
  else if (key === 'p') actions.event('previous');
  else if (/^[1-9]$/.test(key)) actions.speed(Number(key) - 1);
  else if (key === 'l') actions.live();
  else if (key === 'r') actions.reverse();
  else if (key === '?') actions.help();
  else if (key === 'Escape') actions.escape();
  else return false;
  return true;
}
