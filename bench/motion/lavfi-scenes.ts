/**
 * Clips of a second maker: FFmpeg's own sources and filters. Test pictures, fractals and noise as places, plain and
 * textured patches and figures that are laid over them, and filters for light, noise, weather and a camera that moves.
 */
import { Random } from './random.ts';
import type { Label } from './scenes.ts';

export interface LavfiScene {
  name: string;
  seconds: number;
  fps: number;
  gop: number;
  kbps: number;
  labels: Label[];
  /** A filter graph without inputs; its only output is the picture. */
  graph: string;
}

const WIDTH = 640;
const HEIGHT = 360;

/** Second and left, top edge, in pixels. */
type Stop = [second: number, left: number, top: number];

interface Thing {
  width: number;
  height: number;
  /** A source of its picture, with alpha if it has a shape. */
  look: string;
  stops: Stop[];
}

interface World {
  place: string;
  things?: Thing[];
  /** Laid over everything: leaves, drops, a clock. Each is a source, and how it is overlaid. */
  over?: [source: string, overlay: string][];
  /** Filters of the whole picture. */
  after?: string;
  /** The place is larger by so many pixels on each side, for a camera that moves: where it looks. */
  shake?: [x: string, y: string];
}

const CLIP = { fps: 15, gop: 2, kbps: 600 };
const SHAKE = 16;

/** Only the first picture of a source, for ever. */
const still = (fps: number) => `trim=end_frame=1,loop=-1:1:0,setpts=N/${fps}/TB`;

/** In pieces, straight between the stops. */
function piecewise(stops: Stop[], axis: 1 | 2): string {
  return stops
    .slice(0, -1)
    .reduceRight(
      (rest, [from, ...at], i) =>
        `if(lt(t,${stops[i + 1]![0]}),${at[axis - 1]}+(${stops[i + 1]![axis] - at[axis - 1]!})*(t-${from})/${stops[i + 1]![0] - from},${rest})`,
      `${stops.at(-1)![axis]}`,
    );
}

/** From when to when it is in the picture. */
function labelOf({ width, stops }: Thing): Label {
  const times: number[] = [];
  for (let second = stops[0]![0]; second <= stops.at(-1)![0]; second += 0.02) {
    const next = Math.max(
      1,
      stops.findIndex(([at]) => at > second),
    );
    const [[t0, x0], [t1, x1]] = [stops[next - 1]!, stops[next]!];
    const left = x0 + ((x1 - x0) * (second - t0)) / (t1 - t0);
    if (left + width > 0 && left < WIDTH) times.push(second);
  }
  return { start: times[0]!, end: times.at(-1)! };
}

function scene(name: string, seconds: number, world: World, form: Partial<typeof CLIP> = {}): LavfiScene {
  const { fps, gop, kbps } = { ...CLIP, ...form };
  const border = world.shake ? SHAKE : 0;
  const size = `${WIDTH + 2 * border}x${HEIGHT + 2 * border}`;
  const chains = [`${world.place.replaceAll('SIZE', size).replaceAll('FPS', `${fps}`)},${still(fps)}[at0]`];
  let last = 0;
  const lay = (source: string, how: string) => {
    chains.push(
      `${source.replaceAll('FPS', `${fps}`)}[of${last}]`,
      `[at${last}][of${last}]overlay=${how}[at${++last}]`,
    );
  };
  for (const { width, height, look, stops } of world.things ?? []) {
    const [x, y] = [piecewise(stops, 1), piecewise(stops, 2)];
    const seen = `between(t,${stops[0]![0]},${stops.at(-1)![0]})`;
    lay(look.replaceAll('SIZE', `${width}x${height}`), `x='${border}+${x}':y='${border}+${y}':enable='${seen}'`);
  }
  for (const [source, how] of world.over ?? []) lay(source, how);
  const after = [
    ...(world.shake ? [`crop=${WIDTH}:${HEIGHT}:'${border}+${world.shake[0]}':'${border}+${world.shake[1]}'`] : []),
    ...(world.after === undefined ? [] : [world.after]),
  ];
  chains.push(`[at${last}]${['null', ...after].join(',')}`);
  const labels = (world.things ?? []).map(labelOf).toSorted((a, b) => a.start - b.start);
  const merged: Label[] = [];
  for (const label of labels) {
    const before = merged.at(-1);
    if (before && label.start < before.end + 1) before.end = Math.max(before.end, label.end);
    else merged.push({ ...label });
  }
  return { name: `lavfi ${name}`, seconds, fps, gop, kbps, labels: merged, graph: chains.join(';') };
}

