/**
 * What this project needs beside Node: checked by trying it, installed with apt-get where that is possible, and otherwise
 * named exactly. From a shell: `node scripts/install-needs.ts ffmpeg gstreamer`.
 */
import { spawnSync } from 'node:child_process';

const SYSTEMS = ['Debian, Ubuntu', 'Fedora', 'macOS', 'Windows'] as const;
type System = (typeof SYSTEMS)[number];

interface Need {
  title: string;
  works: () => boolean;
  debian: readonly string[];
  /** The whole command, or what to know where there is none. */
  elsewhere: Record<Exclude<System, 'Debian, Ubuntu'>, string>;
}

/** Debian has servers in /usr/sbin, which is not on every user's PATH. */
const ENV = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin` };
const OLDEST_FFMPEG = 5;

function output(command: string, ...args: string[]): string | null {
  const { status, stdout } = spawnSync(command, args, {
    encoding: 'utf8',
    env: ENV,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return status === 0 ? stdout : null;
}

function ffmpegWorks(): boolean {
  const major = /^ffmpeg version n?(\d+)/.exec(output('ffmpeg', '-version') ?? '')?.[1];
  // A build from git has a hash for a version, and is newer than any we know.
  const recent = major === undefined ? output('ffmpeg', '-version') !== null : Number(major) >= OLDEST_FFMPEG;
  return recent && output('ffprobe', '-version') !== null;
}

const RTSP_SERVER = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer";

const NEEDS = {
  ffmpeg: {
    title: 'FFmpeg 5.1 or later',
    works: ffmpegWorks,
    debian: ['ffmpeg'],
    elsewhere: {
      Fedora: 'sudo dnf install ffmpeg-free',
      macOS: 'brew install ffmpeg',
      Windows: 'winget install Gyan.FFmpeg',
    },
  },
  gstreamer: {
    title: "GStreamer's RTSP server (the cameras of the tests)",
    works: () => output('/usr/bin/python3', '-c', RTSP_SERVER) !== null,
    debian: [
      'gir1.2-gst-rtsp-server-1.0',
      'gstreamer1.0-plugins-base',
      'gstreamer1.0-plugins-good',
      'gstreamer1.0-plugins-bad',
      'gstreamer1.0-plugins-ugly',
      'gstreamer1.0-libav',
      'python3-gi',
    ],
    elsewhere: {
      Fedora:
        'sudo dnf install gstreamer1-rtsp-server gstreamer1-plugins-base gstreamer1-plugins-good ' +
        'gstreamer1-plugins-bad-free gstreamer1-plugins-ugly-free gstreamer1-plugin-libav python3-gobject',
      macOS: 'not available: run the tests in a Linux container',
      Windows: 'not available: run the tests in WSL',
    },
  },
  faketime: {
    title: 'libfaketime (steps of the clock in the tests)',
    works: () => output('faketime', '--version') !== null,
    debian: ['faketime'],
    elsewhere: {
      Fedora: 'sudo dnf install libfaketime',
      macOS: 'brew install libfaketime',
      Windows: 'not available: run the tests in WSL',
    },
  },
  mosquitto: {
    title: 'Mosquitto (the MQTT broker of the tests)',
    // It has no option that prints something and succeeds.
    works: () => spawnSync('mosquitto', ['-h'], { env: ENV, stdio: 'ignore' }).error === undefined,
    debian: ['mosquitto'],
    elsewhere: {
      Fedora: 'sudo dnf install mosquitto',
      macOS: 'brew install mosquitto',
      Windows: 'winget install EclipseFoundation.Mosquitto',
    },
  },
  nginx: {
    title: 'nginx (a reverse proxy of the tests)',
    works: () => spawnSync('nginx', ['-v'], { env: ENV, stdio: 'ignore' }).status === 0,
    debian: ['nginx-light'],
    elsewhere: {
      Fedora: 'sudo dnf install nginx',
      macOS: 'brew install nginx',
      Windows: 'not available: run the tests in WSL',
    },
  },
  haproxy: {
    title: 'HAProxy (a reverse proxy of the tests)',
    works: () => output('haproxy', '-v') !== null,
    debian: ['haproxy'],
    elsewhere: {
      Fedora: 'sudo dnf install haproxy',
      macOS: 'brew install haproxy',
      Windows: 'not available: run the tests in WSL',
    },
  },
  motion: {
    title: 'Motion (what motion detection is compared with in a benchmark)',
    works: () => spawnSync('motion', ['-h'], { env: ENV, stdio: 'ignore' }).error === undefined,
    debian: ['motion'],
    elsewhere: {
      Fedora: 'sudo dnf install motion',
      macOS: 'brew install motion',
      Windows: 'not available: run the benchmark in WSL',
    },
  },
  chromium: {
    title: 'Chromium (the browser of the tests)',
    works: () => output('/usr/bin/chromium', '--version') !== null,
    debian: ['chromium'],
    elsewhere: {
      Fedora: 'sudo dnf install chromium',
      macOS: 'brew install --cask chromium',
      Windows: 'winget install Hibbiki.Chromium',
    },
  },
} satisfies Record<string, Need>;

export type NeedName = keyof typeof NEEDS;

export function isNeedName(name: string): name is NeedName {
  return Object.hasOwn(NEEDS, name);
}

/** What to tell somebody whose machine lacks these. */
export function instructions(names: readonly NeedName[]): string {
  return names
    .map((name) => {
      const { title, debian, elsewhere }: Need = NEEDS[name];
      const commands = {
        'Debian, Ubuntu': `sudo apt-get install --no-install-recommends ${debian.join(' ')}`,
        ...elsewhere,
      };
      const lines = SYSTEMS.map((system) => `  ${system.padEnd(16)}${commands[system]}`);
      return [`${title} is missing. Install it:`, ...lines].join('\n');
    })
    .join('\n');
}

/** How this user runs apt-get without being asked anything, or null. */
function aptGet(): readonly string[] | null {
  if (output('apt-get', '--version') === null) return null;
  // sudo drops the environment, so it is set behind it.
  const command = ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-qq', '-o', 'Dpkg::Use-Pty=0'];
  if (process.getuid?.() === 0) return command;
  return output('sudo', '-n', 'true') === null ? null : ['sudo', '-n', ...command];
}

function install(apt: readonly string[], packages: readonly string[]): void {
  console.log(`Installing ${packages.join(' ')} …`);
  const run = (...args: string[]): void => {
    const [command, ...rest] = [...apt, ...args];
    spawnSync(command!, rest, { stdio: ['ignore', 'ignore', 'inherit'] });
  };
  // Whether they worked is seen by trying what they should have brought.
  run('update');
  run('install', '-y', '--no-install-recommends', ...packages);
}

/** Which of the needs are not met, after trying to install them. */
export function meet(names: readonly NeedName[]): NeedName[] {
  const isMissing = (name: NeedName): boolean => !NEEDS[name].works();
  const missing = names.filter(isMissing);
  const apt = missing.length > 0 ? aptGet() : null;
  if (!apt) return missing;
  install(
    apt,
    missing.flatMap((name): readonly string[] => NEEDS[name].debian),
  );
  return missing.filter(isMissing);
}

/** Ends the process, saying what to install, when a need cannot be met. */
export function ensure(names: readonly NeedName[]): void {
  const missing = meet(names);
  if (missing.length === 0) return;
  console.error(instructions(missing));
  process.exit(1);
}

if (import.meta.main) {
  const names = process.argv.slice(2);
  const unknown = names.filter((name) => !isNeedName(name));
  if (names.length === 0 || unknown.length > 0) {
    console.error(`usage: node scripts/install-needs.ts ${Object.keys(NEEDS).join('|')} …`);
    process.exit(2);
  }
  ensure(names.filter(isNeedName));
}
