"use strict";
(() => {
const $ = (id) => document.getElementById(id);
const text = (id) => $(id).textContent;
const page = JSON.parse(text("page"));
const PAGE = 50;
const KEPT = 12; // entries decoded at a time: one map of each word, layer and head is large
const FIELD = 224; // pixels of a map's longer side; the browser smooths it up to the photo
const ANY = "one layer or head";
const TALLEST = 1 / 3; // width by height; what is taller or wider is shown stretched, as in pictures
const WIDEST = 12;

/* What the file holds, decoded when it is asked for. */

const entries = new Map();

function entryOf(number) {
  let entry = entries.get(number);
  if (!entry) {
    entry = JSON.parse(text(`entry-${number}`));
    entries.set(number, entry);
    if (entries.size > KEPT) entries.delete(entries.keys().next().value);
  }
  return entry;
}

const photoOf = (number) => `data:image/jpeg;base64,${text(`photo-${number}`).trim()}`;

// A float32 scale a row, then a byte a weight.
function decoded(block, regions) {
  const bytes = Uint8Array.from(atob(block), (letter) => letter.charCodeAt(0));
  const rows = bytes.length / (4 + regions);
  const scales = new DataView(bytes.buffer);
  const values = new Float32Array(rows * regions);
  for (let row = 0, at = 0; row < rows; row++) {
    const scale = scales.getFloat32(4 * row, true);
    for (let region = 0; region < regions; region++, at++) values[at] = bytes[4 * rows + at] * scale;
  }
  return values;
}

/* Reductions: (layer, head, word, region) to (word, region). */

const wholeOf = (reading) => {
  const layers = Array.from({ length: reading.layers }, (_, layer) => `layer-${layer + 1}`);
  return [...(reading.layers ? ["last", "mean", ...layers] : []), ...Object.keys(reading.maps)];
};

function placeOf(reading, name) {
  if (name === "last") return { layer: reading.layers, head: 0 };
  const found = /^layer-(\d+)(?:-head-(\d+))?$/.exec(name);
  return found && { layer: Number(found[1]), head: Number(found[2] || 0) };
}

const isKnown = (reading, name) => {
  const place = placeOf(reading, name);
  return wholeOf(reading).includes(name) || Boolean(place && place.layer >= 1 && place.layer <= reading.layers
    && place.head >= 0 && place.head <= reading.heads && name === nameOf(place.layer, place.head));
};

const nameOf = (layer, head) => (head ? `layer-${layer}-head-${head}` : `layer-${layer}`);

function rowsOf(entry, reading, name) {
  reading.rows ||= {};
  return (reading.rows[name] ||= computed(entry, reading, name));
}

function computed(entry, reading, name) {
  const regions = entry.boxes.length;
  if (name in reading.maps) return decoded(reading.maps[name], regions);
  const weights = (reading.decoded ||= decoded(reading.weights, regions));
  const size = reading.words.length * regions;
  const place = placeOf(reading, name);
  const chosen = [];
  for (let layer = 0; layer < reading.layers; layer++) {
    for (let head = 0; head < reading.heads; head++) {
      const fits = !place || (place.layer === layer + 1 && (!place.head || place.head === head + 1));
      if (fits) chosen.push((layer * reading.heads + head) * size);
    }
  }
  const rows = new Float32Array(size);
  for (const start of chosen) for (let at = 0; at < size; at++) rows[at] += weights[start + at] / chosen.length;
  return rows;
}

const rowOf = (entry, reading, name, word) => {
  const regions = entry.boxes.length;
  return rowsOf(entry, reading, name).subarray(word * regions, (word + 1) * regions);
};

const largest = (row) => row.reduce((best, value, at) => (value > row[best] ? at : best), 0);

/* Pictures of maps: density of attention, smoothed, as colours. */

const COLOURS = Array.from({ length: 256 }, (_, level) => {
  const position = (level / 255) * (page.heat.length - 1);
  const low = Math.min(Math.floor(position), page.heat.length - 2);
  return page.heat[low].map((value, channel) =>
    Math.round(value + (page.heat[low + 1][channel] - value) * (position - low)));
});

const ratioOf = ({ shown: [width, height] }) => Math.min(Math.max(width / height, TALLEST), WIDEST);

// 1 is the density of attention that is spread evenly over the picture.
function fieldOf(entry, row, longer) {
  const ratio = ratioOf(entry);
  const width = Math.round(longer * Math.min(1, ratio));
  const height = Math.round(longer * Math.min(1, 1 / ratio));
  const values = new Float32Array(width * height);
  entry.boxes.forEach(([left, top, right, bottom], region) => {
    const density = row[region] / Math.max((right - left) * (bottom - top), 1e-12);
    if (!density) return;
    const x0 = Math.min(Math.round(left * width), width - 1), x1 = Math.max(Math.round(right * width), x0 + 1);
    const y0 = Math.min(Math.round(top * height), height - 1), y1 = Math.max(Math.round(bottom * height), y0 + 1);
    for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) values[y * width + x] += density;
  });
  const sides = entry.boxes.flatMap(([x0, y0, x1, y1]) => [(x1 - x0) * width, (y1 - y0) * height]);
  return { width, height, values: blurred(values, width, height, median(sides) / 3) };
}

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};

