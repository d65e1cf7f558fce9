// The page of a server: /openapi.json says what can be asked, /metrics is drawn each second.
"use strict";

const SECONDS = 120;
const WIDTH = 480, HEIGHT = 180, LEFT = 44, BOTTOM = 20, TOP = 8;
const at = (id) => document.getElementById(id);
const svg = (name, attributes, text) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
};

// ---- What can be asked

let operations = {};

function describe(api) {
  at("title").textContent = api.info.title;
  document.title = `Twofold: ${api.info.title}`;
  operations = Object.fromEntries(
    Object.entries(api.paths).filter(([, path]) => path.post?.requestBody).map(([name, path]) => [name, path.post]),
  );
  at("path").replaceChildren(...Object.keys(operations).map((name) => new Option(name)));
  at("signature").textContent = signature(operations["/invocations"]);
  choosePath();
}

// "rows of 4 numbers; 3 classes: 0, 1, two", from the schemas of JSON.
function signature(operation) {
  let row = operation.requestBody.content["application/json"]?.schema.anyOf?.at(-1).items;
  if (!row) return "reads requests by a script of its own";
  const shape = [];
  for (; row.type === "array"; row = row.items) shape.push(row.minItems);
  const kind = row.type === "number" ? "numbers" : `whole numbers from ${row.minimum} to ${row.maximum}`;
  const answer = operation.responses["200"].content["application/json"].schema.properties;
  const classes = answer.labels?.items.enum;
  const told = classes ? `; ${classes.length} classes: ${classes.slice(0, 20).join(", ")}${classes.length > 20 ? ", …" : ""}` : "";
  return `rows of ${shape.join(" × ")} ${kind}${told}`;
}

function choosePath() {
  const operation = operations[at("path").value];
  const read = operation.requestBody.content, written = operation.responses["200"].content;
  fill("types", Object.keys(read));
  fill("accepts", Object.keys(written));
  const first = Object.keys(read)[0];
  at("type").value = first === "*/*" ? "application/json" : first;
  at("accept").value = Object.keys(written)[0];
  chooseType();
}

function fill(list, names) {
  at(list).replaceChildren(...names.filter((name) => name !== "*/*").map((name) => new Option(name)));
}

function chooseType() {
  const example = operations[at("path").value].requestBody.content[at("type").value]?.example;
  if (example !== undefined) at("body").value = typeof example === "string" ? example : JSON.stringify(example);
}

async function send(event) {
  event.preventDefault();
  const file = at("file").files[0], started = performance.now();
  at("status").className = "";
  at("status").textContent = "waiting…";
  at("answer").textContent = "";
  try {
    const headers = { "Content-Type": at("type").value, Accept: at("accept").value };
    const answer = await fetch(at("path").value, { method: "POST", headers, body: file ?? at("body").value });
    const kind = answer.headers.get("Content-Type") ?? "";
    if (kind.startsWith("text/event-stream")) await stream(answer);
    else at("answer").textContent = shown(kind, await answer.arrayBuffer());
    at("status").className = answer.ok ? "" : "bad";
    at("status").textContent = `${answer.status} ${kind} in ${(performance.now() - started).toFixed(1)} ms`;
  } catch (error) {
    at("status").className = "bad";
    at("status").textContent = String(error);
  }
}

async function stream(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) at("answer").textContent += part.value;
}

function shown(kind, bytes) {
  if (!/^text\/|json/.test(kind)) return `${bytes.byteLength} bytes of ${kind}`;
  const text = new TextDecoder().decode(bytes);
  return /^application\/json/.test(kind) ? pretty(text) : text;
}

// Indented, but each list of plain values on one line.
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2).replace(/\[\s+([^[\]{}]*?)\s+\]/g, (_, inner) => `[${inner.replace(/,\s+/g, ", ")}]`);
  } catch {
    return text;
  }
}

// ---- Numbers

// Prometheus text -> {"name{label=\"x\"}": value}
function parse(text) {
  const found = {};
  for (const line of text.split("\n")) {
    const end = line.lastIndexOf(" ");
    if (line && line[0] !== "#" && end > 0) found[line.slice(0, end)] = Number(line.slice(end + 1));
  }
  return found;
}

