/** Drags tiles with mouse or finger, while cameras are arranged. */
import { ref, type Ref } from 'vue';

export function useDrag(
  stage: Ref<HTMLElement | undefined>,
  enabled: Ref<boolean>,
  dropped: (camera: string, onto: string) => void,
) {
  const camera = ref<string | null>(null);
  const cameraAt = (element: Element | null): string | null =>
    element?.closest<HTMLElement>('[data-camera]')?.dataset['camera'] ?? null;

  return {
    /** The camera that is dragged. */
    camera,
    down(event: PointerEvent): void {
      if (!enabled.value || event.button !== 0) return;
      camera.value = cameraAt(event.target as Element);
      if (camera.value) (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
    },
    move(event: PointerEvent): void {
      if (!camera.value || !stage.value) return;
      const onto = cameraAt(document.elementFromPoint(event.clientX, event.clientY));
      if (onto && onto !== camera.value) dropped(camera.value, onto);
    },
    up(): void {
      camera.value = null;
    },
    cancel(): void {
      camera.value = null;
    },
  };
}
