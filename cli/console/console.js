// The console: looks at the API every two seconds, shows totals and the rates between two looks,
// and follows live views by server-sent events. No build step, no outside assets.
"use strict";

const LOOK_EVERY_MS = 2000;
const ROWS_KEPT = 200;
const POINTS_KEPT = 120;

const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit + 1 < units.length) { bytes /= 1024; unit += 1; }
  return `${number.format(bytes)} ${units[unit]}`;
}

// Totals of the look before, by name, to make rates of.
const before = new Map();

function rate(name, total) {
  const now = performance.now();
  const last = before.get(name);
  before.set(name, { total, now });
  if (!last || now <= last.now) return 0;
  return Math.max(0, (total - last.total) * 1000 / (now - last.now));
}

function element(tag, text, kind) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

// Fills a table: columns are {head, cell(row) -> text or node, kind}.
function fill(table, columns, rows, nothing) {
  const head = element("tr");
  for (const column of columns) head.append(element("th", column.head, column.kind));
  const body = rows.map((row) => {
    const line = element("tr");
    for (const column of columns) {
      const value = column.cell(row);
      const cell = element("td", undefined, column.kind);
      cell.append(value instanceof Node ? value : document.createTextNode(value ?? ""));
      line.append(cell);
    }
    return line;
  });
  if (rows.length === 0) {
    const line = element("tr");
    line.append(element("td", nothing, "empty"));
    table.replaceChildren(line);
  } else {
    table.replaceChildren(head, ...body);
  }
}

async function look(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(10000) });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

function showOverview(figures) {
  const parts = [
    ["messages/s", number.format(rate("messages", figures.messages_in))],
    ["in", `${size(rate("in", figures.bytes_in))}/s`],
    ["out", `${size(rate("out", figures.bytes_out))}/s`],
    ["requests/s", number.format(rate("requests", figures.requests))],
    ["connections", figures.connections],
    ["cluster", figures.cluster_id],
    ["version", figures.version],
  ];
  byId("overview").replaceChildren(...parts.map(([name, value]) => {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", value));
    return pair;
  }));
  if (figures.has_terminal && !terminalSource) openTerminal(figures.terminal_title);
}

function showTopics(topics) {
  const all = byId("internal").checked;
  const shown = topics.filter((topic) => all || !topic.internal).sort((a, b) => a.name.localeCompare(b.name));
  const sum = (topic, value) => topic.partitions.reduce((total, partition) => total + value(partition), 0);
  fill(byId("topics"), [
    { head: "topic", cell: (topic) => tailButton(topic.name) },
    { head: "partitions", kind: "number", cell: (topic) => topic.partitions.length },
    { head: "records", kind: "number", cell: (topic) => number.format(sum(topic, (p) => p.end - p.start)) },
    { head: "size", kind: "number", cell: (topic) => size(sum(topic, (p) => p.size)) },
    { head: "messages/s", kind: "number", cell: (topic) => number.format(rate(`topic ${topic.name}`, topic.messages_in)) },
    { head: "in", kind: "number", cell: (topic) => `${size(rate(`topic in ${topic.name}`, topic.bytes_in))}/s` },
    { head: "out", kind: "number", cell: (topic) => `${size(rate(`topic out ${topic.name}`, topic.bytes_out))}/s` },
    { head: "offsets", cell: (topic) => topic.partitions.slice(0, 6).map((p) => `${p.partition}: ${p.start}–${p.end}`).join("  ") + (topic.partitions.length > 6 ? "  …" : "") },
  ], shown, "No topics yet. `moldau topic create NAME` makes one; producing to a new name does as well.");
}

function tailButton(topic) {
  const button = element("button", topic, "link");
  button.title = "follow the records of this topic";
  button.onclick = () => openTail(topic);
  return button;
}

function showQueries(queries) {
  fill(byId("queries"), [
    { head: "query", cell: (query) => query.id },
    { head: "state", cell: (query) => element("span", query.state, query.error ? "bad" : "") },
    { head: "in/s", kind: "number", cell: (query) => number.format(rate(`query in ${query.id}`, query.records_in)) },
    { head: "out/s", kind: "number", cell: (query) => number.format(rate(`query out ${query.id}`, query.records_out)) },
    { head: "read", kind: "number", cell: (query) => number.format(query.records_in) },
    { head: "written", kind: "number", cell: (query) => number.format(query.records_out) },
    { head: "statement", kind: "wide", cell: (query) => query.error ? element("span", query.error, "bad") : query.sql },
  ], queries, "No continuous queries. CREATE STREAM … AS SELECT or CREATE TABLE … AS SELECT starts one.");
}

