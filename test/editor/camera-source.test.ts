import assert from 'node:assert/strict';
import { splitCredentials } from '../../engine/ingest/source-url.ts';
import { loadEditorNode, validate, type Form } from '../support/editor.ts';

/** What the edit dialog saves when these were in its fields. */
function save(form: Form): Form {
  const fields: Form = {};
  for (const name of ['url', 'subUrl', 'username', 'password']) fields[`#node-input-${name}`] = form[name] ?? '';
  loadEditorNode('camera-source', fields).oneditsave!.call({ _: (key: string) => key });
  return Object.fromEntries(
    Object.entries(fields).map(([selector, value]) => [selector.replace('#node-input-', ''), value]),
  );
}

describe("camera-source's edit dialog", () => {
  const addresses: [typed: string, url: string, username: string, password: string][] = [
    ['rtsp://admin:secret@host/x', 'rtsp://host/x', 'admin', 'secret'],
    ['rtsp://admin:p@ss@host/x', 'rtsp://host/x', 'admin', 'p@ss'],
    ['rtsp://admin:pa/ss@host:554/x', 'rtsp://host:554/x', 'admin', 'pa/ss'],
    ['rtsp://admin:a:b@host', 'rtsp://host', 'admin', 'a:b'],
    ['rtsp://admin:p%40ss@host/x', 'rtsp://host/x', 'admin', 'p@ss'],
    ['rtsp://admin:100%@host/x', 'rtsp://host/x', 'admin', '100%'],
    ['rtsp://admin@host/x', 'rtsp://host/x', 'admin', ''],
    ['http://host/v?usr=me&pwd=p%40s&ch=1', 'http://host/v?usr={username}&pwd={password}&ch=1', 'me', 'p@s'],
    ['http://u:p@host/v?usr=x&pwd=y', 'http://host/v?usr={username}&pwd={password}', 'u', 'p'],
    [
      'rtsp://host/user=u&password=pw&channel=1',
      'rtsp://host/user={username}&password={password}&channel=1',
      'u',
      'pw',
    ],
    ['http://u:p@[fe80::1]:80/video?x=1', 'http://[fe80::1]:80/video?x=1', 'u', 'p'],
    ['rtsp://admin:secret@host/user@1', 'rtsp://host/user@1', 'admin', 'secret'],
  ];
  for (const [typed, url, username, password] of addresses) {
    it(`takes the account out of ${typed}, as the engine does`, () => {
      assert.deepEqual(save({ url: typed }), { url, subUrl: '', username, password });
      const split = splitCredentials(typed);
      assert.deepEqual([split.url, split.username, split.password ?? ''], [url, username, password]);
    });
  }

  it('takes out a password with a slash and an @ behind it', () => {
    assert.deepEqual(save({ url: 'rtsp://admin:pa/s@s@host/x' }), {
      url: 'rtsp://host/x',
      subUrl: '',
      username: 'admin',
      password: 'pa/s@s',
    });
  });

  for (const url of [
    'rtsp://host/cam@1',
    'rtsp://host:554/a:b@c',
    'lavfi:testsrc2=rate=5',
    '/media/a@b.mp4',
    'file:///media/u:p@x.mp4',
  ]) {
    it(`leaves ${url} alone`, () => {
      assert.deepEqual(save({ url }), { url, subUrl: '', username: '', password: '' });
    });
  }

  it('takes it out of the sub stream too, where the main stream has the word', () => {
    assert.deepEqual(save({ url: 'rtsp://a:1@host/main', subUrl: 'rtsp://b:2@host/sub' }), {
      url: 'rtsp://host/main',
      subUrl: 'rtsp://host/sub',
      username: 'a',
      password: '1',
    });
    assert.equal(save({ url: 'rtsp://host/main', subUrl: 'rtsp://b:2@host/sub' })['password'], '2');
  });

  it('keeps the stored password when no address has one', () => {
    const kept = { url: ' rtsp://host/main ', subUrl: '', username: 'a', password: '__PWRD__' };
    assert.deepEqual(save(kept), { ...kept, url: 'rtsp://host/main' });
  });

  it('says what is wrong with an address', () => {
    const definition = loadEditorNode('camera-source');
    const says = (url: string): unknown => validate(definition, 'url', { url });
    for (const good of [
      'rtsp://host/x',
      'rtsps://host',
      'http://host/a.m3u8',
      '/media/a.mp4',
      'C:\\a.mp4',
      'lavfi:testsrc2',
    ]) {
      assert.equal(says(good), true, good);
    }
    assert.equal(says(''), 'camera-source.invalid.urlMissing');
    for (const bad of ['host/x', 'ftp://host/x', 'rtsp://', 'concat:a|b'])
      assert.equal(says(bad), 'camera-source.invalid.url', bad);
    assert.equal(says('rtsp://a:b@host/x'), 'camera-source.invalid.urlCredentials');
    assert.equal(validate(definition, 'subUrl', { subUrl: '' }), true);
  });

  it('says when two cameras of one NVR have one id', () => {
    const other = { id: '2', type: 'camera-source', nvr: 'n', name: 'Haustür', camera: '' };
    const definition = loadEditorNode('camera-source', {}, [other]);
    const says = (node: object): unknown =>
      validate(definition, 'camera', { id: '1', nvr: 'n', name: '', camera: '', ...node });
    assert.equal(says({ name: 'Haustur' }), 'camera-source.invalid.cameraTwice');
    assert.equal(says({ camera: 'haustur', nvr: 'm' }), true);
    assert.equal(says({ name: 'Hof' }), true);
    assert.equal(says({ camera: 'Hof' }), 'camera-source.invalid.camera');
  });
});
