'use strict';
// The live view: takes frames from /events, and draws them. Names of states and steps come from the server, which has them
// from its code; only what they look like is decided here.

const $ = id => document.getElementById(id);
const style = getComputedStyle(document.documentElement);
const colour = name => style.getPropertyValue('--' + name).trim();

// What a turn is spent on, in the order of the server's steps.
const STEPS = {
  wait: ['wait', 'asks the system for events, and sleeps until there are some'],
  dispatch: ['dispatch', 'gives each connection with an event its turn: read, parse, call, write'],
  accept: ['accept', 'takes new connections from the system’s queue'],
  wake: ['wake', 'goes on with answers that another thread has made ready'],
  take_up_remainders: ['remainders', 'goes on with connections that stopped so that others had their turn'],
  expire: ['expire', 'looks after connections whose time is up'],
  watch_memory: ['watch', 'keeps the account of memory, writes the access log, and describes connections for this page'],
};
// The boxes of the map: title, letters of the marks in it, colour.
const COLUMNS = [
  { title: 'between requests', colour: 'rest', boxes: 'FK' },
  { title: 'a request comes in', colour: 'in', boxes: 'HCW' },
  { title: 'the application', colour: 'app', boxes: 'D' },
  { title: 'an answer goes out', colour: 'out', boxes: 'SQRT' },
  { title: 'leaving', colour: 'leave', boxes: 'EL' },
];
const COLUMN_OF = {};
COLUMNS.forEach(column => [...column.boxes].forEach(letter => { COLUMN_OF[letter] = column; }));
const BOUNDS = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, .01, .03, .1, .3, 1, 3, 10];
const LABELS = ['10 µs', '30 µs', '100 µs', '300 µs', '1 ms', '3 ms', '10 ms', '30 ms', '100 ms', '300 ms', '1 s', '3 s', '10 s', '∞'];
const MOVERS_MAX = 1500; // More at a time jump: nobody can follow them.
const MOVE_MS = 420;
const MARK_MAX = 46; // Few are drawn large, with the time that is left to them.
const MARK_MIN = 3;  // Smaller ones would run into each other: then a square stands for several.
const SQUARE_MIN = 5;
const SQUARES = [5, 10, 50, 100, 500, 1000, 5000, 10000];

let names = {}, before = null, history = [], asked = null, isStill = matchMedia('(prefers-reduced-motion: reduce)');
const marks = new Map(); // 'reactor:place' → mark
const boxes = {};        // letter → box

// Words

