import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { ingestArgs, inputScript } from '../../engine/ingest/ffmpeg-args.ts';
import { LastLines } from '../../engine/ingest/ffmpeg-process.ts';
import { backoffMs, classifyFailure, isAudioRefused } from '../../engine/ingest/failure.ts';
import { redact } from '../../engine/diagnostics/redact.ts';
import { parseSource, splitCredentials } from '../../engine/ingest/source-url.ts';
import { Demand } from '../../engine/recording/demand.ts';
import { scheduledMode } from '../../engine/recording/schedule.ts';
import { nextBoundary, parseSegmentPath, segmentPath } from '../../engine/recording/segment-path.ts';
import type { RecorderSpec } from '../../engine/types.ts';
import { slug } from '../../nodes/camera-source/camera-spec.ts';
import type { RtspTransport } from '../../engine/types.ts';
import { parseCamera, withCameras } from '../../scripts/demo-flow.ts';

describe('camera addresses', () => {
  it('give up their credentials, well or badly written', () => {
    const rows: [string, string, string?, string?][] = [
      ['rtsp://cam/1', 'rtsp://cam/1'],
      ['rtsp://admin:secret@cam:554/1', 'rtsp://cam:554/1', 'admin', 'secret'],
      ['rtsp://admin:p@ss@cam/1', 'rtsp://cam/1', 'admin', 'p@ss'],
      ['rtsp://admin:pa/ss@cam/1', 'rtsp://cam/1', 'admin', 'pa/ss'],
      ['rtsp://admin:p%40ss@cam/1', 'rtsp://cam/1', 'admin', 'p@ss'],
      ['rtsp://u:S3cr/e@t@cam/x', 'rtsp://cam/x', 'u', 'S3cr/e@t'],
      ['rtsp://u:a?b#c@[fe80::1]:554/x', 'rtsp://[fe80::1]:554/x', 'u', 'a?b#c'],
      ['rtsp://cam:554/x@y', 'rtsp://cam:554/x@y'],
      ['http://cam/x?mail=a@b', 'http://cam/x?mail=a@b'],
      ['http://cam/v?user=u&pwd=p%40s&ch=1', 'http://cam/v?user={username}&pwd={password}&ch=1', 'u', 'p@s'],
      ['http://cam/v?user={username}&pwd={password}', 'http://cam/v?user={username}&pwd={password}'],
      ['http://u:p@cam/v?user=x&pwd=y', 'http://cam/v?user={username}&pwd={password}', 'u', 'p'],
      [
        'rtsp://cam/user=u&password=pw&channel=1',
        'rtsp://cam/user={username}&password={password}&channel=1',
        'u',
        'pw',
      ],
      [
        ...(['rtsp://cam:554/user=u_password=a_b_channel=1_stream=0.sdp'] as const),
        ...(['rtsp://cam:554/user={username}_password={password}_channel=1_stream=0.sdp', 'u', 'a_b'] as const),
      ],
      ['rtsp://cam/user=admin&password=&channel=1', 'rtsp://cam/user=admin&password=&channel=1'],
    ];
    for (const [address, url, username, password] of rows) {
      assert.deepEqual(splitCredentials(address), {
        url,
        ...(username ? { username } : {}),
        ...(password ? { password } : {}),
      });
    }
  });

  it('keep any account through FFmpeg’s URL, and no line that FFmpeg writes of it shows the password', () => {
    const lines: ((input: string) => string)[] = [
      (input) => `[rtsp @ 0x55d0] ${input}: Server returned 401 Unauthorized`,
      (input) => `Error opening input file '${input}'.`,
      (input) => `${input}${input}`,
    ];
    fc.assert(
      fc.property(fc.string(), fc.string({ minLength: 1 }), fc.nat(2), (username, password, i) => {
        // A secret of asterisks is in every text that hides one, and one with this in it cannot be told from the line.
        fc.pre(!password.includes('*') && username.isWellFormed() && password.isWellFormed());
        const { input } = parseSource('rtsp://cam/1', { username, password });
        const sent = /^rtsp:\/\/([^@:]*):([^@]*)@cam\/1$/.exec(input)!;
        assert.deepEqual([decodeURIComponent(sent[1]!), decodeURIComponent(sent[2]!)], [username, password]);
        const shown = redact(lines[i]!(input), [password]);
        assert.ok(!shown.includes(`:${sent[2]!}@`), shown);
        // A shorter one is in many words: it is hidden where it is the password, not in them.
        if (password.length < 4) return;
        for (const form of [password, sent[2]!]) assert.ok(!shown.includes(form), shown);
      }),
    );
  });

  it('hide what looks like a secret in an address, whoever owns it', () => {
    const hidden = 'hunter22';
    for (const address of [
      'http://cam/cgi?usr=admin;pwd=hunter22',
      'http://cam/cgi?access_token=hunter22&x=1',
      'http://cam/cgi?api_key=hunter22',
      'rtsp://cam/u=admin&p=hunter22',
      'rtsp://cam:554/user=admin_password=hunter22_channel=1',
      'http://cam/x#password=hunter22',
      '//admin:hunter22@cam/x',
    ]) {
      const shown = redact(`Cannot open ${address}: Not found`);
      assert.ok(!shown.includes(hidden) && shown.endsWith('Not found'), shown);
    }
  });

  it('are not carried by the error about them', () => {
    assert.throws(
      () => parseSource('rtsp://admin:hunter22@a host/x'),
      (error: Error) => !/hunter22/.test(inspect(error)),
    );
  });

  it('have the account filled in where the query had it', () => {
    const { url, ...account } = splitCredentials('http://cam/v?user=u&pwd=p%40s');
    assert.equal(parseSource(url, account).input, 'http://cam/v?user=u&pwd=p%40s');
    assert.equal(redact('open http://cam/v?user=u&pwd=other now'), 'open http://cam/v?user=u&pwd=*** now');
  });

  it('never leave a password in their text, whatever it is made of', () => {
    const hosts = fc.constantFrom('cam', '10.0.0.1:554', '[fe80::1]:8554');
    fc.assert(
      fc.property(fc.string({ minLength: 6 }), hosts, (password, host) => {
        fc.pre(!/\s|['"%]/.test(password) && password.isWellFormed() && !/^\d*[/?#]|@[^@]*[/?#]/.test(password));
        const address = `rtsp://admin:${password}@${host}/stream`;
        assert.equal(splitCredentials(address).url, `rtsp://${host}/stream`);
        assert.ok(!redact(`cannot open ${address}`).includes(password));
      }),
    );
  });

  it('refuse what they cannot be', () => {
    for (const bad of [
      '',
      'cam',
      'ftp://cam/x',
      'rtsp://',
      'lavfi:',
      'lavfi:movie=/etc/passwd',
      'concat:/etc/passwd|x',
    ]) {
      assert.throws(() => parseSource(bad), { code: 'bad-url' }, bad);
    }
  });
});

describe('what FFmpeg says', () => {
  it('never shows half a password, wherever its lines are cut', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 450 }), fc.integer({ min: 1, max: 300 }), (before, piece) => {
        const password = 'S3cretPassw0rd';
        const last = new LastLines([password]);
        const said = Buffer.from(`${'x'.repeat(before)} ${password} failed\nnext`);
        for (let at = 0; at < said.length; at += piece) last.push(said.subarray(at, at + piece));
        last.end();
        assert.doesNotMatch(last.lines.join('\n'), /S3c|w0rd/);
        assert.equal(last.lines.at(-1), 'next');
      }),
    );
  });
});

