/**
 * What a simulated camera that can be steered sees: a part of a larger scene, as MJPEG over HTTP. A picture is drawn only
 * when it is another one and somebody looks.
 */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import sharp from 'sharp';
import type { Position } from './onvif-turntable.ts';

const SCENE = { width: 2560, height: 1080 };
const SIZE = { width: 640, height: 360 };
/** Of the scene: what is seen when zoomed out, and when zoomed in. */
const WIDE = 1280;
const TELE = 320;
const FPS = 8;
const BOUNDARY = 'frame';
/** A car drives along every half minute, for so long. */
const ROUND_MS = 30_000;
const DRIVE_MS = 9000;
const CAR = { width: 190, height: 70, y: 930 };

export interface PanningOptions {
  /** Where the camera looks now. */
  position: () => Position;
  /** Cars drive through the scene. */
  traffic: boolean;
}

export class PanningPicture {
  port = 0;
  private readonly options: PanningOptions;
  private readonly server: Server;
  private readonly viewers = new Set<ServerResponse>();
  private scene: Buffer | null = null;
  private timer: NodeJS.Timeout | null = null;
  private shown = '';
  private jpeg = Buffer.alloc(0);

  constructor(options: PanningOptions) {
    this.options = options;
    this.server = createServer((_request, response) => {
      response.writeHead(200, { 'Content-Type': `multipart/x-mixed-replace; boundary=${BOUNDARY}` });
      this.viewers.add(response);
      response.on('close', () => this.viewers.delete(response));
    });
  }

  get address(): string {
    return `http://127.0.0.1:${this.port}/live.mjpeg`;
  }

  /** Rejects with the system's error when the port is taken. */
  async start(port = 0): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(port, '127.0.0.1', resolve);
    });
    this.port = (this.server.address() as AddressInfo).port;
    sharp.concurrency(1);
    this.scene = await sharp(Buffer.from(sceneSvg())).removeAlpha().raw().toBuffer();
    this.next(performance.now());
    return this;
  }

  async stop(): Promise<void> {
    if (this.timer) clearTimeout(this.timer);
    this.scene = null;
    const closed = new Promise((resolve) => this.server.close(resolve));
    for (const viewer of this.viewers) viewer.destroy();
    await closed;
  }

  private next(due: number): void {
    this.timer = setTimeout(
      () => {
        const round = this.viewers.size > 0 ? this.show() : Promise.resolve();
        void round.finally(() => {
          if (this.scene) this.next(Math.max(due + 1000 / FPS, performance.now()));
        });
      },
      Math.max(0, due - performance.now()),
    );
  }

  private async show(): Promise<void> {
    const { pan, tilt, zoom } = this.options.position();
    const width = Math.round(WIDE - zoom * (WIDE - TELE));
    const height = Math.round((width * SIZE.height) / SIZE.width);
    const left = Math.round(((pan + 1) / 2) * (SCENE.width - width));
    const top = Math.round(((1 - tilt) / 2) * (SCENE.height - height));
    const car = this.options.traffic ? carAt(Date.now()) : null;
    const text = `${left} ${top} ${width} ${car ?? ''}`;
    if (text !== this.shown && this.scene) {
      this.shown = text;
      const scale = SIZE.width / width;
      const part = sharp(this.scene, { raw: { ...SCENE, channels: 3 } })
        .extract({ left, top, width, height })
        .resize({ ...SIZE, fit: 'fill', kernel: 'linear' });
      const at =
        car === null ? null : { left: Math.round((car - left) * scale), top: Math.round((CAR.y - top) * scale) };
      const size = { width: Math.round(CAR.width * scale), height: Math.round(CAR.height * scale) };
      const seen =
        at && at.left >= 0 && at.top >= 0 && at.left + size.width < SIZE.width && at.top + size.height < SIZE.height;
      if (seen) part.composite([{ input: { create: { ...size, channels: 3, background: '#b3261e' } }, ...at }]);
      this.jpeg = await part.jpeg({ quality: 80 }).toBuffer();
    }
    const head = `--${BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: ${this.jpeg.length}\r\n\r\n`;
    for (const viewer of this.viewers) {
      // One that does not keep up misses pictures.
      if (viewer.writableLength < 4 * this.jpeg.length)
        viewer.write(Buffer.concat([Buffer.from(head), this.jpeg, Buffer.from('\r\n')]));
    }
  }
}

/** Left edge of the car in the scene; null while there is none. */
function carAt(now: number): number | null {
  const since = now % ROUND_MS;
  return since < DRIVE_MS ? Math.round((since / DRIVE_MS) * (SCENE.width + CAR.width) - CAR.width) : null;
}

/** A house, a gate and a yard side by side, so that one sees at once where the camera looks. */
function sceneSvg(): string {
  const trees = Array.from({ length: 14 }, (_, i) => {
    const [x, y, r] = [90 + i * 185, 560 + ((i * 53) % 60), 46 + ((i * 37) % 30)];
    return `<rect x="${x - 7}" y="${y}" width="14" height="120" fill="#5d4632"/><circle cx="${x}" cy="${y}" r="${r}" fill="#3f6b3a"/>`;
  });
  const sign = (x: number, y: number, text: string): string =>
    `<text x="${x}" y="${y}" font-family="sans-serif" font-size="52" font-weight="bold" text-anchor="middle" fill="#fff" stroke="#222" stroke-width="2">${text}</text>`;
  const bars = Array.from(
    { length: 12 },
    (_, i) => `<rect x="${1120 + i * 28}" y="610" width="10" height="200" fill="#333"/>`,
  );
  const stones = Array.from(
    { length: 60 },
    (_, i) => `<circle cx="${(i * 197) % 2560}" cy="${840 + ((i * 71) % 60)}" r="4" fill="#8d8a7c"/>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${SCENE.width}" height="${SCENE.height}">
    <defs><linearGradient id="sky" x2="0" y2="1"><stop offset="0" stop-color="#6fa3d8"/><stop offset="1" stop-color="#d9e6ee"/></linearGradient></defs>
    <rect width="100%" height="640" fill="url(#sky)"/>
    <path d="M0 560 Q320 420 640 540 T1280 520 T1920 550 T2560 500 V700 H0 Z" fill="#87a37f"/>
    <rect y="640" width="100%" height="440" fill="#7d9a5e"/><rect y="900" width="100%" height="130" fill="#55575a"/>
    ${Array.from({ length: 16 }, (_, i) => `<rect x="${i * 170}" y="962" width="90" height="8" fill="#e8e4d0"/>`).join('')}
    ${trees.join('')}${stones.join('')}
    <rect x="240" y="420" width="520" height="400" fill="#c9b79c"/><path d="M200 430 L500 250 L800 430 Z" fill="#8a3b2e"/>
    <rect x="450" y="620" width="110" height="200" fill="#4c3222"/><rect x="300" y="500" width="100" height="90" fill="#9fc1d6"/><rect x="610" y="500" width="100" height="90" fill="#9fc1d6"/>
    <rect x="1090" y="590" width="30" height="230" fill="#777"/><rect x="1450" y="590" width="30" height="230" fill="#777"/><rect x="1120" y="620" width="330" height="12" fill="#333"/>${bars.join('')}
    <rect x="1850" y="520" width="560" height="300" fill="#a9adb3"/><rect x="1900" y="620" width="200" height="200" fill="#6d7278"/><rect x="2160" y="620" width="200" height="200" fill="#6d7278"/>
    ${sign(505, 590, 'DOOR')}${sign(1285, 570, 'GATE')}${sign(2130, 580, 'YARD')}
  </svg>`;
}