/** Places, some of strong edges, some soft. */
function places(random: Random): Record<'bars' | 'test' | 'soft' | 'fractal' | 'grain' | 'yard' | 'stripes', string> {
  const seed = Math.floor(random.between(1, 1e6));
  const tone = () =>
    `0x${Array.from({ length: 3 }, () => (40 + Math.floor(random.between(0, 160))).toString(16)).join('')}`;
  const box = () => {
    const [x, y] = [random.between(0, WIDTH), random.between(60, HEIGHT)].map(Math.round);
    const [w, h] = [random.between(20, 140), random.between(20, 120)].map(Math.round);
    return `drawbox=${x}:${y}:${w}:${h}:${tone()}:t=fill`;
  };
  return {
    bars: 'smptebars=s=SIZE:r=FPS,eq=saturation=0.4:contrast=0.6',
    test: 'testsrc=s=SIZE:r=FPS',
    soft: `gradients=s=SIZE:r=FPS:c0=0x405058:c1=0xa0a890:n=2:seed=${seed}:speed=0.00001`,
    fractal: `mandelbrot=s=SIZE:r=FPS:start_scale=${random.between(0.5, 2).toFixed(2)},eq=contrast=0.6:saturation=0.3`,
    grain: `color=c=0x787870:s=80x45:r=FPS,noise=alls=70:all_seed=${seed},scale=SIZE:flags=bicubic,noise=alls=24:all_seed=${seed}`,
    yard: `color=c=${tone()}:s=SIZE:r=FPS,drawbox=0:200:iw:ih:${tone()}:t=fill,${Array.from({ length: 9 }, box).join(',')},noise=alls=14:all_seed=${seed}`,
    stripes: `cellauto=s=SIZE:r=FPS:rule=30:seed=${seed}:full=1,boxblur=3:2,eq=contrast=0.5`,
  };
}

/** The looks of things. Even and odd sides, plain or with a pattern, or the shape of a person. */
function looks(random: Random) {
  const seed = Math.floor(random.between(1, 1e6));
  // It strides once in so many pictures, which are computed once.
  const stride = 20;
  const swing = `0.5*sin(2*PI*N/${stride})*(Y/H-0.55)`;
  const limbs = `lt(abs(X-W*(0.5+${swing})),W*0.14)+lt(abs(X-W*(0.5-${swing})),W*0.14)`;
  const body = 'lt(pow((X-W/2)/(W*0.3),2)+pow((Y-H*0.38)/(H*0.26),2),1)';
  const head = 'lt(pow((X-W/2)/(W*0.2),2)+pow((Y-H*0.08)/(H*0.08),2),1)';
  const shape = `255*gt(${head}+${body}+gt(Y,H*0.5)*(${limbs}),0)`;
  const tone = (coat: number, skin: number) =>
    `if(lt(Y,H*0.16),${skin},if(lt(Y,H*0.6),${coat}+18*sin(X/3)*sin(Y/5),${Math.round(coat * 0.6)}))`;
  return {
    plain: (grey: number) => `color=c=0x${grey.toString(16).padStart(2, '0').repeat(3)}:s=SIZE:r=FPS`,
    pattern: `testsrc2=s=SIZE:r=FPS,eq=saturation=0.5:contrast=0.7,trim=end_frame=1,loop=-1:1:0,setpts=N/FPS/TB`,
    grain: `color=c=0x585858:s=SIZE:r=FPS,noise=alls=90:all_seed=${seed},trim=end_frame=1,loop=-1:1:0,setpts=N/FPS/TB`,
    figure: (coat: number, skin: number) =>
      `color=c=black:s=SIZE:r=FPS,format=rgba,geq=r='${tone(coat, skin)}':g='${tone(coat, skin)}':b='${tone(coat, skin)}':a='${shape}',trim=end_frame=${stride},loop=-1:${stride}:0,setpts=N/FPS/TB`,
  };
}

