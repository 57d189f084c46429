// The page of the review. Python holds what is decided; here it is drawn, and what is clicked or pressed is passed on.

const ANSWERS = { k: ['keep', 'Keep'], r: ['relabel', 'Relabel'], u: ['unsure', 'Unsure'], n: ['none', 'None of these'], o: ['open', 'Open again'] };
const SIGNS = { open: '·', keep: '✓ kept', unsure: '? unsure', none: '✗ none of these' };
const TILE = 118;    // pixels that a tile has at least
const MOST_NAMES = 20;      // in the map's legend

class Reviewed {
  constructor(model, el) {
    this.model = model; this.look = model.get('fixed'); this.at = 0; this.tiles = [];
    const button = (text, key, act, title) => h('button', { class: 'nl-button', type: 'button', onclick: act, title }, text, key ? h('kbd', { class: 'nl-k', 'aria-hidden': 'true' }, key) : null);
    const names = this.look.classes;
    this.pair = h('select', { 'aria-label': 'given and suggested class', onchange: () => this.filter() });
    this.above = h('input', { type: 'number', min: 0, max: 100, step: 5, value: 0, class: 'nl-above', 'aria-label': 'wrong with a probability of at least, %', title: 'only labels that are wrong with at least this probability, %', onchange: () => this.filter() });
    this.state = h('select', { 'aria-label': 'which of them', onchange: () => this.filter() }, ...this.look.states.map(s => h('option', { value: s }, s)));
    this.before = button('‹', '', () => this.turn(-1), 'page before (Page Up)'); this.after = button('›', '', () => this.turn(1), 'next page (Page Down)');
    this.before.setAttribute('aria-label', 'page before'); this.after.setAttribute('aria-label', 'next page');
    this.where = h('span', { class: 'nl-hint' });
    this.undo = button('Undo', 'Z', () => this.send({ do: 'undo' }), 'take the last answer back');
    const all = (what, text) => button(text, '', () => this.send({ do: 'page', what }), `${text}: those that are open`);
    const whole = (what, title) => button('', '', () => this.send({ do: 'all', what }), title);
    this.keepAll = whole('keep', 'keep the given labels of all in this list that are open, on the other pages too; Undo takes it back');
    this.relabelAll = whole('relabel', 'relabel all in this list that are open as suggested, on the other pages too; Undo takes it back');
    const bar = h('div', { class: 'nl-bar' }, this.pair, this.state, h('label', { class: 'nl-hint' }, 'wrong ≥ ', this.above, ' %'), this.before, this.where, this.after, this.undo, h('span', { class: 'nl-gap' }), all('keep', 'Keep rest of page'), all('relabel', 'Relabel rest of page'), this.keepAll, this.relabelAll);
    this.file = h('input', { class: 'nl-folder', type: 'text', value: 'decisions.csv', 'aria-label': 'file of the decisions', onkeydown: e => { if (e.key === 'Enter') this.keep(); } });
    this.saved = h('span', { class: 'nl-hint' });
    this.learns = h('input', { type: 'checkbox', onchange: () => this.send({ do: 'learn', on: this.learns.checked }) });
    this.learned = h('span');
    this.learning = h('label', { class: 'nl-hint', title: 'after each answer the judge is refitted to all that are known; what is not on the page yet comes in its new order' }, this.learns, ' learn from answers', this.learned);
    const files = h('div', { class: 'nl-bar nl-files' }, this.learning, h('span', { class: 'nl-gap' }), this.saved, this.file, button('Save', '', () => this.keep(), 'write the decisions to this file, now and after each answer'));
    this.said = h('div', { class: 'nl-said', role: 'status' });
    this.grid = h('div', { class: 'nl-doubts', role: 'listbox', 'aria-label': 'doubted labels' });
    this.big = h('canvas', { width: 320, height: 320, role: 'img' }); this.words = h('div');
    // With the mouse a class is taken when it is clicked; arrows and letters only point at one, Enter takes it.
    this.other = h('select', { 'aria-label': 'another class: Enter takes it', title: 'arrows or letters, then Enter', onpointerdown: () => this.mouse = true, onchange: () => { if (this.mouse) this.another(); }, onkeydown: e => this.pointAt(e) }, h('option', { value: '' }, 'Another class…'), ...names.map((n, i) => h('option', { value: i }, n)));
    const answers = Object.entries(ANSWERS).map(([key, [what, text]]) => button(text, key.toUpperCase(), () => this.answer(what), ''));
    this.nearTitle = h('h3', {}, 'Nearest images'); this.near = h('div', { class: 'nl-near', role: 'list' });
    this.mapTitle = h('h3', {}, 'Map'); this.hold = h('div', { class: 'nl-plot' }); this.legend = h('div', { class: 'nl-key' });
    this.side = h('div', { class: 'nl-side' }, this.big, this.words, h('div', { class: 'nl-bar' }, ...answers, this.other), this.nearTitle, this.near, this.mapTitle, this.hold, this.legend);
    const keys = h('div', { class: 'nl-keys' }, 'Keys, once an image is clicked or tabbed to: arrows move, ');
    for (const [k, t] of [['K', 'keep'], ['R', 'relabel as suggested'], ['C', 'another class'], ['U', 'unsure'], ['N', 'none of these classes'], ['O', 'open again'], ['Z', 'undo'], ['Page Up', ''], ['Page Down', 'turn the page']]) keys.append(h('kbd', {}, k), ` ${t}${t && t !== 'turn the page' ? ', ' : ' '}`);
    this.root = h('div', { class: 'noisylab' }, h('div', { class: 'nl-review' }, bar, this.said, this.grid, this.side, files, keys));
    el.append(this.root);
    this.root.addEventListener('keydown', e => this.key(e));
    this.points = this.look.xy ? new Float32Array(bytesOf(this.look.xy).buffer) : null;
    this.mapTitle.hidden = this.hold.hidden = this.legend.hidden = !this.points;
    if (this.points) {
      this.kinds = new Int16Array(bytesOf(this.look.kinds).buffer);
      this.surface = new Surface(this.hold, (g, w, t) => this.map(g, w, t), 'map of the images; the chosen one is ringed');
      this.surface.canvas.addEventListener('click', e => { const i = this.hit(e); if (i >= 0) this.send({ do: 'point', point: i }); });
      hover(this.over = { surface: this.surface }, e => this.hit(e));
      this.tip = h('div', { class: 'nl-tip', hidden: true });
      this.hold.append(this.tip);
      const there = [...new Set(this.kinds)].sort((a, b) => a - b), more = there.length - MOST_NAMES;
      this.legend.append(...there.slice(0, MOST_NAMES).map(k => h('span', {}, h('i', { class: 'nl-symbol', style: `background:${this.colour(k)}` }), names[k])), more > 0 ? `and ${more} more; colours repeat` : '');
    }
    this.kernel = model.widget_manager?.kernel?.statusChanged;     // JupyterLab's; elsewhere nobody says that it ends
    this.ends = (_, status) => { if (['restarting', 'autorestarting', 'terminating', 'dead'].includes(status)) this.gone(); };
    this.kernel?.connect(this.ends);
    this.fit = new ResizeObserver(() => this.columns());
    this.fit.observe(this.grid);
    this.mood = new MutationObserver(() => this.surface?.draw());
    this.mood.observe(document.body, { attributes: true, attributeFilter: ['data-jp-theme-light', 'class'] });
    const draws = { page: ['page', 'marks', 'chosen'], marks: ['marks'], chosen: ['chosen'] };   // new tiles want all that is known of them
    for (const k of Object.keys(draws)) model.on(`change:${k}`, this[`on_${k}`] = () => draws[k].forEach(d => this[d]()));
    draws.page.forEach(d => this[d]());
  }
  send(message) { if (this.root.dataset.status !== 'gone') this.model.send(message); }
  gone() {
    const kept = this.model.get('marks').file;
    this.root.dataset.status = 'gone';
    for (const e of this.root.querySelectorAll('button, select, input')) e.disabled = true;
    this.said.replaceChildren(h('span', { class: 'nl-error' }, 'The kernel of this review has ended: nothing can be answered here. Run the cell again' + (kept ? `; what was decided is in ${kept}.` : '. Nothing was kept: no file was named.')));
  }
  keep() { const path = this.file.value.trim(); if (path) this.send({ do: 'keep', path }); }
  colour(kind) { return this.look.palette[kind % this.look.palette.length]; }
  // As many columns as fit, of those that make whole rows of a page.
  columns() {
    const fit = Math.max(1, Math.floor((this.grid.clientWidth + 6) / (TILE + 6)));
    let n = fit;
    while (n > fit / 2 && this.look.per_page % n) n--;
    this.grid.style.gridTemplateColumns = `repeat(${n > fit / 2 ? n : fit}, minmax(0, 1fr))`;
  }
  answer(what, label = null) { if (this.list.length) this.send({ do: 'decide', place: this.list[this.at], what, label }); }
  another() {
    const v = this.other.value;
    this.other.value = '';
    if (v !== '') { this.wants = true; this.answer('relabel', +v); }
  }
  pointAt(e) {
    this.mouse = false;
    if (e.key === 'Enter') this.another();
    else if (e.key === 'Escape') { this.other.value = ''; this.tiles[this.at]?.e.focus(); }
    else return;
    e.preventDefault(); e.stopPropagation();
  }
  filter() {
    const [given, suggested] = this.pair.value ? this.pair.value.split(',').map(Number) : [null, null];
    this.send({ do: 'filter', state: this.state.value, given, suggested, above: Math.min(100, Math.max(0, +this.above.value || 0)) / 100 });
  }
  turn(by) { this.send({ do: 'turn', by }); }
  go(i, focus = true) {
    if (!this.list.length) return;
    if (i < 0) return this.first > 0 ? this.send({ do: 'go', at: this.first + i }) : null;
    if (i >= this.list.length) return this.first + i < this.count ? this.send({ do: 'go', at: this.first + i }) : null;
    this.send({ do: 'go', at: this.first + i });
    if (focus) this.wants = true;
  }
  key(e) {
    if (['SELECT', 'INPUT'].includes(e.target.tagName) || e.altKey || (e.metaKey || e.ctrlKey) && e.key.toLowerCase() !== 'z') return;
    const cols = Math.max(1, getComputedStyle(this.grid).gridTemplateColumns.split(' ').length), inGrid = this.grid.contains(e.target);
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: cols, ArrowUp: -cols }, key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
    if (inGrid && key in moves) { this.wants = true; this.go(this.at + moves[key]); }
    else if (inGrid && (key === 'Home' || key === 'End')) this.go(key === 'Home' ? 0 : this.list.length - 1);
    else if (key === 'PageDown' || key === 'PageUp') { this.wants = inGrid; this.turn(key === 'PageDown' ? 1 : -1); }
    else if (key in ANSWERS) { this.wants = inGrid; this.answer(ANSWERS[key][0]); }
    else if (key === 'z') { this.wants = inGrid; this.send({ do: 'undo' }); }
    else if (key === 'c') this.other.focus();
    else return;
    e.preventDefault(); e.stopPropagation();
  }

  // ---- what Python says
  page() {
    const p = this.model.get('page'), names = this.look.classes;
    this.list = p.places || []; this.first = p.first; this.count = p.count;
    const [n, H, W, C] = p.shape;
    this.pics = new Pictures(bytesOf(p.pixels), n, H, W, C);
    this.tiles = this.list.map((place, i) => {
      const c = h('canvas', { width: 160, height: 160 }), [id, given, suggested, score, reason] = p.items[i];
      this.pics.draw(c.getContext('2d'), i, 0, 0, 160);
      const answer = h('span', { class: 'nl-answer' });
      const e = h('div', { class: 'nl-doubt', role: 'option', tabindex: '-1', title: `${names[given]} → ${names[suggested]}; ${reason}; ${id}`, onclick: () => { this.wants = true; this.go(i); } }, c, h('span', {}, `${names[given]} → ${names[suggested]}`), answer);
      return { e, answer, place, id, given, suggested, score, reason };
    });
    this.grid.replaceChildren(...this.tiles.map(t => t.e));
    if (!this.list.length) this.grid.append(h('span', { class: 'nl-hint' }, 'none of these'));
    const last = this.first + this.list.length;
    this.where.textContent = this.count ? `${this.first + 1}–${last} of ${this.count.toLocaleString('en-US')}` : '0';
    this.before.disabled = !this.first; this.after.disabled = last >= this.count;
  }
  marks() {
    const m = this.model.get('marks'), names = this.look.classes;
    this.tiles.forEach((t, i) => {
      const [word, label] = m.answers[i] || ['open', -1], text = word === 'relabel' ? `→ ${names[label]}` : SIGNS[word];
      t.e.dataset.word = word; t.answer.textContent = text;
      t.e.setAttribute('aria-label', `${t.id}: given ${names[t.given]}, suggested ${names[t.suggested]}, score ${fmt(t.score)}, ${text === '·' ? 'open' : text}`);
    });
    this.undo.disabled = !m.undoable;
    const options = m.pairs.map(([g, s, n]) => [`${g},${s}`, `${names[g]} → ${names[s]} (${n})`]);
    if (m.filter.given !== null && !options.some(([v]) => v === `${m.filter.given},${m.filter.suggested}`)) options.push([`${m.filter.given},${m.filter.suggested}`, `${names[m.filter.given]} → ${names[m.filter.suggested]} (0)`]);
    if (JSON.stringify(options) !== this.options) {
      this.options = JSON.stringify(options);
      this.pair.replaceChildren(h('option', { value: '' }, 'all pairs'), ...options.map(([value, text]) => h('option', { value }, text)));
    }
    if (document.activeElement !== this.above) this.above.value = Math.round(100 * m.filter.above);
    for (const [b, text] of [[this.keepAll, 'Keep all'], [this.relabelAll, 'Relabel all']]) { b.textContent = `${text} ${m.open.toLocaleString('en-US')}`; b.disabled = !m.open; }
    this.learning.hidden = !m.can_learn; this.learns.checked = m.learns;
    this.learned.textContent = m.learned ? ` (${m.learned.toLocaleString('en-US')} so far)` : '';
    this.saved.textContent = m.file ? `kept in ${m.file}` : 'kept in no file yet:';
    if (m.file && m.file !== this.named) this.file.value = this.named = m.file;
    this.state.value = m.filter.state; this.pair.value = m.filter.given === null ? '' : `${m.filter.given},${m.filter.suggested}`;
    const n = m.counts, done = n.all - n.open;
    this.said.replaceChildren(h('b', {}, `${done.toLocaleString('en-US')} of ${n.all.toLocaleString('en-US')} decided`), h('span', {}, `kept ${n.kept} · relabelled ${n.relabelled} · unsure ${n.unsure} · none of these ${n.none}`), m.error ? h('span', { class: 'nl-error' }, m.error) : '');
  }
  chosen() {
    const c = this.model.get('chosen'), names = this.look.classes;
    this.at = Math.max(0, this.list.indexOf(c.place));
    this.tiles.forEach((t, i) => { const on = t.place === c.place; t.e.setAttribute('aria-selected', on); t.e.tabIndex = on ? 0 : -1; });
    const t = this.tiles[this.at], g = this.big.getContext('2d');
    this.side.hidden = !t;
    if (!t) return;
    if (this.wants) { t.e.focus({ preventScroll: true }); t.e.scrollIntoView({ block: 'nearest' }); this.wants = false; }
    g.clearRect(0, 0, 320, 320);
    if (c.shape) new Pictures(bytesOf(c.pixels), ...c.shape).draw(g, 0, 0, 0, 320); else this.pics.draw(g, this.at, 0, 0, 320);
    this.big.setAttribute('aria-label', `image ${t.id}`);
    this.words.replaceChildren(h('p', {}, h('b', {}, `${names[t.given]} → ${names[t.suggested]}`), ` · score ${fmt(t.score)}`), h('p', {}, t.reason), h('p', { class: 'nl-hint' }, String(t.id)));
    const n = c.near;
    this.nearTitle.hidden = this.near.hidden = !n;
    if (n) {
      const pics = new Pictures(bytesOf(n.pixels), ...n.shape);
      this.near.replaceChildren(...n.items.map(([id, label], i) => {
        const v = h('canvas', { width: 88, height: 88 });
        pics.draw(v.getContext('2d'), i, 0, 0, 88);
        return h('div', { role: 'listitem', title: `${id}: ${names[label]}` }, v, h('span', { class: label === t.suggested ? 'nl-same' : '' }, names[label]));
      }));
      const same = n.items.filter(([, y]) => y === t.suggested).length, mine = n.items.filter(([, y]) => y === t.given).length;
      this.nearTitle.textContent = `Nearest ${n.items.length}: ${same} × ${names[t.suggested]}, ${mine} × ${names[t.given]}`;
    }
    this.surface?.draw();
    this.root.dataset.chosen = c.place;
  }

  // ---- the map
  scale(w, t) {
    const p = this.points;
    if (!this.span) {
      this.span = [Infinity, -Infinity, Infinity, -Infinity];
      for (let i = 0; i < p.length; i += 2) { const s = this.span; s[0] = Math.min(s[0], p[i]); s[1] = Math.max(s[1], p[i]); s[2] = Math.min(s[2], p[i + 1]); s[3] = Math.max(s[3], p[i + 1]); }
    }
    const [a, b, c, d] = this.span, f = Math.min((w - 16) / (b - a || 1), (t - 16) / (d - c || 1));
    return i => [w / 2 + f * (p[2 * i] - (a + b) / 2), t / 2 - f * (p[2 * i + 1] - (c + d) / 2)];
  }
  map(g, w, t) {
    const at = this.scale(w, t), c = theme(this.root), now = this.model.get('chosen');
    g.globalAlpha = .65;
    for (let i = 0; i < this.kinds.length; i++) { const [x, y] = at(i); g.fillStyle = this.colour(this.kinds[i]); g.fillRect(x - 1.5, y - 1.5, 3, 3); }
    g.globalAlpha = 1; g.strokeStyle = c.ink; g.lineWidth = 1;
    for (const i of now.near_points || []) { const [x, y] = at(i); g.beginPath(); g.arc(x, y, 4, 0, 7); g.stroke(); }
    if (now.point >= 0) { const [x, y] = at(now.point); g.lineWidth = 2.5; g.beginPath(); g.arc(x, y, 8, 0, 7); g.stroke(); }
    const i = this.over.mouse;
    this.tip.hidden = !(i >= 0);
    if (!(i >= 0)) return;
    const [x, y] = at(i);
    g.lineWidth = 1.5; g.beginPath(); g.arc(x, y, 6, 0, 7); g.stroke();
    this.tip.replaceChildren(h('div', {}, h('div', {}, h('b', {}, this.look.classes[this.kinds[i]])), h('div', {}, this.look.ids[i])));
    this.tip.style.left = Math.max(0, Math.min(x + 10, w - 250)) + 'px';
    this.tip.style[y < t / 2 ? 'top' : 'bottom'] = (y < t / 2 ? y + 12 : t - y + 12) + 'px'; this.tip.style[y < t / 2 ? 'bottom' : 'top'] = 'auto';
  }
  hit(e) {
    const at = this.scale(this.hold.clientWidth, this.hold.clientHeight);
    let best = -1, near = 400;
    for (let i = 0; i < this.kinds.length; i++) { const [x, y] = at(i), d = (x - e.offsetX) ** 2 + (y - e.offsetY) ** 2; if (d < near) { near = d; best = i; } }
    return best;
  }
  close() {
    this.mood.disconnect(); this.fit.disconnect(); this.surface?.close(); this.kernel?.disconnect(this.ends);
    for (const k of ['page', 'marks', 'chosen']) this.model.off(`change:${k}`, this[`on_${k}`]);
  }
}

export default { render({ model, el }) { const app = new Reviewed(model, el); return () => app.close(); } };
