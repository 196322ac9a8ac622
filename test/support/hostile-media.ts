/** Media as no camera should send it: seeded variants of valid bytes. */

/** Numbers of a seed, the same each time (mulberry32, public domain). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export type Random = () => number;
type Mutation = (data: Buffer, random: Random) => Buffer;

const below = (random: Random, limit: number): number => Math.floor(random() * limit);
const NUMBERS = [0, 1, 7, 8, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1000_0000, 0x10000];
const TYPES =
  'ftyp moov mvhd trak tkhd mdia mdhd hdlr minf stbl stsd avc1 avcC hev1 hvcC mvex trex moof mfhd traf tfhd tfdt trun mdat'.split(
    ' ',
  );

/** Where a type of box stands, wherever that is. */
function placesOf(data: Buffer, type: string): number[] {
  const places: number[] = [];
  for (let at = data.indexOf(type, 4, 'latin1'); at >= 0; at = data.indexOf(type, at + 4, 'latin1')) places.push(at);
  return places;
}

function somePlace(data: Buffer, random: Random): number | null {
  const places = placesOf(data, TYPES[below(random, TYPES.length)]!);
  return places.length > 0 ? places[below(random, places.length)]! : null;
}

const flipBits: Mutation = (data, random) => {
  for (let i = below(random, 64); i >= 0; i--) data[below(random, data.length)]! ^= 1 << below(random, 8);
  return data;
};
const truncate: Mutation = (data, random) => data.subarray(0, below(random, data.length));
const cutOut: Mutation = (data, random) => {
  const at = below(random, data.length);
  return Buffer.concat([data.subarray(0, at), data.subarray(Math.min(data.length, at + 1 + below(random, 2000)))]);
};
const garbage: Mutation = (data, random) => {
  const at = below(random, data.length);
  const end = Math.min(data.length, at + 1 + below(random, 3000));
  for (let i = at; i < end; i++) data[i] = below(random, 256);
  return data;
};
/** Sizes of boxes, and the numbers that stand in them: counts, flags, durations. */
const boxNumber: Mutation = (data, random) => {
  for (let i = below(random, 3); i >= 0; i--) {
    const place = somePlace(data, random);
    const at = place === null ? -1 : place + (random() < 0.4 ? -4 : 4 * (1 + below(random, 6)));
    if (at >= 0 && at + 4 <= data.length) data.writeUInt32BE(NUMBERS[below(random, NUMBERS.length)]!, at);
  }
  return data;
};
const boxType: Mutation = (data, random) => {
  const place = somePlace(data, random);
  if (place !== null) data.write(TYPES[below(random, TYPES.length)]!, place, 'latin1');
  return data;
};
/** A box in a place of another. */
const moved: Mutation = (data, random) => {
  const [from, to] = [somePlace(data, random), somePlace(data, random)];
  if (from === null || to === null) return data;
  const size = Math.min(data.readUInt32BE(from - 4), 4096);
  const box = data.subarray(from - 4, from - 4 + size);
  return Buffer.concat([data.subarray(0, to - 4), box, data.subarray(to - 4)]);
};

/** Of MP4 as it is. */
export const ANYTHING: readonly Mutation[] = [
  flipBits,
  truncate,
  cutOut,
  garbage,
  boxNumber,
  boxNumber,
  boxType,
  moved,
];
/** Of what a decoder gets: the boxes around it are ours. */
const CONTENT: readonly Mutation[] = [flipBits, garbage];

/** A variant of the media; what it is made of stays as it is. */
export function variantOf(media: Buffer, random: Random, mutations = ANYTHING): Buffer {
  return mutations[below(random, mutations.length)]!(Buffer.from(media), random);
}

/** A fragment with the pictures of a liar: what follows the header of its `mdat` is a variant of the same length. */
export function hostileContent(fragment: Buffer, random: Random): Buffer {
  const at = fragment.indexOf('mdat', 0, 'latin1') + 4;
  return Buffer.concat([fragment.subarray(0, at), variantOf(fragment.subarray(at), random, CONTENT)]);
}
