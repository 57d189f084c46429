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

// A colour, mixed with black or white until it stands out from the ground: 3 : 1 for lines and points.
const light = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16) / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((a, v, i) => a + v * [.2126, .7152, .0722][i], 0);
const contrast = (a, b) => { const [x, y] = [light(a), light(b)]; return (Math.max(x, y) + .05) / (Math.min(x, y) + .05); };
const asHex = (() => { const g = document.createElement('canvas').getContext('2d', { willReadFrequently: true }); return colour => { g.fillStyle = '#fff'; g.fillRect(0, 0, 1, 1); g.fillStyle = colour; g.fillRect(0, 0, 1, 1); return '#' + [...g.getImageData(0, 0, 1, 1).data].slice(0, 3).map(v => v.toString(16).padStart(2, '0')).join(''); }; })();
const seen = new Map();
function strong(colour, ground, least = 3) {
  const key = colour + ground;
  if (!seen.has(key)) {
    const back = asHex(ground), to = light(back) > .18 ? 0 : 255, rgb = [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16));
    let res = colour;
    for (let u = 0; u <= 1 && contrast(res, back) < least; u += .05) res = '#' + rgb.map(v => Math.round(v + u * (to - v)).toString(16).padStart(2, '0')).join('');
    seen.set(key, res);
  }
  return seen.get(key);
}

// "?": a sentence about what stands beside it.
function help(text, name) {
  const said = h('p', { class: 'nl-helptext', hidden: true }, text);
  const b = h('button', { class: 'nl-help', type: 'button', 'aria-expanded': 'false', 'aria-label': `what is ${name}?`, onclick: () => { said.hidden = !said.hidden; b.setAttribute('aria-expanded', !said.hidden); } }, '?');
  return [b, said];
}
function heading(title, hint, ...more) {
  const [b, said] = hint ? help(hint, title) : [null, null], head = h('h3', {}, h('span', {}, title), b, ...more);
  return Object.assign(h('div', { class: 'nl-headline' }, head, said), { name: head.firstChild });
}

