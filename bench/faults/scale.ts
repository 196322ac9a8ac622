/** How big a fault is played: in full, short, or as a test. */
import type { Check } from '../measure.ts';
import type { CameraSetup } from '../../test/support/rig.ts';

export interface Scale {
  cameras: Record<string, CameraSetup>;
  /** Recording undisturbed before and after the fault. */
  calmMs: number;
  /** How long function nodes block the event loop. */
  blocksMs: number[];
  /** They do so without using the CPU, which other faults that are measured at the same time would lack. */
  asleep: boolean;
  /** How long cameras are away. */
  outageMs: number;
}

/** One fault: makes it happen to its own cameras and its own Node-RED, and measures. */
export type Fault = (scale: Scale) => Promise<Check[]>;

/** Every kind of camera: H.264 and H.265, without audio, with AAC, with G.711. */
const ALL: Record<string, CameraSetup> = {
  plain: { main: { size: 'main' }, sub: { size: 'sub' } },
  aac: { main: { size: 'main', audio: 'aac' } },
  h265: { main: { video: 'h265', size: 'main' }, sub: { video: 'h265' } },
  g711: { main: { video: 'h265', audio: 'ulaw' } },
};
const FEW: Record<string, CameraSetup> = {
  aac: { main: { size: 'main', audio: 'aac' } },
  g711: { main: { video: 'h265', audio: 'ulaw' } },
};

export const FULL: Scale = { cameras: ALL, calmMs: 5000, blocksMs: [5000, 20_000], asleep: false, outageMs: 15_000 };
export const SHORT: Scale = { cameras: FEW, calmMs: 2000, blocksMs: [5000, 20_000], asleep: true, outageMs: 4000 };
export const TEST: Scale = { cameras: FEW, calmMs: 2000, blocksMs: [2500, 6000], asleep: false, outageMs: 3000 };