/** The scenes of a seed; `silent: …` are those in which nothing should be found. */
export function lavfiScenes(seed: number): LavfiScene[] {
  const random = new Random(seed * 7919 + 13);
  const place = places(random);
  const look = looks(random);
  const between = (from: number, to: number) => Math.round(random.between(from, to));
  const dark = () => look.plain(between(24, 60));
  const light = () => look.plain(between(200, 240));
  const coat = () => look.figure(between(20, 60), between(150, 200));
  const top = (height: number) => between(0.25 * HEIGHT, HEIGHT - height);

  /** Slides in over the border and out over the other. */
  const cross = (start: number, seconds: number, width: number, height: number, thing: string): Thing => {
    const [y0, y1] = [top(height), top(height)];
    const [a, b] = random.next() < 0.5 ? [-width, WIDTH] : [WIDTH, -width];
    return { width, height, look: thing, stops: [[start, a, y0], [start + seconds, b, (y0 + y1) / 2]] }; // prettier-ignore
  };
  /** Is there all at once at the border, and gone at once at the other. */
  const pop = (start: number, seconds: number, width: number, height: number, thing: string): Thing => {
    const y = top(height);
    return { width, height, look: thing, stops: [[start, 0, y], [start + seconds, WIDTH - 1, y]] }; // prettier-ignore
  };
  /** Comes in, stands, leaves where it came from or on the other side. */
  const visit = (start: number, stay: number, width: number, height: number, thing: string): Thing => {
    const y = top(height);
    const middle = between(0.25 * WIDTH, 0.65 * WIDTH);
    const out = random.next() < 0.5 ? -width : WIDTH;
    return {
      ...{ width, height, look: thing },
      stops: [
        [start, -width, y],
        [start + 4, middle, y],
        [start + 4 + stay, middle, y],
        [start + 8 + stay, out, y],
      ],
    };
  };
  const grain = (strength: number) => `noise=c0s=${strength}:c0f=t`;
  const at = between(10, 14);
  const until = between(24, 28);
  const lights = `curves=all='0/0.02 1/0.3':enable='between(t,${at},${until})'`;
  const night = `curves=all='0/0.06 1/0.38'`;
  const leaf = (x: number, y: number, size: number, n: number): [string, string] => {
    const speed = random.between(2, 6).toFixed(2);
    const source = `cellauto=s=${size}x${size}:r=FPS:rule=${[30, 90, 110][n % 3]}:seed=${seed + n}:full=1,boxblur=2:1,eq=contrast=0.4,format=rgba,trim=end_frame=1,loop=-1:1:0,setpts=N/FPS/TB`;
    return n % 2 === 0
      ? [`${source},rotate='0.14*sin(${speed}*t)*(0.5+0.5*sin(0.6*t))':c=none`, `${x}:${y}`]
      : [source, `x='${x}+5*sin(${speed}*t)*(0.5+0.5*sin(0.5*t))':y='${y}+2*sin(1.7*${speed}*t)'`];
  };
  const leaves = (count: number, left: number, right: number) =>
    Array.from({ length: count }, (_, n) => leaf(between(left, right), between(0, 240), between(60, 130), n));
  const drops = (count: number) =>
    Array.from({ length: count }, (): [string, string] => {
      const [x, y] = [between(0, WIDTH), between(0, HEIGHT)];
      const [fall, long] = [between(500, 1100), between(10, 26)];
      return [
        `color=c=white@0.4:s=2x${long}:r=FPS,format=rgba`,
        `x='mod(${x}+137*floor((${y}+${fall}*t)/${HEIGHT + long}),${WIDTH})':y='mod(${y}+${fall}*t,${HEIGHT + long})-${long}'`,
      ];
    });
  const clock: [string, string] = [
    'testsrc=s=320x240:r=FPS,crop=110:60:110:150,eq=saturation=0',
    `${between(20, 480)}:12`,
  ];
  const sway = (reach: number): [string, string] => [
    `${reach}*sin(${random.between(3, 7).toFixed(2)}*t)*(0.4+0.6*abs(sin(0.4*t)))`,
    `${reach * 0.6}*sin(${random.between(4, 9).toFixed(2)}*t)`,
  ];
  const ground = random.next() < 0.5 ? place.yard : place.grain;

  return [
    scene('visits', 56, {
      place: ground,
      things: [visit(4, 12, 64, 150, coat()), visit(32, 10, 60, 130, dark())],
      after: grain(6),
    }),
    scene('stays', 44, { place: place.fractal, things: [visit(6, 20, 56, 140, coat())], after: grain(5) }, { gop: 1 }),
    scene('stays before bars', 44, { place: place.bars, things: [visit(6, 20, 64, 120, dark())], after: grain(6) }),
    scene(
      'bars',
      60,
      {
        place: place.bars,
        things: [
          pop(4, 1.6, 64, 120, look.plain(54)),
          cross(14, 3, 60, 120, look.plain(54)),
          pop(24, 3, 64, 120, look.pattern),
          cross(34, 1.6, 64, 120, look.plain(150)),
          cross(44, 5, 50, 110, coat()),
        ],
        after: grain(6),
      },
      { fps: 25, gop: 1, kbps: 500 },
    ),
    scene('small', 60, {
      place: place.yard,
      things: [cross(4, 14, 12, 24, dark()), cross(24, 12, 14, 26, light()), cross(42, 14, 13, 30, coat())],
      after: grain(4),
    }),
    scene(
      'fast',
      46,
      {
        place: random.next() < 0.5 ? place.soft : place.stripes,
        things: [
          cross(5, 0.6, 80, 140, dark()),
          cross(14, 0.8, 110, 90, look.grain),
          pop(24, 0.6, 70, 120, light()),
          cross(34, 1, 60, 130, coat()),
        ],
        after: grain(4),
      },
      { fps: 25 },
    ),
    scene('near', 60, {
      place: random.next() < 0.5 ? place.soft : place.bars,
      things: [
        cross(5, 5, 170, 300, dark()),
        pop(16, 4, 150, 320, coat()),
        visit(26, 12, 200, 330, coat()),
        cross(52, 3, 220, 200, look.grain),
      ],
      after: grain(6),
    }),
    scene(
      'quick, before stripes',
      44,
      {
        place: place.stripes,
        things: [
          pop(5, 1.6, 64, 120, dark()),
          pop(14, 0.8, 64, 120, look.pattern),
          cross(24, 0.6, 100, 60, light()),
          pop(34, 1.2, 50, 100, coat()),
        ],
        after: grain(8),
      },
      { fps: 10, gop: 4, kbps: 350 },
    ),
    scene('slow', 62, { place: ground, things: [cross(4, 52, 60, 140, coat())], after: grain(5) }, { fps: 10 }),
    scene('faint', 56, {
      place: 'color=c=0x707070:s=SIZE:r=FPS',
      things: [
        cross(5, 8, 60, 140, look.plain(112 + 10)),
        cross(22, 8, 50, 120, look.plain(112 - 11)),
        visit(36, 6, 60, 130, look.plain(112 + 12)),
      ],
      after: grain(4),
    }),
    scene(
      'night, people',
      60,
      {
        place: place.yard,
        things: [cross(6, 8, 60, 140, light()), visit(20, 10, 60, 140, coat()), cross(46, 7, 50, 120, look.pattern)],
        after: `${night},${grain(22)}`,
      },
      { gop: 2, kbps: 250 },
    ),
    scene('two at once', 44, {
      place: place.test,
      things: [
        cross(4, 9, 60, 130, coat()),
        cross(5, 8, 50, 120, light()),
        cross(22, 6, 120, 70, dark()),
        cross(34, 5, 60, 120, look.grain),
      ],
      after: grain(5),
    }),
    scene(
      'foliage, people',
      50,
      {
        place: place.soft,
        things: [cross(10, 8, 60, 140, coat()), cross(28, 8, 60, 140, dark())],
        over: leaves(5, 380, 560),
        after: grain(4),
      },
      { kbps: 900 },
    ),
    scene('rain, people', 46, {
      place: ground,
      things: [cross(10, 7, 60, 140, dark()), cross(26, 7, 70, 150, coat())],
      over: drops(24),
      after: grain(6),
    }),
    scene('shake, people', 44, {
      place: place.yard,
      things: [cross(8, 8, 60, 140, coat()), cross(26, 8, 60, 140, light())],
      shake: sway(4),
      after: grain(4),
    }),
    scene('light, people', 60, {
      place: place.fractal,
      things: [visit(6, 10, 60, 150, coat()), cross(40, 8, 60, 130, look.pattern)],
      after: `eq=brightness='-0.18*t/60':gamma='1+0.25*sin(0.3*t)':eval=frame,${grain(5)}`,
    }),

    scene('silent: lights', 40, { place: ground, after: `${lights},${grain(7)}` }),
    scene('silent: lights before bars', 40, { place: place.bars, after: `${lights},${grain(6)}` }),
    scene('silent: dusk', 60, {
      place: place.fractal,
      after: `eq=brightness='-0.45*t/60':contrast='1-0.4*t/60':eval=frame,${grain(8)}`,
    }),
    scene(
      'silent: infrared',
      44,
      {
        place: ground,
        after: `curves=all='0/0.3 0.4/0.25 0.7/0.5 1/0.8':enable='gte(t,${at})',hue=s=0:enable='gte(t,${at})',${grain(10)}`,
      },
      { kbps: 300, gop: 4 },
    ),
    scene('silent: night', 60, { place: place.yard, after: `${night},${grain(20)}` }, { kbps: 90, gop: 4 }),
    scene('silent: night, grain', 60, { place: place.grain, after: `${night},${grain(40)}` }, { kbps: 150, gop: 1 }),
    scene('silent: foliage', 60, { place: place.soft, over: leaves(9, 60, 520), after: grain(5) }, { kbps: 900 }),
    scene('silent: rain', 50, { place: place.yard, over: drops(40), after: grain(6) }),
    scene('silent: clock', 45, { place: place.soft, over: [clock], after: grain(4) }, { kbps: 300 }),
    scene('silent: shake', 50, { place: place.yard, shake: sway(9), after: grain(5) }, { fps: 25, kbps: 900 }),
    scene('silent: shake before bars', 40, { place: place.bars, shake: sway(6), after: grain(5) }),
    scene('silent: exposure', 50, {
      place: place.yard,
      after: `eq=gamma='1+0.5*pow(max(0,sin(0.5*t)),2)':brightness='0.12*pow(max(0,sin(0.37*t)),2)':eval=frame,${grain(6)}`,
    }),
    scene(
      'silent: foliage before bars',
      50,
      { place: place.bars, over: leaves(8, 0, 560), after: grain(8) },
      { kbps: 500 },
    ),
    scene('silent: heavy rain', 40, { place: place.bars, over: drops(90), after: grain(10) }, { fps: 25, kbps: 800 }),
    scene('silent: night before bars', 50, { place: place.bars, after: `${night},${grain(30)}` }, { kbps: 60, gop: 2 }),
    scene('silent: flickering', 40, {
      place: ground,
      after: `eq=brightness='0.1*gt(mod(t,7),5)+0.02*sin(9*t)':eval=frame,${grain(6)}`,
    }),
    scene('silent: test picture', 40, { place: place.test, after: grain(12) }, { kbps: 250, gop: 1 }),
  ];
}
