/**
 * CRC-32 (ISO 3309, as zip, PNG and S3 use it) of a file whose head is written last: the parts' sums are combined.
 */
import { crc32 } from 'node:zlib';

export { crc32 };

const POLYNOMIAL = 0xedb88320;
/** x^0 and x^8, as the polynomials they are: the highest coefficient is the lowest bit. */
const ONE = 0x80000000;
const BYTE = 0x00800000;

/** a·b modulo the polynomial. */
function multiply(a: number, b: number): number {
  let product = 0;
  let factor = b;
  for (let bit = ONE; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) product ^= factor;
    factor = (factor & 1) !== 0 ? (factor >>> 1) ^ POLYNOMIAL : factor >>> 1;
  }
  return product >>> 0;
}

/** The sum of two parts behind each other, from the sum of each and the length of the second in bytes. */
export function joinCrc32(first: number, second: number, secondBytes: number): number {
  let shift = ONE;
  let power = BYTE;
  for (let left = secondBytes; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) shift = multiply(power, shift);
    power = multiply(power, power);
  }
  return (multiply(shift, first) ^ second) >>> 0;
}
