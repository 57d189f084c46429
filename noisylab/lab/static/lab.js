// The lab's page. Python computes every number and says what there is (`state`, `curves`, `images`, `frames`); here it is
// drawn. Buttons and controls say what is wanted.

// Small pictures for the buttons, drawn: not every machine has these letters.
const ICONS = { start: 'M3 1l10 6-10 6z', pause: 'M2 1h4v12H2zM8 1h4v12H8z', step: 'M1 1l8 6-8 6zM10 1h3v12h-3z', stop: 'M2 2h10v10H2z', anew: 'M7 1a6 6 0 1 0 6 6h-2.2A3.8 3.8 0 1 1 7 3.2V6l5-3.6L7-1z', fork: 'M2 0h3v4l5 3V5l4 3.5-4 3.5V9.6L5 6.7V14H2z' };
function icon(name) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', 'svg'), p = document.createElementNS(e.namespaceURI, 'path');
  e.setAttribute('viewBox', '0 -1 14 16'); e.setAttribute('class', 'nl-icon'); e.setAttribute('aria-hidden', 'true');
  p.setAttribute('d', ICONS[name]); e.append(p);
  return e;
}
const label = (b, name, text) => { if (b.dataset.label !== text) { b.dataset.label = text; b.replaceChildren(icon(name), text); } };

const COLOURINGS = [['given', 'given label'], ['true', 'true label'], ['pred', 'prediction'], ['cluster', 'cluster'], ['loss', 'loss'], ['wrong', 'label is wrong']];

// Pinned images: original, augmented, restored, error; the operations above.
class Restorations {
  constructor(root, box) {
    this.root = root; this.hold = h('div', { class: 'nl-plot nl-restored' });
    box.append(this.hold);
    this.surface = new Surface(this.hold, (g, w, t) => this.paint(g, w, t), 'pinned images: original, augmented, restored, error');
  }
  show(f) {
    if (f && f.pins && this.f !== f) {
      const [p, H, W, C] = f.pins.shape, pics = v => bytesOf(v) && new Pictures(bytesOf(v), p, H, W, C);
      const error = bytesOf(f.pins.error);
      this.rows = [['original', pics(f.pins.original)], ['augmented', pics(f.pins.augmented)]];
      if (error) {
        const heat = new Uint8Array(3 * error.length);
        error.forEach((e, i) => heat.set(cividis(e / 255), 3 * i));
        this.rows.push(['restored', pics(f.pins.restored)], ['error', new Pictures(heat, p, H, W, 3)]);
      }
    }
    this.f = f; this.surface.draw();
  }
  paint(g, w, t) {
    const c = theme(this.root), f = this.f;
    if (!f || !f.pins) return say(g, w, t, 'original, augmented and restored images appear here once training has begun', c);
    const n = this.rows.length, p = f.pins.shape[0], L = 72, T = 30, B = n < 4 ? 24 : 2, gap = 4;
    const s = Math.max(8, Math.min(this.small ? 56 : 88, (w - L) / p - gap)), tall = Math.ceil(T + B + n * (s + gap));
    if (this.tall !== tall) { this.tall = tall; this.hold.style.height = tall + 'px'; return; }     // drawn again at once
    g.font = `10px ${c.font}`; g.fillStyle = c.soft; g.textBaseline = 'middle'; g.textAlign = 'center';
    f.pins.ops.forEach((text, i) => (text || '–').split(', ').slice(0, 3).forEach((op, k, all) => {
      let s1 = op; while (g.measureText(s1).width > s + gap && s1.length > 3) s1 = s1.slice(0, -2) + '…';
      g.fillText(s1, L + i * (s + gap) + s / 2, T - 8 - 11 * (all.length - 1 - k));
    }));
    g.font = `11px ${c.font}`;
    this.rows.forEach(([name, pics], k) => {
      g.fillStyle = c.soft; g.textAlign = 'right'; g.fillText(name, L - 8, T + k * (s + gap) + s / 2);
      for (let i = 0; i < p; i++) pics.draw(g, i, L + i * (s + gap), T + k * (s + gap), s);
    });
    if (n < 4) { g.textAlign = 'left'; g.fillText('no decoder: nothing is restored', L, T + n * (s + gap) + 12); }
  }
  close() { this.surface.close(); }
}