// Three running means come close to a Gaussian; the picture's edge is held beyond it.
function blurred(values, width, height, deviation) {
  const radius = Math.round((Math.sqrt(4 * deviation * deviation + 1) - 1) / 2);
  if (radius < 1) return values;
  let from = values, to = new Float32Array(values.length);
  for (let pass = 0; pass < 3; pass++) {
    for (let y = 0; y < height; y++) runningMean(from, to, y * width, 1, width, radius);
    for (let x = 0; x < width; x++) runningMean(to, from, x, width, height, radius);
  }
  return from;
}

function runningMean(from, to, start, step, count, radius) {
  const at = (index) => from[start + Math.min(Math.max(index, 0), count - 1) * step];
  let sum = 0;
  for (let index = -radius; index <= radius; index++) sum += at(index);
  for (let index = 0; index < count; index++) {
    to[start + index * step] = sum / (2 * radius + 1);
    sum += at(index + radius + 1) - at(index - radius);
  }
}

const peakOf = (field) => field.values.reduce((most, value) => Math.max(most, value), 0);

function paint(canvas, field, peak) {
  canvas.width = field.width;
  canvas.height = field.height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(field.width, field.height);
  field.values.forEach((value, at) => {
    const level = Math.min(255, Math.round((value / Math.max(peak, 1e-12)) * 255));
    image.data.set(COLOURS[level], 4 * at);
    image.data[4 * at + 3] = 255;
  });
  context.putImageData(image, 0, 0);
}

function wherein([x0, y0, x1, y1]) {
  const third = (value) => Math.min(2, Math.floor(value * 3));
  const row = ["upper", "", "lower"][third((y0 + y1) / 2)];
  const column = ["left", "", "right"][third((x0 + x1) / 2)];
  return row || column ? `${row || "middle"} ${column || "middle"}` : "the middle";
}

/* What is shown, and its address within the page. */

const state = { image: 0, reading: 0, word: 0, map: page.reduction, search: "", sort: "", page: 0 };

function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const whole = (name, most) => {
    const number = Number.parseInt(asked.get(name) ?? "1", 10) - 1;
    return Math.min(Math.max(Number.isNaN(number) ? 0 : number, 0), Math.max(most - 1, 0));
  };
  const single = page.entries.length === 1;
  state.image = asked.has("image") || single ? whole("image", page.entries.length) : null;
  state.search = asked.get("search") ?? state.search;
  state.sort = asked.get("sort") ?? state.sort;
  if (asked.has("page")) state.page = whole("page", page.entries.length);
  if (state.image === null) return;
  const { readings } = entryOf(state.image);
  state.reading = whole("text", readings.length);
  state.word = whole("word", readings[state.reading].words.length);
  const known = (name) => name && isKnown(readings[state.reading], name);
  state.map = [asked.get("map"), state.map, page.reduction].find(known) ?? wholeOf(readings[state.reading])[0];
}

function addressOf(image, more = {}) {
  const asked = new URLSearchParams({ image: image + 1, ...more });
  return `#${asked}`;
}

