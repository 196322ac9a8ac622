/** Where the tiles of a grid are. Pure: sizes in, places out. */

export const LAYOUTS = ['auto', '1x1', '2x2', '3x3', '4x4', '2x4', '1+5'] as const;
export type Layout = (typeof LAYOUTS)[number];

/** A tile's cells; columns and rows count from 1, as in CSS. */
export interface Place {
  column: number;
  row: number;
  /** Columns and rows that it covers. */
  span: number;
}

export interface Plan {
  columns: number;
  rows: number;
  /** Of one cell, px. */
  cellWidth: number;
  cellHeight: number;
  /** In the order of the cameras; as many as fit on one page. */
  places: Place[];
}

export const ASPECT = 16 / 9;
/** Narrower, and a picture shows nothing: the grid is scrolled instead. */
const MIN_CELL = 150;
const NARROW = 560;
/** More than that on one page, and browsers and eyes are overtaxed. */
const MAX_AUTO = 16;

/**
 * @param count cameras to show
 * @param width of the stage, px; `height` likewise
 * @param gap between cells, px
 */
export function planOf(layout: Layout, count: number, width: number, height: number, gap = 0): Plan {
  const most = Math.max(1, Math.floor((width + gap) / (MIN_CELL + gap)));
  if (layout === '1+5') return onePlusFive(count, width, height, gap, most < 3);
  const portrait = height > width;
  const [rows, wanted] = shapeOf(layout, count, width, height, gap, portrait);
  // On a phone one scrolls: pictures are as wide as it is, or half.
  const narrow = layout === 'auto' && width < NARROW;
  const columns = narrow ? (count > 6 && most > 1 ? 2 : 1) : Math.min(wanted, most);
  const perPage = layout === 'auto' ? Math.max(1, Math.min(count, MAX_AUTO)) : rows * wanted;
  const allRows = Math.ceil(perPage / columns);
  const places = Array.from({ length: perPage }, (_, i) => ({
    column: (i % columns) + 1,
    row: Math.floor(i / columns) + 1,
    span: 1,
  }));
  const cell = cellOf(columns, allRows, width, narrow ? Infinity : height, gap);
  return { columns, rows: allRows, ...cell, places };
}

function shapeOf(
  layout: Exclude<Layout, '1+5'>,
  count: number,
  width: number,
  height: number,
  gap: number,
  portrait: boolean,
): [rows: number, columns: number] {
  if (layout === '2x4') return portrait ? [4, 2] : [2, 4];
  if (layout !== 'auto') {
    const side = Number(layout[0]);
    return [side, side];
  }
  const shown = Math.max(1, Math.min(count, MAX_AUTO));
  const sizes = Array.from({ length: shown }, (_, i) => {
    const columns = i + 1;
    const rows = Math.ceil(shown / columns);
    return { rows, columns, size: fitting(columns, rows, width, height, gap) };
  });
  // Of equal ones that with fewer empty cells, which comes first.
  const best = sizes.reduce((a, b) => (b.size > a.size + 0.5 ? b : a));
  return [best.rows, best.columns];
}

/** Width of the largest 16:9 cell of which so many fit. */
function fitting(columns: number, rows: number, width: number, height: number, gap: number): number {
  const across = (width - gap * (columns - 1)) / columns;
  const down = (height - gap * (rows - 1)) / rows;
  return Math.min(across, down * ASPECT);
}

function cellOf(
  columns: number,
  rows: number,
  width: number,
  height: number,
  gap: number,
): Pick<Plan, 'cellWidth' | 'cellHeight'> {
  const across = (width - gap * (columns - 1)) / columns;
  const cellWidth = Math.max(0, Math.min(across, Math.max(fitting(columns, rows, width, height, gap), MIN_CELL)));
  return { cellWidth, cellHeight: cellWidth / ASPECT };
}

/** One large and five small around it; on a phone below it. */
function onePlusFive(count: number, width: number, height: number, gap: number, narrow: boolean): Plan {
  const [columns, rows] = narrow ? [2, 5] : [3, 3];
  const small = narrow
    ? [1, 2, 3, 4, 5].map((_, i) => ({ column: (i % 2) + 1, row: Math.floor(i / 2) + 3, span: 1 }))
    : [
        { column: 3, row: 1, span: 1 },
        { column: 3, row: 2, span: 1 },
        { column: 1, row: 3, span: 1 },
        { column: 2, row: 3, span: 1 },
        { column: 3, row: 3, span: 1 },
      ];
  const places = [{ column: 1, row: 1, span: 2 }, ...small].slice(0, Math.max(1, Math.min(count, 6)));
  return { columns, rows, ...cellOf(columns, rows, width, height, gap), places };
}

/** Cameras in the order somebody gave them; those that came since then are behind. */
export function arranged(cameras: readonly string[], order: readonly string[]): string[] {
  const known = order.filter((camera, i) => cameras.includes(camera) && order.indexOf(camera) === i);
  return [...known, ...cameras.filter((camera) => !known.includes(camera))];
}

/** Moves one to another's place; those between make room. */
export function moved(order: readonly string[], camera: string, to: number): string[] {
  const rest = order.filter((other) => other !== camera);
  if (rest.length === order.length) return [...order];
  const at = Math.max(0, Math.min(rest.length, to));
  return [...rest.slice(0, at), camera, ...rest.slice(at)];
}

/** The cameras of a page, and how many pages there are; a page that is not there is the last. */
export function pageOf(
  order: readonly string[],
  perPage: number,
  page: number,
): { cameras: string[]; page: number; pages: number } {
  const pages = Math.max(1, Math.ceil(order.length / perPage));
  const at = Math.max(0, Math.min(page, pages - 1));
  return { cameras: order.slice(at * perPage, (at + 1) * perPage), page: at, pages };
}