class App {
  constructor(model, el) {
    Object.assign(this, { model, el, closers: [], at: -1, playing: null, typing: {} });
    this.fixed = model.get('fixed');
    this.root = h('div', { class: 'noisylab' });
    el.append(this.root);
    this.look = { palette: this.fixed.palette, symbols: this.fixed.symbols };
    this.build();
    for (const [name, f] of Object.entries({ state: () => this.state(), curves: () => this.curves(), images: () => this.images(), frames: () => this.frames() })) {
      model.on('change:' + name, f, this);
    }
    this.mood = new MutationObserver(() => this.theme());
    this.mood.observe(document.body, { attributes: true, attributeFilter: ['data-jp-theme-light', 'data-jp-theme-name', 'class'] });
    this.state(); this.images(); this.curves(); this.frames(); this.theme();
    this.kernel = model.widget_manager?.kernel?.statusChanged;     // JupyterLab's; elsewhere nobody says that it ends
    this.ends = (_, status) => { if (['restarting', 'autorestarting', 'terminating', 'dead'].includes(status)) this.gone(); };
    this.kernel?.connect(this.ends);
  }
  gone() {
    this.root.dataset.status = 'gone'; this.status.dataset.kind = 'warning';
    this.status.textContent = 'The kernel of this lab has ended, and its runs with it. Run the cell again for a new one.';
    for (const e of this.root.querySelectorAll('.nl-head button, .nl-bar *, .nl-controls *, .nl-runs *, .nl-timeline *')) e.disabled = true;
    clearInterval(this.playing);
  }
  theme() { setTimeout(() => { for (const v of this.drawn) v.surface.draw(); }, 60); }
  send(what, more = {}) { this.model.send({ do: what, ...more }); }
  colour(i) { return this.look.palette[[0, 1, 2, 3, 6, 9][i % 6]]; }

