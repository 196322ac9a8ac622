/** What a widget is to FlowFuse Dashboard: it takes messages of the flow, sends some, and finds other pages. */
import { getCurrentInstance, inject, onBeforeUnmount, onMounted, ref, type Ref } from 'vue';
import { nvrAt, type Nvr } from './nvr.ts';

/** Dashboard passes these to every widget. */
export interface WidgetProps<P = Record<string, unknown>> {
  id: string;
  /** What nodes/shared/widget.ts has put together. */
  props: P & { base: string; fill?: boolean };
  state: { enabled?: boolean; visible?: boolean; class?: string };
}

export interface Command {
  command: string;
  [field: string]: unknown;
}

interface Socket {
  emit(event: string, ...args: unknown[]): void;
}

type DataTracker = (
  id: string,
  onInput: (msg: { payload?: unknown }) => void,
  onLoad: (msg: { payload?: unknown } | null) => void,
) => void;

/** The part of Dashboard's store that says which widget is where. */
interface DashboardUi {
  widgets?: Record<string, { type: string; props: { base?: string; group?: string } }>;
  groups?: Record<string, { page?: string }>;
  pages?: Record<string, { route?: { path: string } }>;
}

export interface Widget extends Nvr {
  nvr: Nvr;
  /** Out of the widget's node: `{topic: 'ui-nvr-grid/select', camera, payload: {type: 'select', camera, …}}`. */
  send(payload: { type: string; camera?: string | null; [field: string]: unknown }): void;
  /** Whether a dashboard has a widget of that type for the same NVR. */
  has(type: string): boolean;
  /** Opens the page with that widget; false where there is none or it is on this page. */
  open(type: string): boolean;
}

/** @param onCommand a message's payload, and what was set before the page was opened */
export function useWidget(
  { id, props }: { id: string; props: { base: string } },
  onCommand: (command: Command) => void,
): Widget {
  const nvr = nvrAt(props.base);
  const socket = inject<Socket>('$socket');
  const track = inject<DataTracker>('$dataTracker');
  const { globalProperties } = getCurrentInstance()!.appContext.config;
  const { $store, $router } = globalProperties as {
    $store?: { state: { ui?: DashboardUi } };
    $router?: { push(path: string): unknown; currentRoute: { value: { path: string } } };
  };

  const take = (payload: unknown): void => {
    if (isCommand(payload)) onCommand(payload);
  };
  track?.(
    id,
    (msg) => take(msg.payload),
    (msg) => {
      const kept = (msg?.payload as { kept?: unknown } | undefined)?.kept;
      if (Array.isArray(kept)) kept.forEach(take);
    },
  );

  const pathOf = (type: string): string | null => {
    const { widgets = {}, groups = {}, pages = {} } = $store?.state.ui ?? {};
    const found = Object.values(widgets).find((widget) => widget.type === type && widget.props.base === props.base);
    return pages[groups[found?.props.group ?? '']?.page ?? '']?.route?.path ?? null;
  };

  return {
    nvr,
    ...nvr,
    send: (payload) =>
      void nvr.session.proof().then(
        (token) => socket?.emit('widget-action', id, { payload, token }),
        () => undefined, // who may not see the NVR has nothing to tell the flow
      ),
    has: (type) => pathOf(type) !== null,
    open: (type) => {
      const path = pathOf(type);
      if (path === null || path === $router?.currentRoute.value.path) return false;
      void $router?.push(path);
      return true;
    },
  };
}

function isCommand(payload: unknown): payload is Command {
  return typeof payload === 'object' && payload !== null && typeof (payload as Command).command === 'string';
}

/** Ticks with the seconds while the widget is there: for durations. */
export function useClock(now: () => number): Ref<number> {
  const value = ref(now());
  let timer: number | undefined;
  onMounted(() => (timer = window.setInterval(() => (value.value = now()), 1000)));
  onBeforeUnmount(() => window.clearInterval(timer));
  return value;
}