describe('FFmpeg command lines', () => {
  const copy = { video: false, audio: false, arrival: false };
  const tail =
    '-f mp4 -movflags +empty_moov+default_base_moof+frag_keyframe -frag_duration 120000 -flush_packets 1 pipe:1';
  const head = '-hide_banner -nostats -loglevel warning';
  const quick = '-fflags +genpts -analyzeduration 3000000 -fpsprobesize 0';
  const script = `-protocol_whitelist async,pipe,rtp,tcp,tls ${quick.replace('-fflags +genpts ', '')} -f concat -safe 0 -auto_convert 0 -i async:pipe:3`;
  const h264 =
    '-c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p -threads 1 -force_key_frames expr:gte(t,n_forced)';
  const rows: [string, boolean, typeof copy, string][] = [
    ['rtsp://c/1', true, copy, `${script} -map 0:v:0 -map 0:a:0? -c:v copy -c:a copy`],
    ['rtsp://c/1', true, { ...copy, audio: true }, `${script} -map 0:v:0 -map 0:a:0? -c:v copy -c:a aac`],
    [
      'http://c/x.m3u8',
      false,
      copy,
      `-protocol_whitelist http,tcp,crypto ${quick} -rw_timeout 8000000 -i http://c/x.m3u8 -map 0:v:0 -c:v copy`,
    ],
    [
      'http://c/video.mjpg',
      false,
      { ...copy, video: true, arrival: true },
      `-protocol_whitelist http,tcp,crypto ${quick} -use_wallclock_as_timestamps 1 -rw_timeout 8000000 -i http://c/video.mjpg -map 0:v:0 ${h264} -fps_mode vfr -enc_time_base 1:90000`,
    ],
    [
      'rtsp://c/1',
      true,
      { ...copy, arrival: true },
      `${script} -map 0:v:0 -map 0:a:0? -c:v copy -c:a aac -af aresample=async=1000`,
    ],
    ['/a.mp4', false, copy, '-protocol_whitelist file -re -stream_loop -1 -i /a.mp4 -map 0:v:0 -c:v copy'],
  ];
  for (const [url, audio, transcode, middle] of rows) {
    it(`for ${url}${transcode.audio ? ' with other sound' : ''}${transcode.arrival ? ' by arrival' : ''}`, () => {
      const args = ingestArgs(parseSource(url), { transport: 'tcp', audio, transcode });
      assert.equal(args.join(' '), `${head} ${middle} ${tail}`);
    });
  }
});

