/** How many alerts came since somebody last looked, on this visit or one before: in the widget, the page's title, the flow. */
import { ref, watch, type Ref } from 'vue';
import { keep, recall } from '../shared/stored.ts';
import { MANY } from './paged-list.ts';

const PREFIX = /^\(\d+\+?\) /;

interface Seen {
  eventId: string;
  start: number;
}

export interface Unread {
  count: Ref<number>;
  /** Counts what began after the last look. */
  add: (event: Seen) => void;
  /** Somebody looks at the newest now. */
  seen: () => void;
  stop: () => void;
}

export function countText(count: number): string {
  return count >= MANY ? `${MANY - 1}+` : `${count}`;
}

/** @param key under which the browser keeps when its user last looked @param now the NVR's clock, epoch ms */
export function useUnread(key: string, now: () => number, onChange: (count: number) => void): Unread {
  const ids = new Set<string>();
  const count = ref(0);
  const title = (text: string): void => {
    const bare = document.title.replace(PREFIX, '');
    document.title = text === '' ? bare : `(${text}) ${bare}`;
  };
  const unwatch = watch(count, (many) => {
    title(many > 0 ? countText(many) : '');
    onChange(many);
  });
  // Whoever comes for the first time has missed nothing.
  let since = Number(recall(key)) || now();
  return {
    count,
    add({ eventId, start }) {
      if (start <= since) return;
      if (ids.size < MANY) ids.add(eventId);
      count.value = ids.size;
    },
    seen() {
      since = now();
      keep(key, `${since}`);
      ids.clear();
      count.value = 0;
    },
    stop() {
      unwatch();
      title('');
    },
  };
}
