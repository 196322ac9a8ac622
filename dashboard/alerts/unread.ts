/** How many alerts came since somebody last looked: in the widget, in the page's title, and for the flow. */
import { ref, watch, type Ref } from 'vue';
import { MANY } from './paged-list.ts';

const PREFIX = /^\(\d+\+?\) /;

export interface Unread {
  count: Ref<number>;
  add(eventId: string): void;
  /** Somebody looks at the newest now. */
  seen(): void;
  stop(): void;
}

export function countText(count: number): string {
  return count >= MANY ? `${MANY - 1}+` : `${count}`;
}

export function useUnread(onChange: (count: number) => void): Unread {
  const ids = new Set<string>();
  const count = ref(0);
  const title = (text: string): void => {
    const bare = document.title.replace(PREFIX, '');
    document.title = text === '' ? bare : `(${text}) ${bare}`;
  };
  const unwatch = watch(count, (now) => {
    title(now > 0 ? countText(now) : '');
    onChange(now);
  });
  return {
    count,
    add(eventId) {
      if (ids.size < MANY) ids.add(eventId);
      count.value = ids.size;
    },
    seen() {
      ids.clear();
      count.value = 0;
    },
    stop() {
      unwatch();
      title('');
    },
  };
}