const count = number => number >= 1e6 ? (number / 1e6).toFixed(2) + ' M' : Math.round(number).toLocaleString('en');
function bytes(number) {
  const units = ['B', 'KB', 'MB', 'GB'];
  let unit = 0;
  while (number >= 1000 && unit < 3) { number /= 1024; unit += 1; }
  return (unit && number < 10 ? number.toFixed(1) : Math.round(number)) + ' ' + units[unit];
}
function time(seconds) {
  if (!isFinite(seconds)) return '> 10 s';
  if (seconds < 1e-3) return Math.round(seconds * 1e6) + ' µs';
  return seconds < 1 ? +(seconds * 1e3).toPrecision(2) + ' ms' : +seconds.toPrecision(2) + ' s';
}
function long(seconds) {
  if (seconds < 120) return Math.round(seconds) + ' s';
  return seconds < 7200 ? Math.round(seconds / 60) + ' minutes' : Math.round(seconds / 3600) + ' hours';
}
const percent = share => share >= .1 ? Math.round(share * 100) + ' %' : (share * 100).toFixed(share > 0 && share < .001 ? 2 : 1) + ' %';
function put(id, text) { if ($(id).textContent !== text) $(id).textContent = text; }
function make(parent, tag, text, kind) {
  const element = parent.appendChild(document.createElement(tag));
  if (text !== undefined) element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

// Frames

const stream = new EventSource('/events');
stream.addEventListener('hello', event => begin(JSON.parse(event.data)));
stream.addEventListener('frame', event => show(JSON.parse(event.data)));
// A browser comes again by itself, unless it was refused.
stream.onerror = () => state(stream.readyState === EventSource.CLOSED
  ? 'refused: too many live views are open (reload to try again)'
  : 'no connection: the server has ended, or ends', 'bad');
function state(text, kind) { put('state', text); $('state').className = 'pill ' + kind; }

function begin(hello) {
  before = null;
  marks.clear();
  put('serves', `${hello.version} serves ${hello.serves} on ${hello.addresses.join(', ')}`);
  document.title = `tidegate, live: ${hello.serves}`;
  const steps = $('steps'), bar = $('bar');
  steps.replaceChildren(); bar.replaceChildren();
  hello.steps.forEach(step => {
    const [name, meaning] = STEPS[step] || ['watch', ''];
    const item = make(steps, 'li'), swatch = make(item, 'i', '', 'swatch');
    make(item, 'code', step); make(item, 'span', '–').id = 'step-' + step; make(item, 'small', meaning);
    const part = make(bar, 'i');
    part.id = 'bar-' + step; part.title = step;
    part.style.background = swatch.style.background = `var(--${name})`;
  });
  const legend = $('legend');
  legend.replaceChildren();
  names = {};
  hello.legend.forEach(({ letter, name, meaning }) => {
    names[letter] = { name, meaning };
    boxes[letter] = boxes[letter] || { letter, slots: [], free: [], used: 0, x: 0, y: 0, w: 0, h: 0 };
    const item = make(legend, 'li');
    make(item, 'i', '', 'swatch').style.background = `var(--${COLUMN_OF[letter].colour})`;
    make(item, 'output', '0').id = 'count-' + letter;
    make(item, 'b', name); make(item, 'small', meaning);
  });
  const item = make(legend, 'li');
  make(item, 'i', '', 'swatch').style.background = 'var(--late)';
  make(item, 'output', '0').id = 'count-owing';
  make(item, 'b', 'OurSide::Backlog'); make(item, 'small', 'ringed: its client has not read all of its answer yet');
  layOut();
}

function sum(loops, value) { return loops.reduce((all, one) => all + (value(one) || 0), 0); }
function total(loops, name) {
  return loops[0][name].map((_, index) => sum(loops, one => one[name][index]));
}

function show(frame) {
  // A loop that is blocked keeps the connections that it was last seen with.
  const loops = frame.loops = frame.loops.map((one, index) =>
    one.marks === undefined && one.turn_lasts !== null && before ? { ...before.loops[index], ...one } : one);
  const stuck = loops.filter(one => one.turn_lasts > .9);
  const shutting = loops.find(one => one.state && one.state !== 'serving');
  if (stuck.length) state(`blocked: a turn has lasted for ${time(stuck[0].turn_lasts)}`, 'bad');
  else if (shutting) state(shutting.state + (shutting.drain_left ? `, ${Math.ceil(shutting.drain_left)} s at most` : ''), 'bad');
  else state('serving for ' + long(frame.uptime), 'good');
  if (before && before.loops.length === loops.length) showChange(loops, before.loops);
  before = frame;
  const known = loops.filter(one => one.marks !== undefined);
  if (known.length) showConnections(known);
  showPools(frame.pools);
}

function showChange(loops, earlier) {
  const change = name => total(loops, name).map((now, index) => now - total(earlier, name)[index]);
  const seconds = sum(loops, one => one.read) / loops.length / 1e9 - sum(earlier, one => one.read) / loops.length / 1e9;
  if (seconds <= 0) return;
  const each = name => (sum(loops, one => one[name]) - sum(earlier, one => one[name])) / seconds;
  const steps = change('steps'), spent = Math.max(1, steps.reduce((a, b) => a + b, 0));
  const ids = Object.keys(STEPS);
  steps.forEach((nanos, index) => {
    const share = nanos / spent;
    $('bar-' + ids[index]).style.width = share * 100 + '%';
    put('step-' + ids[index], percent(share));
  });
  const rate = change('exchanges').reduce((a, b) => a + b, 0) / seconds;
  const turns = each('turns'), events = each('events'), idle = steps[0] / spent;
  put('rate', count(rate));
  const room = idle > .02 ? `Busy for ${percent(1 - idle)} of the time: as it is used, it could do ${idle > .5 ? 'some ' + count(1 / Math.max(.001, 1 - idle)) + ' times as much' : 'a little more'}.` : 'It has no time left.';
  const most = loops.find(one => one.events_max);
  put('turn', `${count(turns)} turns a second, ${turns ? (events / turns).toFixed(1) : 0} events in each` +
    (most ? ` (at most ${most.events_max}). ` : '. ') + room);
  const times = change('times');
  put('half', time(quantile(times, .5))); put('most', time(quantile(times, .99)));
  history.push(rate);
  if (history.length > 240) history.shift();
  drawRates(); drawHistogram('times', times, 'out'); drawHistogram('turns', change('turn_times'), 'in');
}

// The least bound that this share of the times is within.
function quantile(counts, share) {
  const all = counts.reduce((a, b) => a + b, 0);
  if (!all) return 0;
  let below = 0;
  for (let index = 0; index < counts.length; index += 1) {
    below += counts[index];
    if (below >= share * all) return BOUNDS[index] ?? Infinity;
  }
  return Infinity;
}

function showConnections(loops) {
  const open = sum(loops, one => one.connections), all = name => sum(loops, one => one[name]);
  put('open', count(open)); put('open-of', `connections, of ${count(all('connections_max'))} at most`);
  put('owed', bytes(all('owed'))); put('memory', bytes(all('memory')));
  put('memory-of', `held in memory, of ${bytes(all('memory_max'))}`);
  place(loops);
  const lines = $('lines');
  lines.replaceChildren();
  for (const [name, meaning] of [
    ['ready', 'stopped early so that others had their turn, and go on in the next one'],
    ['woken', 'were woken by another thread, or by a descriptor that their application watches'],
    ['starved', 'wait until there is memory, or until the application takes requests'],
    ['corked', 'have a finished answer that is to leave together with others'],
    ['timers', 'have a deadline that the loop would wake up for'],
  ]) { make(lines, 'dt', count(all(name))); make(lines, 'dd', meaning); }
  const means = $('means');
  means.replaceChildren();
  for (const one of loops) {
    for (const listener of one.listeners) {
      const queue = listener.queue === null ? '?' : count(listener.queue);
      make(means, 'dt', queue);
      const words = { Waiting: 'an event will tell of the next', Ready: 'more are taken in the next turn', Paused: 'no means to take more' };
      make(means, 'dd', `in the system’s queue of ${listener.address}` +
        (listener.queue_max ? `, of ${count(listener.queue_max)} at most` : '') + `; ${listener.accepting}: ${words[listener.accepting] || ''}`);
    }
  }
  make(means, 'dt', percent(all('memory') / all('memory_max')));
  make(means, 'dd', loops.some(one => one.memory_scarce) ? 'of the memory is used: it is scarce, and content goes to the disk'
    : 'of the memory is used; from 75 % on it is scarce');
  make(means, 'dt', loops.every(one => one.gateway_ready) ? 'yes' : 'no');
  make(means, 'dd', 'the application takes another request');
  make(means, 'dt', bytes(all('detached')));
  make(means, 'dd', 'are held by requests that the application took to other threads');
}

// Threads that work beside the loops, if there are any.
function showPools(pools) {
  const list = $('pools');
  list.replaceChildren();
  list.hidden = !pools.length;
  for (const { name, threads, busy, waiting } of pools) {
    make(list, 'dt', `${count(busy)} of ${count(threads)}`);
    make(list, 'dd', `threads for ${name} are at work; ` +
      (waiting ? `${count(waiting)} wait for one` : 'nobody waits for one'));
  }
}

// The map

const map = $('map'), drawing = map.getContext('2d');
let scale = 1, animating = 0;

function layOut() {
  scale = devicePixelRatio || 1;
  const width = map.clientWidth, height = map.clientHeight;
  map.width = width * scale; map.height = height * scale;
  const isTall = width < 640, gap = isTall ? 8 : 26, title = 20, label = 17;
  const share = [1.5, 1, .8, 1, .7], all = share.reduce((a, b) => a + b, 0);
  let at = 0;
  COLUMNS.forEach((column, index) => {
    const span = ((isTall ? height : width) - gap * 4) * share[index] / all;
    Object.assign(column, isTall ? { x: 0, y: at, w: width, h: span } : { x: at, y: 0, w: span, h: height });
    at += span + gap;
    const parts = [...column.boxes].map(letter => letter === 'K' ? 3 : letter === 'W' || letter === 'F' ? .8 : 1);
    const sum = parts.reduce((a, b) => a + b, 0);
    let inside = 0;
    [...column.boxes].forEach((letter, part) => {
      const box = boxes[letter];
      if (!box) return;
      const room = isTall ? column.w - 6 * (parts.length - 1) : column.h - title - 6 * (parts.length - 1);
      const own = room * parts[part] / sum;
      Object.assign(box, isTall ? { x: column.x + inside, y: column.y + title, w: own, h: column.h - title }
        : { x: column.x, y: column.y + title + inside, w: column.w, h: own });
      inside += own + 6;
      box.top = label;
    });
  });
  redraw();
}

// Gives each mark its box, and its slot in it.
function place(loops) {
  const seen = new Set(), described = new Map(), counts = {};
  let movers = 0, owing = 0;
  for (const one of loops) {
    (one.described || []).forEach(connection => described.set(one.reactor + ':' + connection.place, connection));
    for (let index = 0; index < one.marks.length; index += 1) {
      const mark = one.marks[index];
      if (mark === '.') continue;
      const key = one.reactor + ':' + index, letter = mark.toUpperCase(), owes = mark !== letter;
      seen.add(key);
      counts[letter] = (counts[letter] || 0) + 1;
      if (owes) owing += 1;
      let old = marks.get(key);
      if (!old) { old = { key, letter: null, slot: 0, from: null, most: 0 }; marks.set(key, old); }
      old.owes = owes;
      if (old.letter !== letter) {
        movers += 1;
        old.from = old.letter && boxes[old.letter].w ? position(old) : null;
        if (old.letter) leave(old);
        old.letter = letter;
        enter(old);
        old.since = performance.now(); old.most = 0;
      }
      const words = described.get(key);
      if (words && words.number !== old.number) old.most = 0;
      old.words = words; old.number = words && words.number;
      if (words && words.seconds_left !== null) {
        old.left = +words.seconds_left;
        old.most = Math.max(old.most, old.left);
      } else old.left = null;
    }
  }
  for (const [key, mark] of marks) if (!seen.has(key)) { leave(mark); marks.delete(key); }
  Object.values(boxes).forEach(pack);
  Object.keys(names).forEach(letter => put('count-' + letter, count(counts[letter] || 0)));
  put('count-owing', count(owing));
  boxes.counts = undefined;
  animating = movers && movers <= MOVERS_MAX && !isStill.matches ? performance.now() + MOVE_MS : 0;
  redraw();
  if (asked) answer();
}

function enter(mark) {
  const box = boxes[mark.letter];
  mark.slot = box.free.length ? box.free.pop() : box.slots.length;
  box.slots[mark.slot] = mark;
  box.used += 1;
}
function leave(mark) {
  const box = boxes[mark.letter];
  box.slots[mark.slot] = null;
  box.free.push(mark.slot);
  box.used -= 1;
}
// Closes gaps when there are more of them than marks, and sizes the cells.
function pack(box) {
  if (!box || !box.slots) return;
  if (box.slots.length > 2 * box.used + 8) {
    box.slots = box.slots.filter(Boolean);
    box.slots.forEach((mark, slot) => { mark.slot = slot; });
    box.free = [];
  } else if (box.free.length > 1) box.free.sort((a, b) => b - a);
}
function cells(box) {
  const w = Math.max(8, box.w - 12), h = Math.max(8, box.h - box.top - 8), slots = Math.max(1, box.slots.length);
  const fit = places => {
    let size = Math.min(MARK_MAX, Math.max(1.5, Math.floor(Math.sqrt(w * h / places) * 2) / 2));
    while (size > 1.5 && Math.floor(w / size) * Math.floor(h / size) < places) size -= .5;
    return size;
  };
  let each = 1, size = fit(slots);
  for (const square of SQUARES) {
    if (size >= (each > 1 ? SQUARE_MIN : MARK_MIN)) break;
    each = square;
    // Whole pixels, so that all gaps look the same.
    size = Math.floor(fit(Math.ceil(slots / each)));
  }
  return { size, across: Math.max(1, Math.floor(w / size)), each };
}
function position(mark, cell) {
  const box = boxes[mark.letter], { size, across, each } = cell || cells(box), slot = Math.floor(mark.slot / each);
  return { x: box.x + 6 + (slot % across + .5) * size, y: box.y + box.top + 2 + (Math.floor(slot / across) + .5) * size, size };
}

let isDue = false;
function redraw() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => { isDue = false; draw(); if (performance.now() < animating) redraw(); });
}