describe('FFmpeg scripts', () => {
  it('are not needed for addresses without a secret', () => {
    const source = { ...parseSource('rtsp://127.0.0.1:1/'), isOpen: true };
    const args = ingestArgs(source, {
      ...{ transport: 'udp', audio: false, transcode: { video: false, audio: false, arrival: true } },
    });
    assert.equal(
      args.slice(4, args.indexOf('-map')).join(' '),
      '-protocol_whitelist rtp,srtp,udp,tcp,tls -fflags +genpts -analyzeduration 3000000 -fpsprobesize 0 -use_wallclock_as_timestamps 1 -rtsp_transport udp -timeout 8000000 -i rtsp://127.0.0.1:1/',
    );
  });

  const of = (url: string, transport: RtspTransport = 'tcp', arrival = false): string[] | undefined =>
    inputScript(parseSource(url, { username: 'u', password: "it's" }), { transport, arrival })?.split('\n');

  it('have the address with its account, and what belongs to it', () => {
    assert.deepEqual(of('rtsp://c/1'), [
      ...['ffconcat version 1.0', String.raw`file 'rtsp://u:it'\''s@c/1'`, 'option protocol_whitelist rtp,tcp,tls'],
      ...['option fflags +genpts', 'option analyzeduration 3000000', 'option fpsprobesize 0'],
      ...['option rtsp_transport tcp', 'option timeout 8000000', ''],
    ]);
    assert.ok(of('rtsp://c/1', 'udp')?.includes('option protocol_whitelist rtp,srtp,udp,tcp,tls'));
    assert.ok(of('rtsp://c/1', 'tcp', true)?.includes('option use_wallclock_as_timestamps 1'));
    assert.ok(of('rtmp://c/1')?.includes('option rw_timeout 8000000'));
  });

  it('are for addresses that may have an account', () => {
    for (const url of ['http://c/1', '/a.mp4', 'lavfi:testsrc2']) assert.equal(of(url), undefined);
  });

  it('are read back by FFmpeg as they were meant, whatever the password is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 30 }), (password) => {
        const source = parseSource('rtsp://127.0.0.1:1/x', { username: 'u', password });
        const file = inputScript(source, { transport: 'tcp' })!.split('\n')[1]!;
        // As av_get_token reads it: what is between quotes is as it is, and a backslash outside of them keeps what follows.
        const read = file
          .slice('file '.length)
          .replace(/'([^']*)'|\\(.)/g, (_, quoted?: string, kept?: string) => quoted ?? kept!);
        assert.equal(read, source.input);
      }),
    );
  });
});

