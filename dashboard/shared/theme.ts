/** Whether a widget stands on a dark ground: Dashboard's themes are colours, not light or dark. */
export function isDark(element: Element): boolean {
  const ground = getComputedStyle(element).getPropertyValue('--v-theme-group-background');
  const [r = 255, g = 255, b = 255] = (ground.match(/\d+(\.\d+)?/g) ?? []).map(Number);
  return 0.299 * r + 0.587 * g + 0.114 * b < 128;
}
