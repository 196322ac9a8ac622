/**
 * The zone editor of the motion-detect node's dialog: polygons drawn over a camera's picture, and what the detection makes
 * of that camera at this moment. Sets `window.flowNvrZones`; its texts and places to ask come from the dialog.
 */
(function () {
  'use strict';

  const SVG = 'http://www.w3.org/2000/svg';
  const POLL_MS = 500;
  const POLL_AFTER_FAILURE_MS = 2000;
  const SEND_AFTER_MS = 300;
  const HISTORY = 60;
  /** Two clicks within this time and distance are a double click; of pens and fingers too. */
  const DOUBLE_MS = 400;
  const DOUBLE_PX = 8;
  /** Points that come so close to the border of the picture are put onto it. */
  const SNAP_PX = 6;
  const STEP = 0.005;
  const COLOURS = { include: '#3ddc84', ignore: '#ff5b57' };

  /** What is drawn over a picture, and the legends of it: in the same colours whatever the theme is. */
  const STYLE = `
    .flow-nvr-zones .flow-nvr-stage { position: relative; aspect-ratio: 16 / 9; border-radius: 4px; background: #3c3f43; outline-offset: 2px; }
    .flow-nvr-zones .flow-nvr-stage > * { position: absolute; inset: 0; width: 100%; height: 100%; }
    .flow-nvr-zones .flow-nvr-stage > .flow-nvr-picture { max-width: none; object-fit: fill; border-radius: 4px; }
    .flow-nvr-zones .flow-nvr-drawing { display: block; overflow: visible; touch-action: pan-y; user-select: none; -webkit-user-select: none; }
    .flow-nvr-zones .flow-nvr-grasping .flow-nvr-drawing { touch-action: none; }
    .flow-nvr-zones .flow-nvr-drafting .flow-nvr-drawing { cursor: crosshair; }
    .flow-nvr-zones .flow-nvr-canvas, .flow-nvr-zones .flow-nvr-veil { pointer-events: none; }
    .flow-nvr-zones .flow-nvr-veil { display: flex; flex-direction: column; justify-content: center; align-items: center; gap: 6px; padding: 12px 24px; box-sizing: border-box; text-align: center; color: #f2f2f2; text-shadow: 0 1px 2px #000; }
    .flow-nvr-zones .flow-nvr-veil p { margin: 0; }
    .flow-nvr-zones .flow-nvr-veil code { max-width: 100%; padding: 2px 6px; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 11px; border: 0; background: rgba(0, 0, 0, 0.45); color: #f2f2f2; }
    .flow-nvr-zones .flow-nvr-zone .flow-nvr-area { fill-opacity: 0.2; stroke-width: 2; stroke-linejoin: round; cursor: move; }
    .flow-nvr-zones .flow-nvr-zone.flow-nvr-ignore .flow-nvr-area { fill-opacity: 0.8; }
    .flow-nvr-zones .flow-nvr-watching .flow-nvr-zone .flow-nvr-area { fill-opacity: 0.06; }
    .flow-nvr-zones .flow-nvr-watching .flow-nvr-zone.flow-nvr-ignore .flow-nvr-area { fill-opacity: 0.35; }
    .flow-nvr-zones .flow-nvr-watching .flow-nvr-zone.flow-nvr-seen .flow-nvr-area { fill-opacity: 0.2; stroke-width: 4; }
    .flow-nvr-zones .flow-nvr-drafting .flow-nvr-area { cursor: crosshair; }
    .flow-nvr-zones .flow-nvr-rim { fill: none; stroke: rgba(0, 0, 0, 0.55); stroke-width: 4; stroke-linejoin: round; }
    .flow-nvr-zones .flow-nvr-chosen .flow-nvr-rim { stroke: #fff; stroke-width: 5; }
    .flow-nvr-zones .flow-nvr-name { fill: #fff; stroke: rgba(0, 0, 0, 0.75); stroke-width: 3.5px; paint-order: stroke; font-size: 12px; font-weight: 600; text-anchor: middle; dominant-baseline: central; pointer-events: none; }
    .flow-nvr-zones .flow-nvr-handle, .flow-nvr-zones .flow-nvr-middle, .flow-nvr-zones .flow-nvr-cross, .flow-nvr-zones .flow-nvr-sample, .flow-nvr-zones .flow-nvr-draft { pointer-events: none; }
    .flow-nvr-zones .flow-nvr-handle { stroke-width: 2.5; }
    .flow-nvr-zones .flow-nvr-middle { fill: rgba(255, 255, 255, 0.55); stroke-width: 1.5; }
    .flow-nvr-zones .flow-nvr-reach { fill: transparent; cursor: grab; }
    .flow-nvr-zones .flow-nvr-reach[data-middle] { cursor: copy; }
    .flow-nvr-zones .flow-nvr-box { pointer-events: none; }
    .flow-nvr-zones .flow-nvr-frame { fill: none; stroke: #ffd600; stroke-width: 2; }
    .flow-nvr-zones .flow-nvr-plate { fill: #ffd600; }
    .flow-nvr-zones .flow-nvr-box text { fill: #1a1a1a; font-size: 12px; font-weight: 600; text-anchor: middle; dominant-baseline: central; }
    .flow-nvr-zones .flow-nvr-draft-area { fill-opacity: 0.15; }
    .flow-nvr-zones .flow-nvr-draft-line { fill: none; stroke-width: 2; stroke-dasharray: 6 4; }
    .flow-nvr-zones .flow-nvr-cross { fill: none; stroke: #fff; stroke-width: 1.5; filter: drop-shadow(0 0 1px #000); }
    .flow-nvr-zones .flow-nvr-sample { fill: rgba(255, 255, 255, 0.12); stroke: #fff; stroke-width: 1.5; stroke-dasharray: 4 3; filter: drop-shadow(0 0 1px #000); }
    .flow-nvr-zones .flow-nvr-colour.flow-nvr-include { background: #3ddc84; }
    .flow-nvr-zones .flow-nvr-colour.flow-nvr-ignore { background: repeating-linear-gradient(45deg, #ff5b57 0 2px, #b62320 2px 4px); }
    .flow-nvr-zones .flow-nvr-colour.flow-nvr-flat { background: #ff5b57; }
    .flow-nvr-zones .flow-nvr-ramp { width: 70px; height: 10px; border-radius: 2px; background: linear-gradient(90deg, #3c146e, #96287a, #f06e32, #fff096); }
  `;

  // ---- geometry: no page is needed for it

  const clamp = (value, least = 0, most = 1) => Math.min(most, Math.max(least, value));
  const tidy = (value) => Math.round(clamp(value) * 10000) / 10000;
  const tidyPoint = ({ x, y }) => ({ x: tidy(x), y: tidy(y) });

  /** Moves points together, as far as the picture reaches. */
  function moved(points, dx, dy) {
    const xs = points.map(({ x }) => x);
    const ys = points.map(({ y }) => y);
    const byX = clamp(dx, -Math.min(...xs), 1 - Math.max(...xs));
    const byY = clamp(dy, -Math.min(...ys), 1 - Math.max(...ys));
    return points.map(({ x, y }) => tidyPoint({ x: x + byX, y: y + byY }));
  }

  /** The middle of each edge; that of edge `i` is between the points `i` and `i + 1`. */
  function middles(points) {
    return points.map((point, i) => {
      const next = points[(i + 1) % points.length];
      return { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 };
    });
  }

  /** Puts a coordinate onto the border of the picture if it is closer than `margin`. */
  function snap(value, margin) {
    if (value < margin) return 0;
    return value > 1 - margin ? 1 : value;
  }

  /** Where a horizontal line crosses the edges, from left to right. Every second stretch between them is inside. */
  function crossings(points, y) {
    return points
      .flatMap((a, i) => {
        const b = points[(i + 1) % points.length];
        return a.y > y === b.y > y ? [] : [a.x + ((y - a.y) / (b.y - a.y)) * (b.x - a.x)];
      })
      .sort((a, b) => a - b);
  }

  /** A place for the name: the middle of the widest of some horizontal lines inside, bent or self-crossing as it may be. */
  function labelSpot(points) {
    const ys = points.map(({ y }) => y);
    const top = Math.min(...ys);
    const height = Math.max(...ys) - top;
    let best = { x: points[0].x, y: points[0].y, width: 0 };
    for (const share of [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.1, 0.9]) {
      const y = top + share * height;
      const at = crossings(points, y);
      for (let i = 0; i + 1 < at.length; i += 2) {
        const width = at[i + 1] - at[i];
        // A little wider is not worth leaving the middle.
        if (width > best.width * 1.25) best = { x: (at[i] + at[i + 1]) / 2, y, width };
      }
    }
    return best;
  }

  /** Width and height of a box with this share of the picture's area, as square as it fits in. */
  function sampleBox(percent, width, height) {
    const area = (clamp(percent, 0, 100) / 100) * width * height;
    const high = Math.min(Math.sqrt(area), height);
    const wide = high > 0 ? Math.min(area / high, width) : 0;
    return { width: wide, height: wide > 0 ? area / wide : 0 };
  }

  function isPoint(point) {
    return [point?.x, point?.y].every((value) => typeof value === 'number' && value >= 0 && value <= 1);
  }

  /** The zones that can be drawn, copied. */
  function usable(zones) {
    if (!Array.isArray(zones)) return [];
    const good = zones.filter(
      (zone) => zone && zone.id && zone.camera && Array.isArray(zone.points) && zone.points.length >= 3,
    );
    return JSON.parse(JSON.stringify(good.filter(({ points }) => points.every(isPoint))));
  }

  /** The number that was typed, or undefined for none; NaN for anything out of range. */
  function typedNumber(text, least, most) {
    if (String(text).trim() === '') return undefined;
    const number = Number(String(text).replace(',', '.'));
    return number >= least && number <= most ? number : NaN;
  }

  function bytesOf(base64) {
    return Uint8Array.from(atob(base64 || ''), (character) => character.charCodeAt(0));
  }

  /** The bits of cells, row by row, the lowest bit of a byte first. */
  function bitsOf(base64, count) {
    const bytes = bytesOf(base64);
    return Array.from({ length: count }, (_, i) => ((bytes[i >> 3] ?? 0) >> (i & 7)) & 1);
  }

  /** Violet through orange to pale yellow, and more opaque: 0..255 as a colour over a picture. */
  function heat(value) {
    const share = clamp(value / 255);
    const stops = [
      [60, 20, 110, 0.12],
      [150, 40, 120, 0.5],
      [240, 110, 50, 0.65],
      [255, 240, 150, 0.8],
    ];
    const at = share * (stops.length - 1);
    const low = Math.min(stops.length - 2, Math.floor(at));
    const mix = stops[low].map((from, i) => from + (stops[low + 1][i] - from) * (at - low));
    const [red, green, blue] = mix.map(Math.round);
    return `rgba(${red}, ${green}, ${blue}, ${mix[3].toFixed(3)})`;
  }

  const geometry = {
    moved,
    middles,
    snap,
    crossings,
    labelSpot,
    sampleBox,
    usable,
    typedNumber,
    bitsOf,
    bytesOf,
    heat,
    tidyPoint,
  };

  // ---- the page

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? '' : value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  }

  const html = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  const icon = (name) => html('i', { class: `fa fa-${name}`, 'aria-hidden': 'true' });

  function button(name, text, onclick, attributes = {}) {
    const label = attributes.bare ? [] : [html('span', {}, text)];
    const bare = attributes.bare ? { title: text, 'aria-label': text } : {};
    const rest = { ...attributes, bare: undefined };
    return html('button', { type: 'button', class: 'red-ui-button', onclick, ...bare, ...rest }, icon(name), ...label);
  }

  /** Asked through jQuery, to which the editor has given its own access token. */
  function ask(type, url, body) {
    const json = body === undefined ? {} : { contentType: 'application/json', data: JSON.stringify(body) };
    return window.$.ajax({ type, url, cache: false, ...json });
  }

  function reasonOf(xhr) {
    if (xhr.responseJSON?.message) return String(xhr.responseJSON.message);
    return xhr.status ? `HTTP ${xhr.status}` : '';
  }

  /** A JPEG as a blob; rejects with the reason. */
  function askPicture(url) {
    const native = new XMLHttpRequest();
    const request = window.$.ajax({ url, cache: false, xhr: () => native, xhrFields: { responseType: 'blob' } });
    const picture = new Promise((resolve, reject) => {
      request.then(
        () => resolve(native.response),
        () => {
          const text = native.response ? native.response.text() : Promise.resolve('');
          text
            .then((answer) => JSON.parse(answer).message)
            .catch(() => (native.status ? `HTTP ${native.status}` : ''))
            .then((message) => reject(new Error(message || '')));
        },
      );
    });
    return { picture, abort: () => request.abort() };
  }

  /**
   * @param host the element to fill
   * @param options `t(key, values)`: the texts; `zones`; `newId()`; `settings()`: the node's own sensitivity and sizes, which
   *   hold where a zone has none; `stillUrl(camera)`, or nothing if there is none to ask; `tuningUrl(camera)`
   */
  function create(host, options) {
    const { t } = options;
    const hatch = `flow-nvr-hatch-${options.newId()}`;
    const reach = window.matchMedia?.('(pointer: coarse)').matches ? 20 : 12;

    let zones = usable(options.zones);
    let cameras = [];
    let camera = '';
    let selected = null;
    let point = null;
    let draft = null;
    let drag = null;
    let lastClick = null;
    let past = [];
    let future = [];
    let lastTag = null;
    let lastTagAt = 0;
    let sample = null;
    let notice = null;
    let listed = '';
    let still = null;
    let stillUrl = null;
    let disposed = false;

    const tuning = { on: false, answer: null, request: null, timer: null, history: [], heat: 'none', failure: '' };
    const trial = { timer: null, sent: {}, cameras: new Set() };

    // ---- elements

    const picture = html('img', { class: 'flow-nvr-picture', alt: '', draggable: 'false' });
    const canvas = html('canvas', { class: 'flow-nvr-canvas', 'aria-hidden': 'true' });
    const drawing = svg('svg', { class: 'flow-nvr-drawing' });
    const veil = html('div', { class: 'flow-nvr-veil' });
    const stage = html(
      'div',
      { class: 'flow-nvr-stage', tabindex: 0, role: 'application', 'aria-label': t('zones.stage') },
      picture,
      canvas,
      drawing,
      veil,
    );
    const hint = html('div', { class: 'flow-nvr-live', 'aria-live': 'polite' });
    const cameraSelect = html('select', {
      'aria-label': t('zones.camera'),
      class: 'flow-nvr-camera-select',
      onchange: () => showCamera(cameraSelect.value),
    });
    const reload = button('refresh', t('zones.reload'), () => loadStill(), { bare: true });
    const addInclude = button('plus', t('zones.add.include'), () => startDraft('include'), { 'data-kind': 'include' });
    const addIgnore = button('plus', t('zones.add.ignore'), () => startDraft('ignore'), { 'data-kind': 'ignore' });
    const undoButton = button('undo', t('zones.undo'), () => undo(), { bare: true });
    const redoButton = button('repeat', t('zones.redo'), () => redo(), { bare: true });
    const tuneButton = button('eye', t('tuning.show'), () => tune(!tuning.on), { 'aria-pressed': 'false' });
    const list = html('div', { class: 'flow-nvr-list', role: 'group', 'aria-label': t('zones.list') });
    const panel = html('div', { class: 'flow-nvr-tuning', hidden: true });
    const root = html(
      'div',
      { class: 'flow-nvr-zones' },
      html('style', {}, STYLE),
      html(
        'div',
        { class: 'flow-nvr-bar' },
        html('span', { class: 'flow-nvr-with' }, cameraSelect, reload),
        tuneButton,
      ),
      html(
        'div',
        { class: 'flow-nvr-columns' },
        html(
          'div',
          { class: 'flow-nvr-left' },
          html(
            'div',
            { class: 'flow-nvr-bar' },
            html('span', { class: 'flow-nvr-with' }, addInclude, addIgnore),
            html('span', { class: 'flow-nvr-with' }, undoButton, redoButton),
          ),
          stage,
          hint,
          panel,
        ),
        list,
      ),
    );
    host.replaceChildren(root);

    // ---- history

    const own = () => zones.filter((zone) => zone.camera === camera);
    const selectedZone = () => zones.find(({ id }) => id === selected) ?? null;
    const snapshot = () => ({ zones: JSON.stringify(zones), camera, selected });

    /** To be called after a change, with what was before; changes with the same tag in quick succession are one. */
    function committed(before, tag = null) {
      if (before.zones === JSON.stringify(zones)) return;
      const now = Date.now();
      if (tag === null || tag !== lastTag || now - lastTagAt > 1000) past.push(before);
      lastTag = tag;
      lastTagAt = now;
      future = [];
      notice = null;
      tryOut();
    }

    function change(edit, tag) {
      const before = snapshot();
      edit();
      committed(before, tag);
      render();
    }

    function restore(to) {
      zones = JSON.parse(to.zones);
      selected = zones.some(({ id }) => id === to.selected) ? to.selected : null;
      point = null;
      notice = null;
      lastTag = null;
      tryOut();
      if (to.camera !== camera) showCamera(to.camera, selected);
      else render();
    }

    function undo() {
      if (draft) {
        draft.points.pop();
        if (draft.points.length === 0) draft = null;
        render();
      } else if (past.length > 0) {
        future.push(snapshot());
        restore(past.pop());
      }
    }

    function redo() {
      if (draft || future.length === 0) return;
      past.push(snapshot());
      restore(future.pop());
    }

    // ---- what can be done with zones

    function select(id, at = null) {
      if (selected !== id) notice = null;
      selected = id;
      point = at;
      render();
    }

    function newName(kind) {
      for (let number = own().filter((zone) => zone.kind === kind).length + 1; ; number++) {
        const name = t(`zones.newName.${kind}`, { number });
        if (own().every((zone) => zone.name !== name)) return name;
      }
    }

    function startDraft(kind) {
      selected = null;
      point = null;
      notice = null;
      draft = { kind, points: [], cursor: null };
      stage.focus({ preventScroll: true });
      stage.scrollIntoView({ block: 'nearest' });
      render();
    }

    function closeDraft() {
      if (!draft || draft.points.length < 3) return;
      const { kind, points } = draft;
      draft = null;
      drag = null;
      change(() => {
        const zone = { id: options.newId(), camera, name: newName(kind), kind, points };
        zones = [...zones, zone];
        selected = zone.id;
      });
    }

    function addDraftPoint(at) {
      if (draft.points.length === 0 || distance(draft.points.at(-1), at) > 3) draft.points.push(tidyPoint(at));
    }

    function removeZone(id) {
      const zone = zones.find((candidate) => candidate.id === id);
      change(() => {
        zones = zones.filter((candidate) => candidate !== zone);
        if (selected === id) selected = null;
        point = null;
      });
      notice = t('zones.deleted', { name: zone.name });
      render();
      stage.focus({ preventScroll: true });
    }

    function removePoint(zone, index) {
      if (zone.points.length <= 3) {
        notice = t('zones.atLeastThree');
        render();
        return;
      }
      point = null;
      change(() => zone.points.splice(index, 1));
    }

    function insertPoint(zone, edge) {
      zone.points.splice(edge + 1, 0, tidyPoint(middles(zone.points)[edge]));
      point = edge + 1;
    }

    function nudge(dx, dy) {
      const zone = selectedZone();
      if (!zone) return;
      change(() => {
        if (point === null) zone.points = moved(zone.points, dx, dy);
        else [zone.points[point]] = moved([zone.points[point]], dx, dy);
      }, `nudge ${zone.id} ${point}`);
    }

    // ---- pointers

    const wide = () => stage.clientWidth || 1;
    const high = () => stage.clientHeight || 1;
    const distance = (a, b) => Math.hypot((a.x - b.x) * wide(), (a.y - b.y) * high());

    function placeOf(event, snapping = true) {
      const box = stage.getBoundingClientRect();
      const x = clamp((event.clientX - box.left) / wide());
      const y = clamp((event.clientY - box.top) / high());
      return snapping ? { x: snap(x, SNAP_PX / wide()), y: snap(y, SNAP_PX / high()) } : { x, y };
    }

    /** Whether this is the second of two clicks; on the same thing, if there is one. */
    function isDouble(at, thing) {
      const double =
        lastClick !== null &&
        Date.now() - lastClick.time < DOUBLE_MS &&
        lastClick.thing === thing &&
        distance(lastClick.at, at) < DOUBLE_PX;
      lastClick = double ? null : { time: Date.now(), at, thing };
      return double;
    }

    function onDraftDown(event) {
      const at = placeOf(event);
      const double = isDouble(at, 'draft');
      const { points } = draft;
      draft.cursor = null;
      if (points.length >= 3 && (double || distance(points[0], at) <= reach)) {
        closeDraft();
        return;
      }
      if (double) return;
      addDraftPoint(at);
      drag = { kind: 'draft' };
    }

    function onZoneDown(event) {
      const { handle, middle, zone: id } = event.target.dataset;
      const at = placeOf(event, false);
      const before = snapshot();
      const zone = selectedZone();
      if (handle !== undefined && zone) {
        const index = Number(handle);
        if (isDouble(at, `${zone.id} ${index}`)) {
          removePoint(zone, index);
          return;
        }
        point = index;
        drag = { kind: 'point', before };
      } else if (middle !== undefined && zone) {
        insertPoint(zone, Number(middle));
        drag = { kind: 'point', before };
      } else if (id) {
        isDouble(at, id);
        select(id);
        drag = { kind: 'zone', before, from: at, points: selectedZone().points };
      } else {
        select(null);
      }
    }

    function onPointerDown(event) {
      if (event.button !== 0 || drag || !camera) return;
      event.preventDefault();
      stage.focus({ preventScroll: true });
      if (draft) onDraftDown(event);
      else onZoneDown(event);
      if (drag) {
        drag.pointer = event.pointerId;
        drag.start = { x: event.clientX, y: event.clientY };
        drawing.setPointerCapture(event.pointerId);
      }
      render();
    }

    function onPointerMove(event) {
      if (drag && event.pointerId === drag.pointer) {
        // A click that trembles is still a click.
        drag.moving ||= Math.hypot(event.clientX - drag.start.x, event.clientY - drag.start.y) > 3;
        if (!drag.moving) return;
        const zone = selectedZone();
        if (drag.kind === 'draft') draft.points[draft.points.length - 1] = tidyPoint(placeOf(event));
        else if (drag.kind === 'point') zone.points[point] = tidyPoint(placeOf(event));
        else {
          const { x, y } = placeOf(event, false);
          zone.points = moved(drag.points, x - drag.from.x, y - drag.from.y);
        }
        renderDrawing();
      } else if (draft && !drag && event.pointerType !== 'touch') {
        draft.cursor = placeOf(event);
        renderDrawing();
      }
    }

    function onPointerUp(event) {
      if (!drag || event.pointerId !== drag.pointer) return;
      const { before } = drag;
      drag = null;
      if (before) committed(before);
      render();
    }

    function cancelDrag() {
      const { before, kind } = drag;
      drag = null;
      if (kind === 'draft') draft.points.pop();
      else {
        zones = JSON.parse(before.zones);
        point = null;
      }
      render();
    }

    // ---- keys

    const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

    function onDraftKey(key, step) {
      draft.cursor ??= draft.points.at(-1) ?? { x: 0.5, y: 0.5 };
      if (ARROWS[key]) {
        const [dx, dy] = ARROWS[key];
        draft.cursor = tidyPoint({ x: draft.cursor.x + dx * step * 2, y: draft.cursor.y + dy * step * 2 });
      } else if (key === ' ' || key === 'Insert') addDraftPoint(draft.cursor);
      else if (key === 'Enter') closeDraft();
      else if (key === 'Backspace' || key === 'Delete') draft.points.pop();
      else if (key === 'Escape') draft = null;
      else return false;
      return true;
    }

    function onZoneKey(key, step) {
      const zone = selectedZone();
      const all = own();
      if (!zone) {
        if (key !== 'PageDown' && key !== 'PageUp') return false;
        if (all.length > 0) select((key === 'PageDown' ? all[0] : all.at(-1)).id);
        return true;
      }
      const count = zone.points.length;
      if (ARROWS[key]) nudge(ARROWS[key][0] * step, ARROWS[key][1] * step);
      else if (key === 'PageDown') point = point === null ? 0 : (point + 1) % count;
      else if (key === 'PageUp') point = point === null ? count - 1 : (point + count - 1) % count;
      else if (key === 'Insert' || key === '+') change(() => insertPoint(zone, point ?? count - 1));
      else if (key === 'Delete' || key === 'Backspace') {
        if (point === null) removeZone(zone.id);
        else removePoint(zone, point);
      } else if (key === 'Escape') select(point === null ? null : zone.id);
      else return false;
      return true;
    }

    function onKey(event) {
      const { key } = event;
      const command = event.ctrlKey || event.metaKey;
      const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
      if (command && /^[zy]$/i.test(key)) {
        // In a text field, that is what was typed; never what the editor did before.
        event.stopPropagation();
        if (typing && event.target.type !== 'checkbox' && event.target.tagName !== 'SELECT') return;
        event.preventDefault();
        if (key.toLowerCase() === 'y' || event.shiftKey) redo();
        else undo();
        return;
      }
      if (command || event.altKey || typing) return;
      let used = false;
      if (key === 'Escape' && drag) {
        cancelDrag();
        used = true;
      } else if (event.target === stage) {
        const step = event.shiftKey ? STEP * 5 : STEP;
        used = draft ? onDraftKey(key, step) : onZoneKey(key, step);
      } else if (key === 'Escape' && draft) {
        draft = null;
        used = true;
      }
      if (!used) return;
      event.preventDefault();
      event.stopPropagation();
      render();
    }

    // ---- the drawing

    const pixels = ({ x, y }) => ({ x: x * wide(), y: y * high() });
    const path = (points) =>
      points
        .map(pixels)
        .map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`)
        .join(' ');

    function drawZone(zone) {
      const chosen = zone.id === selected;
      const seen = tuning.answer?.zones?.includes(zone.id) ?? false;
      const points = path(zone.points);
      const shape = (attributes) => svg('polygon', { points, 'fill-rule': 'evenodd', ...attributes });
      return svg(
        'g',
        {
          class: `flow-nvr-zone flow-nvr-${zone.kind}${chosen ? ' flow-nvr-chosen' : ''}${seen ? ' flow-nvr-seen' : ''}`,
        },
        shape({ class: 'flow-nvr-rim' }),
        shape({
          class: 'flow-nvr-area',
          'data-zone': zone.id,
          fill: zone.kind === 'ignore' ? `url(#${hatch})` : COLOURS.include,
          stroke: COLOURS[zone.kind],
        }),
      );
    }

    function drawName(zone) {
      const { x, y } = pixels(labelSpot(zone.points));
      return svg('text', { class: 'flow-nvr-name', x, y, 'aria-hidden': 'true' }, zone.name || '–');
    }

    function drawHandles(zone) {
      const stroke = COLOURS[zone.kind];
      const between = middles(zone.points).flatMap((middle, i) => {
        if (distance(zone.points[i], zone.points[(i + 1) % zone.points.length]) < 4 * reach) return [];
        const { x: cx, y: cy } = pixels(middle);
        return [
          svg('circle', { class: 'flow-nvr-middle', cx, cy, r: 4, stroke }),
          svg('circle', { class: 'flow-nvr-reach', cx, cy, r: reach, 'data-middle': i }),
        ];
      });
      const corners = zone.points.flatMap((at, i) => {
        const { x: cx, y: cy } = pixels(at);
        const on = i === point;
        return [
          svg('circle', {
            class: 'flow-nvr-handle',
            cx,
            cy,
            r: on ? 7.5 : 5.5,
            fill: on ? stroke : '#fff',
            stroke: on ? '#fff' : stroke,
          }),
          svg('circle', { class: 'flow-nvr-reach', cx, cy, r: reach, 'data-handle': i }),
        ];
      });
      return svg('g', {}, between, corners);
    }

    function drawDraft() {
      const { kind, points, cursor } = draft;
      const stroke = COLOURS[kind];
      const all = cursor && !drag ? [...points, cursor] : points;
      const closing = points.length >= 3 && cursor && distance(points[0], cursor) <= reach;
      const parts = [
        svg('polygon', { points: path(all), class: 'flow-nvr-draft-area', fill: stroke, 'fill-rule': 'evenodd' }),
        svg('polyline', { points: path(all), class: 'flow-nvr-rim' }),
        svg('polyline', { points: path(all), class: 'flow-nvr-draft-line', stroke }),
      ];
      points.forEach((at, i) => {
        const { x: cx, y: cy } = pixels(at);
        const first = i === 0 && points.length >= 3;
        const fill = first && closing ? stroke : '#fff';
        parts.push(svg('circle', { class: 'flow-nvr-handle', cx, cy, r: first ? 7.5 : 4.5, fill, stroke }));
      });
      if (cursor) {
        const { x, y } = pixels(cursor);
        parts.push(svg('path', { class: 'flow-nvr-cross', d: `M${x - 9},${y}h18M${x},${y - 9}v18` }));
      }
      return svg('g', { class: 'flow-nvr-draft' }, parts);
    }

    const percentOf = (score) => `${Math.round(clamp(Number(score) || 0) * 100)} %`;

    /** A box around what moves, with its score above it, or below if there is no room. */
    function drawBox(box) {
      const { x, y } = pixels(box);
      const [width, height] = [box.width * wide(), box.height * high()];
      const text = percentOf(tuning.answer.score);
      const across = text.length * 7 + 8;
      const left = clamp(x - 1, 0, wide() - across);
      const top = y >= 19 ? y - 19 : Math.min(y + height + 1, high() - 18);
      return svg(
        'g',
        { class: 'flow-nvr-box' },
        svg('rect', { class: 'flow-nvr-rim', x, y, width, height }),
        svg('rect', { class: 'flow-nvr-frame', x, y, width, height }),
        svg('rect', { class: 'flow-nvr-plate', x: left, y: top, width: across, height: 18, rx: 2 }),
        svg('text', { x: left + across / 2, y: top + 9.5 }, text),
      );
    }

    function drawSample() {
      const { width, height } = sampleBox(sample, wide(), high());
      const x = (wide() - width) / 2;
      const y = (high() - height) / 2;
      return svg('rect', { class: 'flow-nvr-sample', x, y, width, height });
    }

    function renderDrawing() {
      drawing.setAttribute('viewBox', `0 0 ${wide()} ${high()}`);
      const pattern = svg(
        'pattern',
        { id: hatch, width: 10, height: 10, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' },
        svg('rect', { width: 10, height: 10, fill: COLOURS.ignore, 'fill-opacity': 0.35 }),
        svg('rect', { width: 4, height: 10, fill: COLOURS.ignore, 'fill-opacity': 0.75 }),
      );
      const all = own();
      const zone = selectedZone();
      // The selected one over the others, where it can be grasped.
      const ordered = [...all.filter(({ id }) => id !== selected), ...(zone && zone.camera === camera ? [zone] : [])];
      drawing.replaceChildren(
        svg('defs', {}, pattern),
        ...ordered.map(drawZone),
        ...ordered.map(drawName),
        ...(zone && !draft ? [drawHandles(zone)] : []),
        ...(tuning.on && tuning.answer ? (tuning.answer.boxes ?? []).map(drawBox) : []),
        ...(draft ? [drawDraft()] : []),
        ...(sample === null ? [] : [drawSample()]),
      );
      stage.classList.toggle('flow-nvr-watching', tuning.on);
      stage.classList.toggle('flow-nvr-drafting', draft !== null);
      stage.classList.toggle('flow-nvr-grasping', draft !== null || selected !== null);
    }

    // ---- the list

    const FIELDS = [
      ['sensitivity', 0, 100, 1],
      ['loiter', 0, 3600, 1],
      ['minSize', 0, 100, 'any'],
      ['maxSize', 0, 100, 'any'],
    ];

    function field(zone, label, input, unit = '') {
      return html('label', {}, html('span', {}, label), html('span', { class: 'flow-nvr-with' }, input, unit));
    }

    function numberField(zone, [name, least, most, step]) {
      const input = html('input', {
        type: 'number',
        min: least,
        max: most,
        step,
        'data-field': name,
        onchange: () => {
          const number = typedNumber(input.validity?.badInput ? 'x' : input.value, least, most);
          input.dataset.wrong = String(Number.isNaN(number));
          input.classList.toggle('input-error', Number.isNaN(number));
          if (Number.isNaN(number)) return;
          change(() => {
            const now = zones.find(({ id }) => id === zone.id);
            now[name] = number; // undefined is not stored
          });
        },
      });
      return field(zone, t(`zones.${name}`), input, t(`zones.unit.${name}`));
    }

    function details(zone) {
      const name = html('input', {
        type: 'text',
        'data-field': 'name',
        onchange: () => change(() => (zones.find(({ id }) => id === zone.id).name = name.value.trim())),
      });
      const kind = html(
        'select',
        {
          'data-field': 'kind',
          onchange: () => {
            change(() => (zones.find(({ id }) => id === zone.id).kind = kind.value));
            list.querySelector('select[data-field=kind]')?.focus();
          },
        },
        ['include', 'ignore'].map((value) => html('option', { value }, t(`zones.kind.${value}`))),
      );
      return html(
        'div',
        { class: 'flow-nvr-details' },
        html(
          'div',
          { class: 'flow-nvr-fields' },
          field(zone, t('zones.name'), name),
          field(zone, t('zones.what'), kind),
          zone.kind === 'include' ? FIELDS.map((one) => numberField(zone, one)) : [],
        ),
      );
    }

    function row(zone) {
      const chosen = zone.id === selected;
      const swatch = html('i', { class: `flow-nvr-colour flow-nvr-${zone.kind}`, 'aria-hidden': 'true' });
      const title = html(
        'button',
        {
          type: 'button',
          class: 'flow-nvr-title',
          'aria-expanded': String(chosen),
          onclick: () => {
            draft = null;
            select(chosen ? null : zone.id);
            list.querySelector(`[data-row="${zone.id}"] .flow-nvr-title`)?.focus();
          },
        },
        swatch,
        html('span', { class: 'flow-nvr-title-name' }),
        html('span', { class: 'flow-nvr-title-more' }),
      );
      const remove = button('trash-o', t('zones.delete'), () => removeZone(zone.id), { bare: true });
      const head = html('div', { class: 'flow-nvr-head' }, title, remove);
      const classes = `flow-nvr-row${chosen ? ' flow-nvr-chosen' : ''}`;
      return html('div', { class: classes, 'data-row': zone.id }, head, chosen ? details(zone) : null);
    }

    /** What of a zone is its own, in a few characters. */
    function more(zone) {
      if (zone.kind === 'ignore') return t('zones.kind.ignore');
      return FIELDS.filter(([name]) => zone[name] !== undefined)
        .map(([name]) => t(`zones.short.${name}`, { value: zone[name] }))
        .join(' · ');
    }

    function renderList() {
      const all = own();
      const key = JSON.stringify([camera, selected, all.map(({ id, kind }) => [id, kind])]);
      // Built anew only if it has to be: a field with the focus must stay.
      if (key !== listed) {
        listed = key;
        const empty = html('p', { class: 'flow-nvr-empty' }, t('zones.empty'));
        list.replaceChildren(...(all.length > 0 ? all.map(row) : camera ? [empty] : []));
      }
      const detail = options.settings();
      for (const zone of all) {
        const element = list.querySelector(`[data-row="${zone.id}"]`);
        element.querySelector('.flow-nvr-title-name').textContent = zone.name || '–';
        element.querySelector('.flow-nvr-title-more').textContent = more(zone);
        element.classList.toggle('flow-nvr-seen', tuning.answer?.zones?.includes(zone.id) ?? false);
        for (const input of element.querySelectorAll('[data-field]')) {
          const { field: name } = input.dataset;
          const value = zone[name] === undefined ? '' : String(zone[name]);
          // What is being typed stays, and what was typed wrongly, until it is put right.
          const typed = input === document.activeElement || input.dataset.wrong === 'true';
          if (!typed && input.value !== value) input.value = value;
          if (name in detail) input.placeholder = detail[name];
          if (name === 'minSize' || name === 'maxSize') {
            const least = Number(zone.minSize ?? detail.minSize);
            const most = Number(zone.maxSize ?? detail.maxSize);
            input.classList.toggle('input-error', least > most || input.dataset.wrong === 'true');
          }
        }
      }
    }

    // ---- everything else that is shown

    function hintText() {
      if (!camera) return '';
      if (draft) {
        return t(draft.points.length < 3 ? 'zones.hint.draft' : 'zones.hint.close', { count: draft.points.length });
      }
      const zone = selectedZone();
      if (!zone) return t(own().length > 0 ? 'zones.hint.idle' : 'zones.hint.none');
      if (point === null) return t('zones.hint.zone');
      const { x, y } = zone.points[point];
      const percent = (value) => Math.round(value * 1000) / 10;
      const values = { number: point + 1, count: zone.points.length, x: percent(x), y: percent(y) };
      return t('zones.hint.point', values);
    }

    function renderHint() {
      const text = notice ?? hintText();
      if (hint.dataset.text === text) return;
      hint.dataset.text = text;
      hint.replaceChildren(text);
      if (notice !== null && notice !== t('zones.atLeastThree')) {
        hint.append(
          ' ',
          html(
            'a',
            { href: '#', role: 'button', onclick: (event) => (event.preventDefault(), undo()) },
            t('zones.undo'),
          ),
        );
      }
    }

    function renderBar() {
      for (const add of [addInclude, addIgnore]) {
        add.disabled = !camera;
        add.setAttribute('aria-pressed', String(draft?.kind === add.dataset.kind));
      }
      undoButton.disabled = draft ? false : past.length === 0;
      redoButton.disabled = draft !== null || future.length === 0;
      tuneButton.disabled = !camera;
      reload.disabled = !camera || tuning.on;
    }

    function render() {
      if (disposed) return;
      renderDrawing();
      renderList();
      renderHint();
      renderBar();
    }

    // ---- the picture

    function showPicture(url) {
      picture.src = url;
      picture.hidden = false;
    }

    function showVeil(...content) {
      veil.replaceChildren(...content);
      veil.hidden = content.length === 0;
    }

    function dropStill() {
      still?.abort();
      still = null;
      if (stillUrl) URL.revokeObjectURL(stillUrl);
      stillUrl = null;
    }

    function loadStill() {
      dropStill();
      picture.hidden = true;
      picture.removeAttribute('src');
      if (!camera) {
        showVeil(html('p', {}, t('zones.noCamera')));
        return;
      }
      if (tuning.on) return;
      const url = options.stillUrl(camera);
      if (!url) {
        showVeil(html('p', {}, t('zones.noNvr')));
        return;
      }
      showVeil(html('p', {}, icon('spinner fa-pulse'), ' ', t('zones.loading')));
      const request = askPicture(url);
      still = request;
      request.picture.then(
        (blob) => {
          if (still !== request || disposed) return;
          stillUrl = URL.createObjectURL(blob);
          showPicture(stillUrl);
          showVeil();
        },
        (error) => {
          if (still !== request || disposed) return;
          const reason = error.message ? [html('code', {}, error.message)] : [];
          showVeil(html('p', {}, html('b', {}, t('zones.noStill'))), ...reason, html('p', {}, t('zones.deployFirst')));
        },
      );
    }

    picture.addEventListener('load', () => {
      const { naturalWidth, naturalHeight } = picture;
      if (naturalWidth > 0 && naturalHeight > 0) stage.style.aspectRatio = `${naturalWidth} / ${naturalHeight}`;
      resized();
    });
    picture.addEventListener('error', () => {
      picture.hidden = true;
      if (picture.getAttribute('src')) showVeil(html('p', {}, html('b', {}, t('zones.noStill'))));
    });

    function showCamera(id, choose = null) {
      camera = id;
      cameraSelect.value = id;
      selected = choose;
      point = null;
      draft = null;
      drag = null;
      lastTag = null;
      stage.style.aspectRatio = '';
      forget();
      loadStill();
      if (tuning.on) startPolling();
      tryOut();
      render();
    }

    /** @param known `{id, label}`, best first; cameras that only zones know of are added. */
    function setCameras(known) {
      const strangers = [...new Set(zones.map((zone) => zone.camera))].filter((id) =>
        known.every((one) => one.id !== id),
      );
      cameras = [...known, ...strangers.map((id) => ({ id, label: t('zones.unknownCamera', { id }) }))];
      const wanted = cameras.some(({ id }) => id === camera) ? camera : (cameras[0]?.id ?? '');
      const choices = cameras.map(({ id, label }) => html('option', { value: id }, label));
      cameraSelect.replaceChildren(...choices);
      cameraSelect.disabled = cameras.length === 0;
      showCamera(wanted);
    }

    // ---- what is detected

    const meter = html('div', { class: 'flow-nvr-meter-fill' });
    const meterBox = html(
      'div',
      {
        class: 'flow-nvr-meter',
        role: 'meter',
        'aria-label': t('tuning.score'),
        'aria-valuemin': 0,
        'aria-valuemax': 1,
      },
      meter,
    );
    const figure = html('span', { class: 'flow-nvr-figure' });
    const chart = svg('svg', {
      class: 'flow-nvr-chart',
      viewBox: `0 0 ${HISTORY * 4} 36`,
      preserveAspectRatio: 'none',
    });
    const scene = html('span', { class: 'flow-nvr-scene' });
    const pace = html('span', { class: 'flow-nvr-pace' });
    const legend = html('div', { class: 'flow-nvr-key' });
    const heatSelect = html(
      'select',
      {
        'aria-label': t('tuning.heat'),
        onchange: () => {
          tuning.heat = heatSelect.value;
          renderTuning();
        },
      },
      ['none', 'noise', 'threshold', 'ignored'].map((value) => html('option', { value }, t(`tuning.layer.${value}`))),
    );
    panel.append(
      html('div', { class: 'flow-nvr-score' }, html('span', {}, t('tuning.score')), meterBox, figure),
      chart,
      html('div', { class: 'flow-nvr-states' }, scene, pace),
      html(
        'div',
        { class: 'flow-nvr-bar' },
        html('label', { class: 'flow-nvr-with' }, t('tuning.heat'), heatSelect),
        legend,
      ),
      html('div', { class: 'flow-nvr-note' }, t('tuning.hint')),
    );

    function forget() {
      tuning.answer = null;
      tuning.history = [];
      tuning.failure = '';
      clearCanvas();
    }

    function clearCanvas() {
      canvas.getContext('2d').clearRect(0, 0, canvas.width, canvas.height);
    }

    function drawHeat(pen, grid, name, width, height) {
      const values = bytesOf(grid[name]);
      for (let cell = 0; cell < grid.width * grid.height; cell++) {
        const value = values[cell] ?? 0;
        if (name === 'ignored' && value === 0) continue;
        pen.fillStyle = name === 'ignored' ? `rgba(255, 91, 87, ${((value / 255) * 0.7).toFixed(3)})` : heat(value);
        // Whole pixels: cells that overlapped or left a gap would show as lines.
        const [column, row] = [cell % grid.width, Math.floor(cell / grid.width)];
        const [left, right] = [column, column + 1].map((at) => Math.round((at * width) / grid.width));
        const [top, bottom] = [row, row + 1].map((at) => Math.round((at * height) / grid.height));
        pen.fillRect(left, top, right - left, bottom - top);
      }
    }

    function drawCells(pen, grid, width, height) {
      const bits = bitsOf(grid.cells, grid.width * grid.height);
      const [wideCell, highCell] = [width / grid.width, height / grid.height];
      pen.fillStyle = 'rgba(255, 214, 0, 0.4)';
      pen.strokeStyle = 'rgba(255, 214, 0, 0.95)';
      pen.lineWidth = 1;
      bits.forEach((bit, cell) => {
        if (!bit) return;
        const box = [(cell % grid.width) * wideCell, Math.floor(cell / grid.width) * highCell, wideCell, highCell];
        pen.fillRect(...box);
        pen.strokeRect(box[0] + 0.5, box[1] + 0.5, box[2] - 1, box[3] - 1);
      });
    }

    function renderCanvas() {
      const ratio = window.devicePixelRatio || 1;
      const [width, height] = [wide(), high()];
      const size = [Math.round(width * ratio), Math.round(height * ratio)];
      if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
      clearCanvas();
      const { answer } = tuning;
      if (!tuning.on || !answer) return;
      const pen = canvas.getContext('2d');
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      if (answer.grid) {
        if (tuning.heat !== 'none') drawHeat(pen, answer.grid, tuning.heat, width, height);
        drawCells(pen, answer.grid, width, height);
      }
      pen.setTransform(1, 0, 0, 1, 0, 0);
    }

    function renderLegend() {
      if (tuning.heat === 'none') legend.replaceChildren();
      else if (tuning.heat === 'ignored') {
        legend.replaceChildren(html('i', { class: 'flow-nvr-colour flow-nvr-flat' }), ' ', t('tuning.legend.ignored'));
      } else {
        const [low, most] = [t(`tuning.legend.${tuning.heat}Low`), t(`tuning.legend.${tuning.heat}High`)];
        legend.replaceChildren(low, html('i', { class: 'flow-nvr-ramp' }), most);
      }
    }

    function renderTuning() {
      const { answer, history, failure } = tuning;
      renderCanvas();
      renderLegend();
      const score = clamp(Number(answer?.score) || 0);
      meter.style.width = `${score * 100}%`;
      meterBox.classList.toggle('flow-nvr-active', Boolean(answer?.active));
      meterBox.setAttribute('aria-valuenow', score.toFixed(2));
      figure.textContent = answer ? percentOf(score) : '–';
      chart.replaceChildren(
        ...history.map(({ score: value, active }, i) => {
          const height = Math.max(1, value * 34);
          const x = (HISTORY - history.length + i) * 4;
          return svg('rect', { x, y: 36 - height, width: 3, height, class: active ? 'flow-nvr-active' : null });
        }),
      );
      const state = answer && answer.active && answer.scene === 'steady' ? 'motion' : answer?.scene;
      scene.className = `flow-nvr-scene${state === 'motion' ? ' flow-nvr-active' : ''}`;
      scene.textContent = failure || (answer ? t(`tuning.scene.${state}`) : t('tuning.waiting'));
      const mode = answer?.mode ? t(`mode.${answer.mode}`) : '';
      const rate = answer ? t('tuning.fps', { fps: Math.round((Number(answer.fps) || 0) * 10) / 10 }) : '';
      pace.textContent = [mode, rate].filter(Boolean).join(' · ');
      panel.classList.toggle('flow-nvr-failed', failure !== '');
      renderDrawing();
      renderList();
    }

    function onAnswer(answer) {
      const fresh = answer.time !== tuning.answer?.time;
      tuning.answer = answer;
      tuning.failure = '';
      if (fresh) {
        const score = clamp(Number(answer.score) || 0);
        tuning.history = [...tuning.history, { score, active: Boolean(answer.active) }].slice(-HISTORY);
      }
      if (answer.image) {
        showPicture(`data:image/jpeg;base64,${answer.image}`);
        showVeil();
      }
      renderTuning();
    }

    function onFailure(xhr) {
      forget();
      tuning.failure = reasonOf(xhr) || t('tuning.noAnswer');
      picture.hidden = true;
      picture.removeAttribute('src');
      const reason = html('code', {}, tuning.failure);
      showVeil(html('p', {}, html('b', {}, t('tuning.none'))), reason, html('p', {}, t('zones.deployFirst')));
      renderTuning();
    }

    function poll() {
      // The editor says nothing when a node is deleted from its own dialog.
      if (!root.isConnected) {
        end('cancel');
        return;
      }
      const request = ask('GET', options.tuningUrl(camera));
      tuning.request = request;
      const again = (delay) => (tuning.timer = setTimeout(poll, delay));
      request.then(
        (answer) => {
          if (tuning.request !== request) return;
          onAnswer(answer);
          again(POLL_MS);
        },
        (xhr) => {
          if (tuning.request !== request) return;
          onFailure(xhr);
          again(POLL_AFTER_FAILURE_MS);
        },
      );
    }

    function stopPolling() {
      clearTimeout(tuning.timer);
      const { request } = tuning;
      tuning.request = null;
      request?.abort();
    }

    function startPolling() {
      stopPolling();
      if (!camera) return;
      showVeil(html('p', {}, icon('spinner fa-pulse'), ' ', t('zones.loading')));
      poll();
    }

    function tune(on) {
      if (on === tuning.on) return;
      tuning.on = on;
      tuneButton.setAttribute('aria-pressed', String(on));
      tuneButton.querySelector('i').className = `fa fa-eye${on ? '-slash' : ''}`;
      tuneButton.querySelector('span').textContent = t(on ? 'tuning.hide' : 'tuning.show');
      panel.hidden = !on;
      forget();
      if (on) {
        dropStill();
        startPolling();
        tryOut();
      } else {
        stopPolling();
        withdraw();
        loadStill();
      }
      renderTuning();
      render();
    }

    // ---- trying out

    /** Sends what the dialog says now, if it is not known there yet. */
    function tryOut() {
      clearTimeout(trial.timer);
      if (!tuning.on || !camera) return;
      trial.timer = setTimeout(() => {
        const settings = { ...options.settings(), zones: own() };
        const text = JSON.stringify(settings);
        if (trial.sent[camera] === text) return;
        trial.sent[camera] = text;
        trial.cameras.add(camera);
        ask('POST', options.tuningUrl(camera), settings).catch(() => (trial.sent = {}));
      }, SEND_AFTER_MS);
    }

    /** Back to what is deployed. */
    function withdraw() {
      clearTimeout(trial.timer);
      for (const id of trial.cameras) ask('POST', `${options.tuningUrl(id)}/restore`, {});
      trial.cameras.clear();
      trial.sent = {};
    }

    // ---- life

    function resized() {
      if (disposed) return;
      renderDrawing();
      renderCanvas();
    }

    const watcher = new ResizeObserver(resized);
    watcher.observe(stage);
    root.addEventListener('keydown', onKey);
    drawing.addEventListener('pointerdown', onPointerDown);
    drawing.addEventListener('pointermove', onPointerMove);
    drawing.addEventListener('pointerup', onPointerUp);
    drawing.addEventListener('pointercancel', () => drag && cancelDrag());
    drawing.addEventListener('pointerleave', () => {
      if (!draft || drag || !draft.cursor) return;
      draft.cursor = null;
      renderDrawing();
    });

    /** `save` leaves what is tried out until the Deploy; `cancel` takes it back. */
    function end(how) {
      if (how === 'cancel') withdraw();
      disposed = true;
      clearTimeout(trial.timer);
      stopPolling();
      dropStill();
      watcher.disconnect();
    }

    return {
      setCameras,
      reload: loadStill,
      /** To be called when one of the `settings()` was changed. */
      settingsChanged: () => {
        renderList();
        tryOut();
      },
      /** Draws a box of this share of the picture's area, for comparison; null for none. */
      showSize: (percent) => {
        sample = percent;
        renderDrawing();
      },
      /** What is to be stored; a polygon that only lacks its closing click counts. */
      zones: () => {
        closeDraft();
        return JSON.parse(JSON.stringify(zones));
      },
      end,
    };
  }

  window.flowNvrZones = { create, geometry };
})();