describe('failures', () => {
  it('are sorted by what FFmpeg said', () => {
    assert.equal(classifyFailure(['method DESCRIBE failed: 401 Unauthorized']), 'auth');
    assert.equal(classifyFailure(['Connection to tcp://h:1 failed: Connection refused']), 'refused');
    assert.equal(classifyFailure(['Failed to resolve hostname nowhere: Name or service not known']), 'host');
    assert.equal(classifyFailure([]), 'ended');
    assert.ok(isAudioRefused(['Could not find tag for codec pcm_mulaw in stream #1']));
  });

  it('back off from 0.5 s to 30 s', () => {
    assert.equal(backoffMs(1, 0.5), 500);
    assert.equal(backoffMs(4, 0.5), 4000);
    assert.equal(backoffMs(50, 0.5), 30_000);
  });
});

describe('recording rules', () => {
  const spec: RecorderSpec = {
    ...{
      id: 'r',
      mode: 'event',
      streams: ['main'],
      preRollMs: 5000,
      postRollMs: 10_000,
      segmentMs: 60_000,
      schedule: [],
    },
  };

  it('merge overlapping events and end after the post-roll', () => {
    const demand = new Demand();
    demand.trigger('a', 'start', 0, spec.postRollMs);
    demand.trigger('b', 'start', 1000, spec.postRollMs);
    demand.trigger('a', 'end', 2000, spec.postRollMs);
    assert.equal(demand.wants(spec, 30_000), 'event');
    demand.trigger('b', 'end', 30_000, spec.postRollMs);
    assert.equal(demand.wants(spec, 39_999), 'event');
    assert.equal(demand.wants(spec, 40_000), null);
  });

  it('let panic win over stop, until release', () => {
    const demand = new Demand();
    demand.stop();
    demand.panic = true;
    assert.equal(demand.wants({ ...spec, mode: 'continuous' }, 0), 'panic');
    demand.panic = false;
    assert.equal(demand.wants({ ...spec, mode: 'continuous' }, 0), null);
    assert.ok(demand.stoppedByUser({ ...spec, mode: 'continuous' }, 0));
  });

  it('run the schedule over midnight', () => {
    const friday = new Date(2026, 10, 20, 23, 30).getTime();
    const entries = [{ days: [5], from: '22:00', to: '06:00', mode: 'event' as const }];
    assert.equal(scheduledMode(entries, friday), 'event');
    assert.equal(scheduledMode(entries, friday + 6 * 3_600_000), 'event');
    assert.equal(scheduledMode(entries, friday + 7 * 3_600_000), null);
    assert.equal(scheduledMode(entries, friday - 2 * 3_600_000), null);
  });

  it('name files so that they can be read back', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4e12 }), fc.integer({ min: 0, max: 3 }), (startMs, copy) => {
        const path = segmentPath('front-door', 'sub', startMs, copy);
        assert.deepEqual(parseSegmentPath(path), { camera: 'front-door', stream: 'sub', startMs });
      }),
    );
    const name = segmentPath('a', 'main', 0).split('/').at(-1)!;
    const outside = [`a/../../${name}`, `../1970-01-01/00/${name}`, `/a/1970-01-01/00/${name}`];
    for (const other of ['../x', 'a/b/c/d.mp4', 'a/2026-01-01/00/x.mp4', ...outside])
      assert.equal(parseSegmentPath(other), null);
  });

  it('end files within a segment length, later by the camera’s own share', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4e12 }), (startMs) => {
        const boundary = nextBoundary('gate', startMs, 60_000);
        assert.ok(boundary > startMs && boundary <= startMs + 60_000);
        assert.equal(boundary % 60_000, nextBoundary('gate', 0, 60_000) % 60_000);
      }),
    );
  });
});

describe('names and the demo flow', () => {
  it('make ids of names', () => {
    assert.equal(slug('Front door (2)'), 'front-door-2');
    assert.equal(slug('Küche'), 'kuche');
  });

  it('put the user’s cameras in, with credentials apart', () => {
    const flow = [{ id: 'x', type: 'camera-source', url: 'lavfi:testsrc2', wires: [['rec'], []] }];
    const [camera] = withCameras(flow, [{ ...parseCamera('front=rtsp://u@h/1'), password: 'p' }]);
    assert.equal(camera!['url'], 'rtsp://h/1');
    assert.deepEqual(camera!.credentials, { username: 'u', password: 'p' });
    assert.throws(() => parseCamera('rtsp://h/1'), /id=url/);
  });
});
