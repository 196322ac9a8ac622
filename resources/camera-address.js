/**
 * Reads a camera's address as the runtime does (engine/ingest/camera-address.ts); a test compares the two. Pure: knows
 * neither the editor nor the page. Sets `window.flowNvrCameraAddress`.
 */
(function () {
  'use strict';

  const MAX_LENGTH = 4096;
  const SCHEME = /^([a-z][a-z0-9+.-]*):\/\//i;
  const HOST = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+|[a-z0-9._\u00a1-\uffff-]+)(?::(\d{0,5}))?$/i;
  const USERNAME = /([?&/](?:user|username|usr|login|loginuse)=)([^&#]*?)(?=[&#]|_password=|$)/i;
  const PASSWORD =
    /((?:[?&/]|_(?=password=))(?:pass|passwd|password|pwd|loginpas)=)([^&#]*?)(?=[&#]|_channel=|_stream=|$)/i;

  function decode(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // a bare % is part of the password
    }
  }

  function endOfAuthority(text, from) {
    const length = text.slice(from).search(/[/?#]/);
    return length < 0 ? text.length : from + length;
  }

  function readingAt(text, at, end) {
    const match = HOST.exec(text.slice(at + 1, end));
    if (!match || Number(match[2] || 0) > 65535) return null;
    const port = Number(match[2] || 0);
    const [username, ...password] = text.slice(0, Math.max(at, 0)).split(':');
    const account = at < 0 ? null : { username: decode(username), password: decode(password.join(':')) };
    return { authority: match[1] + (port ? ':' + port : ''), account, rest: text.slice(end) };
  }

  function readingsOf(text) {
    const end = endOfAuthority(text, 0);
    const authority = text.slice(0, end);
    const plain = readingAt(text, authority.lastIndexOf('@'), end);
    if (plain) return [plain];
    const readings = [];
    if (!authority.includes(':')) return readings;
    for (let at = text.indexOf('@', end); at >= 0 && readings.length < 2; at = text.indexOf('@', at + 1)) {
      const reading = readingAt(text, at, endOfAuthority(text, at));
      if (reading) readings.push(reading);
    }
    return readings;
  }

  /** `{scheme, authority, account, rest}`; null for what has no host, or several that could be meant. */
  function read(address) {
    const scheme = address.length <= MAX_LENGTH && SCHEME.exec(address);
    const readings = scheme ? readingsOf(address.slice(scheme[0].length)) : [];
    return readings.length === 1 ? { ...readings[0], scheme: scheme[1].toLowerCase() } : null;
  }

  /** `user=…&password=…` behind the host. */
  function takeNamed(rest) {
    const password = PASSWORD.exec(rest);
    if (!password || !password[2] || password[2] === '{password}') return { rest, account: null };
    const username = USERNAME.exec(rest);
    return {
      rest: rest.replace(PASSWORD, '$1{password}').replace(USERNAME, '$1{username}'),
      account: { username: decode(username ? username[2] : ''), password: decode(password[2]) },
    };
  }

  /**
   * Takes the account out of an address; null when there is none. One behind names leaves `{username}` and `{password}` in
   * its place.
   */
  function splitCredentials(address) {
    const found = /^file:/i.test(address) ? null : read(address);
    if (!found) return null;
    const named = takeNamed(found.rest);
    if (!found.account && !named.account) return null;
    const account = { ...named.account, ...found.account };
    return {
      url: `${found.scheme}://${found.authority}${named.rest}`,
      ...account,
      password: account.password || (named.account || account).password,
    };
  }

  window.flowNvrCameraAddress = { read, splitCredentials };
})();
