/**
 * Lists of cameras that people have already, as CSV or JSON, read into what camera-source takes. Pure: knows neither the
 * editor nor the page. Sets `window.flowNvrCameraList`.
 */
(function () {
  'use strict';

  const MAX_CAMERAS = 500;
  const MAX_CHARS = 1000000;
  const CAMERA_ID = /^[a-z0-9][a-z0-9_-]{0,63}$/;
  /** Words of other programs for our columns. */
  const COLUMNS = {
    id: ['id', 'camera', 'cameraid'],
    name: ['name', 'label', 'title'],
    url: ['url', 'main', 'mainurl', 'address', 'rtsp', 'stream'],
    subUrl: ['sub', 'suburl', 'substream'],
    username: ['user', 'username', 'login'],
    password: ['password', 'pass', 'pwd'],
    onvif: ['onvif', 'onvifaddress', 'host', 'ip'],
  };

  /** An id made of a name, as the runtime does: `Front door (2)` becomes `front-door-2`. */
  function slug(name) {
    return name
      .normalize('NFKD')
      .toLowerCase()
      .replace(/[\u0300-\u036f]/g, '')
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-+|-+$/g, '')
      .slice(0, 64);
  }

  function columnOf(title) {
    const word = String(title).toLowerCase().replace(/[^a-z]/g, '');
    const found = Object.entries(COLUMNS).find(([, words]) => words.includes(word));
    return found ? found[0] : null;
  }

  /** Cells of each line (RFC 4180), with the line's number. Commas, semicolons or tabs, whichever the first line has most of. */
  function cells(text) {
    const first = text.split(/\r?\n/, 1)[0];
    const count = (separator) => first.split(separator).length;
    const separator = [',', ';', '\t'].reduce((best, one) => (count(one) > count(best) ? one : best));
    const rows = [];
    let row = { line: 1, cells: [''] };
    let quoted = false;
    let line = 1;
    for (let i = 0; i < text.length; i++) {
      const char = text[i];
      const last = row.cells.length - 1;
      if (char === '\n') line++;
      if (quoted) {
        if (char !== '"') row.cells[last] += char;
        else if (text[i + 1] === '"') row.cells[last] += text[++i];
        else quoted = false;
      } else if (char === '"' && row.cells[last].trim() === '') {
        row.cells[last] = '';
        quoted = true;
      } else if (char === separator) row.cells.push('');
      else if (char === '\n') {
        rows.push(row);
        row = { line, cells: [''] };
      } else if (char !== '\r') row.cells[last] += char;
    }
    rows.push(row);
    return rows.filter((one) => one.cells.some((cell) => cell.trim() !== ''));
  }

  function fromCsv(text) {
    const [head, ...rows] = cells(text);
    const columns = (head ? head.cells : []).map(columnOf);
    // Without titles: the order in which people write them down.
    const titled = columns.includes('url') || columns.includes('onvif');
    const order = titled ? columns : ['id', 'name', 'url', 'subUrl', 'username', 'password', 'onvif'];
    return (titled ? rows : [head, ...rows].filter(Boolean)).map((row) => {
      const entry = { line: row.line };
      order.forEach((column, i) => {
        if (column) entry[column] = (row.cells[i] || '').trim();
      });
      return entry;
    });
  }

  function fromJson(text) {
    const given = JSON.parse(text);
    const list = Array.isArray(given) ? given : given && Array.isArray(given.cameras) ? given.cameras : [given];
    return list.map((item, i) => {
      const entry = { line: i + 1 };
      for (const [title, value] of Object.entries(item || {})) {
        const column = columnOf(title);
        if (column && (typeof value === 'string' || typeof value === 'number')) entry[column] = String(value).trim();
      }
      return entry;
    });
  }

  /**
   * Each camera with what is wrong with it: `problem` is the key of a text, or null.
   *
   * @param rules `isUrl(text)`, `splitCredentials(url)` of the dialog, and `taken`, the ids that are used
   */
  function parse(text, rules) {
    const trimmed = text.replace(/^\uFEFF/, '').trim();
    if (trimmed.length > MAX_CHARS) return { cameras: [], problem: 'long' };
    let entries;
    try {
      entries = /^[[{]/.test(trimmed) ? fromJson(trimmed) : fromCsv(trimmed);
    } catch {
      return { cameras: [], problem: 'json' };
    }
    const taken = new Set(rules.taken);
    const cameras = entries.slice(0, MAX_CAMERAS).map((entry) => {
      const split = (url) => (url && rules.splitCredentials(url)) || { url: url || '' };
      const [main, sub] = [split(entry.url), split(entry.subUrl)];
      const camera = {
        line: entry.line,
        name: entry.name || entry.id || '',
        id: entry.id || slug(entry.name || ''),
        url: main.url,
        subUrl: sub.url,
        username: entry.username || main.username || sub.username || '',
        password: entry.password || main.password || sub.password || '',
        onvif: entry.onvif || '',
      };
      return { ...camera, problem: problemOf(camera, taken, rules) };
    });
    return { cameras, problem: entries.length > MAX_CAMERAS ? 'many' : entries.length === 0 ? 'empty' : null };
  }

  function problemOf({ id, url, subUrl, onvif }, taken, { isUrl }) {
    if (!CAMERA_ID.test(id)) return 'id';
    if (taken.has(id)) return 'twice';
    taken.add(id);
    if (!url && !onvif) return 'address';
    if ((url && !isUrl(url)) || (subUrl && !isUrl(subUrl))) return 'url';
    return null;
  }

  window.flowNvrCameraList = { parse, slug };
})();
