/** Which rows of a long list are on the screen: all are equally high, so that a hundred thousand cost as much as ten. Pure. */

export interface Viewport {
  scrollTop: number;
  /** Of what is visible. */
  height: number;
  /** With the space below it. */
  rowHeight: number;
  rows: number;
  /** Rows drawn above and below what is visible, so that scrolling shows no holes. */
  overscan: number;
}

export interface VisibleRows {
  /** First and behind the last row to draw. */
  first: number;
  end: number;
  /** Where the first is drawn. */
  top: number;
  /** Of the whole list. */
  total: number;
}

export function visibleRows({ scrollTop, height, rowHeight, rows, overscan }: Viewport): VisibleRows {
  const at = Math.max(0, Math.min(scrollTop, rows * rowHeight - height));
  const first = Math.max(0, Math.floor(at / rowHeight) - overscan);
  const end = Math.min(rows, Math.ceil((at + height) / rowHeight) + overscan);
  return { first, end, top: first * rowHeight, total: rows * rowHeight };
}

/** The least scrolling that shows all of a row. */
export function scrollToRow(
  row: number,
  { scrollTop, height, rowHeight }: Omit<Viewport, 'rows' | 'overscan'>,
): number {
  const top = row * rowHeight;
  if (top < scrollTop) return top;
  return top + rowHeight > scrollTop + height ? Math.max(0, top + rowHeight - height) : scrollTop;
}
