// The map: points that move from one map to the next; hovering shows the image, a lasso or a click opens images beside it.
// Wheel with Ctrl (or with the focus on the map), + - 0 and the buttons zoom; dragging moves the map where "move" is on.

// One outline for each of viz.style.SYMBOLS, by name, around (0, 0) with radius 1.
const polygon = (n, turn = 0, inner = 0) => Array.from({ length: inner ? 2 * n : n }, (_, i) => {
  const a = 2 * Math.PI * i / (inner ? 2 * n : n) - Math.PI / 2 + turn, r = inner && i % 2 ? inner : 1.15;
  return [r * Math.cos(a), r * Math.sin(a)];
});
const OUTLINES = {
  'square': polygon(4, Math.PI / 4), 'diamond': polygon(4), 'triangle-up': polygon(3), 'triangle-down': polygon(3, Math.PI),
  'pentagon': polygon(5), 'star': polygon(5, 0, .5), 'hourglass': [[-1, -1], [1, -1], [-1, 1], [1, 1]],
  'cross': [[-.4, -1.1], [.4, -1.1], [.4, -.4], [1.1, -.4], [1.1, .4], [.4, .4], [.4, 1.1], [-.4, 1.1], [-.4, .4], [-1.1, .4], [-1.1, -.4], [-.4, -.4]],
};
OUTLINES.x = OUTLINES.cross.map(([x, y]) => [(x - y) * .707, (x + y) * .707]);
function dot(g, symbol, x, y, r) {
  g.beginPath();
  const o = OUTLINES[symbol];
  if (o) { for (const [a, b] of o) g.lineTo(x + a * r, y + b * r); g.closePath(); }
  else g.arc(x, y, r, 0, 7);
}

// Class `v` has a colour and a symbol of its own; a hundred classes differ in one of them.
const symbolOf = (v, { palette, symbols }) => symbols[(v + Math.floor(v / palette.length)) % symbols.length];

class MapView {
  // `look`: {palette, symbols}; `open(points, title, one)` shows images; `describe(i)` says an image in words; `light(i)`:
  // the pointer is on it; `view`: {k, x, y, move}, enlargement and shift, of all maps
  constructor(root, box, look, view, open, describe, light) {
    Object.assign(this, { root, look, view, open, describe, light, by: 'given', chosen: new Set(), cursor: null });
    this.hold = h('div', { class: 'nl-plot nl-map' });
    this.tip = h('div', { class: 'nl-tip', hidden: true });
    this.hold.append(this.tip);
    box.append(this.hold);
    this.surface = new Surface(this.hold, (g, w, t) => this.paint(g, w, t), 'map of images');
    const c = this.surface.canvas;
    c.tabIndex = 0; keyed(c);
    c.setAttribute('aria-label', 'Map of images. Arrow keys go from point to point, Enter opens one and those around it, plus and minus zoom.');
    c.addEventListener('pointerdown', e => { this.path = [[e.offsetX, e.offsetY]]; c.setPointerCapture(e.pointerId); c.focus(); });
    c.addEventListener('pointermove', e => this.move(e));
    c.addEventListener('pointerup', e => this.up(e));
    c.addEventListener('pointercancel', () => { this.path = null; this.surface.draw(); });
    c.addEventListener('pointerleave', () => { if (!this.path) this.point(null); });
    c.addEventListener('wheel', e => { if (e.ctrlKey || e.metaKey || this.root.ownerDocument.activeElement === c) { e.preventDefault(); this.zoom(e.deltaY < 0 ? 1.25 : .8, e.offsetX, e.offsetY); } }, { passive: false });
    c.addEventListener('dblclick', () => this.zoom(0));
    c.addEventListener('keydown', e => this.key(e));
    c.addEventListener('blur', () => this.point(null));
  }

