/**
 * The ways to cameras in camera-source's dialog: found in the network (ONVIF), read from a list, or by their maker. Sets
 * `window.flowNvrFinder`; its texts come from the dialog, and what it adds to the flow goes through the editor.
 */
(function () {
  'use strict';

  const RESOURCES = 'resources/@flow-nvr/node-red-dashboard-2-nvr/';
  /** Small devices and small computers: pictures are asked for two at a time. */
  const AT_ONCE = 2;
  const CLOCK_MS = 5000;
  const ROW = 60;

  const STYLE = `
    .flow-nvr-panel { margin: 6px 0 12px; padding: 12px; border: 1px solid var(--red-ui-secondary-border-color); border-radius: 4px; background: var(--red-ui-secondary-background); }
    .flow-nvr-panel:empty { display: none; }
    .flow-nvr-panel .flow-nvr-bar { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; }
    .flow-nvr-panel .flow-nvr-bar > input { flex: 1 1 110px; min-width: 0; width: auto; margin: 0; }
    .flow-nvr-panel .flow-nvr-bar > select { flex: 1 1 150px; width: auto; min-width: 0; margin: 0; }
    .flow-nvr-panel .flow-nvr-say { margin: 8px 0 0; line-height: 18px; }
    .flow-nvr-panel .flow-nvr-soft { color: var(--red-ui-tertiary-text-color); font-size: 12px; line-height: 16px; }
    .flow-nvr-panel .flow-nvr-wrong { color: var(--red-ui-text-color-error); }
    .flow-nvr-panel .flow-nvr-rows { max-height: 340px; margin-top: 10px; overflow-y: auto; }
    .flow-nvr-panel .flow-nvr-device { display: flex; gap: 10px; align-items: center; padding: 7px 2px; border-top: 1px solid var(--red-ui-secondary-border-color); }
    .flow-nvr-panel .flow-nvr-device > input { flex: none; width: auto; margin: 0; }
    .flow-nvr-panel .flow-nvr-still { flex: none; display: flex; align-items: center; justify-content: center; width: 96px; height: 54px; border-radius: 3px; overflow: hidden; background: var(--red-ui-tertiary-background); color: var(--red-ui-tertiary-text-color); }
    .flow-nvr-panel .flow-nvr-still img { width: 100%; height: 100%; object-fit: cover; }
    .flow-nvr-panel .flow-nvr-facts { flex: 1; min-width: 0; line-height: 18px; overflow-wrap: anywhere; }
    .flow-nvr-panel .flow-nvr-facts b { display: block; }
    .flow-nvr-panel textarea { box-sizing: border-box; width: 100%; height: 92px; margin: 8px 0; font-family: var(--red-ui-monospace-font); font-size: 12px; white-space: pre; }
    .flow-nvr-panel table { width: 100%; border-collapse: collapse; font-size: 12px; }
    .flow-nvr-panel th, .flow-nvr-panel td { padding: 3px 8px 3px 0; text-align: left; vertical-align: top; overflow-wrap: anywhere; border-top: 1px solid var(--red-ui-secondary-border-color); }
    .flow-nvr-panel th { border: 0; }
    .flow-nvr-panel .flow-nvr-add { margin-top: 10px; }`;

  /** A difference of clocks in words: seconds, minutes or hours. */
  function ago(ms) {
    const seconds = Math.round(Math.abs(ms) / 1000);
    if (seconds < 120) return `${seconds} s`;
    const minutes = Math.round(seconds / 60);
    return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  }

  /** Runs jobs, some at a time, in their order. */
  function line(limit) {
    const waiting = [];
    let running = 0;
    const next = () => {
      while (running < limit && waiting.length > 0) {
        running++;
        waiting
          .shift()()
          .always(() => {
            running--;
            next();
          });
      }
    };
    return (job) => {
      waiting.push(job);
      next();
    };
  }

  /**
   * @param api `text(key, values)`, `account()`, `fill(camera)` for the form, `rules()` for lists, `node` that is edited
   */
  function create(api) {
    const place = $('#flow-nvr-panel');
    if ($('#flow-nvr-finder-style').length === 0) $('<style id="flow-nvr-finder-style">').text(STYLE).appendTo('head');
    const requests = new Set();
    const say = (key, values) => api.text('find.' + key, values);
    let open = '';

    /** Ended with the dialog; its `always` is called in any case. */
    function post(path, body) {
      const sent = { url: 'nvr/' + path, type: 'POST', contentType: 'application/json', data: JSON.stringify(body) };
      const request = $.ajax(sent);
      requests.add(request);
      return request.always(() => requests.delete(request));
    }

    function close() {
      open = '';
      for (const request of requests) request.abort();
      requests.clear();
      place.empty();
    }

    function show(name, build) {
      const again = open === name;
      close();
      if (again) return;
      open = name;
      build();
    }

    const button = (key, icon, act) =>
      $('<button type="button" class="red-ui-button">')
        .append(icon ? $('<i>').addClass('fa ' + icon) : '', icon ? ' ' : '', document.createTextNode(say(key)))
        .on('click', act);

    // ---- in the network

    function network() {
      const where = $('<input type="text" spellcheck="false">').attr({
        placeholder: say('where'),
        'aria-label': say('where'),
      });
      const [username, password] = ['text', 'password'].map((type, i) =>
        $('<input>').attr({
          type,
          autocomplete: i ? 'new-password' : 'off',
          placeholder: say(i ? 'password' : 'username'),
          'aria-label': say(i ? 'password' : 'username'),
        }),
      );
      const typed = api.account();
      username.val(typed.username);
      if (typed.password !== '__PWRD__') password.val(typed.password);
      const search = button('search', 'fa-search', () => look());
      const said = $('<div class="flow-nvr-say" aria-live="polite">');
      const rows = $('<div class="flow-nvr-rows">').hide();
      const add = button('add', 'fa-plus', () => addChosen()).hide();
      const askAgain = button('askAgain', 'fa-refresh', () =>
        devices.filter(({ refused }) => refused).forEach(ask),
      ).hide();
      place.append(
        $('<div class="flow-nvr-bar">').append(where, search),
        $('<div class="flow-nvr-bar" style="margin-top: 8px">').append(username, password, askAgain),
        $('<div class="flow-nvr-soft" style="margin-top: 4px">').text(say('accountHint')),
        ...[said, rows, $('<div class="flow-nvr-add">').append(add)],
      );
      where.on('keydown', (event) => event.key === 'Enter' && (event.preventDefault(), look()));
      let devices = [];
      const queue = line(AT_ONCE);
      const access = (device) => ({
        ...{ id: api.node.id, address: device.address, anyCertificate: device.anyCertificate },
        ...{ username: device.username, password: device.password },
      });

      function look() {
        said.empty().append('<i class="fa fa-spinner fa-pulse"></i> ', document.createTextNode(say('running')));
        rows.empty().hide();
        add.hide();
        askAgain.hide();
        search.prop('disabled', true);
        post('onvif/discover', { address: where.val().trim() })
          .then(
            (answer) => list(answer.devices),
            (xhr) =>
              xhr.statusText !== 'abort' &&
              said.text((xhr.responseJSON && xhr.responseJSON.message) || say('noAnswer', { status: xhr.status })),
          )
          .always(() => search.prop('disabled', false));
      }

      function list(found) {
        devices = found.map((device) => ({ ...device, chosen: false, anyCertificate: false }));
        said.text(devices.length ? say('count', { count: devices.length }) : say('none'));
        rows.toggle(devices.length > 0);
        for (const device of devices) {
          device.row = $('<div class="flow-nvr-device">').appendTo(rows);
          // Anything in the network can answer that it is a camera: it gets the account when it was picked.
          draw(device);
        }
      }

      /** What it is, with the account that is in the fields now: for a device that the user has picked. */
      function ask(device) {
        device.picked = true;
        device.username = username.val();
        device.password = password.val() || typed.password;
        device.refused = false;
        device.problem = null;
        device.busy = true;
        draw(device);
        queue(() =>
          post('onvif/profiles', access(device))
            .then(
              (result) => {
                device.busy = false;
                if (!result.ok) {
                  device.refused = result.reason === 'auth';
                  device.certificate = result.reason === 'certificate';
                  device.problem = device.refused ? say('auth') : result.message;
                  return;
                }
                Object.assign(device, { result, chosen: true, offset: result.clockOffsetMs });
                still(device);
              },
              (xhr) => {
                const { reason, message } = xhr.responseJSON || {};
                device.busy = false;
                device.refused = reason === 'password';
                device.problem = device.refused
                  ? api.text('advice.password')
                  : message || say('noAnswer', { status: xhr.status });
              },
            )
            .always(() => draw(device)),
        );
      }

      function still(device) {
        const shown = (image) => {
          device.still = image;
          draw(device);
        };
        const stream = () => {
          const url = device.result.sub || device.result.main;
          const body = { ...access(device), url, transport: 'tcp', nvr: $('#node-input-nvr').val() };
          return post('test-stream', body).then(
            (result) => shown(result.ok ? result.still : ''),
            () => shown(''),
          );
        };
        // Its own picture is quick; where it has none, one is taken of its stream.
        queue(() =>
          post('onvif/still', access(device)).then((answer) => shown('data:image/jpeg;base64,' + answer.still), stream),
        );
      }

      function setClock(device) {
        const name = nameOf(device);
        if (!window.confirm(say('confirmClock', { name }))) return;
        device.setting = true;
        draw(device);
        post('onvif/clock', access(device))
          .then(
            (answer) => (device.offset = answer.clockOffsetMs),
            (xhr) =>
              (device.problem =
                (xhr.responseJSON && xhr.responseJSON.message) || say('noAnswer', { status: xhr.status })),
          )
          .always(() => {
            device.setting = false;
            draw(device);
          });
      }

      function draw(device) {
        const { result } = device;
        const box = $('<input type="checkbox">')
          .prop({ checked: device.chosen, disabled: !result })
          .attr('aria-label', nameOf(device));
        box.on('change', () => {
          device.chosen = box.prop('checked');
          count();
        });
        const picture = $('<div class="flow-nvr-still">');
        if (device.still) picture.append($('<img>').attr({ src: device.still, alt: api.text('test.still') }));
        else
          picture.append(
            $('<i>').addClass(
              device.busy || (result && device.still === undefined) ? 'fa fa-spinner fa-pulse' : 'fa fa-video-camera',
            ),
          );
        const facts = $('<div class="flow-nvr-facts">').append($('<b>').text(nameOf(device)));
        const soft = (text) => facts.append($('<div class="flow-nvr-soft">').text(text));
        soft([device.hardware, device.host].filter(Boolean).join(' · '));
        if (device.from) facts.append($('<div class="flow-nvr-wrong">').text(say('otherHost', { from: device.from })));
        if (result) {
          const sizes = result.profiles.map(({ width, height, encoding }) => `${width}×${height} ${encoding}`);
          const can = [result.ptz && say('ptz'), result.events && say('events')];
          soft([...new Set(sizes)].slice(0, 3).concat(can.filter(Boolean)).join(' · '));
          if (Math.abs(device.offset) > CLOCK_MS) {
            const way = device.offset > 0 ? 'clockAhead' : 'clockBehind';
            const line = $('<div>').append(
              $('<span class="flow-nvr-wrong">').text(say(way, { time: ago(device.offset) })),
              ' ',
            );
            const set = $('<button type="button" class="red-ui-button red-ui-button-small">')
              .text(say('setClock'))
              .prop('disabled', Boolean(device.setting));
            facts.append(line.append(set.on('click', () => setClock(device))));
          }
        }
        if (device.problem) facts.append($('<div class="flow-nvr-wrong">').text(device.problem));
        const act = $('<div>');
        if (result) act.append(button('use', '', () => use(device)));
        else if (!device.picked) act.append(button('connect', '', () => ask(device)));
        else if (device.certificate)
          act.append(
            button('trust', '', () => ((device.anyCertificate = true), (device.certificate = false), ask(device))),
          );
        else if (!device.busy && !device.refused) act.append(button('askAgain', '', () => ask(device)));
        device.row.empty().append(box, picture, facts, act);
        count();
      }

      function count() {
        const chosen = devices.filter((device) => device.result && device.chosen).length;
        add
          .toggle(chosen > 0)
          .contents()
          .last()
          .replaceWith(document.createTextNode(say('add', { count: chosen })));
        askAgain.toggle(devices.some(({ refused }) => refused));
      }

      const nameOf = ({ name, result, host }) =>
        name || (result && `${result.manufacturer} ${result.model}`.trim()) || host;
      const cameraOf = (device) => ({
        ...{ name: nameOf(device), url: device.result.main, subUrl: device.result.sub, onvif: device.address },
        ...{
          anyCertificate: device.anyCertificate,
          username: device.username,
          password: device.password,
          ptz: device.result.ptz,
        },
      });

      function use(device) {
        api.fill(cameraOf(device));
        close();
        const notes = [say('taken', { count: device.result.profiles.length })];
        if (device.result.ptz) notes.push(say('ptzHint'));
        place.text(notes.join(' '));
      }

      function addChosen() {
        const chosen = devices.filter((device) => device.result && device.chosen).map(cameraOf);
        finish(chosen);
      }

      look();
    }

    /** Nodes for cameras; the first goes into the form where nothing is in it yet. */
    function finish(cameras) {
      const rest = api.isEmpty() ? cameras.slice(1) : cameras;
      if (rest.length < cameras.length) api.fill(cameras[0]);
      const added = rest.length > 0 ? addNodes(api, rest) : 0;
      close();
      place.text(say(rest.length < cameras.length ? 'addedAndFilled' : 'added', { count: added }));
    }

    // ---- a list

    function list() {
      const text = $('<textarea spellcheck="false">').attr({
        placeholder: say('listExample'),
        'aria-label': say('list'),
      });
      const file = $('<input type="file" accept=".csv,.json,.txt,text/csv,application/json" style="display: none">');
      const preview = $('<div aria-live="polite">');
      const add = button('add', 'fa-plus', () => finish(good())).hide();
      let cameras = [];
      const good = () => cameras.filter(({ problem }) => !problem);
      file.on('change', () => {
        const [chosen] = file.prop('files');
        if (chosen) chosen.text().then((content) => text.val(content).trigger('input'));
      });
      text.on('input', () => {
        preview.empty();
        add.hide();
        if (!text.val().trim()) return;
        const read = window.flowNvrCameraList.parse(text.val(), api.rules());
        cameras = read.cameras;
        if (read.problem) preview.append($('<div class="flow-nvr-wrong">').text(say('listProblem.' + read.problem)));
        if (cameras.length === 0) return;
        const table = $('<table>').appendTo($('<div class="flow-nvr-rows">').appendTo(preview));
        table.append(
          $('<tr>').append(['line', 'camera', 'stream', 'account'].map((key) => $('<th>').text(say('column.' + key)))),
        );
        for (const camera of cameras) {
          const stream = $('<td>').text(camera.url || camera.onvif);
          if (camera.problem)
            stream.append(
              $('<div class="flow-nvr-wrong">').text(say('listProblem.' + camera.problem, { id: camera.id })),
            );
          const name = camera.name && camera.name !== camera.id ? `${camera.name} (${camera.id})` : camera.id;
          const account = camera.username ? `${camera.username}${camera.password ? ' ••••' : ''}` : '–';
          table.append(
            $('<tr>').append($('<td>').text(camera.line), $('<td>').text(name), stream, $('<td>').text(account)),
          );
        }
        const count = good().length;
        const wrong = cameras.length - count;
        if (wrong > 0)
          preview.append($('<div class="flow-nvr-say flow-nvr-wrong">').text(say('listWrong', { count: wrong })));
        add
          .toggle(count > 0)
          .contents()
          .last()
          .replaceWith(document.createTextNode(say('add', { count })));
      });
      place.append(
        $('<div class="flow-nvr-bar">').append(
          button('file', 'fa-upload', () => file.trigger('click')),
          $('<span class="flow-nvr-soft">').text(say('listHint')),
        ),
        ...[file, text, preview, $('<div class="flow-nvr-add">').append(add)],
      );
    }

    // ---- by maker

    function maker() {
      const select = $('<select>').attr('aria-label', say('maker'));
      const host = $('<input type="text" spellcheck="false">').attr({
        placeholder: say('host'),
        'aria-label': say('host'),
      });
      const note = $('<div class="flow-nvr-soft flow-nvr-say">');
      const take = button('fillIn', 'fa-check', () => {
        const pattern = select.data('patterns')[Number(select.val())];
        const name = host.val().trim();
        if (!pattern || !name) return host.trigger('focus');
        const filled = (address) => address.replace('{host}', name);
        api.fill({ url: filled(pattern.main), subUrl: filled(pattern.sub) });
        note.text(say('filled'));
        return undefined;
      });
      place.append($('<div class="flow-nvr-bar">').append(select, host, take), note);
      host.on('keydown', (event) => event.key === 'Enter' && (event.preventDefault(), take.trigger('click')));
      $.getJSON(RESOURCES + 'rtsp-patterns.json').then(
        (patterns) => {
          select.data('patterns', patterns);
          patterns.forEach((pattern, i) => $('<option>').val(i).text(pattern.maker).appendTo(select));
          const tell = () => {
            const { note: key, source, main } = patterns[Number(select.val())];
            note.empty().append($('<code>').text(main.replace('{host}', say('hostWord'))), ' ');
            if (key) note.append(document.createTextNode(say('makerNote.' + key) + ' '));
            note.append($('<a target="_blank" rel="noopener noreferrer">').attr('href', source).text(say('source')));
          };
          select.on('change', tell);
          tell();
        },
        () => note.text(say('noAnswer', { status: 404 })),
      );
    }

    return {
      network: () => show('network', network),
      list: () => show('list', list),
      maker: () => show('maker', maker),
      close,
    };
  }

  /**
   * Camera-sources below what is on the tab, wired to what this one is wired to, or to the recorders of its NVR; a recorder
   * of their own where there is none. One that can be steered gets a ptz node. One step back (Ctrl-Z) takes all away.
   */
  function addNodes({ node, nvr, idsInUse }, cameras) {
    const { slug } = window.flowNvrCameraList;
    const tab = node.z || RED.workspaces.active();
    const here = [];
    RED.nodes.eachNode((other) => other.z === tab && here.push(other));
    const sources = here.filter((other) => other.type === 'camera-source');
    const own = RED.nodes.getNodeLinks(node).filter((link) => link.source === node && link.sourcePort === 0);
    const recorders = here.filter((other) => other.type === 'recorder' && other.nvr === nvr);
    let targets = own.length > 0 ? own.map((link) => link.target.id) : recorders.slice(0, 1).map(({ id }) => id);
    const left = sources.length > 0 ? Math.min(...sources.map(({ x }) => x)) : 160;
    const top = Math.max(0, ...here.map(({ y }) => y || 0)) + ROW;
    const nodes = [];
    let created = null;
    const existing = targets.map((id) => RED.nodes.node(id));
    if (targets.length === 0) {
      const recorder = {
        id: RED.nodes.id(),
        type: 'recorder',
        z: tab,
        name: '',
        nvr,
        mode: 'continuous',
        streams: 'main',
      };
      nodes.push({
        ...recorder,
        preRoll: 5,
        postRoll: 10,
        segment: 60,
        schedule: [],
        x: left + 280,
        y: top,
        wires: [[], []],
      });
      targets = [recorder.id];
      created = recorder.id;
    }
    const taken = new Set(idsInUse());
    cameras.forEach((camera, i) => {
      const wanted = camera.id || slug(camera.name) || 'camera';
      let id = wanted;
      for (let number = 2; taken.has(id); number++) id = `${wanted.slice(0, 58)}-${number}`;
      taken.add(id);
      const account = camera.username
        ? { credentials: { username: camera.username, password: realPassword(node, camera) } }
        : {};
      nodes.push({
        ...{
          id: RED.nodes.id(),
          type: 'camera-source',
          z: tab,
          name: camera.name || id,
          nvr,
          camera: id,
          url: camera.url,
          subUrl: camera.subUrl || '',
        },
        ...{ onvif: camera.onvif || '', anyCertificate: Boolean(camera.anyCertificate), transport: 'tcp', audio: true },
        ...{ x: left, y: top + i * ROW, wires: [existing.length > 0 ? [] : targets, []], ...account },
      });
      if (!camera.ptz) return;
      nodes.push({
        ...{
          id: RED.nodes.id(),
          type: 'ptz',
          z: tab,
          name: '',
          nvr,
          camera: id,
          address: '',
          moveTimeout: 5,
          panTiltTravel: '',
          zoomTravel: '',
        },
        ...{
          events: true,
          allEvents: false,
          anyCertificate: false,
          idle: 60,
          rules: [],
          x: left + 560,
          y: top + i * ROW,
          wires: [[], []],
        },
      });
    });
    const result = RED.nodes.import(nodes, { markChanged: true });
    const made = (result && result.nodes) || nodes.map(({ id }) => RED.nodes.node(id));
    const links = [];
    const connect = (source, target) => {
      const link = { source, sourcePort: 0, target };
      RED.nodes.addLink(link);
      links.push(link);
    };
    if (created) connect(node, RED.nodes.node(created));
    for (const one of made) {
      Object.assign(one, { changed: true, dirty: true });
      if (one.type !== 'camera-source') continue;
      // What was there already is not found by the import.
      for (const target of existing) connect(one, target);
    }
    RED.history.push({ t: 'add', nodes: made.map(({ id }) => id), links, dirty: RED.nodes.dirty() });
    RED.nodes.dirty(true);
    RED.view.redraw(true);
    return cameras.length;
  }

  /** What the editor knows of a stored password is that there is one; it cannot be given to another node. */
  function realPassword(node, { password }) {
    return password === '__PWRD__' ? '' : password;
  }

  window.flowNvrFinder = { create, ago };
})();