  // ---- what stands on the page
  build() {
    const button = (id, text, title, f) => { const b = h('button', { class: `nl-button nl-${id}`, title, onclick: f, type: 'button' }, ...ICONS[id] ? [icon(id)] : [], text); this.buttons[id] = b; return b; };
    this.buttons = {};
    this.presets = h('div', { class: 'nl-presets', role: 'group', 'aria-label': 'presets' }, ...this.fixed.presets.map(p =>
      h('button', { class: 'nl-preset', type: 'button', title: p.hint, 'data-name': p.name, onclick: () => { this.typing = {}; this.send('preset', { name: p.name }); } }, h('b', {}, p.title), h('span', {}, p.line))));
    this.folder = h('input', { type: 'text', value: 'runs/lab', 'aria-label': 'folder for Save and Load', class: 'nl-folder', size: 12 });
    const bar = h('div', { class: 'nl-bar', role: 'toolbar', 'aria-label': 'run' },
      button('start', 'Start', 'Start a new run with the settings on the left', () => this.send('start')),
      button('pause', 'Pause', 'Hold after the step that is running; again to go on', () => this.send('pause')),
      button('step', 'Step one epoch', 'Train to the end of one epoch, then hold', () => this.send('step')),
      button('stop', 'Stop', 'End this run', () => this.send('stop')),
      button('fork', 'Fork', 'A second run from this state, with the settings on the left', () => this.send('fork')),
      h('span', { class: 'nl-gap' }),
      this.folder,
      button('save', 'Save', 'Write spec, history and checkpoint to that folder', () => this.send('save', { folder: this.folder.value })),
      button('load', 'Load', 'Open a run from that folder', () => this.send('load', { folder: this.folder.value })));
    this.progress = h('progress', { max: 1, value: 0, 'aria-label': 'progress of the run' });
    this.speed = h('span', { class: 'nl-speed' });
    this.status = h('div', { class: 'nl-status', role: 'status', 'aria-live': 'polite' });
    this.runs = h('div', { class: 'nl-runs', role: 'group', 'aria-label': 'runs' });
    this.slider = h('input', { type: 'range', min: 0, max: 1, step: 1, value: 1, class: 'nl-time', 'aria-label': 'epoch shown', oninput: () => this.scrub(+this.slider.value) });
    this.play = h('button', { class: 'nl-button nl-play', type: 'button', title: 'Play the epochs as an animation', onclick: () => this.animate(), 'aria-label': 'play' }, icon('start'));
    this.live = h('button', { class: 'nl-button nl-live', type: 'button', title: 'Follow the training', onclick: () => this.follow() }, 'Live');
    this.when = h('span', { class: 'nl-when' });
    this.tiles = h('div', { class: 'nl-tiles' });
    this.controls = h('form', { class: 'nl-controls', 'aria-label': 'settings', onsubmit: e => e.preventDefault() });
    this.views = h('div', { class: 'nl-views' });
    this.root.append(
      h('header', { class: 'nl-head' }, h('div', { class: 'nl-title' }, h('b', {}, 'noisylab'), h('span', {}, 'watch a network learn from wrong labels')), this.presets),
      bar, h('div', { class: 'nl-progress' }, this.progress, this.speed), this.status,
      h('div', { class: 'nl-body' }, this.controls,
        h('main', { class: 'nl-main' }, this.runs, h('div', { class: 'nl-timeline' }, this.play, this.slider, this.when, this.live), this.tiles, this.views)));
    this.makeControls(); this.makeViews();
  }
  card(kind, ...inside) { const c = h('section', { class: `nl-card nl-${kind}` }, ...inside); this.views.append(c); return c; }
  makeViews() {
    const R = this.root, views = this.fixed.views, first = views.findIndex(v => v.kind !== 'lines'), top = first < 0 ? views.length : first;
    this.drawings = [];
    for (const v of views.slice(0, top)) this.makeView(v, 'curve');
    this.by = h('select', { 'aria-label': 'colour the map by', onchange: () => { for (const m of this.maps) m.colourBy(this.by.value); this.legend(); } }, ...COLOURINGS.map(([v, t]) => h('option', { value: v }, t)));
    this.beside = h('select', { 'aria-label': 'show another run beside', onchange: () => this.send('beside', { run: +this.beside.value }) });
    this.key = h('div', { class: 'nl-key' });
    this.hint = h('span', { class: 'nl-hint' }, 'hover, click, lasso');
    const mapBox = this.card('mapcard', h('h3', {}, 'Map of the features', h('label', {}, 'colour by ', this.by), h('label', { class: 'nl-beside' }, 'beside ', this.beside), this.hint));
    const pair = h('div', { class: 'nl-pair' }), side = [h('div'), h('div', { hidden: true })];
    pair.append(...side); mapBox.append(pair, this.key);
    this.sides = side; this.names = side.map(s => { const n = h('div', { class: 'nl-name' }); s.append(n); return n; });
    this.maps = side.map((s, k) => new MapView(R, s, this.look, (at, title) => this.grid(k, at, title), i => this.describe(k, i)));
    const rest = this.card('restcard', h('h3', {}, 'Restoration', h('span', { class: 'nl-hint' }, 'of augmented images; error: mean absolute difference')));
    this.restored = [0, 1].map(k => { const s = h('div', { class: 'nl-restbox', hidden: k > 0 }); rest.append(s); return Object.assign(new Restorations(R, s), { box: s }); });
    this.picked = this.card('picked'); this.picked.hidden = true;
    for (const v of views.slice(top)) this.makeView(v, v.kind === 'heat' ? 'matrix' : v.kind === 'pictures' ? 'suspects' : 'third');
    this.drawn = [...this.maps, ...this.restored, ...this.drawings.map(v => v.drawing)].filter(d => d.surface);
  }
  makeView(v, kind) {      // one of the views that Python lists; its numbers come with `curves` or with `frames`
    const box = this.card(kind), R = this.root;
    box.dataset.view = v.name; box.classList.toggle('nl-wide', v.wide);
    const make = { lines: () => new Lines(R, box, v.title), areas: () => new Areas(R, box, v.title), histogram: () => new Histogram(R, box, v.title, v.hint, v.names[0]),
      heat: () => new Heat(R, box, v.title, v.names[1] || '', v.names[0] || ''), bars: () => new Bars(box, v.title, v.hint, v.names), pictures: () => new Tiles(box, v.title, v.hint) };
    const pal = this.look.palette, colour = i => pal[(v.colors.length ? v.colors[i % v.colors.length] : i) % pal.length];
    if (v.hint && ['lines', 'areas', 'heat'].includes(v.kind)) box.title = v.hint;
    this.drawings.push({ ...v, colour, overTime: ['lines', 'areas'].includes(v.kind), drawing: make[v.kind]() });
  }