function showConnectors(connectors) {
  fill(byId("connectors"), [
    { head: "connector", cell: (connector) => connector.name },
    { head: "kind", cell: (connector) => connector.kind },
    { head: "state", cell: (connector) => element("span", connector.state, connector.last_error ? "bad" : "") },
    { head: "records/s", kind: "number", cell: (connector) => number.format(rate(`connector ${connector.name}`, connector.records)) },
    { head: "records", kind: "number", cell: (connector) => number.format(connector.records) },
    { head: "bytes", kind: "number", cell: (connector) => size(connector.bytes) },
    { head: "last error", kind: "wide", cell: (connector) => element("span", connector.last_error, "bad") },
  ], connectors, "No connectors. They are set up in moldau.yaml under `connectors`.");
}

function showGroups(groups) {
  fill(byId("groups"), [
    { head: "group", cell: (group) => group.group },
    { head: "state", cell: (group) => group.state },
    { head: "lag", kind: "number", cell: (group) => number.format(group.lag) },
  ], groups, "No consumer groups yet.");
}

async function lookAtAll() {
  const parts = [
    ["/api/overview", showOverview],
    ["/api/topics", showTopics],
    ["/api/queries", showQueries],
    ["/api/connectors", showConnectors],
    ["/api/groups", showGroups],
  ];
  const results = await Promise.allSettled(parts.map(async ([path, show]) => show(await look(path))));
  byId("offline").hidden = results.some((result) => result.status === "fulfilled");
  setTimeout(lookAtAll, LOOK_EVERY_MS);
}

// Live tail of one topic.
let tailSource = null;
let tailRecords = [];

function openTail(topic) {
  closeTail();
  byId("tail").hidden = false;
  byId("tail-topic").textContent = topic;
  showTail();
  tailSource = new EventSource(`/api/topics/${encodeURIComponent(topic)}/tail`);
  tailSource.onmessage = (event) => {
    tailRecords = JSON.parse(event.data).reverse().concat(tailRecords).slice(0, ROWS_KEPT);
    showTail();
  };
  byId("tail").scrollIntoView({ behavior: "smooth", block: "nearest" });
}

function closeTail() {
  if (tailSource) tailSource.close();
  tailSource = null;
  tailRecords = [];
  byId("tail").hidden = true;
}

function text(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function showTail() {
  fill(byId("tail-rows"), [
    { head: "time", cell: (record) => new Date(record.timestamp).toLocaleTimeString() },
    { head: "partition", kind: "number", cell: (record) => record.partition },
    { head: "offset", kind: "number", cell: (record) => record.offset },
    { head: "key", cell: (record) => text(record.key) },
    { head: "value", kind: "wide", cell: (record) => text(record.value) },
  ], tailRecords, "Waiting for records…");
}

// The query of the terminal: its rows, and a line chart for each column of numbers.
let terminalSource = null;
let terminalRows = [];
const lines = new Map();

function openTerminal(title) {
  byId("terminal").hidden = false;
  if (title) byId("terminal-title").textContent = title;
  terminalSource = new EventSource("/api/terminal");
  terminalSource.onmessage = (event) => {
    for (const row of JSON.parse(event.data)) {
      terminalRows.unshift(row);
      for (const [name, value] of Object.entries(row)) {
        if (typeof value !== "number") continue;
        if (!lines.has(name)) lines.set(name, []);
        const points = lines.get(name);
        points.push(value);
        if (points.length > POINTS_KEPT) points.shift();
      }
    }
    terminalRows = terminalRows.slice(0, ROWS_KEPT);
    showTerminal();
  };
}

function showTerminal() {
  const names = Object.keys(terminalRows[0] ?? {});
  fill(byId("terminal-rows"), names.map((name) => ({
    head: name,
    kind: typeof terminalRows[0][name] === "number" ? "number" : undefined,
    cell: (row) => typeof row[name] === "number" ? number.format(row[name]) : text(row[name]),
  })), terminalRows.slice(0, 12), "Waiting for rows…");
  const charted = [...lines].filter(([, points]) => points.some((point) => point !== points[0]) || points.length > 1);
  byId("charts").replaceChildren(...charted.map(([name, points]) => chart(name, points)));
}

function chart(name, points) {
  const low = Math.min(...points);
  const span = Math.max(...points) - low || 1;
  const step = points.length > 1 ? 100 / (points.length - 1) : 0;
  const drawn = points.map((point, index) => `${(index * step).toFixed(2)},${(95 - (point - low) / span * 90).toFixed(2)}`);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${name}: ${number.format(points.at(-1))}`);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", drawn.join(" "));
  svg.append(line);
  const caption = element("figcaption");
  caption.append(element("span", name), element("b", number.format(points.at(-1))));
  const figure = element("figure");
  figure.append(caption, svg);
  return figure;
}

byId("tail-close").onclick = closeTail;
lookAtAll();
