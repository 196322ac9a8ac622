/**
 * XML of devices as a small tree: namespaces resolved, prefixes gone. A device may send anything: what is read is bounded,
 * and the work is proportional to its length.
 */
import { setTimeout as pause } from 'node:timers/promises';
import sax from 'sax';
import { EngineError } from '../types.ts';

export interface XmlElement {
  /** Without prefix. */
  name: string;
  /** Namespace URI; empty for a prefix that was never declared, which some devices send. */
  ns: string;
  /** By local name, each at most {@link MAX_VALUE_CHARS} long. */
  attributes: Record<string, string>;
  children: XmlElement[];
  /** Its own text, trimmed, at most {@link MAX_VALUE_CHARS} of it. */
  text: string;
}

/** The largest answers are those of recorders: 64 channels, two profiles each, 6 kB a profile. */
export const MAX_XML_CHARS = 1_000_000;
/** No value that is used comes near it; the schemas mostly say 64. What reads values may rely on this. */
export const MAX_VALUE_CHARS = 8192;
/** Elements and attributes together. */
const MAX_NODES = 50_000;
const MAX_DEPTH = 64;
/** Of one element, which is read in one turn; envelopes of devices declare up to fifty prefixes. */
const MAX_ATTRIBUTES = 256;
/**
 * What the parser gets at once. It copies a declaration (`<!…`) once for each of its characters, so none may grow; the
 * longest that may occur, `[CDATA[`, is shorter than this.
 */
const PIECE_CHARS = 128;
const MAX_DECLARATION_CHARS = 16;
/** A turn of the event loop takes so much, about a millisecond's work, and the next one comes after a pause. */
const TURN_CHARS = 128 * PIECE_CHARS;
const PAUSE_MS = 5;

const bad = (why: string): EngineError => new EngineError('bad-xml', `the device sent no valid XML: ${why}`);

/** For what is known to be short. Throws `bad-xml`, as {@link parseXmlInTurns} rejects. */
export function parseXml(text: string): XmlElement {
  const turns = parsing(text);
  for (;;) {
    const { done, value } = turns.next();
    if (done) return value;
  }
}

/**
 * Rejects with `bad-xml`. A DOCTYPE is refused: SOAP forbids it, and entities are how small documents become large ones.
 * Long documents are read with pauses, so that no device takes the thread from others.
 */
export async function parseXmlInTurns(text: string): Promise<XmlElement> {
  const turns = parsing(text);
  for (;;) {
    const { done, value } = turns.next();
    if (done) return value;
    await pause(PAUSE_MS);
  }
}

/** Yields between turns. */
function* parsing(given: string): Generator<undefined, XmlElement> {
  if (given.length > MAX_XML_CHARS) throw bad('it is too long');
  const text = given.trimStart();
  const tree = new Tree();
  const parser = parserOf(tree);
  try {
    for (let at = 0; at < text.length; at += PIECE_CHARS) {
      if (at > 0 && at % TURN_CHARS === 0) yield;
      parser.write(text.slice(at, at + PIECE_CHARS));
      if (parser.sgmlDecl.length > MAX_DECLARATION_CHARS) throw bad('it has a declaration');
    }
    parser.close();
  } catch (error) {
    throw error instanceof EngineError ? error : bad(String(error).slice(0, 100));
  }
  if (!tree.root) throw bad('it is empty');
  return tree.root;
}

function parserOf(tree: Tree): ReturnType<typeof sax.parser> {
  const parser = sax.parser(true, { position: false });
  parser.onerror = (error) => {
    throw bad(error.message.slice(0, 100).split('\n', 1)[0]!);
  };
  parser.ondoctype = () => {
    throw bad('it has a DOCTYPE');
  };
  parser.onsgmldeclaration = () => {
    throw bad('it has a declaration');
  };
  parser.onattribute = () => tree.attribute();
  parser.onopentag = ({ name, attributes }) => tree.open(name, attributes);
  parser.ontext = parser.oncdata = (part) => tree.text(part);
  parser.onclosetag = () => tree.close();
  return parser;
}

/** Prefixes that an element declares, with what they meant outside of it. */
type Hidden = readonly [prefix: string, outer: string | undefined];

class Tree {
  root: XmlElement | null = null;
  private readonly stack: { element: XmlElement; hidden: readonly Hidden[] }[] = [];
  /** Namespaces by prefix, as they are in scope now: elements that close put back what they had hidden. */
  private readonly scope = new Map<string, string>();
  private nodes = 0;
  /** Of the element whose tag is being read. */
  private attributes = 0;

  attribute(): void {
    if (++this.attributes > MAX_ATTRIBUTES) throw bad('an element has too many attributes');
    this.count();
  }

  open(name: string, given: Record<string, string>): void {
    this.count();
    this.attributes = 0;
    if (this.stack.length >= MAX_DEPTH) throw bad('it has too many levels');
    const attributes: Record<string, string> = {};
    const hidden: Hidden[] = [];
    for (const [key, value] of Object.entries(given)) {
      if (key === 'xmlns' || key.startsWith('xmlns:')) {
        const prefix = key.slice(6);
        hidden.push([prefix, this.scope.get(prefix)]);
        this.scope.set(prefix, value);
      } else {
        attributes[localName(key)] = value.slice(0, MAX_VALUE_CHARS);
      }
    }
    const ns = this.scope.get(prefixOf(name)) ?? '';
    const element: XmlElement = { name: localName(name), ns, attributes, children: [], text: '' };
    this.stack.at(-1)?.element.children.push(element);
    this.root ??= element;
    this.stack.push({ element, hidden });
  }

  text(part: string): void {
    const element = this.stack.at(-1)?.element;
    if (element && element.text.length < MAX_VALUE_CHARS) element.text += part;
  }

  close(): void {
    const { element, hidden } = this.stack.pop()!;
    element.text = element.text.trim().slice(0, MAX_VALUE_CHARS);
    for (const [prefix, outer] of hidden) {
      if (outer === undefined) this.scope.delete(prefix);
      else this.scope.set(prefix, outer);
    }
  }

  private count(): void {
    if (++this.nodes > MAX_NODES) throw bad('it has too many elements');
  }
}

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