  // ---- settings
  makeControls() {
    this.fields = {};
    for (const [group, title] of this.fixed.groups) {
      const set = h('fieldset', {}, h('legend', {}, title));
      for (const c of this.fixed.controls.filter(c => c.group === group)) set.append(this.control(c));
      this.controls.append(set);
    }
    this.controls.append(h('p', { class: 'nl-note' }, h('i', { class: 'nl-dot' }), ' acts on the running training from the next step on; the others apply from the next start.'));
  }
  control(c) {
    const id = `nl-${c.key}-${Math.random().toString(36).slice(2, 7)}`, out = h('output', { htmlFor: id });
    let input, box = null;
    const wish = v => { this.typing[c.key] = performance.now(); clearTimeout(c.timer); c.timer = setTimeout(() => this.send('set', { key: c.key, value: v }), 180); };
    if (c.kind === 'choice') input = h('select', { id, onchange: () => wish(input.value === '' ? null : input.value) }, ...c.options.map(o => h('option', { value: o }, o)));
    else if (c.kind === 'text') input = h('input', { id, type: 'text', placeholder: 'auto', onchange: () => wish(input.value || null) });
    else if (c.kind === 'whole') input = h('input', { id, type: 'number', min: c.min, max: c.max, step: c.step, placeholder: 'auto', onchange: () => wish(input.value === '' ? null : Math.round(+input.value)) });
    else {      // sliders; those with many orders of magnitude are logarithmic
      const value = () => c.log ? +(10 ** +input.value).toPrecision(2) : +input.value;
      const shown = () => { out.textContent = c.unit === '%' ? Math.round(100 * value()) + '%' : fmt(value()); };
      input = h('input', { id, type: 'range', min: c.log ? Math.log10(c.min) : c.min, max: c.log ? Math.log10(c.max) : c.max, step: c.log ? .01 : c.step, oninput: () => { shown(); if (box) box.checked = value() > 0; wish(value()); } });
      input.show = v => { input.value = c.log ? Math.log10(Math.max(c.min, v)) : v; shown(); };
      if (c.kind === 'weight') box = h('input', { type: 'checkbox', 'aria-label': `${c.label} on or off`, onchange: () => {
        const v = box.checked ? (c.was || 1) : 0; if (!box.checked) c.was = value() || 1; input.show(v); wish(v); } });
    }
    const row = h('div', { class: 'nl-row', title: c.hint, 'data-key': c.key }, h('label', { htmlFor: id }, c.live ? h('i', { class: 'nl-dot', title: 'live' }) : null, c.label), h('span', { class: 'nl-in' }, box, input, out));
    this.fields[c.key] = { c, input, box, row, out };
    return row;
  }

