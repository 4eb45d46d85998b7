"use strict";
// Texts of the log enter the page by textContent alone, never as markup.
(async () => {
const $ = id => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const NONE = 0xFFFFFFFF, OUTCOMES = data.outcomes, TICKS = data.ticks;
const SHOWN = {done: "good", recovered: "recovered", failed: "failed", cancelled: "cancelled"};
const MOST = {findings: 8, rows: 10, marks: 4000, slow: 12, table: 12, causes: 30, options: 400};
const narrow = () => window.innerWidth < 600;
// On a touch screen a drag scrolls the page.
const touched = matchMedia("(pointer: coarse)").matches || narrow();

// -- reading ---------------------------------------------------------------------

async function unpacked(text) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at++) bytes[at] = raw.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

const [libraryBytes, buffer] = await Promise.all([unpacked($("library").textContent), unpacked(data.bytes)]);
const library = document.createElement("script");
library.textContent = new TextDecoder().decode(libraryBytes);
document.head.append(library);

const types = {d: Float64Array, I: Uint32Array, H: Uint16Array, B: Uint8Array};
const c = {};
let place = 0;
for (const [name, type, length] of data.arrays) {
  c[name] = new types[type](buffer, place, length);
  place += c[name].byteLength;
}
const count = data.calls, attempts = c.offset.length;
const lastOf = call => (call + 1 < count ? c.first[call + 1] : attempts);
const text = (table, number) => data.tables[table][number];
const hangs = new Set(data.hangs);

let begin = Infinity, end = -Infinity;
for (let call = 0; call < count; call++) {
  begin = Math.min(begin, c.start[call]);
  end = Math.max(end, c.start[call] + c.elapsed[call] / TICKS);
}

// -- words -----------------------------------------------------------------------

const days = new Date(begin * 1000).toDateString() !== new Date(end * 1000).toDateString();
const exact = end - begin < 7200;
const clock = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", second: exact ? "2-digit" : undefined, hourCycle: "h23"});
const day = new Intl.DateTimeFormat(undefined, {day: "numeric", month: "short"});
const when = at => (days ? day.format(at * 1000) + " " : "") + clock.format(at * 1000);
const whole = number => number.toLocaleString("en-US");
const plural = (number, noun) => `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;

function seconds(value) {
  if (value < 0.0095) return `${(value * 1000).toFixed(1)} ms`;
  if (value < 10) return `${value.toFixed(value < 1 ? 3 : 2)} s`;
  if (value < 120) return `${value.toFixed(1)} s`;
  return value < 7200 ? `${(value / 60).toFixed(1)} min` : `${(value / 3600).toFixed(1)} h`;
}

const limitWords = value => `${Number(value.toPrecision(6))} s`;
const modelName = number => text("model", number) || "unknown model";
const short = (name, most) => (name.length > most ? name.slice(0, most - 1) + "…" : name);
const hostOf = origin => origin.replace(/^https?:\/\//, "");
const severalOrigins = data.tables.origin.length > 2;

function element(tag, content, kind) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  for (const part of Array.isArray(content) ? content : [content]) if (part !== undefined) made.append(part);
  return made;
}

function put(id, ...parts) {
  $(id).replaceChildren(...parts);
}

function legend(id, entries) {
  put(id, ...entries.map(([color, words, kind]) => {
    const mark = element("i", "", kind);
    mark.style[kind ? "borderColor" : "background"] = `var(--${color})`;
    return element("span", [mark, words]);
  }));
}

// -- counting --------------------------------------------------------------------

function passing(wanted) {
  const chosen = new Uint32Array(count);
  let number = 0;
  for (let call = 0; call < count; call++) {
    if (c.start[call] < wanted.from || c.start[call] >= wanted.to) continue;
    if (wanted.origin !== null && c.origin[call] !== wanted.origin) continue;
    if (wanted.model !== null && c.model[call] !== wanted.model) continue;
    if (wanted.label !== null && c.label[call] !== wanted.label) continue;
    if (wanted.outcome !== null && c.outcome[call] !== wanted.outcome) continue;
    chosen[number++] = call;
  }
  return chosen.subarray(0, number);
}

function grown(map, key, make) {
  let found = map.get(key);
  if (found === undefined) map.set(key, found = make());
  return found;
}

const newLoss = () => ({attempts: 0, outcomes: [0, 0, 0, 0], ticks: 0, times: [], phases: new Map(), limits: new Set(), last: -1});

function addLoss(loss, call, row) {
  loss.attempts++;
  loss.ticks += c.lasted[row];
  loss.times.push(c.start[call] + c.offset[row] / TICKS);
  grown(loss.phases, c.a_phase[row], () => [0])[0]++;
  if (c.limit_seconds[row] !== NONE) loss.limits.add(c.limit_seconds[row] / TICKS);
  if (loss.last !== call) loss.outcomes[c.outcome[call]]++;
  loss.last = call;
}

const DECADE = 16, LOWEST = -3, BINS = DECADE * 7;
const binOf = value => Math.max(0, Math.min(BINS - 1, Math.floor((Math.log10(value) - LOWEST) * DECADE)));
const edge = bin => 10 ** (LOWEST + bin / DECADE);

const perRow = new Map();
for (let at = 0; at < attempts; at++) {
  const kind = c.a_origin[at] * 65536 + c.a_model[at];
  perRow.set(kind, (perRow.get(kind) || 0) + 1);
}

function newRow(room) {
  const row = {attempts: 0};
  // Room for every attempt: numbers in an array of its type are sorted much faster.
  for (const limit of data.measured) row[limit] = {room: new Float32Array(room), number: 0, bins: new Uint32Array(BINS), killed: new Map(), force: new Map()};
  return row;
}

function addTimes(row, call, at) {
  row.attempts++;
  const lost = c.why[at] !== 0, sent = c.sent[at];
  const seen = {
    ttfb: c.byte[at] === NONE ? null : c.byte[at] - sent,
    first_content: c.content[at] === NONE ? null : c.content[at] - sent,
    stale: c.byte[at] === NONE || lost ? null : c.gap[at] === NONE ? 0 : c.gap[at],
  };
  for (const limit of data.measured) {
    const one = row[limit];
    if (seen[limit] !== null) {
      const value = Math.max(seen[limit], 1) / TICKS;
      one.room[one.number++] = value;
      one.bins[binOf(value)]++;
    }
    if (lost && text("why", c.why[at]) === limit) grown(one.killed, c.limit_seconds[at], () => [0])[0]++;
    const force = c["limit_" + limit][call];
    if (force !== NONE) grown(one.force, force, () => [0])[0]++;
  }
}

function counted(chosen) {
  const result = {
    calls: chosen.length, outcomes: [0, 0, 0, 0], by: {}, kinds: new Map(), findings: new Map(), waits: [], saved: 0,
    hung: 0, rows: new Map(), lost: [], slow: [], chosen,
  };
  for (const name of ["model", "origin", "status", "process", "label", "entry"]) result.by[name] = new Uint32Array(4 * (name === "status" ? 1000 : data.tables[name].length));
  let floor = -1;
  for (const call of chosen) {
    const outcome = c.outcome[call];
    result.outcomes[outcome]++;
    for (const name in result.by) result.by[name][c[name][call] * 4 + outcome]++;
    const first = c.first[call], last = lastOf(call);
    if (OUTCOMES[outcome] === "recovered") result.waits.push(c.offset[last - 1] / TICKS);
    for (let at = first; at < last; at++) {
      const kind = c.a_origin[at] * 65536 + c.a_model[at];
      if (c.measured[at]) addTimes(grown(result.rows, kind, () => newRow(perRow.get(kind))), call, at);
      if (!c.why[at]) continue;
      result.lost.push([call, at]);
      const finding = `${kind} ${c.why[at]}`;
      addLoss(grown(result.findings, finding, newLoss), call, at);
      addLoss(grown(result.kinds, `${finding} ${c.a_status[at]}`, newLoss), call, at);
      if (hangs.has(c.why[at])) {
        result.hung++;
        result.saved += Math.max(0, data.client_timeout - c.took[at] / TICKS);
      }
    }
    if (result.slow.length < MOST.slow || c.elapsed[call] > floor) {
      result.slow.push(call);
      result.slow.sort((one, other) => c.elapsed[other] - c.elapsed[one] || one - other);
      result.slow.length = Math.min(result.slow.length, MOST.slow);
      floor = result.slow.length < MOST.slow ? -1 : c.elapsed[result.slow[result.slow.length - 1]];
    }
  }
  for (const row of result.rows.values()) {
    for (const limit of data.measured) row[limit].values = row[limit].room.subarray(0, row[limit].number).sort();
  }
  for (const name in result.by) {
    const counts = result.by[name], found = new Map();
    for (let number = 0; number * 4 < counts.length; number++) {
      const four = [...counts.subarray(number * 4, number * 4 + 4)];
      if (four.some(Boolean)) found.set(number, four);
    }
    result.by[name] = found;
  }
  return result;
}

const part = (values, share) => values[Math.ceil(share * values.length) - 1];

function kindOf(why) {
  if (hangs.has(why)) return "hang";
  return /^\d+$/.test(text("why", why)) ? "refused" : "broken";
}

function split(key) {
  const [kind, why, status] = key.split(" ").map(Number);
  return {origin: Math.floor(kind / 65536), model: kind % 65536, why, status, kind: kindOf(why)};
}

function ordered(losses) {
  const rank = {hang: 0, refused: 1, broken: 1};
  return [...losses].map(([key, loss]) => [split(key), loss])
    .sort(([one, a], [other, b]) => rank[one.kind] - rank[other.kind] || b.attempts - a.attempts || b.ticks - a.ticks);
}

// -- sentences -------------------------------------------------------------------

function periods(times) {
  // A silence of a tenth of the log divides one period of trouble from the next.
  const sorted = [...times].sort((one, other) => one - other), pause = Math.max(30, (end - begin) / 10), found = [];
  for (const at of sorted) {
    const last = found[found.length - 1];
    if (last && at - last.to <= pause) { last.to = at; last.times++; } else found.push({from: at, to: at, times: 1});
  }
  return found;
}

function periodWords(period) {
  const from = when(period.from), to = when(period.to);
  return from === to ? `at ${from}` : `between ${from} and ${to}`;
}

const times = number => (number === 1 ? "once" : number === 2 ? "twice" : `${whole(number)} times`);

function timesWords(loss) {
  const found = periods(loss.times);
  if (found.length === 1) return `${times(loss.attempts)} ${periodWords(found[0])}`;
  if (found.length < 4) return `${times(loss.attempts)}: ${found.map(one => `${times(one.times)} ${periodWords(one)}`).join(", ")}`;
  const most = found.reduce((one, other) => (other.times > one.times ? other : one));
  const all = `${times(loss.attempts)} between ${when(found[0].from)} and ${when(found[found.length - 1].to)}`;
  return most.times > 1 ? `${all}, ${whole(most.times)} of them ${periodWords(most)}` : all;
}

function limitRange(limits) {
  const values = [...limits].sort((one, other) => one - other);
  if (!values.length) return "";
  const least = limitWords(values[0]), most = limitWords(values[values.length - 1]);
  return least === most ? ` of ${least}` : ` of ${least} to ${most}`;
}

function fateWords(loss) {
  const calls = loss.outcomes.reduce((one, other) => one + other), [, recovered, failed, cancelled] = loss.outcomes;
  const words = [[recovered, calls === 1 ? "got its answer by a resend" : "got their answers by a resend"], [failed, "failed"],
    [cancelled, calls === 1 ? "was cancelled" : "were cancelled"]].filter(([number]) => number);
  if (words.length === 1) return `${calls === 1 ? "The call" : calls === 2 ? "Both calls" : `All ${whole(calls)} calls`} ${words[0][1]}`;
  return `Of ${plural(calls, "call")}, ${words.map(([number, fate]) => `${whole(number)} ${fate}`).join(", ")}`;
}

function findingWords({origin, model, why, kind}, loss) {
  const name = text("why", why), verb = data.words[why];
  const limit = kind === "hang" ? ` (ended by the limit ${name}${limitRange(loss.limits)})` : "";
  return [
    element("b", modelName(model)), ` at ${hostOf(text("origin", origin))} `, kind === "hang" ? "hung " : "",
    kind === "hang" ? element("b", timesWords(loss)) : `${verb} ${timesWords(loss)}`,
    kind === "hang" ? `: it ${verb}${limit}` : "",
    `. ${fateWords(loss)}; it cost ${seconds(loss.ticks / TICKS)}.`,
  ];
}

function showFindings(result) {
  const found = ordered(result.findings);
  const items = found.slice(0, MOST.findings).map(([key, loss]) => element("li", findingWords(key, loss), key.kind));
  if (!found.length) items.push(element("li", result.calls ? "No attempt was lost." : "No call passes the filters."));
  if (found.length > MOST.findings) items.push(element("li", `${plural(found.length - MOST.findings, "more kind")} of lost attempts: see the causes below.`));
  put("findings", ...items);
}

function showTiles(result) {
  const [good, recovered, failed, cancelled] = result.outcomes;
  const tiles = [
    [result.calls, "calls"], [good, "answered at once", "good"], [recovered, "answered by a resend", "recovered"],
    [failed, "failed", "failed"], [cancelled, "cancelled", "cancelled"],
  ];
  put("tiles", ...tiles.map(([number, words, name]) => {
    const tile = element("div", [element("b", whole(number)), words]);
    tile.dataset.tile = name || "calls";
    if (name && name !== "good" && number) tile.firstChild.style.color = `var(--${name})`;
    return tile;
  }));
}

function showSaved(result) {
  const recovered = result.outcomes[1], waits = [...result.waits].sort((one, other) => one - other);
  const waited = waits.reduce((one, other) => one + other, 0);
  const words = [];
  if (recovered) {
    words.push(element("b", `${plural(recovered, "call")} got ${recovered === 1 ? "its answer" : "their answers"} by a resend`),
      ` after ${seconds(waited)} of lost attempts and waits in all (median ${seconds(part(waits, 0.5))}, longest ${seconds(waits[waits.length - 1])}). `);
  } else words.push("No call was answered by a resend. ");
  if (result.hung) {
    words.push(`Limits ended ${plural(result.hung, "hanging attempt")}. Until the time-out of the client, which is ${data.client_timeout} s in the libraries of OpenAI and Anthropic, they would have taken `,
      element("b", `${seconds(result.saved)} more`), ".");
  } else words.push("No attempt was ended by a limit.");
  put("saved", ...words);
}

function showAdvice() {
  const set = data.variables.filter(one => one.seconds !== null), left = data.variables.filter(one => one.seconds === null);
  const range = limit => {
    const values = c["limit_" + limit];
    let least = Infinity, most = -Infinity;
    for (const value of values) if (value !== NONE) { least = Math.min(least, value); most = Math.max(most, value); }
    if (most < 0) return "not in force";
    const [low, high] = [limitWords(least / TICKS), limitWords(most / TICKS)];
    return low === high ? `${low} in force` : `${low} to ${high} in force`;
  };
  const lines = data.variables.map(one => (one.seconds === null ? `# ${one.line}` : one.line)).join("\n");
  put("set", lines);
  const compared = set.map(one => `${one.limit} ${limitWords(one.seconds)} (${range(one.limit)})`).join(", ");
  put("set-words", set.length
    ? `From all calls of the log, whatever the filters show: ${compared}. With these values no group of calls gets a limit that is known to end more than 1 in 1,000 of its healthy calls.`
    : "The log has too few calls for a recommendation: leave the limits as they are.",
    left.length && set.length ? ` ${left.map(one => one.limit).join(" and ")} stays as it is.` : "");
  put("set-why", ...data.advice.map(one => element("li", [
    element("b", one.name), element("ul", one.why.map(why => element("li", why))),
    one.arguments ? element("code", `Limits(${one.arguments})`) : undefined,
  ])));
}