  // `f`: {xy (n×2, any unit) or null, given, pred, true, cluster, loss}; `jump`: do not move there, be there
  show(f, pictures, classes, jump) {
    const had = this.f;
    Object.assign(this, { f, pictures, classes });
    if (!f || !f.xy) { clearInterval(this.timer); this.goal = this.place = null; this.surface.draw(); return; }
    const n = f.xy.length / 2, goal = new Float32Array(2 * n);
    const box = [0, 1].map(k => {       // what 99% of the points fill, as middle and half width
      const v = Array.from({ length: n }, (_, i) => f.xy[2 * i + k]).sort((a, b) => a - b), cut = Math.floor(.005 * n);
      return [(v[cut] + v[n - 1 - cut]) / 2, Math.max(1e-9, (v[n - 1 - cut] - v[cut]) / 2) * 1.03];
    });
    const wide = Math.max(box[0][1], box[1][1]);
    box.forEach(([mid, half], k) => {   // filled in both directions, stretched by half at most
      const scale = Math.max(half, wide / 1.5);
      for (let i = 0; i < n; i++) goal[2 * i + k] = Math.max(-1.02, Math.min(1.02, (f.xy[2 * i + k] - mid) / scale));
    });
    const same = this.goal && this.goal.length === goal.length && this.goal.every((v, i) => v === goal[i]);
    if (same) { this.surface.draw(); return; }
    this.from = !jump && this.place && this.place.length === goal.length && had ? this.place.slice() : goal;
    this.goal = goal; this.place = this.from.slice(); this.start = performance.now();
    clearInterval(this.timer);
    const still = window.matchMedia('(prefers-reduced-motion: reduce)').matches || this.from === goal;
    if (still) { this.place = goal; this.surface.draw(); return; }
    this.timer = setInterval(() => {        // 20 pictures a second: the training needs the cores
      const u = Math.min(1, (performance.now() - this.start) / 700), s = u * u * (3 - 2 * u);
      for (let i = 0; i < goal.length; i++) this.place[i] = this.from[i] + s * (goal[i] - this.from[i]);
      if (u >= 1) clearInterval(this.timer);
      this.surface.draw();
    }, 50);
  }
  colourBy(by) { this.by = by; this.surface.draw(); }

  // Colour and symbol of point i; null: pale
  style(i) {
    const { palette } = this.look, f = this.f;
    if (this.by === 'loss') return [cividisCss(Math.min(1, f.loss[i] / f.loss_top)), 'circle'];
    if (this.by === 'wrong') {
      if (!f.true) return null;
      return f.given[i] !== f.true[i] ? [palette[6], 'diamond'] : [palette[0], 'circle'];
    }
    const v = f[this.by];
    if (!v || v[i] < 0) return null;
    return [palette[v[i] % palette.length], symbolOf(v[i], this.look)];
  }
  missing() {
    if (!this.f || !this.place) return null;
    if (['true', 'wrong'].includes(this.by) && !this.f.true) return 'True labels are not known for these images';
    if (this.by === 'cluster' && !this.f.cluster) return 'This method has no clusters';
    return null;
  }
  at(i, w = this.w, t = this.t) {
    const x = w / 2 - 14, y = t / 2 - 12, s = Math.min(x, y) * 1.6, v = this.view;      // nor is the card filled at any price
    return [w * (.5 + v.x) + v.k * this.place[2 * i] * Math.min(x, s), t * (.5 + v.y) + v.k * this.place[2 * i + 1] * Math.min(y, s)];
  }
  zoom(by, x = this.w / 2, y = this.t / 2) {      // by this factor around a point; 0: all of the map
    const v = this.view, k = by ? Math.max(1, Math.min(40, v.k * by)) : 1, f = k / v.k, px = x / this.w - .5, py = y / this.t - .5;
    Object.assign(v, k === 1 ? { k, x: 0, y: 0 } : { k, x: px + (v.x - px) * f, y: py + (v.y - py) * f });
    this.light(this.cursor);
  }
  paint(g, w, t) {
    const c = theme(this.root);
    this.w = w; this.t = t;
    if (!this.place) return say(g, w, t, this.f ? this.f.no_map || 'the first map is on its way' : 'the map of the features appears here once training has begun', c);
    const n = this.place.length / 2, r = Math.max(2.2, Math.min(5, 95 / Math.sqrt(n) * Math.min(w, t) / 400));
    const lone = this.missing(), edge = c.ground;
    g.lineWidth = .9;
    for (let i = 0; i < n; i++) {
      const [x, y] = this.at(i), s = lone ? null : this.style(i);
      g.fillStyle = s ? s[0] : c.line; g.strokeStyle = s ? strong(s[0].startsWith('#') ? s[0] : asHex(s[0]), edge) : edge;
      g.globalAlpha = this.chosen.size && !this.chosen.has(i) ? .15 : 1;      // what was chosen stands out, nothing covers it
      dot(g, s ? s[1] : 'circle', x, y, r); g.fill(); g.stroke();
    }
    g.globalAlpha = 1; g.strokeStyle = c.ink; g.lineWidth = 1.5;
    if (this.cursor !== null && this.cursor < n) { const [x, y] = this.at(this.cursor); g.lineWidth = 2.5; g.beginPath(); g.arc(x, y, r + 4, 0, 7); g.stroke(); }
    if (this.path && this.path.length > 2 && !this.view.move) {
      g.fillStyle = c.ink; g.globalAlpha = .12; g.beginPath(); for (const [x, y] of this.path) g.lineTo(x, y); g.fill();
      g.globalAlpha = 1; g.lineWidth = 1.2; g.setLineDash([4, 3]); g.stroke(); g.setLineDash([]);
    }
    if (lone) say(g, w, t, lone, { ...c, soft: c.ink });
  }

