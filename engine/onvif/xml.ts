/** XML of devices as a small tree: namespaces resolved, prefixes gone, everything bounded. */
import sax from 'sax';
import { EngineError } from '../types.ts';

export interface XmlElement {
  /** Without prefix. */
  name: string;
  /** Namespace URI; empty for a prefix that was never declared, which some devices send. */
  ns: string;
  /** By local name. */
  attributes: Record<string, string>;
  children: XmlElement[];
  /** Its own text, trimmed. */
  text: string;
}

/** Bytes, elements and levels of the largest answers seen (profiles of multi-sensor cameras) stay far below these. */
export const MAX_XML_CHARS = 2_000_000;
const MAX_ELEMENTS = 50_000;
const MAX_DEPTH = 64;

const bad = (why: string): EngineError => new EngineError('bad-xml', `the device sent no valid XML: ${why}`);

/** Throws `bad-xml`. A DOCTYPE is refused: SOAP forbids it, and entities are how small documents become large ones. */
export function parseXml(text: string): XmlElement {
  if (text.length > MAX_XML_CHARS) throw bad('it is too long');
  const parser = sax.parser(true, { position: false });
  const stack: { element: XmlElement; scope: ReadonlyMap<string, string> }[] = [];
  const roots: XmlElement[] = [];
  let count = 0;
  parser.onerror = (error) => {
    throw bad(error.message.split('\n', 1)[0]!.slice(0, 100));
  };
  parser.ondoctype = () => {
    throw bad('it has a DOCTYPE');
  };
  parser.onopentag = ({ name, attributes }) => {
    if (++count > MAX_ELEMENTS || stack.length >= MAX_DEPTH) throw bad('it has too many elements');
    const parent = stack.at(-1);
    const scope = scopeOf(parent?.scope ?? NO_SCOPE, attributes);
    const element: XmlElement = {
      name: localName(name),
      ns: scope.get(prefixOf(name)) ?? '',
      attributes: {},
      children: [],
      text: '',
    };
    for (const [key, value] of Object.entries(attributes)) {
      if (!isDeclaration(key)) element.attributes[localName(key)] = value;
    }
    if (parent) parent.element.children.push(element);
    else roots.push(element);
    stack.push({ element, scope });
  };
  const onText = (part: string): void => {
    const top = stack.at(-1);
    if (top) top.element.text += part;
  };
  parser.ontext = onText;
  parser.oncdata = onText;
  parser.onclosetag = () => {
    const { element } = stack.pop()!;
    element.text = element.text.trim();
  };
  try {
    parser.write(text.replace(/^\uFEFF?\s+/, '')).close();
  } catch (error) {
    throw error instanceof EngineError ? error : bad(String(error).slice(0, 100));
  }
  const [root] = roots;
  if (!root) throw bad('it is empty');
  return root;
}

const NO_SCOPE: ReadonlyMap<string, string> = new Map();

function scopeOf(outer: ReadonlyMap<string, string>, attributes: Record<string, string>): ReadonlyMap<string, string> {
  const declared = Object.entries(attributes).filter(([key]) => isDeclaration(key));
  if (declared.length === 0) return outer;
  return new Map([...outer, ...declared.map(([key, uri]) => [key === 'xmlns' ? '' : key.slice(6), uri] as const)]);
}

const isDeclaration = (key: string): boolean => key === 'xmlns' || key.startsWith('xmlns:');
const prefixOf = (name: string): string => name.slice(0, Math.max(name.indexOf(':'), 0));

/** `tt:PanTilt` → `PanTilt`; also for QNames in values. */
export function localName(name: string): string {
  return name.slice(name.lastIndexOf(':') + 1);
}

/** The first element at the end of a path of local names below this one. */
export function find(element: XmlElement | undefined, ...path: string[]): XmlElement | undefined {
  return path.reduce<XmlElement | undefined>((at, name) => at?.children.find((child) => child.name === name), element);
}

export function findAll(element: XmlElement | undefined, name: string): XmlElement[] {
  return element?.children.filter((child) => child.name === name) ?? [];
}

/** The text at the end of a path; empty when there is none. */
export function textAt(element: XmlElement | undefined, ...path: string[]): string {
  return find(element, ...path)?.text ?? '';
}

/** A finite number, or null. */
export function numberAt(element: XmlElement | undefined, ...path: string[]): number | null {
  return toNumber(textAt(element, ...path));
}

/** xs:float, INF and NaN included out: they are null. */
export function toNumber(text: string | undefined): number | null {
  const value = text ? Number(text) : NaN;
  return Number.isFinite(value) ? value : null;
}

/** Text and attribute values for a document. Characters that XML 1.0 cannot hold are dropped. */
export function escapeXml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' };
  return text
    .replace(/[\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF]/g, '')
    .replace(/[&<>"']/g, (c) => entities[c]!);
}

/** A finite number as xs:float: plain decimals, at most five of them, never an exponent. */
export function formatNumber(value: number): string {
  const text = value.toFixed(5).replace(/\.?0+$/, '');
  return text === '-0' ? '0' : text;
}

/** xs:duration in milliseconds; null for what has years or months or is none. */
export function parseDuration(text: string): number | null {
  const match = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/.exec(text);
  if (!match || !/\d/.test(text)) return null;
  const [days, hours, minutes, seconds] = match.slice(1).map((part) => Number(part || 0));
  return Math.round((((days! * 24 + hours!) * 60 + minutes!) * 60 + seconds!) * 1000);
}

/** Milliseconds as xs:duration, to the millisecond. */
export function formatDuration(ms: number): string {
  return `PT${Number((ms / 1000).toFixed(3))}S`;
}