function draw() {
  const c = drawing, now = performance.now();
  c.setTransform(scale, 0, 0, scale, 0, 0);
  c.clearRect(0, 0, map.clientWidth, map.clientHeight);
  c.textBaseline = 'middle';
  const isTall = map.clientWidth < 640;
  COLUMNS.forEach((column, index) => {
    c.fillStyle = colour('soft'); c.font = '600 12px system-ui, sans-serif'; c.textAlign = 'left';
    c.fillText(column.title, column.x, column.y + 9);
    if (index < 4) arrow(c, column, isTall);
    [...column.boxes].forEach(letter => boxes[letter] && drawBox(c, boxes[letter], column, now));
  });
  c.globalAlpha = 1;
}
function arrow(c, column, isTall) {
  if (isTall) return;
  const x = column.x + column.w + 7, y = column.y + 9;
  c.strokeStyle = colour('soft'); c.lineWidth = 1.5; c.beginPath();
  c.moveTo(x, y); c.lineTo(x + 12, y); c.moveTo(x + 8, y - 4); c.lineTo(x + 12, y); c.lineTo(x + 8, y + 4); c.stroke();
}
function drawBox(c, box, column, now) {
  if (!names[box.letter] || box.w < 4) return;
  c.fillStyle = colour('box'); c.beginPath(); c.roundRect(box.x, box.y, box.w, box.h, 6); c.fill();
  c.fillStyle = box.used ? colour('ink') : colour('soft'); c.font = '11px ui-monospace, monospace';
  const number = count(box.used), name = names[box.letter].name.split('::')[1];
  c.textAlign = 'right'; c.fillText(number, box.x + box.w - 6, box.y + 10);
  c.textAlign = 'left';
  const cell = cells(box), room = box.w - 14 - c.measureText(number).width;
  const square = cell.each > 1 ? `■ = ${count(cell.each)}` : '';
  const label = [name, square].filter(Boolean).join('  ');
  // A name that finds no room stands in the legend; what a square means stands only here.
  const words = [label, square, name].find(words => words && c.measureText(words).width < room);
  if (words) c.fillText(words, box.x + 6, box.y + 10);
  if (cell.each > 1) { drawSquares(c, box, cell, colour(column.colour)); return; }
  const fill = colour(column.colour), late = colour('late'), moving = now < animating;
  const isBig = cell.size >= 12;
  c.fillStyle = fill;
  const radius = Math.min(9, Math.max(.6, cell.size * (isBig ? .28 : .4)));
  for (const mark of box.slots) {
    if (!mark) continue;
    let at = position(mark, cell);
    if (moving && mark.from) {
      const part = Math.min(1, (now - mark.since) / MOVE_MS), eased = 1 - (1 - part) ** 3;
      at = { x: mark.from.x + (at.x - mark.from.x) * eased, y: mark.from.y + (at.y - mark.from.y) * eased };
    } else mark.from = null;
    if (cell.size < 5) {
      c.fillStyle = mark.owes ? late : fill;
      c.fillRect(at.x - radius, at.y - radius, 2 * radius, 2 * radius);
      continue;
    }
    c.fillStyle = fill;
    c.beginPath(); c.arc(at.x, at.y, radius, 0, 7); c.fill();
    if (mark.owes) { c.strokeStyle = late; c.lineWidth = 2; c.beginPath(); c.arc(at.x, at.y, radius + 1, 0, 7); c.stroke(); }
    if (isBig && mark.left !== null && mark.left !== undefined && mark.most) {
      // The time that is left, of the most that was seen.
      c.strokeStyle = mark.left < mark.most / 5 ? late : fill; c.lineWidth = 1.5; c.globalAlpha = .75; c.beginPath();
      c.arc(at.x, at.y, radius + 3, -Math.PI / 2, -Math.PI / 2 + 2 * Math.PI * Math.min(1, mark.left / mark.most)); c.stroke();
      c.globalAlpha = 1;
    }
    if (cell.size >= 36 && mark.left !== null && mark.left !== undefined) {
      c.fillStyle = colour('soft'); c.font = '10px system-ui, sans-serif'; c.textAlign = 'center';
      c.fillText(mark.left < 9.95 ? mark.left.toFixed(1) + ' s' : Math.round(mark.left) + ' s', at.x, at.y + radius + 11);
    }
    if (asked === mark.key) { c.strokeStyle = colour('ink'); c.lineWidth = 2; c.beginPath(); c.arc(at.x, at.y, radius + 5, 0, 7); c.stroke(); }
  }
}
// Draws several marks as a square: as full as it has marks, and from below in the other colour as far as they owe.
function drawSquares(c, box, cell, fill) {
  const used = [], owing = [], side = cell.size - 1, late = colour('late'), ring = marks.get(asked);
  box.slots.forEach((mark, slot) => {
    if (!mark) return;
    const square = Math.floor(slot / cell.each);
    used[square] = (used[square] || 0) + 1;
    if (mark.owes) owing[square] = (owing[square] || 0) + 1;
    mark.from = null;
  });
  used.forEach((number, square) => {
    const x = Math.round(box.x + 6) + square % cell.across * cell.size;
    const y = Math.round(box.y + box.top + 2) + Math.floor(square / cell.across) * cell.size;
    const bar = (count, shade) => {
      const height = Math.max(1, Math.round(side * count / cell.each));
      c.fillStyle = shade; c.fillRect(x, y + side - height, side, height);
    };
    bar(number, fill);
    if (owing[square]) bar(owing[square], late);
    if (ring && boxes[ring.letter] === box && Math.floor(ring.slot / cell.each) === square) {
      c.strokeStyle = colour('ink'); c.lineWidth = 2; c.strokeRect(x - 1, y - 1, side + 2, side + 2);
    }
  });
}

