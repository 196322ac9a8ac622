/**
 * InfluxDB's line protocol, and the form that node-red-contrib-influxdb takes.
 * https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
 */

export type Field = string | number | boolean;

export interface Point {
  measurement: string;
  /** An empty tag value is not allowed: such tags are left out. */
  tags: Record<string, string>;
  /** At least one. Whole numbers become integers. */
  fields: Record<string, Field>;
  /** Epoch ms. */
  time: number;
}

/** A newline would end the line, whatever is before it; a backslash at the end would escape what follows. */
const plain = (text: string): string => text.replace(/[\r\n]+/g, ' ').replace(/(?<!\\)\\+$/, '');

const measurementOf = (text: string): string => plain(text).replace(/[, ]/g, '\\$&');
const keyOf = (text: string): string => plain(text).replace(/[,= ]/g, '\\$&');
const quoted = (text: string): string => `"${text.replace(/[\r\n]+/g, ' ').replace(/["\\]/g, '\\$&')}"`;

/** Counts and times stay exact: `12i`. */
function fieldOf(value: Field): string {
  if (typeof value === 'string') return quoted(value);
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  return Number.isSafeInteger(value) ? `${value}i` : `${value}`;
}

/** One line, its time in nanoseconds. Throws a RangeError for a field that InfluxDB has no value for. */
export function lineOf({ measurement, tags, fields, time }: Point): string {
  const set = Object.entries(tags).filter(([key, value]) => plain(key) !== '' && plain(value) !== '');
  set.sort(([a], [b]) => (a < b ? -1 : 1)); // as InfluxDB recommends
  const values = Object.entries(fields).filter(([key]) => plain(key) !== '');
  if (values.length === 0) throw new RangeError('a point needs a field');
  for (const [key, value] of values) {
    if (typeof value === 'number' && !Number.isFinite(value)) throw new RangeError(`the field ${key} is no number`);
  }
  const head = [measurementOf(measurement), ...set.map(([key, value]) => `${keyOf(key)}=${keyOf(value)}`)].join(',');
  return `${head} ${values.map(([key, value]) => `${keyOf(key)}=${fieldOf(value)}`).join(',')} ${Math.round(time)}000000`;
}

/** What the node *influxdb out* takes as payload: fields and tags; it has the measurement in its own settings. */
export function influxPayload({ tags, fields, time }: Point): [Record<string, Field | Date>, Record<string, string>] {
  const set = Object.entries(tags).filter(([, value]) => value !== '');
  // It takes the time from a field of that name; of a date it knows the unit.
  return [{ ...fields, time: new Date(time) }, Object.fromEntries(set)];
}