function galleryAddress() {
  const asked = new URLSearchParams();
  if (state.search) asked.set("search", state.search);
  if (state.sort) asked.set("sort", state.sort);
  if (state.page) asked.set("page", state.page + 1);
  return `#${asked}`;
}

function writeAddress() {
  const here = state.image === null ? galleryAddress()
    : addressOf(state.image, { text: state.reading + 1, word: state.word + 1, map: state.map });
  history.replaceState(null, "", here);
}

// What the model says after words that were given to it.
const isAnswer = ({ probabilities }, at) => at > 0 && isNumber(probabilities[at]) && !isNumber(probabilities[at - 1]);

/* Elements. */

function element(tag, { classes = "", content = "", ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  if (classes) made.className = classes;
  if (content) made.textContent = content;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function bar(share, classes) {
  const filled = element("span");
  filled.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
  return element("span", { classes, "aria-hidden": "true" }, filled);
}

const option = (value, content = value) => element("option", { value, content });
const two = (value) => value.toFixed(2).replace("-", "−");
const isNumber = (value) => typeof value === "number";
const chance = (value) => (value > 0 && value < 0.005 ? "<0.01" : two(value));

function barList(list, pairs, chosen) {
  list.replaceChildren(...pairs.map(([name, value], at) => element("li", { classes: at === chosen ? "chosen" : "" },
    element("span", { content: name, dir: "auto" }), bar(value, "track"), element("span", { classes: "number", content: chance(value) }))));
}

/* One image. */

function showImage() {
  const entry = entryOf(state.image);
  const about = page.entries[state.image];
  const [width, height] = entry.size, [shownWidth, shownHeight] = entry.shown;
  $("photo").src = photoOf(state.image);
  $("photo").alt = `Photo ${about.title}`;
  $("frame").style.aspectRatio = ratioOf(entry);
  const fitted = `min(100%, calc(66vh * ${ratioOf(entry)}))`;
  for (const part of [$("frame"), document.querySelector(".legend")]) part.style.width = fitted;
  $("name").textContent = about.title;
  const scaled = width === shownWidth && height === shownHeight ? "" : `, shown at ${shownWidth} × ${shownHeight}`;
  const scores = Object.entries(about.scores).map(([name, value]) => ` · ${name} ${two(value)}`).join("");
  $("sizes").textContent = ` · ${width} × ${height} pixels${scaled}${scores}`;
  showSteps();
  showTexts(entry);
  showReading();
}

function showSteps() {
  const several = page.entries.length > 1;
  $("steps").hidden = !several;
  $("escape").hidden = !several;
  const order = found();
  const here = order.indexOf(state.image);
  $("place").textContent = here < 0 ? about(state.image + 1, page.entries.length) : about(here + 1, order.length);
  for (const [id, other] of [["previous", order[here - 1]], ["next", order[here + 1]]]) {
    if (here < 0 || other === undefined) $(id).removeAttribute("href");
    else $(id).href = addressOf(other, { map: state.map });
  }
  $("to-gallery").href = galleryAddress();
}

const about = (number, count) => `image ${number} of ${count}`;

function showTexts(entry) {
  const { readings } = entry;
  $("texts").hidden = readings.length < 2;
  const kinds = new Set(readings.map(({ name }) => name.replace(/ \d+$/, "")));
  const [kind] = kinds;
  const alike = kinds.size === 1;
  const scored = readings.some(({ score }) => score !== null);
  $("texts-name").textContent = alike ? `${kind[0].toUpperCase()}${kind.slice(1)}s${scored ? " and their scores" : ""}` : "Texts";
  $("texts").replaceChildren($("texts-name"), ...readings.map((reading, at) => {
    const choice = element("input", { type: "radio", name: "text", value: at });
    choice.checked = at === state.reading;
    choice.addEventListener("change", () => chooseReading(at));
    const said = element("span", { content: page.entries[state.image].texts[at], dir: "auto" });
    const number = [alike ? "" : reading.name, reading.score === null ? "" : two(reading.score)].filter(Boolean).join(" ");
    return element("label", {}, choice, said, element("span", { classes: "number", content: number }));
  }));
}

function current() {
  const entry = entryOf(state.image);
  return { entry, reading: entry.readings[state.reading] };
}

function showReading() {
  const { reading } = current();
  $("words").setAttribute("aria-label", `Words of the ${reading.name}`);
  $("words").replaceChildren(...reading.words.map((word, at) => {
    const made = element("span", { classes: "word", role: "option", content: word, dir: "auto" });
    if (isNumber(reading.probabilities[at])) made.append(bar(reading.probabilities[at], "chance"));
    if (isAnswer(reading, at)) made.classList.add("answer");
    made.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && chooseWord(at));
    made.addEventListener("click", () => chooseWord(at, true));
    return made;
  }));
  const fill = (id, names) => $(id).replaceChildren(...names);
  const numbers = (count) => Array.from({ length: count }, (_, at) => option(at + 1));
  const tested = (name) => (name in reading.deletion ? `${name} · deletion ${two(reading.deletion[name])}` : name);
  const whole = wholeOf(reading).filter((name) => !name.startsWith("layer-"));
  fill("reduction", [...whole.map((name) => option(name, tested(name))), ...(reading.layers ? [option(ANY)] : [])]);
  fill("layer", [option("", "–"), option("mean", "mean of all"), ...numbers(reading.layers)]);
  fill("head", [option("", "–"), option("0", "mean of all"), ...numbers(reading.heads)]);
  for (const part of document.querySelectorAll(".of-weights")) part.hidden = !reading.layers;
  $("answers").hidden = !reading.answers.length;
  barList($("answers").querySelector("ul"), reading.answers, 0);
  showHeads(reading);
  showWord();
}

function showHeads(reading) {
  $("heads").hidden = reading.layers * reading.heads < 2 || !reading.words.length;
  const side = Math.max(16, Math.min(83, Math.floor(348 / Math.max(reading.heads, 1)) - 4));
  $("head-grid").style.gridTemplateColumns = `repeat(${reading.heads}, minmax(0, ${side}px))`;
  const cells = [];
  for (let layer = 1; layer <= reading.layers; layer++) {
    for (let head = 1; head <= reading.heads; head++) {
      const cell = element("canvas", { title: `layer ${layer}, head ${head}` });
      cell.dataset.map = nameOf(layer, head);
      cell.addEventListener("click", () => chooseMap(cell.dataset.map));
      cells.push(cell);
    }
  }
  $("head-grid").replaceChildren(...cells);
}

function showWord() {
  const { entry, reading } = current();
  const none = !reading.words.length;
  $("frame").classList.toggle("mapped", $("show-map").checked && !none);
  for (const [at, word] of [...$("words").children].entries()) {
    word.setAttribute("aria-selected", at === state.word);
    word.tabIndex = at === state.word ? 0 : -1;
  }
  showChoices(reading);
  if (none) {
    $("status").textContent = "This text has no words.";
    $("outline").hidden = $("chances").hidden = true;
    $("peak").textContent = "";
    return;
  }
  const row = rowOf(entry, reading, state.map, state.word);
  const best = largest(row);
  showMap(entry, reading, row);
  outline(entry, best);
  for (const cell of $("head-grid").children) {
    const field = fieldOf(entry, rowOf(entry, reading, cell.dataset.map, state.word), 40);
    paint(cell, field, peakOf(field));
    cell.classList.toggle("chosen", cell.dataset.map === state.map);
  }
  const likely = reading.probabilities[state.word];
  const said = isNumber(likely) ? `, probability ${chance(likely)}` : "";
  const which = isAnswer(reading, state.word) ? "answer" : `word ${state.word + 1} of ${reading.words.length}`;
  const place = `looks most at ${wherein(entry.boxes[best])} (${Math.round(100 * row[best])} %)`;
  $("status").textContent = `${which}: “${reading.words[state.word]}”${said}, ${place}`;
  $("map").setAttribute("aria-label", `Attention of “${reading.words[state.word]}”, by ${state.map}: ${place}`);
  showChances(reading, likely);
}

function showMap(entry, reading, row) {
  const field = fieldOf(entry, row, FIELD);
  const own = peakOf(field);
  const peak = $("same-scale").checked ? Math.max(own, commonPeak(entry, reading)) : own;
  paint($("map"), field, peak);
  $("map").style.opacity = page.opacity;
  $("peak").textContent = `${peak.toFixed(1)}× an even spread`;
}

function commonPeak(entry, reading) {
  reading.peaks ||= {};
  reading.peaks[state.map] ||= Math.max(...reading.words.map((_, word) =>
    peakOf(fieldOf(entry, rowOf(entry, reading, state.map, word), FIELD))));
  return reading.peaks[state.map];
}

function outline(entry, best) {
  const [x0, y0, x1, y1] = entry.boxes[best];
  $("outline").hidden = entry.grid;
  const sides = { left: x0, top: y0, width: x1 - x0, height: y1 - y0 };
  for (const [side, value] of Object.entries(sides)) $("outline").style[side] = `${100 * value}%`;
}

function showChoices(reading) {
  const place = placeOf(reading, state.map);
  const named = [...$("reduction").options].some(({ value }) => value === state.map);
  $("reduction").value = named ? state.map : ANY;
  $("layer").value = place ? place.layer : state.map === "mean" ? "mean" : "";
  $("head").value = place ? place.head : state.map === "mean" ? "0" : "";
  const tested = reading.deletion[state.map];
  const random = "by chance" in reading.deletion ? `, by chance ${two(reading.deletion["by chance"])}` : "";
  $("deletion").textContent = tested === undefined ? "Deletion not measured"
    : `Deletion ${two(tested)}${random}; lower is better`;
}

function showChances(reading, likely) {
  const others = reading.runnersUp[state.word] ?? [];
  const sure = isNumber(likely);
  $("chances").hidden = !sure && !others.length;
  if ($("chances").hidden) return;
  const word = reading.words[state.word];
  $("chances-name").textContent = others.length ? "This word and its runners-up" : "Probability of this word";
  barList($("chances").querySelector("ul"), [...(sure ? [[word, likely]] : []), ...others], sure ? 0 : -1);
}

/* Choices of who looks. */

function chooseWord(at, focus = false) {
  const { reading } = current();
  state.word = Math.min(Math.max(at, 0), Math.max(reading.words.length - 1, 0));
  showWord();
  writeAddress();
  const word = $("words").children[state.word];
  if (word && (focus || $("words").contains(document.activeElement))) word.focus({ preventScroll: !focus });
}

function chooseMap(name) {
  state.map = name;
  $("map-said").textContent = `map: ${name}`;
  showWord();
  showSteps();
  writeAddress();
}

function chooseReading(at) {
  state.reading = at;
  const { reading } = current();
  state.word = Math.min(state.word, Math.max(reading.words.length - 1, 0));
  if (!isKnown(reading, state.map)) state.map = wholeOf(reading)[0];
  showReading();
  writeAddress();
}

$("reduction").addEventListener("change", ({ target }) =>
  chooseMap(target.value === ANY ? nameOf(current().reading.layers, 0) : target.value));
$("layer").addEventListener("change", ({ target }) => {
  if (target.value === "mean") chooseMap("mean");
  else if (target.value) chooseMap(nameOf(Number(target.value), Number($("head").value)));
  else showWord();
});
$("head").addEventListener("change", ({ target }) => {
  const { reading } = current();
  if (target.value === "") showWord();
  else chooseMap(nameOf(Number($("layer").value) || reading.layers, Number(target.value)));
});
for (const id of ["same-scale", "show-map"]) $(id).addEventListener("change", showWord);

function stepMap(step) {
  const names = wholeOf(current().reading);
  // One head stands where its layer does.
  const here = names.indexOf(state.map.replace(/-head-\d+$/, ""));
  chooseMap(names[Math.min(Math.max(here + step, 0), names.length - 1)]);
}

document.addEventListener("keydown", (event) => {
  const typed = event.target.closest("select, textarea, button, input:not([type=checkbox])");
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || state.image === null) return;
  if (event.key === "Escape" && page.entries.length > 1 && !event.target.closest("select")) location.hash = galleryAddress();
  if (typed) return;
  const moves = {
    ArrowLeft: () => chooseWord(state.word - 1),
    ArrowRight: () => chooseWord(state.word + 1),
    ArrowUp: () => stepMap(-1),
    ArrowDown: () => stepMap(1),
    Home: () => chooseWord(0),
    End: () => chooseWord(Infinity),
  };
  if (!moves[event.key]) return;
  event.preventDefault();
  moves[event.key]();
});

