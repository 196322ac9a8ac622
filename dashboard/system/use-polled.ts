/** Something that is asked again and again, while its part of the page is on show. */
import { onBeforeUnmount, onMounted, ref, shallowRef, type Ref, type ShallowRef } from 'vue';
import { NvrError } from '../shared/session.ts';

export interface Polled<T> {
  value: ShallowRef<T | null>;
  /** Why it could not be had the last time; empty when it could. */
  problem: Ref<string>;
  again(): void;
}

export function usePolled<T>(ask: () => Promise<T>, everyMs: number): Polled<T> {
  const value = shallowRef<T | null>(null);
  const problem = ref('');
  let timer: number | undefined;
  let gone = false;
  let asking = false;

  const again = (): void => {
    window.clearTimeout(timer);
    if (asking || gone) return;
    if (document.hidden) {
      timer = window.setTimeout(again, everyMs);
      return;
    }
    asking = true;
    ask()
      .then(
        (answer) => {
          value.value = answer;
          problem.value = '';
        },
        (error: unknown) => {
          if (!(error instanceof NvrError)) throw error;
          problem.value = error.message;
        },
      )
      .finally(() => {
        asking = false;
        if (!gone) timer = window.setTimeout(again, everyMs);
      });
  };
  onMounted(again);
  onBeforeUnmount(() => {
    gone = true;
    window.clearTimeout(timer);
  });
  return { value, problem, again };
}
