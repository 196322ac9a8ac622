import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';

const RESOURCES = join(import.meta.dirname, '../../resources');

interface Listed {
  line: number;
  id: string;
  name: string;
  url: string;
  username: string;
  password: string;
  onvif: string;
  problem: string | null;
}

const window: {
  flowNvrCameraList?: { parse: (text: string, rules: object) => { cameras: Listed[]; problem: string | null } };
} = {};
runInNewContext(readFileSync(join(RESOURCES, 'camera-list.js'), 'utf8'), { window });

const rules = {
  taken: ['old'],
  isUrl: (url: string) => /^rtsp:\/\/\S/.test(url),
  splitCredentials: (url: string) => {
    const match = /^(rtsp:\/\/)(\w+):(\w+)@(.*)$/.exec(url);
    return match && { url: match[1]! + match[4]!, username: match[2], password: match[3] };
  },
};
const parse = (text: string): { cameras: Listed[]; problem: string | null } =>
  JSON.parse(JSON.stringify(window.flowNvrCameraList!.parse(text, rules))) as ReturnType<typeof parse>;

describe('a list of cameras', () => {
  it('is read as CSV with titles in any order, or without, with any separator', () => {
    const titled = parse('Name;RTSP;User;Password\n"Gate; ""north""";rtsp://h/1;u;p;q\n\nYard;rtsp://h/2;;');
    assert.deepEqual(
      titled.cameras.map(({ line, id, name, url, username, problem }) => [line, id, name, url, username, problem]),
      [
        [2, 'gate-north', 'Gate; "north"', 'rtsp://h/1', 'u', null],
        [4, 'yard', 'Yard', 'rtsp://h/2', '', null],
      ],
    );
    assert.equal(parse('gate,Gate,rtsp://h/1').cameras[0]!.url, 'rtsp://h/1');
    assert.equal(parse('\uFEFFid\turl\r\ngate\trtsp://h/1\r\n').cameras[0]!.id, 'gate');
  });

  it('is read as JSON, and moves accounts out of addresses', () => {
    const { cameras } = parse('{"cameras":[{"id":"gate","url":"rtsp://u:p@h/1","onvif":"h:8000"},7]}');
    const [{ url, username, password, onvif }] = cameras as [Listed];
    assert.deepEqual([url, username, password, onvif], ['rtsp://h/1', 'u', 'p', 'h:8000']);
    assert.equal(cameras[1]!.problem, 'id');
  });

  it('says what is wrong with each line', () => {
    const { cameras } = parse('id,url\nold,rtsp://h/1\nGATE,rtsp://h/1\na,\nb,ftp://h\nc,rtsp://h/1\nc,rtsp://h/2');
    assert.deepEqual(
      cameras.map(({ problem }) => problem),
      ['twice', 'id', 'address', 'url', null, 'twice'],
    );
    assert.equal(parse('[{').problem, 'json');
    assert.equal(parse('[]').problem, 'empty');
    assert.equal(parse(Array.from({ length: 501 }, (_, i) => `c${i},x,rtsp://h/1`).join('\n')).problem, 'many');
  });

  it('never throws, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 300 }), (text) => {
        for (const { problem, id } of parse(text).cameras) assert.ok(problem !== null || /^[a-z0-9]/.test(id));
      }),
    );
  });
});

describe('the addresses by maker', () => {
  it('are addresses, each with where it is from', () => {
    const patterns = JSON.parse(readFileSync(join(RESOURCES, 'rtsp-patterns.json'), 'utf8')) as Record<
      string,
      string
    >[];
    const texts = JSON.parse(
      readFileSync(join(RESOURCES, '../nodes/camera-source/locales/de/camera-source.json'), 'utf8'),
    ) as { 'camera-source': { find: { makerNote: Record<string, string> } } };
    for (const { maker, main, sub, source, note } of patterns) {
      assert.match(main!, /^rtsps?:\/\/\{host\}:\d+\/\S+$/, maker);
      assert.match(sub!, /^$|^rtsps?:\/\/\{host\}:\d+\/\S+$/, maker);
      assert.ok(URL.canParse(source!), maker);
      if (note) assert.ok(texts['camera-source'].find.makerNote[note], note);
    }
    const makers = patterns.map(({ maker }) => maker!);
    assert.deepEqual(
      makers,
      [...makers].sort((a, b) => a.localeCompare(b, 'en')),
    );
    assert.ok(makers.length >= 18);
  });
});