// Questions for one connection

function find(event) {
  const edge = map.getBoundingClientRect(), x = event.clientX - edge.left, y = event.clientY - edge.top;
  for (const box of Object.values(boxes)) {
    if (!box || !box.slots || x < box.x || y < box.y || x > box.x + box.w || y > box.y + box.h) continue;
    const cell = cells(box);
    let best = null, distance = Math.max(12, cell.size) ** 2;
    for (const mark of box.slots) {
      if (!mark) continue;
      const at = position(mark, cell), to = (at.x - x) ** 2 + (at.y - y) ** 2;
      if (to < distance) { best = mark; distance = to; }
    }
    return { box, mark: best };
  }
  return null;
}
map.addEventListener('click', event => {
  const found = find(event);
  asked = found && found.mark ? found.mark.key : null;
  if (asked) answer();
  else if (found) put('asked', `${names[found.box.letter].name}: a connection that ${names[found.box.letter].meaning}.`);
  redraw();
});
map.addEventListener('pointermove', event => {
  if (asked || event.pointerType === 'touch') return;
  const found = find(event);
  if (found && found.mark && found.mark.words) put('asked', sentence(found.mark.words));
  else if (found) put('asked', `${names[found.box.letter].name}: a connection that ${names[found.box.letter].meaning}.`);
});
async function answer() {
  const mark = marks.get(asked), [reactor, index] = asked.split(':');
  if (!mark) { put('asked', 'That connection has ended.'); asked = null; return; }
  if (mark.words) { put('asked', sentence(mark.words)); return; }
  const was = asked;
  try {
    const response = await fetch(`/connections.json?reactor=${reactor}&place=${index}`);
    const [found] = (await response.json()).connections;
    if (asked === was) put('asked', found ? sentence(found) : 'That connection has ended.');
  } catch { /* The next frame asks again, or says that there is no server. */ }
}
function sentence(one) {
  const machines = one.request === 'Idle' ? '' : ` (request ${one.request}, response ${one.response})`;
  let words = `Connection ${one.number} of ${one.peer} is in ${one.stage}${machines}. It wants ${one.wants}: it waits for ${one.waits_for}`;
  words += one.seconds_left === null ? '; no deadline is set.' : `. If that does not come within ${(+one.seconds_left).toFixed(1)} s, ${one.otherwise}.`;
  if (one.owed_bytes) words += ` Its client has ${bytes(one.owed_bytes)} still to read.`;
  if (one.memory_bytes) words += ` ${bytes(one.memory_bytes)} are held for it.`;
  words += { None: ' Its socket is not registered yet.', Read: ' Its socket is registered for reading.', ReadWrite: ' Its socket is registered for reading and writing.' }[one.interest] || '';
  if (one.lists.length) words += ` It stands in the list ${one.lists.join(', ')}.`;
  return words;
}

