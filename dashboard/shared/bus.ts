/**
 * What is selected on the page, for all widgets and all pages of a dashboard: a click in the grid shows on the timeline.
 * Kept while the tab is open; `?camera=front&time=…` in the page's address sets it from outside.
 */
import { reactive, watch } from 'vue';

export interface Selection {
  camera: string | null;
  /** The moment looked at, epoch ms; null for now. */
  time: number | null;
  /** The event looked at. */
  event: string | null;
}

const KEY = 'flow-nvr-selection';

export const selection = reactive<Selection>({ camera: null, time: null, event: null, ...stored(), ...linked() });

/** Selects; what is not given becomes nothing. */
export function select(wanted: Partial<Selection>): void {
  Object.assign(selection, { camera: null, time: null, event: null }, wanted);
}

watch(selection, (now) => {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(now));
  } catch {
    return; // storage is switched off: the selection ends with the page
  }
});

function stored(): Partial<Selection> {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? '{}') as Partial<Selection>;
  } catch {
    return {};
  }
}

function linked(): Partial<Selection> {
  const query = new URLSearchParams(location.search);
  const [camera, time, event] = [query.get('camera'), Number(query.get('time')), query.get('event')];
  if (!camera && !event) return {};
  return { camera, time: time > 0 ? time : null, event };
}
