// The kinds of drawings: lines over epochs, areas, histogram, heat map, bars, pictures. Numbers come in and are drawn as
// they are.

// Keys are its own: JupyterLab would take arrows and letters for its commands. It looks at the element with the focus only.
const keyed = e => e.setAttribute('data-lm-suppress-shortcuts', 'true');

function h(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  if (['button', 'input', 'select'].includes(tag) || 'tabindex' in props) keyed(e);
  for (const [k, v] of Object.entries(props)) {
    if (k === 'class') e.className = v;
    else if (k === 'style') e.style.cssText = v;
    else if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
    else if (k in e && k !== 'list') e[k] = v;
    else if (v !== null) e.setAttribute(k, v);
  }
  e.append(...children.filter(c => c !== null));
  return e;
}

const fmt = (v, digits = 3) => v === null || v === undefined || Number.isNaN(v) ? '–'
  : Math.abs(v) >= 1000 ? Math.round(v).toLocaleString('en-US') : String(+Number(v).toPrecision(digits));
const percent = v => v === null || v === undefined ? '–' : v.toFixed(1) + '%';

// Colours of the theme, as the page has them now.
function theme(root) {
  const s = getComputedStyle(root), v = k => s.getPropertyValue(k).trim();
  return { ink: v('--nl-ink'), soft: v('--nl-soft'), line: v('--nl-line'), ground: v('--nl-card'), font: s.fontFamily };
}

// A canvas that fills its box at the screen's own resolution; `paint(g, width, height)` draws it.
class Surface {
  constructor(box, paint, label) {
    this.canvas = h('canvas', { class: 'nl-canvas', role: 'img' });
    if (label) this.canvas.setAttribute('aria-label', label);
    this.paint = paint; this.box = box;
    box.append(this.canvas);
    this.watch = new ResizeObserver(() => this.draw());
    this.watch.observe(box);
  }
  draw() {
    if (this.due) return;
    this.due = requestAnimationFrame(() => { this.due = 0; this.now(); });
  }
  now() {
    const { clientWidth: w, clientHeight: t } = this.box, r = window.devicePixelRatio || 1;
    if (!w || !t) return;
    const c = this.canvas;
    if (c.width !== Math.round(w * r) || c.height !== Math.round(t * r)) { c.width = Math.round(w * r); c.height = Math.round(t * r); }
    const g = c.getContext('2d');
    g.setTransform(r, 0, 0, r, 0, 0);
    g.clearRect(0, 0, w, t);
    this.paint(g, w, t);
  }
  close() { this.watch.disconnect(); cancelAnimationFrame(this.due); }
}

// Where the mouse is over a view, as its `mouse`; null: elsewhere.
function hover(view, where) {
  const c = view.surface.canvas, at = v => { view.mouse = v; view.surface.draw(); };
  view.mouse = null;
  c.addEventListener('pointermove', e => at(where(e)));
  c.addEventListener('pointerleave', () => at(null));
}

function ticks(lo, hi, n) {
  const raw = (hi - lo) / Math.max(1, n), p = 10 ** Math.floor(Math.log10(raw || 1));
  const step = [1, 2, 2.5, 5, 10].map(k => k * p).find(s => s >= raw) || p;
  const res = [];
  for (let v = Math.ceil(lo / step) * step; v <= hi + step * 1e-6; v += step) res.push(Math.abs(v) < step * 1e-6 ? 0 : v);
  return res;
}

const DASHES = [[], [7, 4], [2, 3], [8, 3, 2, 3], [12, 4]];