/* The gallery. */

const plain = (said) => said.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const searched = page.entries.map(({ title, texts }) => plain([title, ...texts].join(" ")));
const inOrder = new Intl.Collator(undefined, { numeric: true });

function found() {
  const terms = plain(state.search).split(/\s+/).filter(Boolean);
  const left = page.entries.map((_, at) => at).filter((at) => terms.every((term) => searched[at].includes(term)));
  const [, name, direction] = /^(.*) (up|down)$/.exec(state.sort) ?? [];
  if (state.sort === "title") left.sort((a, b) => inOrder.compare(page.entries[a].title, page.entries[b].title));
  if (!direction) return left;
  const sign = direction === "up" ? 1 : -1;
  const score = (at) => page.entries[at].scores[name] ?? sign * Infinity;
  return left.sort((a, b) => (score(a) === score(b) ? a - b : sign * (score(a) < score(b) ? -1 : 1)));
}

function showGallery() {
  const order = found();
  const pages = Math.max(1, Math.ceil(order.length / PAGE));
  state.page = Math.min(state.page, pages - 1);
  const first = state.page * PAGE;
  const shown = order.slice(first, first + PAGE);
  if ($("search").value !== state.search) $("search").value = state.search;
  $("sort").value = state.sort;
  $("thumbnails").replaceChildren(...shown.map(thumbnail));
  const range = shown.length ? `images ${first + 1}–${first + shown.length} of ${order.length}` : "no image";
  const matching = order.length === 0 ? " that matches" : " that match";
  $("found").textContent = order.length < page.entries.length ? `${range}${matching}, ${page.entries.length} in all` : range;
  $("pages").hidden = pages < 2;
  $("page-place").textContent = `page ${state.page + 1} of ${pages}`;
  $("page-back").disabled = state.page === 0;
  $("page-on").disabled = state.page === pages - 1;
}

