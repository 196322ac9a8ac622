/** What a browser keeps for its user. Where storage is switched off it ends with the page. */
import { ref, watch, type Ref } from 'vue';

export function recall(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function keep(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    return; // it is kept as long as the page
  }
}

/** The name that stands beside what is done on this page; empty until it was entered. One for all widgets. */
export const userName: Ref<string> = ref(recall('flow-nvr-who') ?? '');
watch(userName, (name) => keep('flow-nvr-who', name));