// "⋯": what else can be done with what stands beside it. Escape closes it, and so does going elsewhere.
function menu(name, ...inside) {
  const box = h('div', { class: 'nl-menubox', role: 'group', 'aria-label': name, hidden: true }, ...inside), put = open => { box.hidden = !open; b.setAttribute('aria-expanded', open); };
  const b = h('button', { class: 'nl-dots', type: 'button', 'aria-expanded': 'false', 'aria-label': `more for ${name}`, title: 'save as PNG or CSV', onclick: () => put(box.hidden) }, '⋯');
  return h('span', { class: 'nl-menu', onkeydown: e => { if (e.key === 'Escape' && !box.hidden) { e.stopPropagation(); put(false); b.focus(); } }, onfocusout: e => { if (e.relatedTarget && !e.currentTarget.contains(e.relatedTarget)) put(false); }, onpointerleave: () => { if (!box.contains(document.activeElement)) put(false); } }, b, box);
}
function download(blob, name) {
  const a = h('a', { href: URL.createObjectURL(blob), download: 'noisylab-' + name });
  a.click(); setTimeout(() => URL.revokeObjectURL(a.href), 10_000);
}
const csv = rows => rows.map(row => row.map(v => /[",\r\n]/.test(v ?? '') ? `"${String(v).replaceAll('"', '""')}"` : v ?? '').join()).join('\r\n') + '\r\n';
// The menu of a card. `drawing`: {title, table(): rows of a CSV, surfaces: its canvases, key: its legend}
function saving(root, drawing, ...more) {
  const file = () => drawing.title.toLowerCase().replaceAll(/\W+/g, '-');
  const item = (kind, name, f) => h('button', { class: 'nl-tool', type: 'button', 'aria-label': `save ${drawing.title} as ${name}`, onclick: f }, kind);
  return menu(drawing.title, drawing.surfaces ? item('PNG', 'a picture', () => snapshot(root, drawing).toBlob(b => download(b, file() + '.png'))) : null,
    item('CSV', 'a table', () => download(new Blob([csv(drawing.table())], { type: 'text/csv' }), file() + '.csv')), ...more);
}
// What the canvases of a card show, at twice the size, with its title and its legend.
function snapshot(root, { title, surfaces, key }) {
  const all = surfaces.filter(s => s.box.clientWidth && s.box.clientHeight), c = theme(root), w = Math.max(160, all.reduce((n, s) => n + s.box.clientWidth + 8, 8)), t = Math.max(0, ...all.map(s => s.box.clientHeight));
  const items = [...key?.children || []].map(e => ({ text: (e.title && !e.textContent.includes(e.title) ? `${e.title}: ` : '') + e.textContent.trim(), sign: e.querySelector('canvas, i') || (e.matches('i') ? e : null) }));
  const canvas = h('canvas', { width: 2 * w, height: 2 * (t + 44 + 18 * items.length) }), g = canvas.getContext('2d');
  const words = (x, y, write) => {      // the legend; its height
    g.font = `12px ${c.font}`; g.textBaseline = 'middle'; g.textAlign = 'left';
    for (const { text, sign } of items) {
      const ramp = sign?.matches('.nl-ramp'), wide = (ramp ? 94 : sign ? 18 : 0) + g.measureText(text).width + 12;
      if (x > 8 && x + wide > w) { x = 8; y += 18; }
      if (write && ramp) { const fill = g.createLinearGradient(x, 0, x + 90, 0); SCALE.forEach((v, i) => fill.addColorStop(i / (SCALE.length - 1), `rgb(${v})`)); g.fillStyle = fill; g.fillRect(x, y - 5, 90, 10); }
      else if (write && sign?.matches('canvas')) g.drawImage(sign, x, y - 6, 12, 12);
      else if (write && sign) { const s = getComputedStyle(sign); g.strokeStyle = s.borderTopColor; g.lineWidth = 3; g.setLineDash({ dashed: [5, 2], dotted: [3, 2] }[s.borderTopStyle] || []); g.beginPath(); g.moveTo(x, y); g.lineTo(x + 12, y); g.stroke(); g.setLineDash([]); }
      if (write) { g.fillStyle = c.ink; g.fillText(text, x + (ramp ? 94 : sign ? 18 : 0), y); }
      x += wide;
    }
    return items.length ? y + 12 : y - 12;
  };
  canvas.height = 2 * Math.ceil(words(8, t + 44, false));
  g.scale(2, 2); g.fillStyle = c.ground; g.fillRect(0, 0, w, canvas.height);
  g.fillStyle = c.ink; g.font = `600 13px ${c.font}`; g.textBaseline = 'middle'; g.fillText(title, 8, 14);
  all.reduce((x, s) => { g.save(); g.translate(x, 28); s.paint(g, s.box.clientWidth, s.box.clientHeight); g.restore(); return x + s.box.clientWidth + 8; }, 8);
  words(8, t + 44, true);
  return canvas;
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
// `time`: {cursor, move(epoch), go(epoch)}: one cursor for all of them; what stands under it is written below the plot.
class Lines {
  constructor(root, box, title, hint, time) {
    Object.assign(this, { root, title, time, data: { series: [], events: [] } });
    this.key = h('div', { class: 'nl-key' });
    this.hold = h('div', { class: 'nl-plot' });
    this.head = heading(title, hint);
    box.append(this.head, this.hold, this.key);
    this.surface = new Surface(this.hold, (g, w, t) => this.paint(g, w, t), title);
    const c = this.surface.canvas, at = e => this.scale && this.scale.back(e.offsetX);
    let from = null, later = 0;     // where a drag began; a click on a part waits: it may become a double click
    c.addEventListener('pointerdown', e => { from = e.offsetX; c.setPointerCapture(e.pointerId); });
    c.addEventListener('pointermove', e => {
      if (from !== null && this.scale) time.drag = Math.abs(e.offsetX - from) > 6 ? [this.scale.back(from), at(e)].sort((a, b) => a - b) : null;
      time.move(at(e));
    });
    c.addEventListener('pointerup', e => {
      const part = time.drag, was = from;
      from = time.drag = null;
      if (part && part[1] > part[0]) time.zoom(part);
      else if (was !== null) { clearTimeout(later); later = setTimeout(() => time.go(at(e)), time.part ? 250 : 0); }
    });
    c.addEventListener('pointercancel', () => { from = time.drag = null; });
    c.addEventListener('pointerleave', () => time.move(null));
    c.addEventListener('dblclick', () => { clearTimeout(later); if (time.part) time.zoom(null); });
    this.surfaces = [this.surface];
  }
  table() {
    const { series } = this.data, at = series.map(s => new Map(s.x.map((x, i) => [x, s.y[i]])));
    return [['epoch', ...series.map(s => s.name)], ...[...new Set(series.flatMap(s => s.x))].sort((a, b) => a - b).map(x => [x, ...at.map(m => m.get(x))])];
  }
  show(data) {
    this.data = data;
    if (data.title && data.title !== this.title) this.head.name.textContent = this.title = data.title;
    const last = data.series.map(s => `${s.name}: ${s.y.length ? fmt(s.y.at(-1)) : 'nothing yet'}`);
    this.surface.canvas.setAttribute('aria-label', `${this.title} over epochs. ${last.join('; ')}` + (data.events?.length ? `. Changes: ${data.events.map(e => `${e.text} at epoch ${fmt(e.x)}`).join('; ')}` : ''));
    this.point();
  }
  point() {      // the values under the cursor, or the last ones
    const { series, events = [], percent: pc, keyless } = this.data, x = this.time.cursor === null ? null : Math.round(10 * this.time.cursor) / 10, [x0, x1] = this.part(), reach = (x1 - x0) / 60;
    const value = s => { const i = x === null ? s.x.length - 1 : nearest(s.x, x); return i < 0 ? null : s.y[i]; };
    const items = series.map(s => [s.colour, s.dash, keyless ? '' : s.name, pc ? percent(value(s)) : fmt(value(s)), s.name]);
    const near = x === null ? [] : events.filter(e => Math.abs(e.x - x) < reach);
    const sign = JSON.stringify([items, near, x]);
    if (sign !== this.sign) {
      this.sign = sign;
      this.key.replaceChildren(...x === null || !series.some(s => s.x.length) ? [] : [h('span', {}, `epoch ${fmt(x)}`)], ...items.map(([c, d, n, v, t]) => h('span', { title: t }, swatch(c, d), `${n} `, h('b', {}, v))), ...near.map(e => h('span', { class: 'nl-mark' }, `◆ ${e.text}`)));
    }
    this.surface.draw();
  }
  part() { return this.time.part || [0, this.data.xmax || 1]; }     // the epochs that are shown
  axes(g, w, t, c, lo, hi, rows, written) {
    const L = 34, R = 8, T = 8, B = 18, [x0, x1] = this.part(), end = g.measureText('epoch').width + 8;
    this.scale = { X: v => L + (w - L - R) * (v - x0) / (x1 - x0), Y: v => T + (t - T - B) * (1 - (v - lo) / (hi - lo)), back: px => Math.max(x0, Math.min(x1, x0 + (px - L) / (w - L - R) * (x1 - x0))), T, bottom: t - B };
    const { X, Y } = this.scale;
    g.font = `11px ${c.font}`; g.lineWidth = 1; g.fillStyle = c.soft; g.strokeStyle = c.line; g.textAlign = 'right'; g.textBaseline = 'middle';
    for (const v of rows) { g.beginPath(); g.moveTo(L, Math.round(Y(v)) + .5); g.lineTo(w - R, Math.round(Y(v)) + .5); g.stroke(); g.fillText(written(v), L - 4, Y(v)); }
    g.textBaseline = 'top'; g.fillText('epoch', w - 2, t - B + 5); g.textAlign = 'center';
    for (const v of ticks(x0, x1, Math.min(6, w / 55)).filter(v => (v % 1 === 0 || x1 - x0 < 3) && X(v) < w - end - 8)) g.fillText(fmt(v, 6), X(v), t - B + 5);
    const drag = this.time.drag;
    if (drag) { g.fillStyle = c.ink; g.globalAlpha = .15; g.fillRect(X(drag[0]), T, X(drag[1]) - X(drag[0]), t - B - T); g.globalAlpha = 1; }
    g.beginPath(); g.rect(L - 5, 0, w - L - R + 10, t - B + 4); g.clip();       // of what comes now, that part
  }
  paint(g, w, t) { g.save(); this.lines(g, w, t); g.restore(); }
  upright(g, x, colour) { g.strokeStyle = colour; g.beginPath(); g.moveTo(this.scale.X(x), this.scale.T); g.lineTo(this.scale.X(x), this.scale.bottom); g.stroke(); }
  lines(g, w, t) {
    const { series, events = [], at, percent: pc, note } = this.data, c = theme(this.root), pts = series.filter(s => s.y.length), [x0, x1] = this.part(), zoomed = this.time.part;
    let lo = 0, hi = 100;
    if (!pc || zoomed) {
      const all = pts.flatMap(s => s.y.filter((v, i) => v !== null && s.x[i] >= x0 && s.x[i] <= x1)), top = Math.max(...all), low = Math.min(...all), room = .06 * (top - low);
      if (!all.length) hi = pc ? 100 : 1;
      else if (zoomed) [lo, hi] = top > low ? [low - room, top + room] : [low - 1, top + 1];
      else { hi = top > 0 ? top * 1.06 : 1; lo = Math.min(0, low) * 1.06; }
    }
    this.axes(g, w, t, c, lo, hi, pc && !zoomed ? (t < 110 ? [0, 50, 100] : [0, 25, 50, 75, 100]) : ticks(lo, hi, t < 110 ? 2 : 4), v => pc ? fmt(v) + '%' : fmt(v));
    const { X, Y, T } = this.scale;
    for (const e of events) {
      g.setLineDash([3, 3]); g.globalAlpha = .75; this.upright(g, e.x, e.colour);
      g.globalAlpha = 1; g.setLineDash([]); g.fillStyle = e.colour;
      g.beginPath(); g.moveTo(X(e.x), T - 5); g.lineTo(X(e.x) + 5, T); g.lineTo(X(e.x), T + 5); g.lineTo(X(e.x) - 5, T); g.fill();
    }
    if (at) { g.globalAlpha = .55; this.upright(g, at, c.ink); g.globalAlpha = 1; }
    for (const s of pts) {
      const draw = y => { g.beginPath(); s.x.forEach((x, i) => g.lineTo(X(x), Y(y[i]))); g.stroke(); }, y = this.time.smooth ? smoothed(s.y) : s.y;
      g.strokeStyle = s.colour; g.fillStyle = s.colour; g.lineJoin = 'round';
      if (y !== s.y) { g.lineWidth = 1; g.globalAlpha = .35; draw(s.y); g.globalAlpha = 1; }
      g.lineWidth = 2; g.setLineDash(DASHES[s.dash || 0]); draw(y); g.setLineDash([]);
      g.beginPath(); g.arc(X(s.x.at(-1)), Y(y.at(-1)), 3, 0, 7); g.fill();
    }
    if (!pts.length) say(g, w, t, note || 'nothing yet', c);
    g.lineWidth = 1; if (this.time.cursor !== null) this.upright(g, this.time.cursor, c.soft);
  }
  close() { this.surface.close(); }
}
function smoothed(y, keep = .8) {      // each value with a fading share of those before it
  let sum = 0, weight = 0;
  return y.map(v => { if (v === null) return v; sum = keep * sum + v; weight = keep * weight + 1; return sum / weight; });
}
const nearest = (xs, x) => xs.reduce((b, v, i) => b < 0 || Math.abs(v - x) < Math.abs(xs[b] - x) ? i : b, -1);

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
  show(data) { super.show({ ...data, series: data.parts.map(p => ({ ...p, x: data.x })), percent: true }); }
  lines(g, w, t) {
    const { x = [], parts = [], at, note } = this.data, c = theme(this.root);
    this.axes(g, w, t, c, 0, 100, [0, 50, 100], v => v + '%');
    const { X, Y } = this.scale;
    if (note || x.length < 2) { say(g, w, t, note || (x.length ? 'begins with the second epoch' : 'nothing yet'), c); return; }
    let below = x.map(() => 0);
    for (const p of parts) {
      const top = below.map((b, i) => b + (p.y[i] || 0));
      g.fillStyle = p.colour; g.globalAlpha = .85; g.beginPath();
      top.forEach((v, i) => g.lineTo(X(x[i]), Y(v)));
      for (let i = x.length - 1; i >= 0; i--) g.lineTo(X(x[i]), Y(below[i]));
      g.fill(); g.globalAlpha = 1; below = top;
    }
    g.lineWidth = 1; if (at) this.upright(g, at, c.ink);
    if (this.time.cursor !== null) this.upright(g, this.time.cursor, c.ink);
  }
}

// How many there are of which value: one group up, the other down.
class Histogram {
  constructor(root, box, title, hint, what = '') {
    this.root = root; this.hold = h('div', { class: 'nl-plot' }); this.what = what; this.title = title;
    this.key = h('div', { class: 'nl-key' });
    this.head = heading(title, hint); box.append(this.head, this.hold, this.key);
    this.surface = new Surface(this.hold, (g, w, t) => this.paint(g, w, t), title); this.surfaces = [this.surface];
    hover(this, e => e.offsetX);
  }
  table() {
    const all = this.groups || [], [one] = all;
    return [[`${this.what} from`, 'to', ...all.map(s => s.name)], ...(one?.counts || []).map((_, i) => [one.edges[i], one.edges[i + 1], ...all.map(s => s.counts[i])])];
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

// The colours of numbers as red, green and blue, from the lowest on: `viz.style.SCALE`, which Python sends.
let SCALE = [];
function cividis(v) {
  const f = Math.max(0, Math.min(.9999, v)) * (SCALE.length - 1), i = Math.floor(f), u = f - i;
  return SCALE[i].map((a, k) => Math.round(a + u * (SCALE[i + 1][k] - a)));
}
const cividisCss = v => `rgb(${cividis(v).join()})`;

// A table of shares, C×C row by row, as a picture.
class Heat {
  constructor(root, box, title, hint, across, down, open) {      // `open(row, column)`: a cell was chosen
    Object.assign(this, { root, across, down, title }); this.hold = h('div', { class: 'nl-plot nl-square' });
    this.head = heading(title, hint); box.append(this.head, this.hold);
    this.surface = new Surface(this.hold, (g, w, t) => this.paint(g, w, t), title); this.surfaces = [this.surface];
    hover(this, e => [e.offsetX, e.offsetY]);
    const c = this.surface.canvas, go = e => { const [i, j] = this.cell() || []; if (i >= 0) { e.preventDefault(); open(i, j); } };
    c.addEventListener('click', go);
    c.tabIndex = 0; keyed(c); c.setAttribute('aria-label', `${title}. Arrow keys go from cell to cell, Enter opens its images.`);
    c.addEventListener('keydown', e => {
      const [a, b] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[e.key] || [], { s, left, n } = this.grid || {};
      if (e.key === 'Enter') go(e);
      if (a === undefined || !s) return;
      e.preventDefault(); e.stopPropagation();
      const [i, j] = this.cell() || [0, 0], put = (v, d) => Math.max(0, Math.min(n - 1, v + d)) + .5;
      this.mouse = [left + put(j, b) * s, put(i, a) * s]; this.surface.draw();
      c.setAttribute('aria-label', this.words(Math.floor(put(i, a)), Math.floor(put(j, b))).join(', '));
    });
  }
  cell() {      // [row, column] under the mouse or the keys
    if (!this.mouse || !this.grid) return null;
    const { s, left, n } = this.grid, j = Math.floor((this.mouse[0] - left) / s), i = Math.floor(this.mouse[1] / s);
    return i >= 0 && j >= 0 && i < n && j < n ? [i, j] : null;
  }
  table() {
    const names = this.m ? this.classes : [], n = names.length;
    return [[`${this.down} / ${this.across}`, ...names], ...names.map((name, i) => [name, ...Array.from(this.m.subarray(i * n, i * n + n), v => +v.toPrecision(6))])];
  }
  words(i, j) { return [`${this.down} ${this.classes[i]}`, `${this.across} ${this.classes[j]}`, percent(100 * this.m[i * this.classes.length + j])]; }
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
    this.grid = { s, left, n };
    const at = this.cell();
    if (at) balloon(g, w, left + at[1] * s, Math.max(0, Math.min(t - 60, at[0] * s)), this.words(...at), [c.ink, c.ink, cividisCss(this.m[at[0] * n + at[1]])], c);
  }
  close() { this.surface.close(); }
}

// A bar, or several, for each name. `show({name: [numbers]}, note, colour)`.
class Bars {
  constructor(box, title, hint, names) {
    Object.assign(this, { names, title, rows: [] }); this.hold = h('div', { class: 'nl-ops', role: 'list' }); this.key = h('div', { class: 'nl-key' });
    this.head = heading(title, hint); box.append(this.head, this.hold, this.key);
  }
  table() { return [['', ...this.rows.length ? this.rows[0][1].map((_, i) => this.names[i] || 'value') : []], ...this.rows.map(([name, values]) => [name, ...values])]; }
  show(numbers, note, colour) {
    const rows = this.rows = Object.entries(numbers || {}), top = Math.max(1e-12, ...rows.flatMap(([, v]) => v));
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
    this.hold = h('div', { class: 'nl-tiles-img', role: 'list' }); this.title = title;
    this.head = heading(title, hint); box.append(this.head, this.hold);
  }
  table() { return this.rows || [[]]; }
  show(tiles, note, rows) { this.rows = rows; this.hold.replaceChildren(...tiles.length ? tiles : [h('span', { class: 'nl-hint' }, note || 'nothing yet')]); }
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