// Lines over epochs. `show({series: [{name, x, y, colour, dash}], events: [{x, text, colour}], at, xmax, percent, title})`.
class Lines {
  constructor(root, box, title) {
    this.root = root; this.title = title; this.data = { series: [], events: [] };
    this.key = h('div', { class: 'nl-key' });
    this.hold = h('div', { class: 'nl-plot' });
    this.head = h('h3', {}, title);
    box.append(this.head, this.hold, this.key);
    this.surface = new Surface(this.hold, (g, w, t) => this.paint(g, w, t), title);
    hover(this, e => e.offsetX);
  }
  show(data) {
    this.data = data;
    if (data.title && data.title !== this.title) this.head.textContent = this.title = data.title;
    const last = data.series.map(s => `${s.name}: ${s.y.length ? fmt(s.y.at(-1)) : 'nothing yet'}`);
    this.surface.canvas.setAttribute('aria-label', `${this.title}. ${last.join('; ')}` + (data.events?.length ? `. Changes: ${data.events.map(e => `${e.text} at epoch ${fmt(e.x)}`).join('; ')}` : ''));
    const names = data.series.map(s => s.name).join('|') + data.series.map(s => s.colour).join();
    if (names !== this.names && !data.keyless) {
      this.names = names;
      this.key.replaceChildren(...data.series.filter(s => s.name).map(s => h('span', {}, swatch(s.colour, s.dash), s.name)));
    }
    this.surface.draw();
  }
  paint(g, w, t) {
    const { series, events = [], at, percent: pc, note } = this.data, c = theme(this.root);
    const L = 38, R = 10, T = 8, B = 20, pts = series.filter(s => s.y.length);
    const xmax = Math.max(1, this.data.xmax || 1, ...pts.map(s => s.x.at(-1)));
    let lo = 0, hi = 100;
    if (!pc) {
      const all = pts.flatMap(s => s.y);
      hi = all.length ? Math.max(...all) * 1.06 : 1; lo = Math.min(0, ...all) * 1.06;
      if (hi <= 0) hi = 1;
    }
    const X = v => L + (w - L - R) * v / xmax, Y = v => T + (t - T - B) * (1 - (v - lo) / (hi - lo));
    g.font = `11px ${c.font}`; g.lineWidth = 1; g.fillStyle = c.soft; g.strokeStyle = c.line;
    g.textAlign = 'right'; g.textBaseline = 'middle';
    for (const v of pc ? [0, 25, 50, 75, 100] : ticks(lo, hi, 4)) {
      g.beginPath(); g.moveTo(L, Math.round(Y(v)) + .5); g.lineTo(w - R, Math.round(Y(v)) + .5); g.stroke();
      g.fillText(pc ? v + '%' : fmt(v), L - 5, Y(v));
    }
    g.textAlign = 'center'; g.textBaseline = 'top';
    for (const v of ticks(0, xmax, Math.min(6, w / 55)).filter(v => v % 1 === 0)) g.fillText(v, X(v), t - B + 5);
    for (const e of events) {
      g.strokeStyle = e.colour; g.setLineDash([3, 3]); g.globalAlpha = .75;
      g.beginPath(); g.moveTo(X(e.x), T); g.lineTo(X(e.x), t - B); g.stroke();
      g.globalAlpha = 1; g.setLineDash([]); g.fillStyle = e.colour;
      g.beginPath(); g.moveTo(X(e.x), T - 5); g.lineTo(X(e.x) + 5, T); g.lineTo(X(e.x), T + 5); g.lineTo(X(e.x) - 5, T); g.fill();
    }
    if (at) { g.strokeStyle = c.ink; g.globalAlpha = .55; g.beginPath(); g.moveTo(X(at), T); g.lineTo(X(at), t - B); g.stroke(); g.globalAlpha = 1; }
    for (const s of pts) {
      g.strokeStyle = s.colour; g.fillStyle = s.colour; g.lineWidth = 2; g.lineJoin = 'round'; g.setLineDash(DASHES[s.dash || 0]);
      g.beginPath(); s.x.forEach((x, i) => g.lineTo(X(x), Y(Math.min(s.y[i], hi)))); g.stroke(); g.setLineDash([]);
      g.beginPath(); g.arc(X(s.x.at(-1)), Y(Math.min(s.y.at(-1), hi)), 3, 0, 7); g.fill();
    }
    if (!pts.length) say(g, w, t, note || 'nothing yet', c);
    if (this.mouse !== null && pts.length) this.tell(g, w, t, X, Y, xmax, L, R, c);
  }
  tell(g, w, t, X, Y, xmax, L, R, c) {      // the values under the mouse
    const { series, events = [], percent: pc } = this.data;
    const under = (this.mouse - L) / (w - L - R) * xmax, all = series.flatMap(s => s.x);
    if (!all.length || under < 0 || under > xmax) return;
    const x = all.reduce((a, b) => Math.abs(b - under) < Math.abs(a - under) ? b : a), lines = [`epoch ${fmt(x)}`], inks = [c.ink];
    for (const s of series) {
      const i = s.x.indexOf(x);
      if (i >= 0) { lines.push(`${s.name}  ${pc ? percent(s.y[i]) : fmt(s.y[i])}`); inks.push(s.colour); }
    }
    for (const e of events) if (Math.abs(X(e.x) - this.mouse) < 8) { lines.push('◆ ' + e.text); inks.push(e.colour); }
    g.strokeStyle = c.soft; g.beginPath(); g.moveTo(X(x), 8); g.lineTo(X(x), t - 20); g.stroke();
    balloon(g, w, X(x), 12, lines, inks, c);
  }
  close() { this.surface.close(); }
}