  // ---- what Python says
  state() {
    const s = this.s = this.model.get('state');
    if (!s || !s.values) return;
    for (const [key, { c, input, box, row, out }] of Object.entries(this.fields)) {
      const v = s.values[key];
      row.hidden = s.unused.includes(key);
      row.classList.toggle('nl-later', s.later.includes(key));
      row.dataset.live = s.live.includes(key);
      if (performance.now() - (this.typing[key] || -1e9) < 1000) continue;     // what is being moved is not moved back
      if (input.show) { if (v !== null && v !== undefined) input.show(v); else out.textContent = 'auto'; input.disabled = c.key === 'rate' && v === null; }
      else {
        if (c.kind === 'choice' && v !== null && ![...input.options].some(o => o.value === String(v))) input.append(h('option', { value: v }, v));
        if (document.activeElement !== input || c.kind === 'choice') input.value = v ?? '';
      }
      if (box) box.checked = v > 0;
    }
    for (const f of this.controls.querySelectorAll('fieldset')) f.hidden = [...f.querySelectorAll('.nl-row')].every(r => r.hidden);
    for (const [id, b] of Object.entries(this.buttons)) b.disabled = !s.can.includes(id);
    s.status === 'paused' ? label(this.buttons.pause, 'start', 'Resume') : label(this.buttons.pause, 'pause', 'Pause');
    ['running', 'paused', 'starting'].includes(s.status) ? label(this.buttons.start, 'anew', 'Start anew') : label(this.buttons.start, 'start', 'Start');
    for (const b of this.presets.children) b.setAttribute('aria-pressed', b.dataset.name === s.preset);
    this.slider.title = `Go back through the epochs. What they looked like takes at most ${s.memory}; beyond that every second one is dropped.`;
    const p = s.progress;
    this.progress.value = p.steps ? p.step / p.steps : 0;
    const left = p.seconds_left === null ? '' : p.seconds_left >= 3600 ? ` · ${(p.seconds_left / 3600).toFixed(1)} h left` : ` · ${Math.floor(p.seconds_left / 60)}:${String(Math.round(p.seconds_left) % 60).padStart(2, '0')} left`;
    this.speed.textContent = p.steps ? `epoch ${Math.floor(p.epoch)} of ${p.epochs}` + (s.status === 'running' ? ` · ${Math.round(p.images_per_s).toLocaleString('en-US')} images/s${left}` : '') : '';
    this.status.textContent = s.say; this.status.dataset.kind = s.kind;
    this.root.dataset.status = s.status;
    const ids = s.runs.map(r => [r.id, r.name, r.status, r.id === s.selected].join()).join('|');
    if (ids !== this.ids) {
      this.ids = ids;
      this.runs.hidden = !s.runs.length;
      this.runs.replaceChildren(...s.runs.map(r => h('span', { class: 'nl-run', 'aria-current': r.id === s.selected, style: `--run: ${this.colour(r.id)}` },
        h('button', { type: 'button', title: r.what, onclick: () => this.send('select', { run: r.id }) }, h('i', { class: 'nl-runcolour' }), `${r.name}`, h('em', {}, r.status)),
        h('button', { type: 'button', class: 'nl-x', title: `Close run ${r.name}`, 'aria-label': `close run ${r.name}`, onclick: () => this.send('remove', { run: r.id }) }, '×'))));
      const others = s.runs.filter(r => r.id !== s.selected);
      this.beside.replaceChildren(h('option', { value: -1 }, 'nothing'), ...others.map(r => h('option', { value: r.id }, r.name)));
      this.beside.parentElement.hidden = !others.length;
    }
    this.beside.value = s.beside;
    if (this.sel !== s.selected) { this.sel = s.selected; this.at = this.model.get('at'); this.curves(); }
    this.timeline(); this.headline();
  }
  run(id = this.sel) { return (this.model.get('curves') || []).find(r => r.id === id); }
  shownEpoch() { return this.at < 0 ? null : this.at; }
  curves() {
    const all = this.model.get('curves') || [], at = this.shownEpoch(), mine = this.run();
    const name = id => (this.s?.runs || []).find(r => r.id === id)?.name || '';
    const events = rs => rs.flatMap(r => r.events.map(e => ({ ...e, colour: this.colour(r.id) })));
    for (const v of this.drawings.filter(v => v.overTime)) {
      const numbers = mine?.views[v.name], note = typeof numbers === 'string' ? numbers : '', lines = note || !numbers ? [] : Object.entries(numbers);
      if (v.compare) {      // the runs above the curves say whose is which
        const line = lines.length ? lines[0][0] : v.title, own = r => r.views[v.name], of = all.filter(r => typeof own(r) !== 'string' && line in own(r));
        v.drawing.show({ title: line, note, at, percent: v.percent, keyless: true, xmax: Math.max(1, ...all.map(r => r.epochs)), events: events(all),
          series: of.map(r => ({ name: name(r.id), x: own(r)[line][0], y: own(r)[line][1], colour: this.colour(r.id), dash: Math.floor(r.id / 6) })) });
        continue;
      }
      const xmax = mine ? mine.epochs : 1, parts = lines.map(([name, [x, y]], i) => ({ name, x, y, colour: v.colour(i), dash: v.kind === 'lines' ? i % 5 : 0 }));
      if (v.kind === 'areas') v.drawing.show({ x: parts[0]?.x || [], parts, at, xmax, note });
      else v.drawing.show({ series: parts, events: mine ? events([mine]) : [], at, xmax, percent: v.percent, note });
    }
    this.timeline();
  }
  headline() {
    const tiles = this.s.tiles || [], sign = JSON.stringify(tiles);
    if (sign === this.tiled) return;
    this.tiled = sign;
    this.tiles.replaceChildren(...tiles.map(t => h('div', { class: 'nl-tile', style: `--tile: ${this.look.palette[t.color]}` }, h('b', {}, t.value), h('span', {}, t.name), t.note ? h('em', {}, t.note) : null)));
  }
  images() {
    const old = this.sets || new Map();
    this.sets = new Map((this.model.get('images') || []).map(im => [im.key, old.get(im.key) || { ...im, true: bytesOf(im.true, Int16Array), shown: bytesOf(im.shown, Int32Array), index: bytesOf(im.index, Int32Array), pictures: new Pictures(bytesOf(im.pixels), ...im.shape) }]));
    for (const im of this.sets.values()) im.at ??= new Map(Array.from(im.shown, (place, i) => [place, i]));
    this.frames([...this.sets.keys()].some(k => !old.has(k)));
  }
  frames(jump) {
    const fs = this.model.get('frames') || [];
    const two = fs.length > 1 && fs[1];
    this.sides[1].hidden = !two; this.restored[1].box.hidden = !two;
    this.sides[0].parentElement.classList.toggle('nl-two', !!two);
    this.f = [0, 1].map(k => this.unpack(fs[k]));
    for (const k of [0, 1]) {
      const f = this.f[k];
      this.names[k].textContent = f ? (two ? `${f.name} · ` : '') + `epoch ${fmt(f.epoch)}` + (f.map_epoch !== null && f.map_epoch !== f.epoch ? `, map of epoch ${fmt(f.map_epoch)}` : '') : '';
      if (k && !two) continue;
      this.maps[k].show(f && f.map, f?.im.pictures, f?.im.classes, jump === true);
      this.restored[k].small = !!two; this.restored[k].show(f);
      this.root.dataset['frame' + k] = f ? `${f.run}:${f.epoch}:${f.map_epoch}` : '';
    }
    this.shown();
    if (fs.length) { this.model.set('seen', fs.find(f => f)?.seq ?? 0); this.model.save_changes(); }
  }
  unpack(f) {
    const im = f && this.sets?.get(f.key);
    if (!im) return null;
    const pred = bytesOf(f.pred, Int16Array), given = bytesOf(f.given, Int16Array), loss = bytesOf(f.loss, Float32Array), cluster = bytesOf(f.cluster, Int16Array);
    const shown = im.shown, pick = (v, K) => v && K.from(shown, i => v[i]), t = im.true;
    const map = { xy: bytesOf(f.xy, Float32Array), pred: pick(pred, Int16Array), given: pick(given, Int16Array), loss: pick(loss, Float32Array), cluster: pick(cluster, Int16Array), true: pick(t, Int16Array) };
    return { ...f, im, pred, given, loss, cluster, map };
  }
  shown() {      // the views of this moment, and the legend of the map
    const f = this.f[0], classes = f ? f.im.classes : [];
    this.legend();
    for (const v of this.drawings.filter(v => !v.overTime)) {
      const numbers = f ? f.views[v.name] : null, note = typeof numbers === 'string' ? numbers : '', there = note ? null : numbers;
      if (v.kind === 'histogram') v.drawing.show(Object.entries(there || {}).map(([name, { edges, counts }], i) => ({ name, edges, counts, colour: v.colour(i) })), note);
      else if (v.kind === 'heat') v.drawing.show(there && bytesOf(there, Float32Array), classes, note);
      else if (v.kind === 'bars') v.drawing.show(there, note, v.colour);
      else v.drawing.show(there ? there.places.map((place, i) => this.tile(0, place, 44, there.texts[i], there)) : [], note);
    }
    if (this.chosen) this.grid(this.chosen.k, this.chosen.at, this.chosen.title);
  }
  legend() {
    const f = this.f?.[0], by = this.by.value, pal = this.look.palette, item = (c, s, t) => {
      const e = h('canvas', { width: 24, height: 24, class: 'nl-symbol' }), g = e.getContext('2d');
      g.fillStyle = c; dot(g, s, 12, 12, 8); g.fill();
      return h('span', {}, e, t);
    };
    let items = [];
    if (f && by === 'wrong') items = f.im.true ? [item(pal[6], 'diamond', 'wrong label'), item(pal[0], 'circle', 'right label')] : [];
    else if (f && by === 'loss') items = [h('span', {}, '0'), h('i', { class: 'nl-ramp', style: `background: linear-gradient(90deg, ${[0, .2, .4, .6, .8, 1].map(cividisCss).join()})` }), h('span', {}, fmt(f.loss_top, 2))];
    else if (f) {
      const names = by === 'cluster' ? Array.from({ length: f.cluster ? Math.max(...f.cluster) + 1 : 0 }, (_, i) => String(i)) : f.im.classes;
      items = names.slice(0, 20).map((n, i) => item(pal[i % 10], this.look.symbols[Math.floor(i / 10) % 10], n));
      if (names.length > 20) items.push(h('span', {}, `and ${names.length - 20} more, in these colours with other symbols`));
    }
    const sign = by + items.length + (f ? f.key : '') + (by === 'loss' && f ? f.epoch : '');
    if (sign !== this.sign) { this.sign = sign; this.key.replaceChildren(...items); }
  }

