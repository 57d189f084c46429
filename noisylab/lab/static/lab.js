// The lab's page. Python computes every number and says what there is (`state`, `curves`, `images`, `frames`); here it is
// drawn. Buttons and controls say what is wanted.

// Small pictures for the buttons, drawn: not every machine has these letters.
const ICONS = { start: 'M3 1l10 6-10 6z', pause: 'M2 1h4v12H2zM8 1h4v12H8z', step: 'M1 1l8 6-8 6zM10 1h3v12h-3z', stop: 'M2 2h10v10H2z', anew: 'M7 1a6 6 0 1 0 6 6h-2.2A3.8 3.8 0 1 1 7 3.2V6l5-3.6L7-1z', full: 'M1 1h5v2H3v3H1zM8 1h5v5h-2V3H8zM1 8h2v3h3v2H1zM11 8h2v5H8v-2h3z', settings: 'M1 2h12v2H1zM1 6h12v2H1zM1 10h12v2H1z', on: 'M1 1l6 6-6 6zM7 1l6 6-6 6z', fork: 'M2 0h3v4l5 3V5l4 3.5-4 3.5V9.6L5 6.7V14H2z' };
function icon(name) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', 'svg'), p = document.createElementNS(e.namespaceURI, 'path');
  e.setAttribute('viewBox', '0 -1 14 16'); e.setAttribute('class', 'nl-icon'); e.setAttribute('aria-hidden', 'true');
  p.setAttribute('d', ICONS[name]); e.append(p);
  return e;
}
const label = (b, name, text) => { if (b.dataset.label !== text) { b.dataset.label = text; b.replaceChildren(icon(name), text); } };

const COLOURINGS = [['given', 'given label'], ['true', 'true label'], ['pred', 'prediction'], ['cluster', 'cluster'], ['loss', 'loss'], ['wrong', 'label is wrong']];

// Pinned images: original, augmented, restored, error; the operations above. Pointing says which; a click opens the image.
class Restorations {
  constructor(root, box, app) {
    Object.assign(this, { root, app, at: null });
    this.hold = h('div', { class: 'nl-plot nl-restored' }); this.said = h('div', { class: 'nl-hint' });
    box.append(this.hold, this.said);
    this.surface = new Surface(this.hold, (g, w, t) => this.paint(g, w, t), 'pinned images: original, augmented, restored, error. Arrow keys go from one to the next, Enter opens it.');
    const c = this.surface.canvas, under = e => { const i = Math.floor((e.offsetX - this.left) / this.wide); return this.f?.pins && i >= 0 && i < this.f.pins.shape[0] ? i : null; };
    c.tabIndex = 0; keyed(c);
    c.addEventListener('pointermove', e => this.point(under(e)));
    c.addEventListener('pointerleave', () => this.point(null));
    c.addEventListener('click', e => { if (under(e) !== null) app.look(this.number(under(e))); });
    c.addEventListener('keydown', e => {
      const d = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
      if (e.key === 'Enter' && this.at !== null) app.look(this.number(this.at));
      else if (d && this.f?.pins) { e.preventDefault(); e.stopPropagation(); this.point(Math.max(0, Math.min(this.f.pins.shape[0] - 1, (this.at ?? -d) + d))); }
    });
  }
  get surfaces() { return [this.surface]; }
  table() {
    const f = this.f, p = f?.pins?.shape[0] || 0, o = p && bytesOf(f.pins.original), r = p && bytesOf(f.pins.restored), n = p && o.length / p;
    const off = i => { let sum = 0; for (let k = i * n; k < (i + 1) * n; k++) sum += Math.abs(o[k] - r[k]); return +(sum / n / 255).toPrecision(4); };
    return [['run', 'image', 'given', 'operations', 'mean absolute error'], ...Array.from({ length: p }, (_, i) => [f.name, this.number(i), f.im.classes[f.given[f.pins.places[i]]], f.pins.ops[i], r ? off(i) : null])];
  }
  number(i) { return this.f.im.index[this.f.pins.places[i]]; }
  point(i) { this.at = i; this.app.light(i === null ? null : this.number(i)); this.tell(); }
  tell() {
    const f = this.f, i = this.at;
    this.said.textContent = !f?.pins ? '' : i !== null ? `image ${this.number(i)}: ${f.pins.ops[i] || 'not changed'}` : this.rows.length < 4 ? 'no decoder: nothing is restored' : 'point at one: what was done to it; error: mean absolute difference';
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
    this.f = f; this.tell(); this.surface.draw();
  }
  paint(g, w, t) {
    const c = theme(this.root), f = this.f;
    if (f && !f.pins?.shape[0]) return say(g, w, t, 'no image is pinned here: nothing is restored', c);
    if (!f) return say(g, w, t, 'original, augmented and restored images appear here once training has begun', c);
    g.font = `10px ${c.font}`;
    const n = this.rows.length, p = f.pins.shape[0], L = g.measureText('augmented').width * 1.1 + 10, gap = 3, ops = f.pins.ops.map(o => (o || '–').split(', '));
    const widest = Math.max(...ops.flat().map(o => g.measureText(o).width)), most = Math.max(...ops.map(o => o.length));
    const across = (w - L) / p - gap, named = widest <= across + gap - 4, T = named ? 11 * most + 4 : 4;      // whole names, or none
    const s = Math.max(12, Math.min(88, across, (t - T) / n - gap));
    this.left = L; this.wide = s + gap;
    g.fillStyle = c.soft; g.textBaseline = 'middle'; g.textAlign = 'center';
    if (named && s > widest - gap) ops.forEach((all, i) => all.forEach((op, k) => g.fillText(op, L + i * (s + gap) + s / 2, T - 7 - 11 * (all.length - 1 - k))));
    g.font = `11px ${c.font}`;
    this.rows.forEach(([name, pics], k) => {
      g.fillStyle = c.soft; g.textAlign = 'right'; g.fillText(name, L - 6, T + k * (s + gap) + s / 2);
      for (let i = 0; i < p; i++) pics.draw(g, i, L + i * (s + gap), T + k * (s + gap), s);
    });
    const lit = f.pins.places.findIndex(i => f.im.index[i] === this.app.lit);
    if (lit >= 0) { g.strokeStyle = c.ink; g.lineWidth = 2.5; g.strokeRect(L + lit * (s + gap) - 1, T - 1, s + 2, n * (s + gap)); }
  }
  close() { this.surface.close(); }
}