function swatch(colour, dash = 0) {
  const line = h('i', { class: 'nl-swatch' });
  line.style.borderTop = `3px ${['solid', 'dashed', 'dotted', 'dashed', 'dashed'][dash || 0]} ${colour}`;
  return line;
}

function say(g, w, t, text, c) {
  g.fillStyle = c.soft; g.font = `12px ${c.font}`; g.textAlign = 'center'; g.textBaseline = 'middle';
  const words = text.split(' '), lines = [''];
  for (const s of words) {
    const next = (lines.at(-1) + ' ' + s).trim();
    if (g.measureText(next).width > w - 40) lines.push(s); else lines[lines.length - 1] = next;
  }
  lines.forEach((s, i) => {
    const y = t / 2 + (i - (lines.length - 1) / 2) * 17, wide = g.measureText(s).width + 10;
    g.fillStyle = c.ground; g.fillRect((w - wide) / 2, y - 9, wide, 18);
    g.fillStyle = c.soft; g.fillText(s, w / 2, y);
  });
}

function balloon(g, w, x, y, lines, inks, c) {
  g.font = `11px ${c.font}`; g.textAlign = 'left'; g.textBaseline = 'middle';
  const wide = Math.max(...lines.map(s => g.measureText(s).width)) + 24, x0 = x + wide + 12 > w ? Math.max(0, x - wide - 8) : x + 8;
  g.fillStyle = c.ground; g.strokeStyle = c.line; g.globalAlpha = .96;
  g.beginPath(); g.roundRect(x0, y, wide, lines.length * 16 + 8, 5); g.fill(); g.stroke(); g.globalAlpha = 1;
  lines.forEach((s, i) => {
    g.fillStyle = inks[i]; if (i) g.fillRect(x0 + 7, y + 9 + i * 16, 6, 6);
    g.fillStyle = c.ink; g.fillText(s, x0 + (i ? 18 : 8), y + 12 + i * 16);
  });
}

// Is a colour so dark that text on it is white?
function dark(colour) {
  const [r, g, b] = [1, 3, 5].map(i => (parseInt(colour.slice(i, i + 2), 16) / 255) ** 2.2);
  return .2126 * r + .7152 * g + .0722 * b < .4;
}

// Shares that add up to 100 over epochs. `show({x, parts: [{name, y, colour}], at, xmax, note})`.
class Areas extends Lines {
  show(data) { super.show({ ...data, series: data.parts, percent: true }); }
  paint(g, w, t) {
    const { x = [], parts = [], at, note } = this.data, c = theme(this.root), L = 38, R = 10, T = 8, B = 20;
    const xmax = Math.max(1, this.data.xmax || 1, ...x), X = v => L + (w - L - R) * v / xmax, Y = v => T + (t - T - B) * (1 - v / 100);
    g.font = `11px ${c.font}`; g.fillStyle = c.soft; g.textAlign = 'center'; g.textBaseline = 'top';
    for (const v of ticks(0, xmax, Math.min(6, w / 55)).filter(v => v % 1 === 0)) g.fillText(v, X(v), t - B + 5);
    g.textAlign = 'right'; g.textBaseline = 'middle';
    for (const v of [0, 50, 100]) g.fillText(v + '%', L - 5, Y(v));
    if (note || x.length < 2) { say(g, w, t, note || (x.length ? 'begins with the second epoch' : 'nothing yet'), c); return; }
    let below = x.map(() => 0);
    for (const p of parts) {
      const top = below.map((b, i) => b + (p.y[i] || 0));
      g.fillStyle = p.colour; g.globalAlpha = .85; g.beginPath();
      top.forEach((v, i) => g.lineTo(X(x[i]), Y(v)));
      for (let i = x.length - 1; i >= 0; i--) g.lineTo(X(x[i]), Y(below[i]));
      g.fill(); g.globalAlpha = 1; below = top;
      const mid = top.at(-1) - (p.y.at(-1) || 0) / 2;
      if ((p.y.at(-1) || 0) > 12 && X(x.at(-1)) - L > 90) {
        g.fillStyle = dark(p.colour) ? '#fff' : '#111'; g.textAlign = 'right'; g.fillText(`${p.name} ${Math.round(p.y.at(-1))}%`, X(x.at(-1)) - 6, Y(mid)); g.textAlign = 'left';
      }
    }
    if (at) { g.strokeStyle = c.ink; g.lineWidth = 1; g.beginPath(); g.moveTo(X(at), T); g.lineTo(X(at), t - B); g.stroke(); }
    if (this.mouse !== null) this.tell(g, w, t, X, Y, xmax, L, R, c);
  }
}