  // ---- images in words and as tiles
  describe(k, i) {
    const { map: m, im } = this.f[k], n = im.classes, line = (a, b) => h('div', {}, h('span', {}, a), b);
    return [line('given ', n[m.given[i]]), line('true ', m.true ? n[m.true[i]] : 'not known'), line('predicted ', n[m.pred[i]]), line('loss ', fmt(m.loss[i])),
      ...(m.cluster ? [line('cluster ', String(m.cluster[i]))] : []), line('image ', String(im.index[im.shown[i]]))];
  }
  tile(k, place, size, said = '', more = null) {     // a watched image; `more`: pictures of those that are not on the map
    const f = this.f[k], im = f.im, n = im.classes, c = h('canvas', { width: 2 * size, height: 2 * size, style: `width: ${size}px; height: ${size}px` });
    const given = f.given[place], pred = f.pred[place], t = im.true ? im.true[place] : -1, known = t >= 0, i = im.at.get(place);
    if (i === undefined && more) more.pictures ??= new Pictures(bytesOf(more.pixels), ...more.shape);
    if (i !== undefined) im.pictures.draw(c.getContext('2d'), i, 0, 0, 2 * size);
    else if (more) more.pictures.draw(c.getContext('2d'), more.others.indexOf(place), 0, 0, 2 * size);
    const wrong = known && given !== t, right = known && pred === t, agrees = pred === given;
    const text = agrees ? n[given] : `${n[given]} → ${n[pred]}`, truth = known ? `true ${n[t]}` : 'true label not known';
    return h('div', { class: 'nl-img', role: 'listitem', title: `image ${im.index[place]}: given ${n[given]}, predicted ${n[pred]}, ${truth}, loss ${fmt(f.loss[place])}${said && ', ' + said}` },
      c, h('span', {}, text), known ? h('em', { class: wrong ? (right ? 'nl-ok' : 'nl-no') : '' }, (agrees ? (wrong ? '✗ ' : '✓ ') : (right ? '✓ ' : '✗ ')) + truth) : null);
  }
  grid(k, at, title) {
    const f = this.f[k];
    this.chosen = at.length && f ? { k, at, title } : null;
    this.picked.hidden = !this.chosen;
    if (!this.chosen) { for (const m of this.maps) { m.chosen.clear(); m.surface.draw(); } return; }
    const max = 120, tiles = at.slice(0, max).map(i => this.tile(k, f.im.shown[i], 44));
    this.picked.replaceChildren(h('h3', {}, title + (at.length > max ? `, the first ${max}` : ''), h('button', { class: 'nl-x', type: 'button', 'aria-label': 'close the grid', onclick: () => this.grid(0, [], '') }, '×')), h('div', { class: 'nl-tiles-img', role: 'list' }, ...tiles));
  }