  nearest(x, y, reach = 14) {
    if (!this.place) return null;
    let best = null, d = reach * reach;
    for (let i = 0; i < this.place.length / 2; i++) {
      const [a, b] = this.at(i), e = (a - x) ** 2 + (b - y) ** 2;
      if (e < d) { d = e; best = i; }
    }
    return best;
  }
  point(i) {      // the point under the mouse or the keyboard: here in words, and lit wherever it is shown
    if (i === this.cursor && this.tip.hidden === (i === null)) return;
    this.light(i); this.tip.hidden = i === null;
    if (i === null) return;
    const [x, y] = this.at(i), big = h('canvas', { width: 84, height: 84 });
    if (this.pictures) this.pictures.draw(big.getContext('2d'), i, 0, 0, 84);
    this.tip.replaceChildren(big, h('div', {}, ...this.describe(i)));
    this.tip.style.left = Math.max(4, Math.min(this.w - 254, x > this.w / 2 ? x - 262 : x + 14)) + 'px';
    this.tip.style.top = Math.max(2, Math.min(this.t - 104, y - 46)) + 'px';
  }
  move(e) {
    if (this.path) {
      const v = this.view, [x, y] = this.path.at(-1);
      this.path.push([e.offsetX, e.offsetY]);
      if (v.move) { v.x += (e.offsetX - x) / this.w; v.y += (e.offsetY - y) / this.t; this.light(null); }
      return this.surface.draw();
    }
    this.point(this.nearest(e.offsetX, e.offsetY));
  }
  up(e) {
    const path = this.path || [];
    this.path = null;
    if (!this.place) return;
    const drag = path.some(([x, y]) => Math.hypot(x - path[0][0], y - path[0][1]) > 6);
    if (drag && this.view.move) return;
    if (!drag) { const i = this.nearest(e.offsetX, e.offsetY); i === null ? this.choose([], '') : this.around(i); return; }
    const inside = [];
    for (let i = 0; i < this.place.length / 2; i++) if (within(this.at(i), path)) inside.push(i);
    this.choose(inside, `${inside.length} images in the lasso`);
  }
  around(i, k = 24) {
    const [x, y] = this.at(i), d = j => { const [a, b] = this.at(j); return (a - x) ** 2 + (b - y) ** 2; };
    const near = Array.from({ length: this.place.length / 2 }, (_, j) => j).sort((a, b) => d(a) - d(b)).slice(0, k);
    this.tip.hidden = true; this.open(near, 'Its neighbours on the map', i);
  }
  choose(at, title) { this.open(at, title); }
  key(e) {
    const size = { '+': 1.25, '=': 1.25, '-': .8, 0: 0 }[e.key], way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
    if (this.place && size !== undefined) { e.preventDefault(); e.stopPropagation(); return this.zoom(size); }
    if (!this.place || !(way || e.key === 'Enter' || e.key === 'Escape')) return;
    e.preventDefault(); e.stopPropagation();
    if (e.key === 'Escape') { this.point(null); return this.choose([], ''); }
    if (e.key === 'Enter') return this.cursor === null ? null : this.around(this.cursor);
    if (this.cursor === null) return this.point(0);
    const [x, y] = this.at(this.cursor);
    let best = null, least = Infinity;
    for (let i = 0; i < this.place.length / 2; i++) {
      const [a, b] = this.at(i), along = (a - x) * way[0] + (b - y) * way[1], aside = Math.abs((a - x) * way[1]) + Math.abs((b - y) * way[0]);
      if (along > 1 && along + 3 * aside < least) { least = along + 3 * aside; best = i; }
    }
    if (best !== null) this.point(best);
  }
  close() { clearInterval(this.timer); this.surface.close(); }
}

function within([x, y], path) {
  let inside = false;
  for (let i = 0, j = path.length - 1; i < path.length; j = i++) {
    const [a, b] = path[i], [c, d] = path[j];
    if ((b > y) !== (d > y) && x < (c - a) * (y - b) / (d - b) + a) inside = !inside;
  }
  return inside;
}