// How many there are of which value: one group up, the other down.
class Histogram {
  constructor(root, box, title, hint, what = '') {
    this.root = root; this.hold = h('div', { class: 'nl-plot' }); this.what = what;
    this.key = h('div', { class: 'nl-key' });
    box.append(h('h3', {}, title, h('span', { class: 'nl-hint' }, hint)), this.hold, this.key);
    this.surface = new Surface(this.hold, (g, w, t) => this.paint(g, w, t), title);
    hover(this, e => e.offsetX);
  }
  show(groups, note) {      // [{name, colour, edges, counts}]
    this.groups = groups; this.note = note;
    this.key.replaceChildren(...groups.map(s => h('span', {}, swatch(s.colour), s.name)));
    this.surface.draw();
  }
  paint(g, w, t) {
    const c = theme(this.root), groups = this.groups || [], L = 10, R = 10, B = 20, T = 6;
    if (!groups.length) return say(g, w, t, this.note || 'nothing yet', c);
    const edges = groups[0].edges, n = edges.length - 1, lo = edges[0], hi = edges[n], X = v => L + (w - L - R) * (v - lo) / (hi - lo || 1);
    const top = Math.sqrt(Math.max(1, ...groups.flatMap(s => s.counts))), two = groups.length > 1, mid = two ? (t - B + T) / 2 : t - B, tall = two ? mid - T - 2 : mid - T;
    groups.slice(0, 2).forEach((s, k) => {
      g.fillStyle = s.colour;
      s.counts.forEach((v, i) => { const x = X(edges[i]), y = tall * Math.sqrt(v) / top; g.fillRect(x + .5, k ? mid + 1 : mid - y, X(edges[i + 1]) - x - 1, y); });
    });
    g.fillStyle = c.soft; g.font = `11px ${c.font}`; g.textAlign = 'center'; g.textBaseline = 'top';
    for (const v of ticks(lo, hi, 5)) g.fillText(fmt(v), X(v), t - B + 5);
    g.strokeStyle = c.line; g.beginPath(); g.moveTo(L, mid + .5); g.lineTo(w - R, mid + .5); g.stroke();
    const i = edges.findLastIndex(v => X(v) <= this.mouse);
    if (this.mouse === null || !(i >= 0 && i < n)) return;
    balloon(g, w, (X(edges[i]) + X(edges[i + 1])) / 2, 8, [`${this.what} ${fmt(edges[i])} to ${fmt(edges[i + 1])}`, ...groups.map(s => `${s.counts[i].toLocaleString('en-US')} ${s.name}`)], [c.ink, ...groups.map(s => s.colour)], c);
  }
  close() { this.surface.close(); }
}

// Cividis in seven stops.
const CIVIDIS = [[0, 34, 78], [43, 64, 110], [85, 91, 109], [123, 122, 119], [165, 156, 116], [211, 193, 100], [254, 232, 56]];
function cividis(v) {
  const f = Math.max(0, Math.min(.9999, v)) * (CIVIDIS.length - 1), i = Math.floor(f), u = f - i;
  return CIVIDIS[i].map((a, k) => Math.round(a + u * (CIVIDIS[i + 1][k] - a)));
}
const cividisCss = v => `rgb(${cividis(v).join()})`;