// Charts

function chart(id) {
  const canvas = $(id), c = canvas.getContext('2d'), w = canvas.clientWidth, h = canvas.clientHeight;
  if (canvas.width !== Math.round(w * scale)) { canvas.width = Math.round(w * scale); canvas.height = Math.round(h * scale); }
  c.setTransform(scale, 0, 0, scale, 0, 0);
  c.clearRect(0, 0, w, h);
  c.font = '11px system-ui, sans-serif'; c.textBaseline = 'alphabetic';
  return [c, w, h];
}
function drawRates() {
  const [c, w, h] = chart('rates'), most = Math.max(1, ...history), step = w / 239;
  c.strokeStyle = colour('line'); c.beginPath(); c.moveTo(0, h - 16.5); c.lineTo(w, h - 16.5); c.stroke();
  const y = rate => h - 17 - rate / most * (h - 36), x = index => w - (history.length - 1 - index) * step;
  c.beginPath(); c.moveTo(x(0), h - 17);
  history.forEach((rate, index) => c.lineTo(x(index), y(rate)));
  c.lineTo(w, h - 17); c.fillStyle = colour('in'); c.globalAlpha = .18; c.fill(); c.globalAlpha = 1;
  c.beginPath(); history.forEach((rate, index) => index ? c.lineTo(x(index), y(rate)) : c.moveTo(x(0), y(rate)));
  c.strokeStyle = colour('in'); c.lineWidth = 1.6; c.stroke();
  c.fillStyle = colour('soft'); c.textAlign = 'left'; c.fillText(`most: ${count(most)}`, 0, 11);
  c.fillText('2 minutes ago', 0, h - 3); c.textAlign = 'right'; c.fillText('now', w, h - 3);
}
function drawHistogram(id, counts, tone) {
  const [c, w, h] = chart(id), most = Math.max(1, ...counts), step = w / counts.length, all = counts.reduce((a, b) => a + b, 0);
  counts.forEach((number, index) => {
    const height = number / most * (h - 36);
    c.fillStyle = colour(number ? tone : 'line');
    c.fillRect(index * step + 1, h - 17 - Math.max(number ? 2 : 1, height), step - 2, Math.max(number ? 2 : 1, height));
    c.fillStyle = colour('soft'); c.textAlign = 'center';
    if (step > 46 || index % 4 === 0) c.fillText(LABELS[index], Math.max(18, Math.min(w - 18, index * step + step / 2)), h - 3);
  });
  c.fillStyle = colour('soft'); c.textAlign = 'left';
  c.fillText(all ? `${count(all)} in the last half second, by “at most”` : 'none in the last half second', 0, 11);
}

addEventListener('resize', layOut);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { redraw(); if (before) drawRates(); });
