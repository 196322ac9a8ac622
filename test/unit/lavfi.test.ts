import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { checkLavfi } from '../../engine/ingest/lavfi.ts';
import { parseSource } from '../../engine/ingest/source-url.ts';

const ffmpeg = (...args: string[]) => spawnSync('ffmpeg', ['-hide_banner', ...args], { encoding: 'utf8' });
const passes = (graph: string): boolean => 'filters' in checkLavfi(graph);

/** Options of a filter with texts or lists as values, as FFmpeg tells them: `name` and what it is for. */
function textOptions(filter: string): string[] {
  return ffmpeg('-h', `filter=${filter}`)
    .stdout.split('\n')
    .filter((line) => /<(string|binary|dictionary)>/.test(line));
}

describe('test pictures', () => {
  const known = ffmpeg('-filters')
    .stdout.split('\n')
    .map((line) => /^ [T.][S.][C.] (\w+)\s+\S+->\S+/.exec(line)?.[1])
    .filter((name) => name !== undefined);
  const allowed = known.filter((name) => passes(name));

  it('may be those that we use ourselves, and what people build of harmless filters', () => {
    for (const graph of [
      'testsrc2=size=640x360:rate=15',
      'testsrc2',
      'smptebars=size=640x360:rate=10',
      "smptebars=size=640x360:rate=10[yard];color=c=0x303830:size=64x120:rate=10[thing];[yard][thing]overlay=x='(mod(t,20)-10)*213':y=120:shortest=1,noise=alls=4:allf=t",
      'testsrc2=size=320x180:rate=10,noise=alls=80:allf=t',
      'color=red:640x360:30000/1001 , drawbox = x=mod(t\\,10) : y=3 [out0] ; sine = 440 [out1]',
      'testsrc2@one,scale@two=640:-2,fps=5,format=yuv420p',
      'life=s=300x200:mold=10:r=25:ratio=0.1:death_color=#C83232:life_color=#00ff00,scale=1200:800',
      "cellauto=p='@@ @ @':s=100x400",
      'color=c=gray:size=160x90:rate=10',
    ]) {
      const checked = checkLavfi(graph);
      assert.ok('filters' in checked, graph);
      assert.equal(parseSource(`lavfi:${graph}`).input, graph);
    }
  });

  it('may not be a filter that touches files, libraries or the network, however it is written', () => {
    const dangerous = (
      'movie amovie psnr ssim vidstabdetect vidstabtransform deshake curves metadata ametadata zmq azmq sendcmd asendcmd ' +
      'lut3d lut1d ladspa lv2 frei0r frei0r_src subtitles ass drawtext removelogo cover_rect find_rect signature vmafmotion ' +
      'libvmaf dnn_classify dnn_detect dnn_processing sr derain program_opencl openclsrc haldclut afir sofalizer a3dscope ' +
      'showspectrumpic arnndn firequalizer headphone flite showcqt paletteuse palettegen nnedi bm3d ocr streamselect ' +
      'astreamselect sidedata libplacebo coreimagesrc qrencodesrc whisper acrossover abench bench avsynctest ddagrab gfxcapture'
    ).split(' ');
    for (const name of dangerous) {
      const half = `${name.slice(0, 2)}\\${name.slice(2)}`;
      for (const spelling of [
        ...[name, ` ${name}`, `\n${name}\t`, `${name}@id`, `'${name}'`, half, `${name.slice(0, 1)}''${name.slice(1)}`],
        ...[`[in]${name}`, `${name}[out]`, `sws_flags=bilinear;${name}`, `testsrc@${name},${name}`, name.toUpperCase()],
        ...[
          `testsrc2,${name}=x`,
          `testsrc2 ;\t${name} = f=x`,
          `nullsrc[a];[a] ${name}=x`,
          `testsrc2=size='9x9',${name}`,
        ],
        ...[`testsrc2=1\\,2,${name}`, `testsrc2='a\\',${name}`, `testsrc2=a\\\\,${name}`],
      ]) {
        assert.ok(!passes(spelling), JSON.stringify(spelling));
        assert.throws(() => parseSource(`lavfi:${spelling}`), { code: 'bad-url' });
      }
    }
  });

  it('may not set options that name files', () => {
    for (const graph of [
      ...[
        'life=/etc/passwd',
        'life=f=/etc/passwd',
        'life=filename=/etc/passwd',
        "life='f'=x",
        'life=\\f=x',
        'life=f =x',
      ],
      ...['life=rule=B3/S23:/etc/passwd', 'life= x', 'life=\u00a0rule=x', 'life=r=1:f=x', 'cellauto=x', 'cellauto=f=x'],
      ...['drawbox=/color=/etc/passwd', 'testsrc2=/size=x', 'scale=.x=1', 'color=/etc/passwd', "color='/etc'/passwd"],
      ...["testsrc2='x", 'testsrc2=x\\', 'testsrc2=[a', 'testsrc2;', 'testsrc2,', ',testsrc2', '', ' ', '[a]', 'a=b=c'],
      ...[
        'testsrc2\u0000',
        'testsrc2"',
        'testsrc2#',
        'scale=stats_file=x',
        'x'.repeat(5000),
        `color=c=${'a'.repeat(5000)}`,
      ],
    ]) {
      assert.ok(!passes(graph), graph);
    }
  });

  it('are of filters none of whose options is a file, as this FFmpeg tells them', function () {
    this.timeout(60_000);
    assert.ok(allowed.length > 80, `${allowed.length} filters`);
    const options = allowed.flatMap((name) => textOptions(name).map((option) => ({ name, option })));
    const suspects = options.filter(
      ({ option }) =>
        /file|path|url|socket|bind|command|plugin|library|model|dump/i.test(option) && !/profile/.test(option),
    );
    // Those of the automata, which are known by their options.
    const open = suspects.filter(({ name, option }) => {
      const [key] = /\w+/.exec(option)!;
      return passes(`${name}=${key}=x`) || passes(`${name}=x`);
    });
    assert.deepEqual(open, []);
  });

  it('never open a file or use another filter in a real FFmpeg, whatever passes', function () {
    this.timeout(60_000);
    const folder = mkdtempSync(join(tmpdir(), 'flow-nvr-lavfi-'));
    // Whoever opens it says so.
    const missing = join(folder, 'missing');
    const piece = fc.constantFrom(
      ...[
        'testsrc2',
        'color',
        'life',
        'movie',
        'psnr',
        'metadata',
        'null',
        'split',
        'scale',
        'cellauto',
        'curves',
        'vflip',
      ],
      ...['=', ':', ',', ';', '[a]', '[b]', "'", '\\', ' ', '\t', '@x', '/', '\\\\', "\\'"],
      ...['f', 'filename', 's=64x64', 'rate=5', 'mode=print', 'file', 'stats_file', 'rule', 'size', 'print', missing],
      ...[`f=${missing}`, `filename=${missing}`, `file=${join(folder, 'out')}`, `psfile=${join(folder, 'out')}`],
    );
    const start = fc.constantFrom('testsrc2', 'color', 'life', 'cellauto', 'life=', 'color=', 'testsrc2=', 'testsrc2,');
    const graphs = fc.sample(
      fc.tuple(start, fc.array(piece, { maxLength: 7 })).map(([first, rest]) => first + rest.join('')),
      { numRuns: 20_000, seed: 7 },
    );
    const passed = [...new Set(graphs.filter(passes))].slice(0, 60);
    assert.ok(passed.length > 30, `only ${passed.length} graphs pass`);
    try {
      for (const graph of passed) {
        const checked = checkLavfi(graph);
        assert.ok('filters' in checked);
        const args = ['-v', 'verbose', '-f', 'lavfi', '-i', graph, '-frames:v', '1', '-f', 'null', '-'];
        const { stderr } = spawnSync('ffmpeg', args, { encoding: 'utf8', cwd: folder, timeout: 20_000 });
        const used = [...stderr.matchAll(/\[Parsed_([a-z0-9_]+?)_\d+ @/g)].map(([, name]) => name!);
        for (const name of used) assert.ok(checked.filters.includes(name), `${name} in ${graph}`);
        assert.doesNotMatch(stderr, /No such file/, graph);
        assert.deepEqual(readdirSync(folder), [], graph);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