class App {
  constructor(model, el) {
    Object.assign(this, { model, el, at: -1, playing: null, typing: {}, waiting: {}, hidden: new Set(), lit: null });
    this.fixed = model.get('fixed');
    this.root = h('div', { class: 'noisylab' });
    el.append(this.root);
    SCALE = this.fixed.scale.map(c => [1, 3, 5].map(i => parseInt(c.slice(i, i + 2), 16)));
    this.pal = { palette: this.fixed.palette, symbols: this.fixed.symbols };
    this.time = { cursor: null, part: null, drag: null, smooth: false, move: x => { this.time.cursor = x; for (const v of this.drawings) if (v.overTime) v.drawing.point(); }, zoom: part => { this.time.part = part; this.time.move(null); this.root.classList.toggle('nl-zoomed', !!part); }, go: x => { if (this.run()?.frames.length) this.scrub(Math.round(x)); } };
    this.view = { k: 1, x: 0, y: 0, move: false };
    this.build();
    for (const [name, f] of Object.entries({ state: () => this.state(), curves: () => this.curves(), images: () => this.images(), frames: () => this.frames(), picked: () => this.detail() })) {
      model.on('change:' + name, f, this);
    }
    this.mood = new MutationObserver(() => this.theme());
    this.mood.observe(document.body, { attributes: true, attributeFilter: ['data-jp-theme-light', 'data-jp-theme-name', 'class'] });
    this.fit(); this.theme(); this.state(); this.images(); this.curves(); this.frames();
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
  theme() {
    setTimeout(() => {
      this.ground = theme(this.root).ground; this.ids = this.tiled = this.sign = null;
      if (this.s) { this.state(); this.curves(); this.shown(); }
      for (const v of this.drawn) v.surface.draw();
    }, 60);
  }
  // As tall as what the notebook shows of itself, so that all of it is seen at once.
  fit() {
    const scrolls = e => e.clientHeight > 300 && e.clientHeight < innerHeight && ['auto', 'scroll'].includes(getComputedStyle(e).overflowY);
    this.sizes = new ResizeObserver(() => {
      let box = this.el.parentElement;
      while (box && !scrolls(box)) box = box.parentElement;
      if (box) this.sizes.observe(box);
      this.root.style.setProperty('--nl-tall', this.root.clientWidth < 760 ? 'auto' : Math.max(560, Math.min(1150, (box ? box.clientHeight : innerHeight) - 16)) + 'px');
    });
    this.sizes.observe(document.documentElement); this.sizes.observe(this.el);
  }
  send(what, more = {}) { this.flush(); this.model.send({ do: what, ...more }); }
  flush() {       // what was set a moment ago comes before the button that was pressed after it
    clearTimeout(this.timer);
    const set = Object.entries(this.waiting); this.waiting = {};
    for (const [key, value] of set) this.model.send({ do: 'set', key, value });
  }
  ink(hex) { return strong(hex, this.ground || '#ffffff'); }
  colour(i) { return this.ink(this.pal.palette[[0, 1, 2, 3, 6, 9][i % 6]]); }

  // ---- what stands on the page
  build() {
    const button = (id, text, title, f) => { const b = h('button', { class: `nl-button nl-${id}`, title, onclick: f, type: 'button' }, ...ICONS[id] ? [icon(id)] : [], text); this.buttons[id] = b; return b; };
    this.buttons = {};
    this.presets = h('div', { class: 'nl-presets', role: 'group', 'aria-label': 'presets' }, ...this.fixed.presets.map(p =>
      h('button', { class: 'nl-preset', type: 'button', title: p.hint, 'data-name': p.name, onclick: () => { this.typing = {}; this.send('preset', { name: p.name }); } }, h('b', {}, p.title), h('span', {}, p.line))));
    this.folder = h('input', { type: 'text', value: 'runs/lab', 'aria-label': 'folder for Save and Load', class: 'nl-folder', size: 12 });
    this.more = h('input', { type: 'number', min: 1, max: 10000, value: 30, class: 'nl-more', 'aria-label': 'epochs more' });
    this.moreBox = h('label', { class: 'nl-morebox', hidden: true }, '+ ', this.more, ' epochs');
    const further = () => this.moreBox.hidden ? {} : { more: Math.round(+this.more.value) };
    const bar = h('div', { class: 'nl-bar', role: 'toolbar', 'aria-label': 'run' },
      button('settings', 'Settings', 'Show or hide the settings', () => this.drawer()),
      button('start', 'Start', 'Start a new run with the settings on the left', () => this.start()),
      button('pause', 'Pause', 'Hold after the step that is running; again to go on', () => this.send('pause')),
      button('step', 'Step one epoch', 'Train to the end of one epoch, then hold', () => this.send('step')),
      button('stop', 'Stop', 'End this run', () => this.send('stop')),
      button('on', 'Train on', 'Go on with this run for so many epochs, with the learning rate and the α that it ended with', () => this.send('train_on', { more: Math.round(+this.more.value) })),
      button('fork', 'Fork', 'A second run from this state, with the settings on the left', () => this.send('fork', further())),
      this.moreBox, h('span', { class: 'nl-gap' }),
      this.folder,
      button('save', 'Save', 'Write spec, history and checkpoint to that folder', () => this.send('save', { folder: this.folder.value })),
      button('load', 'Load', 'Open a run from that folder', () => this.send('load', { folder: this.folder.value })),
      button('full', '', 'The lab alone on the whole screen; Escape leaves', () => document.fullscreenElement ? document.exitFullscreen() : this.root.requestFullscreen()));
    this.buttons.full.setAttribute('aria-label', 'full screen');
    this.progress = h('progress', { max: 1, value: 0, 'aria-label': 'progress of the run' });
    this.speed = h('span', { class: 'nl-speed' });
    this.status = h('div', { class: 'nl-status', role: 'status', 'aria-live': 'polite' });
    this.runs = h('div', { class: 'nl-runs', role: 'group', 'aria-label': 'runs' });
    this.slider = h('input', { type: 'range', min: 0, max: 1, step: 1, value: 1, class: 'nl-time', 'aria-label': 'epoch shown', oninput: () => this.scrub(+this.slider.value) });
    this.play = h('button', { class: 'nl-button nl-play', type: 'button', title: 'Play the epochs as an animation', onclick: () => this.animate(), 'aria-label': 'play' }, icon('start'));
    this.live = h('button', { class: 'nl-button nl-live', type: 'button', title: 'Follow the training', onclick: () => this.follow() }, 'Live');
    this.when = h('span', { class: 'nl-when' });
    this.tiles = h('div', { class: 'nl-tiles' });
    this.controls = h('form', { class: 'nl-controls', 'aria-label': 'settings', onsubmit: e => e.preventDefault(), onkeydown: e => { if (e.key === 'Escape') this.drawer(false); } });
    this.curveRow = h('div', { class: 'nl-curves' }); this.stage = h('div', { class: 'nl-stage' });
    this.root.append(
      h('header', { class: 'nl-head' }, h('div', { class: 'nl-title' }, h('b', {}, 'noisylab')), this.presets),
      bar, h('div', { class: 'nl-progress' }, this.progress, h('div', { class: 'nl-state' }, this.status, this.speed)),
      h('div', { class: 'nl-body' }, this.controls,
        h('main', { class: 'nl-main' }, h('div', { class: 'nl-runrow' }, this.runs, h('div', { class: 'nl-timeline' }, this.play, this.slider, this.when, this.live)), this.tiles, this.curveRow, this.stage)));
    const number = e => { const t = e.target.closest?.('[data-image]'); return t ? +t.dataset.image : null; };
    this.root.addEventListener('pointerover', e => { const i = number(e); if (i !== null || this.lit !== null && !e.target.matches('canvas')) this.light(i); });
    this.root.addEventListener('focusin', e => { const i = number(e); if (i !== null) this.light(i); });
    this.root.addEventListener('click', e => { const i = number(e); if (i !== null) this.look(i); });
    this.makeControls(); this.makeViews();
  }
  start() {      // a run that goes on would be stopped: the second click means it
    const b = this.buttons.start, on = ['running', 'paused', 'starting'].includes(this.s.status);
    if (on && !this.sure) { this.sure = setTimeout(() => { this.sure = null; this.state(); }, 4000); return label(b, 'anew', 'Stop this run?'); }
    clearTimeout(this.sure); this.sure = null; this.send('start');
    if (this.root.getBoundingClientRect().bottom > innerHeight) this.root.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
  }
  drawer(open = !this.root.classList.contains('nl-open')) { this.root.classList.toggle('nl-open', open); this.buttons.settings.setAttribute('aria-expanded', open); }
  card(to, kind, ...inside) { const c = h('section', { class: `nl-card nl-${kind}` }, ...inside); to.append(c); return c; }
  tab(name) {      // the panel of that name beside the map
    if (this.panels[name]) return this.panels[name];
    const id = `nl-tab-${Math.random().toString(36).slice(2, 8)}`, panel = this.panels[name] = h('div', { class: 'nl-panel', role: 'tabpanel', id, 'aria-label': name, 'data-tab': name, tabIndex: 0, hidden: true });
    this.tabs.append(h('button', { type: 'button', role: 'tab', 'aria-controls': id, 'data-tab': name, onclick: () => this.open(name), onkeydown: e => {
      const d = { ArrowLeft: -1, ArrowRight: 1 }[e.key], all = [...this.tabs.children];
      if (d) { e.stopPropagation(); const b = all[(all.indexOf(e.target) + d + all.length) % all.length]; this.open(b.dataset.tab); b.focus(); }
    } }, name));
    this.side.append(panel);
    return panel;
  }
  open(name) {
    for (const b of this.tabs.children) { const on = b.dataset.tab === name; b.setAttribute('aria-selected', on); b.tabIndex = on ? 0 : -1; }
    for (const [k, p] of Object.entries(this.panels)) p.hidden = k !== name;
    this.opened = name;
  }
  makeViews() {
    const R = this.root, views = this.fixed.views, first = views.findIndex(v => v.kind !== 'lines'), top = first < 0 ? views.length : first;
    this.drawings = []; this.panels = {};
    for (const v of views.slice(0, top)) this.makeView(v, 'curve', this.curveRow);
    this.by = h('select', { 'aria-label': 'colour the map by', onchange: () => { for (const m of this.maps) m.colourBy(this.by.value); this.legend(); } }, ...COLOURINGS.map(([v, t]) => h('option', { value: v }, t)));
    this.beside = h('select', { 'aria-label': 'show another run beside', onchange: () => this.send('beside', { run: +this.beside.value }) });
    this.key = h('div', { class: 'nl-key' });
    const tool = (text, name, f) => h('button', { class: 'nl-tool', type: 'button', 'aria-label': name, title: name, onclick: f }, text);
    const move = tool('✥', 'drag moves the map instead of drawing a lasso', () => { this.view.move = !this.view.move; move.setAttribute('aria-pressed', this.view.move); });
    const mapBox = this.card(this.stage, 'mapcard', heading('Map', 'Each point is a training image; images that the network sees alike lie together (t-SNE of its features). A click opens an image, a lasso all in it; Ctrl and wheel zooms.',
      h('label', {}, 'colour ', this.by), h('label', { class: 'nl-beside' }, 'beside ', this.beside), h('span', { class: 'nl-tools' }, move, tool('+', 'zoom in', () => this.maps[0].zoom(1.5)), tool('−', 'zoom out', () => this.maps[0].zoom(1 / 1.5)), tool('○', 'all of the map', () => this.maps[0].zoom(0)), h('span', { class: 'nl-hold' }))));
    const pair = h('div', { class: 'nl-pair' }), sides = [h('div'), h('div', { hidden: true })];
    pair.append(...sides); mapBox.append(pair, this.key);
    this.sides = sides; this.names = sides.map(s => { const n = h('div', { class: 'nl-name' }); s.append(n); return n; });
    this.maps = sides.map((s, k) => new MapView(R, s, this.pal, this.view, (at, title, one) => this.choose(k, at, title, one), i => this.describe(k, i), i => this.light(i === null ? null : this.f[k].im.index[this.f[k].im.shown[i]])));
    mapBox.querySelector('.nl-hold').replaceWith(saving(R, { title: 'Map', key: this.key, surfaces: this.maps.map(m => m.surface), table: () => this.mapTable() }));
    this.tabs = h('div', { class: 'nl-tabs', role: 'tablist', 'aria-label': 'beside the map' });
    this.side = this.card(this.stage, 'beside-map', this.tabs);
    const rest = h('section', { class: 'nl-restcard' });
    this.tab('Restoration').append(rest);
    this.restored = [0, 1].map(k => { const s = h('div', { class: 'nl-restbox', hidden: k > 0 }); rest.append(s); return Object.assign(new Restorations(R, s, this), { box: s }); });
    rest.append(saving(R, { title: 'Restoration', surfaces: this.restored.map(r => r.surface), table: () => { const [a, b] = this.restored.map(r => r.table()); return [...a, ...b.slice(1)]; } }));
    this.one = h('div', { class: 'nl-one', hidden: true }); this.picked = h('div', { class: 'nl-picked' }, h('span', { class: 'nl-hint' }, 'Click an image anywhere, or draw a lasso on the map.'));
    this.tab('Images').append(this.one, this.picked);
    for (const v of views.slice(top)) this.makeView(v, v.kind === 'heat' ? 'matrix' : v.kind === 'pictures' ? 'suspects' : 'third', this.tab(v.tab));
    this.drawn = [...this.maps, ...this.restored, ...this.drawings.map(v => v.drawing)].filter(d => d.surface);
    this.open('Restoration');
  }
  makeView(v, kind, to) {      // one of the views that Python lists; its numbers come with `curves` or with `frames`
    const box = this.card(to, kind), R = this.root;
    box.dataset.view = v.name; box.classList.toggle('nl-wide', v.wide);
    const make = { lines: () => new Lines(R, box, v.title, v.hint, this.time), areas: () => new Areas(R, box, v.title, v.hint, this.time), histogram: () => new Histogram(R, box, v.title, v.hint, v.names[0]),
      heat: () => new Heat(R, box, v.title, v.hint, v.names[1] || '', v.names[0] || '', (i, j) => this.cell(v, i, j)), bars: () => new Bars(box, v.title, v.hint, v.names), pictures: () => new Tiles(box, v.title, v.hint) };
    const drawing = make[v.kind](), overTime = ['lines', 'areas'].includes(v.kind);
    const more = !overTime ? [] : [v.kind === 'lines' ? h('label', { title: 'a mean that fades, of all curves; what was measured stays behind it' }, h('input', { type: 'checkbox', class: 'nl-smooth', onchange: e => { this.time.smooth = e.target.checked; for (const b of R.querySelectorAll('.nl-smooth')) b.checked = e.target.checked; this.time.move(null); } }), ' smooth') : null,
      h('button', { class: 'nl-tool nl-whole', type: 'button', title: 'drag over a curve to see a part, double click to see all again', onclick: () => this.time.zoom(null) }, 'all epochs')];
    (overTime ? box : drawing.head.firstChild).append(saving(R, drawing, ...more));
    const pal = this.pal.palette, colour = i => this.ink(pal[(v.colors.length ? v.colors[i % v.colors.length] : i) % pal.length]);
    this.drawings.push({ ...v, colour, overTime, drawing });
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
    const wish = v => { this.typing[c.key] = performance.now(); this.waiting[c.key] = v; clearTimeout(this.timer); this.timer = setTimeout(() => this.flush(), 180); };
    if (c.kind === 'choice') input = h('select', { id, onchange: () => wish(input.value === '' ? null : input.value) }, ...c.options.map(o => h('option', { value: o, title: c.about?.[o] || '' }, o)));
    else if (c.kind === 'text') input = h('input', { id, type: 'text', placeholder: 'auto', onchange: () => wish(input.value || null) });
    else if (c.kind === 'whole') input = h('input', { id, type: 'number', min: c.min, max: c.max, step: c.step, placeholder: 'auto', onchange: () => wish(input.value === '' ? null : Math.round(+input.value)) });
    else {      // sliders; those with many orders of magnitude are logarithmic
      const value = () => c.log ? +(10 ** +input.value).toPrecision(2) : +input.value;
      const shown = () => { out.textContent = c.unit === '%' ? Math.round(100 * value()) + '%' : fmt(value()); input.setAttribute('aria-valuetext', out.textContent); };
      input = h('input', { id, type: 'range', min: c.log ? Math.log10(c.min) : c.min, max: c.log ? Math.log10(c.max) : c.max, step: c.log ? .01 : c.step, oninput: () => { shown(); if (box) box.checked = value() > 0; wish(value()); } });
      input.show = v => { input.value = c.log ? Math.log10(Math.max(c.min, v)) : v; shown(); };
      if (c.kind === 'weight') box = h('input', { type: 'checkbox', 'aria-label': `${c.label} on or off`, onchange: () => {
        const v = box.checked ? (c.was || 1) : 0; if (!box.checked) c.was = value() || 1; input.show(v); wish(v); } });
    }
    const [ask, said] = help(c.hint, c.label), note = h('small', { class: 'nl-told' });
    ask.tabIndex = -1; said.id = id + 'h'; input.setAttribute('aria-describedby', said.id);      // its sentence is heard with the focus
    const row = h('div', { class: 'nl-row', 'data-key': c.key }, h('label', { htmlFor: id }, c.live ? h('i', { class: 'nl-dot', title: 'live: acts on the running training' }) : null, c.label, ask), h('span', { class: 'nl-in' }, box, input, out), said, note);
    this.fields[c.key] = { c, input, box, row, out, said, note };
    return row;
  }

  // ---- what Python says
  state() {
    const s = this.s = this.model.get('state');
    if (!s || !s.values) return;
    for (const [key, { c, input, box, row, out, said, note }] of Object.entries(this.fields)) {
      const v = s.values[key];
      row.hidden = s.unused.includes(key);
      row.classList.toggle('nl-later', s.later.includes(key));
      row.dataset.live = s.live.includes(key);
      note.textContent = [s.later.includes(key) ? 'from the next start' : '', s.notes[key] || ''].filter(Boolean).join(' · ');
      if (performance.now() - (this.typing[key] || -1e9) < 1000) continue;     // what is being moved is not moved back
      if (input.show) { if (v !== null && v !== undefined) input.show(v); else out.textContent = 'auto'; input.disabled = c.key === 'rate' && v === null; }
      else {
        if (c.kind === 'choice' && v !== null && ![...input.options].some(o => o.value === String(v))) input.append(h('option', { value: v }, v));
        if (document.activeElement !== input || c.kind === 'choice') input.value = v ?? '';
        if (c.about) said.textContent = `${c.hint}. ${v}: ${c.about[v] || 'of your own'}`;
      }
      if (box) box.checked = v > 0;
    }
    for (const f of this.controls.querySelectorAll('fieldset')) f.hidden = [...f.querySelectorAll('.nl-row')].every(r => r.hidden);
    for (const [id, b] of Object.entries(this.buttons)) { const on = s.can.includes(id === 'on' ? 'train_on' : id) || ['full', 'settings'].includes(id); b.disabled = !on; if (id === 'on') b.hidden = !on; }
    this.buttons.pause.hidden = this.buttons.stop.hidden = s.can.includes('train_on');      // of a run that is over
    this.moreBox.hidden = !s.can.includes('train_on');
    s.status === 'paused' ? label(this.buttons.pause, 'start', 'Resume') : label(this.buttons.pause, 'pause', 'Pause');
    if (!this.sure) ['running', 'paused', 'starting'].includes(s.status) ? label(this.buttons.start, 'anew', 'Start anew') : label(this.buttons.start, 'start', 'Start');
    for (const b of this.presets.children) b.setAttribute('aria-pressed', b.dataset.name === s.preset);
    this.slider.title = `Go back through the epochs. What they looked like takes at most ${s.memory}; beyond that every second one is dropped.`;
    const p = s.progress;
    this.progress.value = p.steps ? p.step / p.steps : 0;
    const left = p.seconds_left === null ? '' : p.seconds_left >= 3600 ? ` · ${(p.seconds_left / 3600).toFixed(1)} h left` : ` · ${Math.floor(Math.round(p.seconds_left) / 60)}:${String(Math.round(p.seconds_left) % 60).padStart(2, '0')} left`;
    this.speed.textContent = p.steps ? `epoch ${Math.floor(p.epoch)} of ${p.epochs}` + (s.status === 'running' ? ` · ${Math.round(p.images_per_s).toLocaleString('en-US')} images/s${left}` : '') : '';
    this.status.textContent = s.say; this.status.dataset.kind = s.kind;
    this.root.dataset.status = s.status;
    const ids = s.runs.map(r => [r.id, r.name, r.status, r.id === s.selected, this.hidden.has(r.id)].join()).join('|');
    if (ids !== this.ids) {
      this.ids = ids;
      const eye = r => { this.hidden.has(r.id) ? this.hidden.delete(r.id) : this.hidden.add(r.id); this.state(); this.curves(); };
      this.runs.replaceChildren(...s.runs.map(r => h('span', { class: 'nl-run', 'aria-current': r.id === s.selected, style: `--run: ${this.colour(r.id)}` },
        h('button', { type: 'button', class: 'nl-eye', 'aria-label': `curves of run ${r.name}`, 'aria-pressed': !this.hidden.has(r.id), title: 'show or hide its curves', onclick: () => eye(r) }, h('i', { class: 'nl-runcolour' })),
        h('button', { type: 'button', onclick: () => this.send('select', { run: r.id }) }, `${r.name}`, h('em', {}, r.status)),
        h('button', { type: 'button', class: 'nl-x', title: `Close run ${r.name}`, 'aria-label': `close run ${r.name}`, onclick: () => this.send('remove', { run: r.id }) }, '×'))));
      const others = s.runs.filter(r => r.id !== s.selected);
      if (!s.runs.length) this.runs.append(h('span', { class: 'nl-hint' }, 'no run yet'));
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
    const all = (this.model.get('curves') || []).filter(r => !this.hidden.has(r.id)), at = this.shownEpoch(), mine = this.run();
    const name = id => (this.s?.runs || []).find(r => r.id === id)?.name || '';
    const events = rs => rs.flatMap(r => r.events.map(e => ({ ...e, colour: this.colour(r.id) })));
    const reach = r => Math.min(r.epochs, Math.max(5, [1, 1.5, 2, 3, 4, 6, 8, 10].map(k => k * 10 ** Math.floor(Math.log10(Math.max(1, 1.1 * r.reached)))).find(v => v >= 1.1 * r.reached)));      // grows with the run
    const xmax = Math.max(1, ...[...all, ...mine ? [mine] : []].map(reach));
    for (const v of this.drawings.filter(v => v.overTime)) {
      const numbers = mine?.views[v.name], note = typeof numbers === 'string' ? numbers : '', lines = note || !numbers ? [] : Object.entries(numbers);
      if (v.compare) {      // the runs above the curves say whose is which
        const line = lines.length ? lines[0][0] : v.title, own = r => r.views[v.name], of = all.filter(r => typeof own(r) !== 'string' && line in own(r));
        v.drawing.show({ title: line, note, at, percent: v.percent, keyless: true, xmax, events: events(all),
          series: of.map(r => ({ name: name(r.id), x: own(r)[line][0], y: own(r)[line][1], colour: this.colour(r.id), dash: Math.floor(r.id / 6) })) });
        continue;
      }
      const parts = lines.map(([name, [x, y]], i) => ({ name, x, y, colour: v.colour(i), dash: v.kind === 'lines' ? i % 5 : 0 }));
      if (v.kind === 'areas') v.drawing.show({ x: parts[0]?.x || [], parts, at, xmax, note });
      else v.drawing.show({ series: parts, events: mine ? events([mine]) : [], at, xmax, percent: v.percent, note });
    }
    this.timeline();
  }
  headline() {
    const tiles = this.s.tiles || [], sign = JSON.stringify(tiles);
    if (sign === this.tiled) return;
    this.tiled = sign;
    this.tiles.replaceChildren(...tiles.map(t => h('div', { class: 'nl-tile', style: `--tile: ${this.ink(this.pal.palette[t.color])}`, title: t.hint }, h('b', {}, t.value), h('span', {}, t.name), t.note ? h('em', {}, t.note) : null)));
  }
  images() {
    const old = this.sets || new Map();
    this.sets = new Map((this.model.get('images') || []).map(im => [im.key, old.get(im.key) || { ...im, true: bytesOf(im.true, Int16Array), shown: bytesOf(im.shown, Int32Array), index: bytesOf(im.index, Int32Array), pictures: new Pictures(bytesOf(im.pixels), ...im.shape) }]));
    for (const im of this.sets.values()) { im.at ??= new Map(Array.from(im.shown, (place, i) => [place, i])); im.place ??= new Map(Array.from(im.index, (n, place) => [n, place])); }
    this.frames([...this.sets.keys()].some(k => !old.has(k)));
  }
  frames(jump) {
    const fs = this.model.get('frames') || [];
    const two = fs.length > 1 && fs[1];
    this.sides[1].hidden = !two; this.restored[1].box.hidden = !two;
    this.stage.classList.toggle('nl-two', !!two);
    this.f = [0, 1].map(k => this.unpack(fs[k]));
    for (const k of [0, 1]) {
      const f = this.f[k];
      this.names[k].textContent = f ? (two ? `${f.name} · ` : '') + `epoch ${fmt(f.epoch)}` + (f.map_epoch !== null && f.map_epoch !== f.epoch ? `, map of epoch ${fmt(f.map_epoch)}` : '') : '';
      if (k && !two) continue;
      this.maps[k].show(f && f.map, f?.im.pictures, f?.im.classes, jump === true);
      this.restored[k].show(f);
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
    const map = { no_map: f.no_map, loss_top: f.loss_top, xy: bytesOf(f.xy, Float32Array), pred: pick(pred, Int16Array), given: pick(given, Int16Array), loss: pick(loss, Float32Array), cluster: pick(cluster, Int16Array), true: pick(t, Int16Array) };
    return { ...f, im, pred, given, loss, cluster, map };
  }
  shown() {      // the views of this moment, and the legend of the map
    const f = this.f[0], classes = f ? f.im.classes : [];
    this.legend();
    for (const v of this.drawings.filter(v => !v.overTime)) {
      const numbers = f ? f.views[v.name] : null, note = typeof numbers === 'string' ? numbers : '', there = note ? null : numbers;
      if (v.kind === 'histogram') v.drawing.show(Object.entries(there || {}).map(([name, { edges, counts }], i) => ({ name, edges, counts, colour: v.colour(i) })), note);
      else if (v.kind === 'heat') { const word = n => n === 'true' && f ? f.im.truth : n || ''; v.drawing.down = word(v.names[0]); v.drawing.across = word(v.names[1]); v.drawing.show(there && bytesOf(there, Float32Array), classes, note); }
      else if (v.kind === 'bars') v.drawing.show(there, note, v.colour);
      else v.drawing.show(there ? there.places.map((place, i) => this.tile(0, place, 48, there.texts[i], there)) : [], note, there && this.table(f, there.places, there.texts));
    }
    if (this.chosen) this.choose(this.chosen.k, this.chosen.at, this.chosen.title, null, false);
    else this.detail();
  }
  legend() {
    const f = this.f?.[0], by = this.by.value, pal = this.pal.palette, item = (c, s, t) => {
      const e = h('canvas', { width: 24, height: 24, class: 'nl-symbol' }), g = e.getContext('2d');
      g.fillStyle = c; g.strokeStyle = this.ink(c); g.lineWidth = 2.5; dot(g, s, 12, 12, 8); g.fill(); g.stroke();
      return h('span', {}, e, t);
    };
    let items = [];
    if (f && by === 'wrong') items = f.im.true ? [item(pal[6], 'diamond', 'wrong label'), item(pal[0], 'circle', 'right label')] : [];
    else if (f && by === 'loss') items = [h('span', {}, '0'), h('i', { class: 'nl-ramp', style: `background: linear-gradient(90deg, ${[0, .2, .4, .6, .8, 1].map(cividisCss).join()})` }), h('span', {}, fmt(f.loss_top, 2))];
    else if (f) {
      const names = by === 'cluster' ? Array.from({ length: f.cluster ? Math.max(...f.cluster) + 1 : 0 }, (_, i) => String(i)) : f.im.classes;
      items = names.slice(0, 20).map((n, i) => item(pal[i % pal.length], symbolOf(i, this.pal), n));
      if (names.length > 20) items.push(h('span', {}, `and ${names.length - 20} more, in these colours with other symbols`));
    }
    this.by.options[1].textContent = f && f.im.truth !== 'true' ? f.im.truth : 'true label';
    const sign = by + items.length + (f ? f.key : '') + (by === 'loss' && f ? f.epoch : '');
    if (sign !== this.sign) { this.sign = sign; this.key.replaceChildren(...items); }
  }

  // ---- images in words and as tiles
  facts(f, place) {      // what is known of a watched image: name → text
    const { im } = f, n = im.classes, t = im.true ? im.true[place] : -1;
    return { given: n[f.given[place]], [im.truth]: t < 0 ? 'not known' : n[t], predicted: n[f.pred[place]], loss: fmt(f.loss[place]), ...(f.cluster ? { cluster: String(f.cluster[place]) } : {}), image: String(im.index[place]) };
  }
  table(f, places, texts = null) {      // rows of a CSV
    const rows = places.map((place, i) => ({ run: f.name, ...this.facts(f, place), loss: +f.loss[place].toPrecision(4), ...(texts ? { why: texts[i] } : {}) }));
    return [Object.keys(rows[0] || {}), ...rows.map(Object.values)];
  }
  mapTable() {
    const all = (this.f || []).filter(f => f?.map.xy).map(f => this.table(f, [...f.im.shown]).map((row, i) => [...row, ...i ? [...f.map.xy.subarray(2 * i - 2, 2 * i)].map(v => +v.toPrecision(6)) : ['x', 'y']]));
    return all.flatMap((rows, k) => k ? rows.slice(1) : rows);
  }
  describe(k, i) { return Object.entries(this.facts(this.f[k], this.f[k].im.shown[i])).map(([a, b]) => h('div', {}, h('span', {}, a + ' '), b)); }
  picture(f, place, size, more) {     // `more`: pictures of those that are not on the map
    const c = h('canvas', { width: 2 * size, height: 2 * size, style: `width: ${size}px; height: ${size}px` }), i = f.im.at.get(place);
    if (i === undefined && more) more.pictures ??= new Pictures(bytesOf(more.pixels), ...more.shape);
    if (i !== undefined) f.im.pictures.draw(c.getContext('2d'), i, 0, 0, 2 * size);
    else if (more) more.pictures.draw(c.getContext('2d'), more.others.indexOf(place), 0, 0, 2 * size);
    return c;
  }
  tile(k, place, size, said = '', more = null) {     // a watched image with its labels in words
    const f = this.f[k], im = f.im, n = im.classes, given = f.given[place], pred = f.pred[place], t = im.true ? im.true[place] : -1, known = t >= 0;
    const wrong = known && given !== t, right = known && pred === t, agrees = pred === given, truth = known ? `${im.truth} ${n[t]}` : '';
    const words = Object.entries(this.facts(f, place)).map(([a, b]) => `${a} ${b}`).join(', ') + (said && `, ${said}`);
    return h('div', { role: 'listitem' }, h('button', { class: 'nl-img' + (im.index[place] === this.lit ? ' nl-lit' : ''), type: 'button', 'data-image': im.index[place], 'aria-label': words }, this.picture(f, place, size, more),
      h('span', {}, n[given]), agrees ? null : h('span', {}, `→ ${n[pred]}`), known ? h('em', { class: wrong ? (right ? 'nl-ok' : 'nl-no') : '' }, ((agrees ? !wrong : right) ? '✓ ' : '✗ ') + truth) : null));
  }

  // ---- one selection everywhere; an image has its number in the training set
  same(k) { const a = this.f?.[0], b = this.f?.[k]; return b && (k === 0 || a && a.im.classes.join() === b.im.classes.join()); }
  point(k, number) { const im = this.f[k]?.im, i = im?.at.get(im.place.get(number)); return i === undefined || !this.same(k) ? null : i; }
  light(number) {      // the image under the pointer
    this.lit = number;
    this.maps.forEach((m, k) => { m.cursor = number === null || !this.f ? null : this.point(k, number); m.surface.draw(); });
    for (const r of this.restored) r.surface.draw();
    for (const e of this.root.querySelectorAll('.nl-img')) e.classList.toggle('nl-lit', +e.dataset.image === number);
  }
  look(number) {      // the image that was clicked, and those around it on the map
    const i = this.f && this.point(0, number);
    if (i !== null && this.maps[0].place) this.maps[0].around(i); else this.choose(0, [], '', number);
  }
  cell(v, i, j) {      // the images of a cell of a matrix
    const f = this.f[0], is = { given: f?.map.given, true: f?.map.true, predicted: f?.map.pred }, [a, b] = v.names.map(n => is[n]);
    if (!a || !b) return;
    const at = Array.from(a.keys()).filter(k => a[k] === i && b[k] === j), n = f.im.classes;
    this.choose(0, at, `${v.names[0]} ${n[i]}, ${v.names[1]} ${n[j]}: ${at.length} of ${a.length} images on the map`);
  }
  choose(k, at, title, one = null, fresh = true) {      // points of map `k` beside the map; `one`: its point, or the number of an image
    const f = this.f?.[k];
    this.chosen = title && f ? { k, at, title } : null;
    if (fresh) {
      this.one1 = f && one !== null ? (at.length ? f.im.index[f.im.shown[one]] : one) : null;
      if (this.one1 !== null || this.s.looked !== null) this.send('look', { image: this.one1 });
      if (this.chosen || this.one1 !== null) this.open('Images');
    }
    const numbers = f ? at.map(i => f.im.index[f.im.shown[i]]) : [];
    this.maps.forEach((m, q) => { m.chosen = new Set(numbers.map(n => this.point(q, n)).filter(i => i !== null)); m.surface.draw(); });
    const max = 120;
    this.picked.replaceChildren(...this.chosen ? [h('h3', {}, title + (at.length > max ? `, the first ${max}` : ''), h('button', { class: 'nl-x', type: 'button', 'aria-label': 'close the images', onclick: () => { this.choose(0, [], ''); this.open('Restoration'); } }, '×')),
      h('div', { class: 'nl-tiles-img', role: 'list' }, ...at.slice(0, max).map(i => this.tile(k, f.im.shown[i], 48)))] : this.one1 !== null ? [] : [h('span', { class: 'nl-hint' }, 'Click an image anywhere, or draw a lasso on the map.')]);
    this.detail();
  }
  detail() {      // one image, large: labels, and what the network took it for in each epoch
    const f = this.f?.[0], d = this.model.get('picked') || {}, place = f && this.one1 !== null ? f.im.place.get(this.one1) : undefined;
    this.one.hidden = place === undefined;
    if (this.one.hidden) return;
    const mine = d.image === this.one1, n = f.im.classes, pal = this.pal.palette, big = mine ? h('canvas', { width: 192, height: 192 }) : this.picture(f, place, 96);
    if (mine) new Pictures(bytesOf(d.pixels), ...d.shape).draw(big.getContext('2d'), 0, 0, 0, 192);
    const strip = h('canvas', { width: 600, height: 24, role: 'img', class: 'nl-strip' }), g = strip.getContext('2d'), past = [];
    if (mine) d.pred.forEach((p, i) => {
      if (i === 0 || p !== d.pred[i - 1]) past.push([n[p], d.epochs[i], this.ink(pal[p % pal.length])]);
      g.fillStyle = pal[p % pal.length]; g.fillRect(Math.floor(600 * i / d.pred.length), 0, Math.ceil(600 / d.pred.length), 24);
    });
    strip.setAttribute('aria-label', `predicted over the epochs: ${past.map(([name, e]) => `${name} from epoch ${fmt(e)}`).join(', ')}`);
    this.one.replaceChildren(big, h('dl', {}, ...Object.entries(this.facts(f, place)).flatMap(([a, b]) => [h('dt', {}, a), h('dd', {}, b)])),
      h('div', { class: 'nl-past' }, h('small', {}, past.length ? `predicted, epoch ${fmt(d.epochs[0])} to ${fmt(d.epochs.at(-1))}` : 'its past comes with the first epoch'), strip,
        h('div', { class: 'nl-key' }, ...[...new Map(past.map(p => [p[0], p])).values()].map(([name, , c]) => h('span', {}, swatch(c), name)))));
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
    clearInterval(this.playing); clearTimeout(this.sure); this.sizes.disconnect(); this.mood.disconnect(); this.kernel?.disconnect(this.ends);
    for (const v of this.drawn) v.close();
    this.model.off(null, null, this);
  }
}

export default { render({ model, el }) { const app = new App(model, el); return () => app.close(); } };
