/** What the machine must have beside Node: found, installed with apt where that is possible, or named exactly. */
import { spawnSync } from 'node:child_process';

interface Need {
  name: string;
  /** A command that succeeds when it is there. */
  check: readonly string[];
  debian: readonly string[];
  elsewhere: string;
}

const NEEDS = {
  ffmpeg: {
    name: 'FFmpeg 5.1 or later',
    check: ['ffmpeg', '-version'],
    debian: ['ffmpeg'],
    elsewhere: 'Fedora: dnf install ffmpeg-free, macOS: brew install ffmpeg, Windows: winget install ffmpeg',
  },
  rtsp: {
    name: "GStreamer's RTSP server (the cameras of the tests)",
    check: [
      '/usr/bin/python3',
      '-c',
      "import gi; gi.require_version('GstRtspServer','1.0'); from gi.repository import GstRtspServer",
    ],
    debian: [
      'gir1.2-gst-rtsp-server-1.0',
      'gstreamer1.0-plugins-base',
      'gstreamer1.0-plugins-good',
      'gstreamer1.0-plugins-bad',
      'gstreamer1.0-plugins-ugly',
      'gstreamer1.0-libav',
      'python3-gi',
    ],
    elsewhere: 'Fedora: dnf install gstreamer1-rtsp-server python3-gobject; the tests run on Linux',
  },
  faketime: {
    name: 'libfaketime (clock steps in the tests)',
    check: ['faketime', '--version'],
    debian: ['faketime'],
    elsewhere: 'Fedora: dnf install libfaketime',
  },
} satisfies Record<string, Need>;

export type NeedName = keyof typeof NEEDS;

function works(command: readonly string[]): boolean {
  return spawnSync(command[0]!, command.slice(1), { stdio: 'ignore' }).status === 0;
}

/** Makes sure of the needs; ends the process with what to install when it cannot. */
export function ensure(names: readonly NeedName[]): void {
  const missing = names.map((name): Need => NEEDS[name]).filter((need) => !works(need.check));
  if (missing.length === 0) return;
  const packages = missing.flatMap((need) => need.debian);
  const isRoot = process.getuid?.() === 0;
  const sudo = isRoot ? [] : ['sudo', '-n'];
  if (works(['apt-get', '--version']) && (isRoot || works(['sudo', '-n', 'true']))) {
    console.log(`installing ${packages.join(' ')} with apt-get`);
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const apt = (...args: string[]): void => {
      const [command, ...rest] = [...sudo, 'apt-get', ...args];
      spawnSync(command!, rest, { stdio: ['ignore', 'ignore', 'inherit'], env });
    };
    apt('update', '-qq');
    apt('install', '-y', '-qq', '--no-install-recommends', ...packages);
  }
  const left = missing.filter((need) => !works(need.check));
  if (left.length === 0) return;
  for (const need of left) {
    console.error(`missing: ${need.name}\n  Debian/Ubuntu: apt install ${need.debian.join(' ')}\n  ${need.elsewhere}`);
  }
  process.exit(1);
}
