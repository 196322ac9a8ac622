/** Layout and order of the cameras, kept for this browser or for all who see the widget. */
import { ref, watch, type Ref } from 'vue';
import type { Session } from '../shared/session.ts';
import { LAYOUTS, type Layout } from './layout.ts';

export interface Arrangement {
  layout: Layout;
  order: string[];
}

/** @param whose `fixed`: what the node says, changed by messages only */
export function useArrangement(
  widget: string,
  whose: 'user' | 'all' | 'fixed',
  session: Session,
  otherwise: Arrangement,
): Ref<Arrangement> {
  const key = `flow-nvr-grid-${widget}`;
  const board = ref<Arrangement>({ ...otherwise, ...(whose === 'user' ? stored(key) : {}) });
  if (whose === 'all') {
    session
      .get<Partial<Arrangement>>(`api/board/${widget}`)
      .then((shared) => Object.assign(board.value, checked(shared)))
      .catch(() => undefined); // what the node says stays; why there is no access is said in place of the grid
  }
  watch(
    board,
    (now) => {
      if (whose === 'user') store(key, now);
      if (whose === 'all' && session.may('control'))
        session.post(`api/board/${widget}`, { order: now.order, layout: now.layout }).catch(() => undefined);
    },
    { deep: true },
  );
  return board;
}

/** What is good of an arrangement that came from outside: from a message, the browser's storage, or the NVR. */
export function checked({ layout, order }: { layout?: unknown; order?: unknown }): Partial<Arrangement> {
  return {
    ...(LAYOUTS.some((known) => known === layout) ? { layout: layout as Layout } : {}),
    ...(Array.isArray(order) ? { order: order.filter((camera) => typeof camera === 'string') } : {}),
  };
}

function stored(key: string): Partial<Arrangement> {
  try {
    return checked(JSON.parse(localStorage.getItem(key) ?? '{}') as Partial<Arrangement>);
  } catch {
    return {};
  }
}

function store(key: string, now: Arrangement): void {
  try {
    localStorage.setItem(key, JSON.stringify(now));
  } catch {
    return; // storage is switched off: it ends with the page
  }
}