function thumbnail(number) {
  const { title, texts, scores } = page.entries[number];
  const sorted = state.sort.replace(/ (up|down)$/, "");
  const name = sorted in scores ? sorted : Object.keys(scores)[0];
  const score = name === undefined ? [] : [element("span", { content: `${name} ${two(scores[name])}` })];
  const image = element("img", { src: photoOf(number), alt: "", loading: "lazy", decoding: "async" });
  const link = element("a", { href: addressOf(number) }, image,
    element("span", { classes: "said", content: texts[0] || "(no words)", dir: "auto" }),
    element("span", { classes: "note" }, element("span", { classes: "title", content: title }), ...score));
  return element("li", {}, link);
}

function change(values) {
  Object.assign(state, values);
  showGallery();
  writeAddress();
}

$("sort").replaceChildren(option("", "as given"), option("title"), ...page.scores.flatMap((name) =>
  [option(`${name} down`, `${name}, highest first`), option(`${name} up`, `${name}, lowest first`)]));
$("search").addEventListener("input", ({ target }) => change({ search: target.value, page: 0 }));
$("sort").addEventListener("change", ({ target }) => change({ sort: target.value, page: 0 }));
$("find").addEventListener("submit", (event) => event.preventDefault());
for (const [id, step] of [["page-back", -1], ["page-on", 1]]) {
  $(id).addEventListener("click", () => {
    change({ page: state.page + step });
    $("gallery").scrollIntoView();
  });
}

/* From one view to the other. */

$("scale").style.background = `linear-gradient(to right, ${page.heat.map(([r, g, b]) => `rgb(${r} ${g} ${b})`).join(", ")})`;

function show() {
  const before = state.image;
  const first = $("gallery").hidden && $("detail").hidden;
  readAddress();
  const listed = state.image === null;
  $("gallery").hidden = !listed;
  $("detail").hidden = listed;
  if (listed) {
    $("steps").hidden = true;
    showGallery();
    if (!first) document.querySelector(`#thumbnails a[href="${addressOf(before)}"]`)?.focus();
  } else {
    showImage();
    if (before !== state.image) scrollTo(0, 0);
    $("words").children[state.word]?.focus({ preventScroll: true });
  }
}

addEventListener("hashchange", show);
show();
})();