  // ---- time
  timeline() {
    const r = this.run(), last = r && r.frames.length ? r.frames.at(-1) : 0;
    this.slider.max = Math.max(1, Math.floor(last)); this.slider.disabled = this.play.disabled = !r || r.frames.length < 2;
    if (this.at < 0) this.slider.value = this.slider.max;
    else if (document.activeElement !== this.slider || this.playing) this.slider.value = this.at;
    this.live.disabled = this.at < 0; this.live.setAttribute('aria-pressed', this.at < 0);
    this.when.textContent = !r || !r.frames.length ? 'time' : this.at < 0 ? `live: epoch ${Math.floor(last)}` : `epoch ${this.at} of ${Math.floor(last)} seen`;
    this.slider.setAttribute('aria-valuetext', this.when.textContent);
  }
  scrub(epoch, playing = false) {
    if (!playing && this.playing) this.animate();
    this.at = epoch;
    this.model.set('at', epoch); this.model.save_changes();
    this.curves();
  }
  follow() { if (this.playing) this.animate(); this.scrub(-1); }
  animate() {
    if (this.playing) { clearInterval(this.playing); this.playing = null; label(this.play, 'start', ''); return; }
    const top = () => +this.slider.max, step = () => Math.max(1, Math.round(top() / 60));
    if (this.at < 0 || this.at >= top()) this.scrub(0);
    label(this.play, 'pause', ' ');
    this.playing = setInterval(() => { if (this.at >= top()) this.animate(); else this.scrub(Math.min(top(), this.at + step()), true); }, 350);
  }
  close() {
    clearInterval(this.playing); this.mood.disconnect(); this.kernel?.disconnect(this.ends);
    for (const v of this.drawn) v.close();
    this.model.off(null, null, this);
  }
}

export default { render({ model, el }) { const app = new App(model, el); return () => app.close(); } };