// A table of shares, C×C row by row, as a picture.
class Heat {
  constructor(root, box, title, across, down) {
    this.root = root; this.across = across; this.down = down; this.hold = h('div', { class: 'nl-plot nl-square' });
    box.append(h('h3', {}, title), this.hold);
    this.surface = new Surface(this.hold, (g, w, t) => this.paint(g, w, t), title);
    hover(this, e => [e.offsetX, e.offsetY]);
  }
  show(m, classes, note) { this.m = m; this.classes = classes; this.note = note; this.surface.draw(); }
  paint(g, w, t) {
    const c = theme(this.root);
    if (!this.m) return say(g, w, t, this.note || 'nothing yet', c);
    const n = this.classes.length, few = n <= 12, named = few && this.classes.some(c => c.length > 2), L = named ? 42 : few ? 30 : 18, B = few ? 32 : 18, s = Math.min((w - L - 2) / n, (t - B - 2) / n), left = Math.max(L, (w - s * n + L) / 2), gap = few ? 1 : 0;
    g.font = `${named && s < 24 ? 9 : 10}px ${c.font}`; g.textAlign = 'center'; g.textBaseline = 'middle';
    const short = k => this.classes[k].slice(0, 3);
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) {
      const v = this.m[i * n + j];
      g.fillStyle = cividisCss(v); g.fillRect(few ? left + j * s : Math.floor(left + j * s), few ? i * s : Math.floor(i * s), few ? s - gap : Math.ceil(s), few ? s - gap : Math.ceil(s));
      if (few && s > 17) { g.fillStyle = v > .55 ? '#111' : '#fff'; g.fillText(Math.round(100 * v), left + (j + .5) * s, (i + .5) * s); }
    }
    g.fillStyle = c.soft;
    if (few) for (let i = 0; i < n; i++) { g.textAlign = 'right'; g.fillText(short(i), left - 4, (i + .5) * s); g.textAlign = 'center'; g.fillText(short(i), left + (i + .5) * s, n * s + 8); }
    g.font = `11px ${c.font}`; g.fillText(this.across, left + n * s / 2, n * s + (few ? 23 : 9));
    g.save(); g.translate(left - (named ? 34 : few ? 24 : 9), n * s / 2); g.rotate(-Math.PI / 2); g.fillText(this.down, 0, 0); g.restore();
    if (this.mouse) {
      const j = Math.floor((this.mouse[0] - left) / s), i = Math.floor(this.mouse[1] / s);
      if (i >= 0 && j >= 0 && i < n && j < n) balloon(g, w, left + j * s, Math.max(0, Math.min(t - 60, i * s)), [`${this.down} ${this.classes[i]}`, `${this.across} ${this.classes[j]}`, percent(100 * this.m[i * n + j])], [c.ink, c.ink, cividisCss(this.m[i * n + j])], c);
    }
  }
  close() { this.surface.close(); }
}

// A bar, or several, for each name. `show({name: [numbers]}, note, colour)`.
class Bars {
  constructor(box, title, hint, names) {
    this.names = names; this.hold = h('div', { class: 'nl-ops', role: 'list' }); this.key = h('div', { class: 'nl-key' });
    box.append(h('h3', {}, title, h('span', { class: 'nl-hint' }, hint)), this.hold, this.key);
  }
  show(numbers, note, colour) {
    const rows = Object.entries(numbers || {}), top = Math.max(1e-12, ...rows.flatMap(([, v]) => v));
    this.key.replaceChildren(...rows.length ? this.names.map((name, i) => h('span', {}, swatch(colour(i)), name)) : []);
    this.hold.replaceChildren(...rows.map(([name, values]) => h('div', { class: 'nl-op', role: 'listitem', title: `${name}: ${values.map((v, i) => `${fmt(v)} ${this.names[i] || ''}`).join(', ')}` },
      h('span', {}, name), h('i', {}, ...values.map((v, i) => h('b', { style: `width: ${100 * Math.max(0, v) / top}%; background: ${colour(i)}` }))), h('em', {}, values.map(v => fmt(v, 2)).join(' · ')))));
    if (!rows.length) this.hold.append(h('span', { class: 'nl-hint' }, note || 'nothing yet'));
  }
  close() {}
}

// Pictures with what is said of each.
class Tiles {
  constructor(box, title, hint) {
    this.hold = h('div', { class: 'nl-tiles-img', role: 'list' });
    box.append(h('h3', {}, title, h('span', { class: 'nl-hint' }, hint)), this.hold);
  }
  show(tiles, note) { this.hold.replaceChildren(...tiles.length ? tiles : [h('span', { class: 'nl-hint' }, note || 'nothing yet')]); }
  close() {}
}

// Pictures that came as bytes, N×H×W×C; `tile(i)` is a canvas of one of them.
class Pictures {
  constructor(bytes, n, height, width, channels) { Object.assign(this, { bytes, n, height, width, channels, made: new Map() }); }
  tile(i) {
    if (!this.made.has(i)) {
      if (this.made.size > 4000) this.made.clear();
      const { height: H, width: W, channels: C } = this, c = h('canvas', { width: W, height: H });
      const g = c.getContext('2d'), d = g.createImageData(W, H), at = i * H * W * C;
      for (let p = 0; p < H * W; p++) {
        for (let k = 0; k < 3; k++) d.data[4 * p + k] = this.bytes[at + p * C + (C === 1 ? 0 : k)];
        d.data[4 * p + 3] = 255;
      }
      g.putImageData(d, 0, 0);
      this.made.set(i, c);
    }
    return this.made.get(i);
  }
  draw(g, i, x, y, size) { g.imageSmoothingEnabled = this.height > 64; g.drawImage(this.tile(i), x, y, size, size); }
}
function bytesOf(view, Kind = Uint8Array) {
  if (!view || !view.byteLength) return null;
  const b = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
  return new Kind(b);
}