// -- tables ----------------------------------------------------------------------

function table(columns, rows) {
  const numeric = new Set(columns.filter(name => name.startsWith("#")));
  const cell = (tag, value, name) => element(tag, value, numeric.has(name) ? "number" : name.startsWith("~") ? "text" : undefined);
  const head = element("tr", columns.map(name => cell("th", name.replace(/^[#~]/, ""), name)));
  const body = rows.map(row => element("tr", row.map((value, at) => cell("td", value, columns[at]))));
  return [element("thead", head), element("tbody", body)];
}

function showCauses(result) {
  const found = ordered(result.kinds);
  const rows = found.slice(0, MOST.causes).map(([key, loss]) => [
    modelName(key.model), hostOf(text("origin", key.origin)),
    key.kind === "hang" ? `limit ${text("why", key.why)}` : text("why", key.why).replace(/^(\d+)$/, "status $1"),
    [...loss.phases].sort((one, other) => other[1][0] - one[1][0]).map(([phase]) => text("phase", phase) || "before an attempt").join(", "),
    key.status ? String(key.status) : "none", whole(loss.attempts),
    whole(loss.outcomes.reduce((one, other) => one + other)), whole(loss.outcomes[1]), whole(loss.outcomes[2]),
    seconds(loss.ticks / TICKS), when(Math.min(...loss.times)), when(Math.max(...loss.times)),
  ]);
  const columns = ["~model", "~origin", "cause", "phase", "status", "#lost", "#calls", "#recovered", "#failed", "#cost", "first", "last"];
  put("causes", ...(rows.length ? table(columns, rows) : [element("caption", "No attempt was lost.")]));
  if (found.length > MOST.causes) $("causes").append(element("caption", `The first ${MOST.causes} of ${found.length} kinds.`));
}

function showTables(result) {
  const titles = {model: "Model", origin: "Origin", status: "HTTP status", process: "Process", label: "Label", entry: "Entry point"};
  put("tables", ...Object.entries(titles).map(([name, title]) => {
    const found = [...result.by[name]].sort(([one, a], [other, b]) =>
      b.reduce((x, y) => x + y) - a.reduce((x, y) => x + y) || one - other);
    const rows = found.slice(0, MOST.table).map(([number, by]) => [
      (name === "status" ? (number || "") : text(name, number)) || "none", whole(by.reduce((x, y) => x + y)), ...by.map(whole),
    ].map(String));
    const made = element("table", table([`~${title}`, "#calls", "#good", "#recovered", "#failed", "#cancelled"], rows));
    made.dataset.by = name;
    if (found.length > MOST.table) made.append(element("caption", `${title}: the first ${MOST.table} of ${whole(found.length)}`));
    return element("div", made, "wide");
  }));
}

function story(call) {
  const first = c.first[call], last = lastOf(call), lines = [];
  if (c.offset[first] > 100) lines.push(`Held back for ${seconds(c.offset[first] / TICKS)} by other calls.`);
  for (let at = first; at < last; at++) {
    const sent = c.sent[at], parts = [];
    if (sent !== NONE) parts.push(`sent after ${seconds(sent / TICKS)}`);
    if (c.byte[at] !== NONE) parts.push(`first byte after ${seconds(c.byte[at] / TICKS)}`);
    if (c.content[at] !== NONE) parts.push(`first content after ${seconds(c.content[at] / TICKS)}`);
    if (c.gap[at] !== NONE) parts.push(`longest silence ${seconds(c.gap[at] / TICKS)}`);
    if (c.a_status[at]) parts.push(`status ${c.a_status[at]}`);
    const why = c.why[at];
    const fate = !why ? `ended well after ${seconds(c.took[at] / TICKS)}`
      : hangs.has(why) ? `killed by the limit ${text("why", why)} of ${limitWords(c.limit_seconds[at] / TICKS)} in phase ${text("phase", c.a_phase[at])}`
      : `lost after ${seconds(c.took[at] / TICKS)} (${text("why", why)}${c.a_error[at] ? ", " + text("error", c.a_error[at]) : ""})`;
    lines.push(`Attempt ${at - first + 1}, ${seconds(c.offset[at] / TICKS)} after the call began: ${parts.join(", ")}${parts.length ? "; " : ""}${fate}.`);
  }
  return lines;
}

function showSlowest(result) {
  put("slowest", ...result.slow.map((call, at) => {
    const outcome = OUTCOMES[c.outcome[call]], label = text("label", c.label[call]), id = data.ids[call];
    const summary = element("summary", [
      element("b", `${at + 1} · ${seconds(c.elapsed[call] / TICKS)}`), ` ${when(c.start[call])}, ${modelName(c.model[call])}`,
      label ? `, label ${label}` : "", `, ${SHOWN[outcome]}, ${plural(lastOf(call) - c.first[call], "attempt")}`,
    ]);
    summary.firstChild.style.color = outcome === "done" ? "" : `var(--${SHOWN[outcome]})`;
    const lines = story(call).map(line => element("p", line));
    const where = `${text("origin", c.origin[call])}, ${text("entry", c.entry[call])}, process ${text("process", c.process[call]) || "unknown"}, prompt of ${whole(c.prompt[call])} bytes`;
    lines.push(element("p", where + (id ? `, call ${id}` : ""), "quiet"));
    return element("li", element("details", [summary, ...lines]));
  }));
}

// -- plots -----------------------------------------------------------------------

const Bokeh = window.Bokeh;
const views = await Bokeh.embed.embed_items(data.plots.document, data.plots.items);
const drawing = Bokeh.documents[Bokeh.documents.length - 1];
const plots = Object.fromEntries(data.plots.names.map(name => [name, drawing.get_model_by_name(name)]));
const source = name => drawing.get_model_by_name(name);
const fill = (name, columns) => { source(name).data = columns; };
// Bokeh's axes show a moment in UTC as it is.
const local = at => at * 1000 - new Date(at * 1000).getTimezoneOffset() * 60000;
const unlocal = moved => (moved + new Date(moved + new Date(moved).getTimezoneOffset() * 60000).getTimezoneOffset() * 60000) / 1000;

let colors = {};
function readColors() {
  const style = getComputedStyle(document.documentElement);
  const names = ["text", "quiet", "line", "grid", "good", "recovered", "failed", "cancelled", "hang", "refused", "broken", "force", "advice", "send", "wait", "first", "stream", "pause"];
  colors = Object.fromEntries(names.map(name => [name, style.getPropertyValue("--" + name).trim()]));
  for (const plot of Object.values(plots)) {
    for (const axis of [...plot.below, ...plot.left]) {
      axis.major_label_text_color = axis.axis_label_text_color = colors.quiet;
      axis.axis_line_color = axis.major_tick_line_color = colors.line;
    }
    for (const grid of plot.center) if ("grid_line_color" in grid) grid.grid_line_color = colors.grid;
    for (const renderer of plot.renderers) if (renderer.name === "names") renderer.glyph.text_color = {value: colors.text};
  }
}

const bars = () => ({left: [], right: [], bottom: [], top: [], color: [], words: []});

function bar(to, left, right, bottom, top, color, words) {
  to.left.push(left); to.right.push(right); to.bottom.push(bottom); to.top.push(top); to.color.push(color); to.words.push(words);
}

function drawTimeline(result, wanted) {
  const from = Math.max(begin, wanted.from), to = Math.max(from + 1, Math.min(end, wanted.to));
  const slots = narrow() ? 60 : 120, width = (to - from) / slots, counts = OUTCOMES.map(() => new Uint32Array(slots));
  for (const call of result.chosen) {
    counts[c.outcome[call]][Math.min(slots - 1, Math.max(0, Math.floor((c.start[call] - from) / width)))]++;
  }
  const made = bars();
  let most = 1;
  for (let slot = 0; slot < slots; slot++) {
    let bottom = 0;
    OUTCOMES.forEach((outcome, at) => {
      const number = counts[at][slot];
      if (!number) return;
      const left = local(from + slot * width), right = local(from + (slot + 1) * width);
      bar(made, left, right - (right - left) * 0.08, bottom, bottom + number, colors[SHOWN[outcome]],
        `${when(from + slot * width)}: ${plural(number, "call")} ${SHOWN[outcome]}`);
      bottom += number;
    });
    most = Math.max(most, bottom);
  }
  fill("timeline-bars", made);
  plots.timeline.y_range.end = most * 1.06;
  plots.timeline.left[0].axis_label = `calls in ${seconds(width)}`;
  const range = source("time");
  range.start = local(from - (to - from) * 0.01);
  range.end = local(to + (to - from) * 0.01);
}

function drawLost(result) {
  const rows = new Map();
  for (const [, at] of result.lost) grown(rows, c.a_model[at], () => [0])[0]++;
  const order = [...rows].sort((one, other) => other[1][0] - one[1][0]).slice(0, MOST.rows).map(([model]) => model);
  const step = Math.max(1, Math.ceil(result.lost.length / MOST.marks));
  const spans = {x0: [], x1: [], y: [], color: []}, marks = {x: [], y: [], color: [], marker: [], words: []};
  const names = {x: [], y: [], text: []};
  order.forEach((model, row) => {
    names.x.push(source("time").start); names.y.push(row + 0.5); names.text.push(` ${short(modelName(model), 40)}: ${plural(rows.get(model)[0], "attempt")} lost`);
  });
  let drawn = 0;
  result.lost.forEach(([call, at], number) => {
    const row = order.indexOf(c.a_model[at]);
    if (row < 0 || number % step) return;
    drawn++;
    const began = c.start[call] + c.offset[at] / TICKS, over = began + c.took[at] / TICKS;
    const kind = kindOf(c.why[at]), color = colors[kind], y = row + 0.72;
    spans.x0.push(local(began)); spans.x1.push(local(over)); spans.y.push(y); spans.color.push(color);
    const outcome = SHOWN[OUTCOMES[c.outcome[call]]];
    const resent = at + 1 < lastOf(call);
    marks.x.push(local(over)); marks.y.push(y); marks.color.push(color); marks.marker.push(resent ? "triangle" : "x");
    marks.words.push(`${when(began)} ${modelName(c.a_model[at])}: ${data.words[c.why[at]]}, ${seconds(c.took[at] / TICKS)}; ${resent ? "sent again, " : ""}call ${outcome}`);
  });
  fill("lost-spans", spans); fill("lost-marks", marks); fill("lost-names", names);
  const height = Math.max(1, order.length);
  plots.lost.y_range.start = height + 0.05;
  plots.lost.y_range.end = 0;
  plots.lost.height = 60 + 40 * height;
  const hidden = rows.size - order.length, left = [];
  if (!result.lost.length) left.push("No attempt was lost.");
  if (hidden > 0) left.push(`${plural(hidden, "model")} with fewer lost attempts ${hidden === 1 ? "is" : "are"} not drawn: filter by model.`);
  if (step > 1) left.push(`Every ${step}th of ${plural(result.lost.length, "lost attempt")} is drawn; all are counted.`);
  put("left-out", left.join(" "));
}

function advised(origin, model, limit) {
  const found = new Set();
  for (const one of data.advice) {
    if (one.model === text("model", model) && (one.origin === null || one.origin === text("origin", origin)) && one.limits[limit] !== null) found.add(one.limits[limit]);
  }
  return [...found];
}

function drawDistributions(result) {
  const order = [...result.rows].sort((one, other) => other[1].attempts - one[1].attempts).slice(0, MOST.rows);
  for (const limit of data.measured) {
    const made = bars(), force = {x: [], y0: [], y1: [], color: []}, advice = {x: [], y0: [], y1: [], color: []};
    const ends = {x: [], y: [], color: []}, said = {x: [], y: [], color: [], text: []}, names = {x: [], y: [], text: []};
    let least = Infinity, most = 0;
    const say = (x, y, color, words) => { said.x.push(x); said.y.push(y); said.color.push(color); said.text.push(words); };
    const reach = value => { least = Math.min(least, value); most = Math.max(most, value); };
    order.forEach(([kind, row], at) => {
      const one = row[limit], origin = Math.floor(kind / 65536), model = kind % 65536;
      const base = at + 0.98, tall = 0.58, peak = Math.sqrt(Math.max(1, ...one.bins));
      for (let bin = 0; bin < BINS; bin++) {
        if (!one.bins[bin]) continue;
        reach(edge(bin)); reach(edge(bin + 1));
        bar(made, edge(bin), edge(bin + 1), base, base - tall * Math.sqrt(one.bins[bin]) / peak, colors.good,
          `${modelName(model)}: ${plural(one.bins[bin], "attempt")} from ${seconds(edge(bin))} to ${seconds(edge(bin + 1))}`);
      }
      const lengths = [...one.force.keys()].sort((x, y) => x - y);
      // The defaults grow with the prompt: then the shortest and the longest are drawn.
      for (const ticks of new Set(lengths.length > 3 ? [lengths[0], lengths[lengths.length - 1]] : lengths)) {
        force.x.push(ticks / TICKS); force.y0.push(base); force.y1.push(base - tall); force.color.push(colors.force); reach(ticks / TICKS);
        say(ticks / TICKS, base - 0.08, colors.force, limitWords(ticks / TICKS));
      }
      for (const value of advised(origin, model, limit)) {
        advice.x.push(value); advice.y0.push(base); advice.y1.push(base - tall); advice.color.push(colors.advice); reach(value);
        say(value, base - tall + 0.06, colors.advice, limitWords(value));
      }
      for (const [ticks, [number]] of one.killed) {
        ends.x.push(ticks / TICKS); ends.y.push(base - tall / 2); ends.color.push(colors.hang); reach(ticks / TICKS);
        say(ticks / TICKS, base - tall / 2, colors.hang, `${whole(number)} ended`);
      }
      const name = short(modelName(model), 24) + (severalOrigins && !narrow() ? ` at ${short(hostOf(text("origin", origin)), 28)}` : "");
      const values = one.values;
      names.y.push(at + 0.36);
      const marks = values.length ? [`p50 ${seconds(part(values, 0.5))}`, `p99 ${seconds(part(values, 0.99))}`] : ["no answer"];
      if (values.length && !narrow()) marks.push(`max ${seconds(values[values.length - 1])}`, plural(values.length, "attempt"));
      names.text.push(`${name}: ${marks.join(" · ")}`);
    });
    if (!most) { least = 0.01; most = 10; }
    const decades = Math.log10(most / least), steps = decades > (narrow() ? 1.3 : 2.6) ? [1] : [1, 2, 5];
    plots[limit].below[0].ticker.ticks = [...Array(8).keys()].flatMap(power => steps.map(digit => Number(`${digit}e${power - 3}`)));
    // The words beside the longest limit need room.
    const start = least / 1.2, factor = (most / least) ** (narrow() ? 0.3 : 0.1);
    plots[limit].x_range.start = start;
    plots[limit].x_range.end = most * factor;
    names.x = names.y.map(() => start);
    fill(`${limit}-bars`, made); fill(`${limit}-force`, force); fill(`${limit}-advice`, advice);
    fill(`${limit}-ends`, ends); fill(`${limit}-words`, said); fill(`${limit}-names`, names);
    plots[limit].y_range.start = Math.max(1, order.length);
    plots[limit].y_range.end = 0;
    plots[limit].height = 56 + 62 * Math.max(1, order.length);
  }
  const hidden = result.rows.size - order.length;
  put("rows-left-out", hidden > 0 ? `${plural(hidden, "more model")} with fewer calls: filter by model to see them.` : "");
}

function drawSlowest(result) {
  const made = bars(), marks = {x: [], y: [], color: [], marker: []}, names = {x: [], y: [], text: []};
  let most = 0.001;
  result.slow.forEach((call, row) => {
    const top = row + 0.5, bottom = row + 0.9, words = `call ${row + 1}`;
    // Other calls held it back: a pace, a budget or a breaker.
    const held = c.offset[c.first[call]] / TICKS;
    if (held > 0) bar(made, 0, held, bottom, top, colors.pause, `${words}: waiting for other calls, ${seconds(held)}`);
    names.x.push(0); names.y.push(row + 0.46);
    names.text.push(`${row + 1} · ${seconds(c.elapsed[call] / TICKS)} · ${short(modelName(c.model[call]), 24)} · ${SHOWN[OUTCOMES[c.outcome[call]]]}`);
    most = Math.max(most, c.elapsed[call] / TICKS);
    for (let at = c.first[call]; at < lastOf(call); at++) {
      const offset = c.offset[at] / TICKS, over = offset + c.took[at] / TICKS, why = c.why[at];
      const steps = [["send", 0, "connecting and sending"], ["wait", c.sent[at], "waiting for the first byte"],
        ["first", c.byte[at], "first byte to first content"], ["stream", c.content[at], "content"]].filter(([, ticks]) => ticks !== NONE);
      steps.forEach(([color, ticks, what], number) => {
        const from = offset + ticks / TICKS, to = number + 1 < steps.length ? offset + steps[number + 1][1] / TICKS : over;
        const silent = hangs.has(why) && number + 1 === steps.length;
        if (to <= from) return;
        // What a limit ended was silent for as long as the limit.
        const turn = silent && c.limit_seconds[at] !== NONE ? Math.max(from, over - c.limit_seconds[at] / TICKS) : to;
        if (turn > from) bar(made, from, turn, bottom, top, colors[color], `${words}: ${what}, ${seconds(turn - from)}`);
        if (silent) bar(made, turn, to, bottom, top, colors.hang, `${words}: silent, ${seconds(to - turn)}`);
      });
      if (why) { marks.x.push(over); marks.y.push(row + 0.7); marks.color.push(colors[kindOf(why)]); marks.marker.push("x"); }
      const next = at + 1 < lastOf(call) ? c.offset[at + 1] / TICKS : over;
      if (next > over) bar(made, over, next, bottom, top, colors.pause, `${words}: waiting to send again, ${seconds(next - over)}`);
    }
  });
  fill("slowest-bars", made); fill("slowest-marks", marks); fill("slowest-names", names);
  plots.slowest.x_range.start = 0;
  plots.slowest.x_range.end = most * 1.03;
  plots.slowest.y_range.start = Math.max(1, result.slow.length) + 0.05;
  plots.slowest.y_range.end = 0;
  plots.slowest.height = 56 + 36 * Math.max(1, result.slow.length);
}

// -- filters ---------------------------------------------------------------------

const WHOLE = {from: -Infinity, to: Infinity, origin: null, model: null, label: null, outcome: null};
let wanted = {...WHOLE};

const inputText = at => new Date(local(at)).toISOString().slice(0, 19);

function choices(name, numbers, words) {
  const select = $(name);
  select.replaceChildren(new Option("all", ""));
  for (const number of numbers) select.add(new Option(words(number), String(number)));
}

function byNumber(column) {
  const counts = new Map();
  for (const number of column) counts.set(number, (counts.get(number) || 0) + 1);
  return [...counts].sort((one, other) => other[1] - one[1]).slice(0, MOST.options).map(([number]) => number);
}

function setUp() {
  choices("origin", byNumber(c.origin), number => short(hostOf(text("origin", number)), 60));
  choices("model", byNumber(c.model), modelName);
  choices("label", byNumber(c.label), number => text("label", number) || "no label");
  choices("outcome", OUTCOMES.keys(), number => SHOWN[OUTCOMES[number]]);
  for (const name of ["from", "to"]) {
    $(name).min = inputText(begin);
    $(name).max = inputText(end + 1);
  }
  $("filters").addEventListener("change", () => {
    const chosen = name => ($(name).value === "" ? null : Number($(name).value));
    const at = (name, otherwise) => ($(name).value === "" ? otherwise : new Date($(name).value).getTime() / 1000);
    wanted = {
      from: at("from", -Infinity), to: at("to", Infinity), origin: chosen("origin"), model: chosen("model"),
      label: chosen("label"), outcome: chosen("outcome"),
    };
    render();
  });
  $("filters").addEventListener("submit", event => event.preventDefault());
  $("filters").addEventListener("reset", () => { wanted = {...WHOLE}; setTimeout(render); });
  plots.timeline.on_event("selectiongeometry", event => {
    if (!event.final || event.geometry.type !== "rect") return;
    source("timeline-bars").selected.indices = [];
    $("from").value = inputText(Math.max(begin - 1, unlocal(event.geometry.x0)));
    $("to").value = inputText(Math.min(end + 1, unlocal(event.geometry.x1) + 1));
    $("filters").dispatchEvent(new Event("change"));
  });
  $("drag").hidden = touched;
  if (touched) plots.timeline.toolbar.tools = plots.timeline.toolbar.tools.filter(tool => tool.name !== "select");
}

// -- the page --------------------------------------------------------------------

function showHead() {
  const full = new Intl.DateTimeFormat(undefined, {dateStyle: "medium"});
  const to = days ? `${full.format(end * 1000)}, ${clock.format(end * 1000)}` : clock.format(end * 1000);
  put("span", `${full.format(begin * 1000)}, ${clock.format(begin * 1000)} to ${to}`);
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  put("about", `${seconds(end - begin)} in all; times are in the zone of this browser, ${zone}.`);
  legend("when-legend", [["good", "good"], ["recovered", "recovered"], ["failed", "failed"], ["cancelled", "cancelled"],
    ["hang", "lost to a limit"], ["refused", "lost to an error status"], ["broken", "lost to the connection or another cause"]]);
  $("when-legend").append(element("span", "▲ sent again"), element("span", "✕ not sent again"));
  legend("took-legend", [["good", "attempts"], ["force", "limit in force", "line"], ["advice", "recommended limit", "dash"]]);
  $("took-legend").append(element("span", "✕ attempts that the limit ended"));
  legend("slow-legend", [["send", "connecting and sending"], ["wait", "waiting for the first byte"], ["first", "first byte to first content"],
    ["stream", "content"], ["hang", "silence that a limit ended"], ["pause", "waiting to be sent"]]);
  $("slow-legend").append(element("span", "✕ attempt lost"));
}

function render() {
  const began = performance.now(), result = counted(passing(wanted));
  put("showing", result.calls === count ? `All ${plural(count, "call")} are shown.` : `${whole(result.calls)} of ${plural(count, "call")} are shown.`);
  showTiles(result);
  showFindings(result);
  showSaved(result);
  showCauses(result);
  showTables(result);
  showSlowest(result);
  drawTimeline(result, wanted);
  drawLost(result);
  drawDistributions(result);
  drawSlowest(result);
  document.documentElement.dataset.rendered = String(Math.round(performance.now() - began));
}

showHead();
showAdvice();
readColors();
setUp();
render();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColors(); render(); });
let width = narrow();
addEventListener("resize", () => { if (narrow() !== width) { width = narrow(); render(); } });
// Painted, not only computed.
requestAnimationFrame(() => setTimeout(() => { document.documentElement.dataset.drawn = String(Math.round(performance.now())); }));
})().catch(error => {
  const words = document.createElement("p");
  words.className = "bad";
  words.textContent = `The page cannot be drawn: ${error.message}. It needs a browser of 2023 or later.`;
  document.body.prepend(words);
  document.documentElement.dataset.drawn = "failed";
  throw error;
});
