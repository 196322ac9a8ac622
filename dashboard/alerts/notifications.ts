/** The browser's own notifications, for a page in the background; only where its user has asked for them. */
import { ref } from 'vue';

const KEY = 'flow-nvr-notify';
const SHOWN_MS = 15_000;
/** More at once are one: a flood of them would be switched off. */
const LEAST_BETWEEN_MS = 4000;

export interface Notice {
  tag: string;
  title: string;
  body: string;
  /** Address of a picture, or nothing. */
  picture: string;
  onClick: () => void;
}

export function useNotifications() {
  const supported = 'Notification' in window && window.isSecureContext;
  const permission = ref<NotificationPermission>(supported ? Notification.permission : 'denied');
  const wanted = ref(supported && stored() && Notification.permission === 'granted');
  let last = 0;

  const toggle = async (): Promise<void> => {
    if (!supported) return;
    if (!wanted.value && Notification.permission === 'default') await Notification.requestPermission();
    permission.value = Notification.permission;
    wanted.value = !wanted.value && permission.value === 'granted';
    try {
      localStorage.setItem(KEY, wanted.value ? '1' : '');
    } catch {
      return; // storage is switched off: the choice ends with the page
    }
  };

  const tell = async ({ tag, title, body, picture, onClick }: Notice): Promise<void> => {
    const now = performance.now();
    if (!wanted.value || !document.hidden || (last > 0 && now - last < LEAST_BETWEEN_MS)) return;
    last = now;
    // Fetched here: its address has a token in it, and notifications outlive pages.
    const icon = picture === '' ? null : await pictureOf(picture);
    const notification = new Notification(title, { body, tag, ...(icon === null ? {} : { icon }) });
    const timer = window.setTimeout(() => notification.close(), SHOWN_MS);
    notification.onclick = () => {
      window.focus();
      onClick();
      notification.close();
    };
    notification.onclose = () => {
      window.clearTimeout(timer);
      if (icon !== null) URL.revokeObjectURL(icon);
    };
  };

  return { supported, permission, wanted, toggle, tell };
}

async function pictureOf(address: string): Promise<string | null> {
  try {
    const answer = await fetch(address);
    return answer.ok ? URL.createObjectURL(await answer.blob()) : null;
  } catch {
    return null; // a notice without a picture is better than none
  }
}

function stored(): boolean {
  try {
    return localStorage.getItem(KEY) === '1';
  } catch {
    return false;
  }
}