// The value below which a part of what came between two looks lies, by the buckets; null where nothing came.
function quantile(before, now, prefix, part) {
  const buckets = Object.keys(now).filter((name) => name.startsWith(prefix))
    .map((name) => [Number(/le="([^"]+)"/.exec(name)[1].replace("+Inf", "Infinity")), now[name] - (before[name] ?? 0)])
    .sort((one, other) => one[0] - other[0]);
  const total = buckets.at(-1)?.[1];
  if (!total) return null;
  let low = 0, below = 0;
  for (const [bound, count] of buckets) {
    if (count >= part * total) {
      return Number.isFinite(bound) ? low + (bound - low) * (part * total - below) / (count - below) : low;
    }
    [low, below] = [bound, count];
  }
  return low;
}

const history = { median: [], slow: [], rows: [] };
let last = null;

function look(now) {
  const before = last;
  last = now;
  if (!before) return;
  const since = (name) => now[name] - before[name];
  const count = (word) => `twofold_requests_total{outcome="${word}"}`;
  const errors = ["client_error", "server_error", "refused", "client_gone"].reduce((sum, word) => sum + since(count(word)), 0);
  const latency = "twofold_request_seconds_bucket{", passes = since("twofold_batch_rows_count");
  const total = Object.fromEntries(Object.entries(now).filter(([name]) => name.startsWith(latency) && name.includes('stage="total"')));
  const milliseconds = (part) => { const found = quantile(before, total, latency, part); return found === null ? null : 1000 * found; };
  keep(history.median, milliseconds(0.5));
  keep(history.slow, milliseconds(0.99));
  keep(history.rows, passes ? since("twofold_batch_rows_sum") / passes : null);
  const facts = {
    "requests a second": since(count("ok")) + errors, errors,
    "in flight": Math.max(now.twofold_in_flight - 1, 0), connections: now.twofold_connections, workers: now.twofold_workers,
  };
  at("now").replaceChildren(...Object.entries(facts).map(([name, value]) => fact(name, value)));
  draw("latency", [["a", history.median], ["b", history.slow]]);
  draw("batch", [["a", history.rows]]);
}

function fact(name, value) {
  const group = document.createElement("div"), term = document.createElement("dt"), detail = document.createElement("dd");
  term.textContent = name;
  detail.textContent = String(value);
  group.append(term, detail);
  return group;
}

function keep(values, value) {
  values.push(value);
  if (values.length > SECONDS) values.shift();
}

function draw(id, series) {
  const top = nice(Math.max(...series.flatMap(([, values]) => values), 0) || 1);
  const x = (place, length) => WIDTH - (length - 1 - place) * (WIDTH - LEFT) / (SECONDS - 1);
  const y = (value) => HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP);
  const nodes = [0, top / 2, top].flatMap((value) => [
    svg("line", { x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value) }),
    svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, String(Number(value.toPrecision(2)))),
  ]);
  nodes.push(svg("text", { x: LEFT, y: HEIGHT - 4 }, `${SECONDS} s ago`), svg("text", { x: WIDTH, y: HEIGHT - 4, "text-anchor": "end" }, "now"));
  for (const [name, values] of series) {
    const points = values.map((value, place) => value === null ? null : [x(place, values.length), y(value)]);
    for (const run of runs(points)) {
      nodes.push(svg("polyline", { class: name, points: run.join(" ") }));
      if (run.length === 1) nodes.push(svg("circle", { class: name, cx: run[0][0], cy: run[0][1], r: 2.5 }));
    }
  }
  at(id).setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  at(id).replaceChildren(...nodes);
}

// Points without a gap between them: seconds in which nothing came are not drawn.
function runs(points) {
  const found = [[]];
  for (const point of points) point ? found.at(-1).push(point) : found.push([]);
  return found.filter((run) => run.length);
}

function nice(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((times) => times * unit).find((bound) => bound >= value);
}

async function tick() {
  try {
    const [ping, metrics] = await Promise.all([fetch("ping"), fetch("metrics")]);
    at("health").className = `badge ${ping.ok ? "good" : "bad"}`;
    at("health").textContent = ping.ok ? "ready" : `not ready (${ping.status})`;
    if (metrics.ok) look(parse(await metrics.text()));
  } catch {
    at("health").className = "badge bad";
    at("health").textContent = "does not answer";
  }
  setTimeout(tick, 1000);
}

at("path").addEventListener("change", choosePath);
at("type").addEventListener("change", chooseType);
at("form").addEventListener("submit", send);
fetch("openapi.json").then((answer) => answer.json()).then(describe);
tick();
