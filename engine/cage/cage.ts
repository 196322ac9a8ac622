/**
 * The cage of FFmpeg: what decoders read comes from cameras, and a bug in one of FFmpeg's hundreds of parsers must not be
 * worth more than that decoder. Linux only, and only by programs that exec FFmpeg in place: the process that Node started
 * is FFmpeg, so that signals, priorities, pipes and the end of its parent work as without a cage. (bwrap and systemd-run
 * put a process between.) Pure functions; detect.ts finds out what works here.
 */

/** What a machine may give, in the order in which it is taken away when not all of it works together. */
export const MEASURES = ['limits', 'privileges', 'files', 'network', 'rootNetwork'] as const;

/**
 * - `limits`: memory, CPU time, size of files, open files, no core dump (`prlimit`)
 * - `privileges`: no set-uid program gives any (`setpriv --no-new-privs`)
 * - `files`: nothing is written but to its own output folder and to devices (Landlock, by `setpriv` of util-linux 2.40)
 * - `network`: none, in a user namespace of its own, which also hides Node-RED's memory from it (`unshare --user --net`)
 * - `rootNetwork`: none, for what root runs and has to write files that others own (`unshare --net`)
 */
export type Measure = (typeof MEASURES)[number];

/** Absolute paths of the programs that make the cage; null where there is none. */
export interface CageTools {
  prlimit: string | null;
  setpriv: string | null;
  unshare: string | null;
}

/** What one FFmpeg has to be able to do. */
export interface Need {
  /** It talks to cameras. */
  network: boolean;
  /** Bytes of private memory. Null for none: the drivers of graphics cards map more than there is. */
  memoryBytes: number | null;
  /** CPU time of all its threads; null for what runs for weeks. */
  cpuSeconds: number | null;
  /** Where it writes files, and how large one may become; null when it writes to its pipes alone. */
  output: { folder: string; bytes: number } | null;
}

const MIB = 1024 ** 2;
/** Enough for the descriptors of any driver; FFmpeg itself opens a dozen. */
const MAX_FILES = 512;
/** Between the signal at which FFmpeg ends in order and the one that ends it. */
const CPU_GRACE_S = 5;

/**
 * Memory that decoding or encoding may take, bytes. Measured with FFmpeg 5.1 (`prlimit --data`): a 1080p decoder 128 MiB, 4K
 * H.265 256 MiB with two threads and 768 with sixteen; 4K to H.264 1.5 GiB with two threads, 4 GiB with 24. It is there for
 * what eats all of it.
 */
export function memoryFor(work: 'decode' | 'encode', cores: number): number {
  const threads = Math.min(24, cores);
  return work === 'decode' ? (1024 + 64 * threads) * MIB : (3072 + 256 * threads) * MIB;
}

/** Landlock's names of all that changes a file system. */
const WRITING =
  'write-file,remove-dir,remove-file,make-char,make-dir,make-reg,make-sock,make-fifo,make-block,make-sym,refer,truncate';
/** A file is made, written and replaced. */
const OUTPUT = 'write-file,make-reg,remove-file,truncate';

/**
 * The words in front of FFmpeg's own command line; none when nothing is given.
 * @param root whether Node-RED runs as root
 */
export function cageArgv(tools: CageTools, given: ReadonlySet<Measure>, need: Need, root = false): string[] {
  const { prlimit, setpriv, unshare } = tools;
  const argv: string[] = [];
  if (prlimit && given.has('limits')) {
    argv.push(prlimit, '--core=0', `--nofile=${MAX_FILES}`);
    if (need.memoryBytes !== null) argv.push(`--data=${need.memoryBytes}`);
    if (need.cpuSeconds !== null) {
      const seconds = Math.ceil(need.cpuSeconds);
      argv.push(`--cpu=${seconds}:${seconds + CPU_GRACE_S}`);
    }
    argv.push(`--fsize=${need.output?.bytes ?? 0}`);
  }
  if (setpriv && (given.has('privileges') || given.has('files'))) {
    argv.push(setpriv, '--no-new-privs');
    if (given.has('files')) {
      argv.push('--landlock-access', `fs:${WRITING}`, '--landlock-rule', 'path-beneath:write-file:/dev');
      if (need.output) argv.push('--landlock-rule', `path-beneath:${OUTPUT}:${need.output.folder}`);
    }
  }
  if (unshare && !need.network) {
    // A user namespace takes root's right to write into folders of others.
    if (given.has('network') && !(root && need.output)) argv.push(unshare, '--user', '--map-current-user', '--net');
    else if (given.has('rootNetwork')) argv.push(unshare, '--net');
  }
  return argv;
}

/** Names of variables that FFmpeg, its libraries and the drivers of graphics cards read; nothing else is passed on. */
const PASSED = new RegExp(
  [
    ...['^(PATH', 'HOME', 'USER', 'LANG', 'LANGUAGE', 'LC_\\w+', 'TZ', 'TZDIR', 'TMPDIR', 'TMP', 'TEMP'],
    ...[
      'LD_LIBRARY_PATH',
      'LD_PRELOAD',
      'DYLD_\\w+',
      'MALLOC_\\w+',
      'SSL_CERT_\\w+',
      'FONTCONFIG_\\w+',
      'XDG_CACHE_HOME',
    ],
    ...['LIBVA_\\w+', 'MESA_\\w+', 'DRI_PRIME', 'VDPAU_DRIVER', 'CUDA_\\w+', 'NVIDIA_\\w+', 'ONEVPL_\\w+', 'MFX_\\w+'],
    // Windows does not start a program without some of these.
    ...['SYSTEMROOT', 'SYSTEMDRIVE', 'WINDIR', 'COMSPEC', 'PATHEXT', 'USERPROFILE', 'APPDATA', 'LOCALAPPDATA'],
    ...['PROGRAMDATA', 'PROGRAMFILES', 'NUMBER_OF_PROCESSORS', 'PROCESSOR_ARCHITECTURE)$'],
  ].join('|'),
  'i',
);

/**
 * The environment of FFmpeg: Node-RED's often holds passwords of brokers and databases. (Proxies are not passed on either:
 * cameras are asked directly, and a proxy would see them.) `FLOW_NVR_FFMPEG_ENV` names more variables, separated by commas.
 */
export function childEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const more = new Set((env.FLOW_NVR_FFMPEG_ENV ?? '').split(',').map((name) => name.trim()));
  return Object.fromEntries(Object.entries(env).filter(([name]) => PASSED.test(name) || more.has(name)));
}
