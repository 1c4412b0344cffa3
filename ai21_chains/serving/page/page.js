// The page for people. What comes from a server, a model or a document is set as text, never as
// HTML; the Content-Security-Policy (trusted types) holds the browser to that.

const KEY = "ai21-chains.key";

// What chains of each kind do, the fields for what is asked and for documents, and what to press.
const KINDS = {
  grounded_qa: ["Answers from documents, with verified quotes.", "question", "documents"],
  conversational_qa: ["Answers from documents, with verified quotes.", "question", "documents"],
  contextual_answers: ["Answers from a text, or says that it cannot.", "question", "context"],
  summarize: ["Summarizes documents, with verified quotes.", null, "documents", "Summarize"],
  model: ["A plain model: it may read documents, but no quotes are verified.", "messages"],
  extraction: ["Fills in a form from documents, with verified quotes.", null, "documents", "Fill in"],
  grounding_check: ["Checks an answer against documents.", "answer", "documents", "Check"],
  classification: ["Labels a document, with quotes as reasons.", null, "document", "Label"],
};

// Results that are no text, as lines: what each says, and the quotes that prove it.
const LINES = {
  extraction: ({ verified, evidence, unverified, missing }) => [
    ...Object.entries(verified).map(([name, it]) => [`${name}: ${plain(it)}`, evidence[name]]),
    ...Object.entries(unverified).map(([name, it]) => [`${name}: ${plain(it)} (not verified)`]),
    ...missing.map((name) => [`${name}: not found`]),
  ],
  grounding_check: ({ sentences }) => sentences.map(({ text, supported, citations }) =>
    [`${supported ? "✓" : "✗ not proven:"} ${text}`, citations]),
  classification: ({ labels, citations }) => [[labels.join(", ") || "No label fits.", citations]],
};

const STATUS = {
  answered: "Every sentence has a verified quote.",
  partly: "Not every sentence has a verified quote.",
  unverified: "None of the quotes could be verified.",
  not_found: "The documents do not answer this.",
  no_documents: "There are no documents.",
  truncated: "The reply was cut off.",
};
const SUMMARY_STATUS = {
  complete: "All of it was read.",
  partly: "Not all of it could be read.",
  empty: "The model gave no summary.",
  no_documents: "There is no text.",
};

const BROKEN_OFF = "The connection broke off; the answer is not complete.";

const EXAMPLE = {
  question: "When does the museum open on Sundays?",
  answer: "On Sundays the museum opens at noon. Dogs must stay outside.",
  text: `The Harbour Museum is open from Tuesday to Saturday, 10 am to 6 pm.
On Sundays it opens at noon and closes at 5 pm. It is closed on Mondays.
Tickets cost 9 euros; children under 12 are let in free of charge.
Dogs must stay outside, guide dogs excepted.`,
};

const $ = (id) => document.getElementById(id);
const count = new Intl.NumberFormat("en").format;
const dollars = (digits) => new Intl.NumberFormat("en", {
  style: "currency", currency: "USD", minimumFractionDigits: digits, maximumFractionDigits: digits,
}).format;
const names = (texts) => texts.map(({ name }) => name).join(", ");
const plain = (value) => typeof value === "string" ? value : JSON.stringify(value);
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

let targets = []; // what can be asked: name, kind, and whether it has documents of its own
let files = []; // {name, text}
let stopping = null; // ends the answer that is being given

// --- Elements --------------------------------------------------------------------------------

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children); // strings become text nodes
  return element;
}

function say(id, text) {
  $(id).textContent = text;
  $(id).hidden = !text;
}

// --- The server ------------------------------------------------------------------------------

class Problem extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

async function call(path, body = null, signal = null) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  const request = body ? { method: "POST", body: JSON.stringify(body) } : { cache: "no-store" };
  let response;
  try {
    response = await fetch(path, { ...request, headers, signal });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Problem("The server cannot be reached.");
  }
  if (!response.ok) throw new Problem(await explain(response), response.status);
  return response;
}

async function explain(response) {
  const said = await response.json().catch(() => ({}));
  const detail = said.error?.message ?? said.detail;
  if (Array.isArray(detail)) return detail.map((one) => one.msg).join("; ");
  return detail ?? `The server answered ${response.status}.`;
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (text + value).split("\n\n");
      text = parts.pop();
      yield* parts.map(readEvent);
    }
  } catch (error) {
    throw error.name === "AbortError" ? error : new Problem(BROKEN_OFF);
  } finally {
    reader.cancel().catch(() => {}); // it may have failed already
  }
}

function readEvent(part) {
  const lines = part.split("\n");
  const field = (name) =>
    lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  return { event: field("event") ?? "data", data: field("data") ?? "" };
}

// Yields pieces of an answer in one form, whatever gives it: text, and perhaps documents,
// citations, a status and the tokens that were used.
async function* answer(target, question, documents, signal) {
  const isModel = target.kind === "model";
  const path = isModel ? "v1/chat/completions" : `chains/${target.name}/stream`;
  const body = (isModel ? modelBody : chainBody)(target, question, documents);
  let ended = false;
  for await (const { event, data } of events(await call(path, body, signal))) {
    ended ||= event === "end" || data === "[DONE]";
    if (!data || data === "[DONE]" || event === "metadata") continue;
    const said = JSON.parse(data);
    if (event === "error") throw new Problem(said.message, said.status_code);
    if (said.error) throw new Problem(said.error.message);
    yield (isModel ? modelPiece : chainPiece)(said);
  }
  if (!ended) throw new Problem(BROKEN_OFF);
}

function chainBody({ kind }, question, documents) {
  const [, asks, place] = KINDS[kind];
  const input = asks ? { [asks]: question } : {};
  if (documents.length) input[place] = place === "document" ? documents[0] : documents;
  return { input };
}

function chainPiece(said) {
  if (typeof said === "string") return { text: said };
  const points = said.key_points?.flatMap((point) => point.citations);
  return { ...said, text: said.answer ?? said.text ?? "", citations: said.citations ?? points };
}

// Numbers the quotes of a result that is no text, and puts their marks behind what they prove.
function inLines(lines) {
  const citations = [];
  const number = (one) => citations.push({ ...one, id: citations.length + 1 });
  const text = lines.map(([said, quotes = []]) =>
    [said, ...quotes.map((one) => `[${number(one)}]`)].join(" ")).join("\n");
  return { text, citations };
}

function modelBody({ name }, question, documents) {
  const messages = [{ role: "user", content: question }];
  const body = { model: name, messages, stream: true, stream_options: { include_usage: true } };
  if (documents.length) body.documents = documents.map((one) => ({ content: one.page_content }));
  return body;
}

function modelPiece({ choices, usage }) {
  const tokens = usage && {
    input_tokens: usage.prompt_tokens, output_tokens: usage.completion_tokens,
  };
  return { text: choices[0]?.delta.content ?? "", usage: tokens };
}

// --- Asking ----------------------------------------------------------------------------------

const chosen = () => targets[$("target").selectedIndex];

function showTarget() {
  const { kind, documents } = chosen();
  const [about, asks, , verb = "Ask"] = KINDS[kind];
  $("about").textContent = documents
    ? `${about} It has a folder of its own; documents that you give are read instead.` : about;
  $("question-field").hidden = !asks;
  $("question").required = Boolean(asks);
  $("question-label").textContent = asks === "answer" ? "Answer to check" : "Question";
  $("send").textContent = verb;
}

function given() {
  const pasted = $("text").value;
  const texts = pasted.trim() ? [{ name: "Pasted text", text: pasted }, ...files] : files;
  const one = KINDS[chosen().kind][2] === "document" && texts.length > 1;
  const read = one ? [{ name: names(texts), text: texts.map(({ text }) => text).join("\n\n") }] : texts;
  return read.map(({ name, text }) => ({ page_content: text, metadata: { source: name } }));
}

async function ask(event) {
  event.preventDefault();
  const target = chosen();
  const documents = given();
  say("problem", "");
  if (!documents.length && !target.documents && target.kind !== "model") {
    say("problem", "Give it a document first: paste a text, or add a file.");
    $("text").focus();
    return;
  }
  stopping = new AbortController();
  const whole = { text: "", citations: [] };
  begin();
  try {
    const asked = answer(target, $("question").value, documents, stopping.signal);
    for await (const piece of asked) {
      add(whole, piece);
      if (piece.text) $("answer").append(piece.text);
    }
    if (LINES[target.kind]) Object.assign(whole, inLines(LINES[target.kind](whole)));
    showAnswer({ documents, ...whole }, target.kind);
  } catch (error) {
    fail(error, whole);
  } finally {
    end();
  }
  await refresh();
}

function add(whole, { text, ...rest }) {
  whole.text += text;
  for (const [name, value] of Object.entries(rest)) {
    if (Array.isArray(whole[name])) whole[name].push(...(value ?? []));
    else if (value != null) whole[name] = value;
  }
}

function begin() {
  $("answer").replaceChildren();
  $("answer").ariaBusy = "true";
  $("quotes").replaceChildren();
  $("source-side").hidden = true;
  $("result").hidden = false;
  $("progress").textContent = "Answering …";
  $("progress").scrollIntoView({ block: "nearest" });
  $("send").disabled = true;
  $("stop").hidden = false;
}

function end() {
  stopping = null;
  $("answer").ariaBusy = "false";
  $("send").disabled = false;
  if (document.activeElement === $("stop")) $("send").focus();
  $("stop").hidden = true;
}

function fail(error, whole) {
  const stopped = error.name === "AbortError";
  $("progress").textContent = stopped ? "Stopped." : "";
  if (!stopped) say("problem", error instanceof Problem ? error.message : `Failed: ${error.message}`);
  $("result").hidden = !whole.text && !stopped;
}

// --- The answer ------------------------------------------------------------------------------

function showAnswer(whole, kind) {
  // Offsets count characters, where JavaScript's own count UTF-16 units.
  const texts = whole.documents.map((one) => Array.from(one.page_content));
  const citations = whole.citations.filter(({ document_index: at, start, end, quote }) =>
    texts[at]?.slice(start, end).join("") === quote);
  showMarks(whole.text, citations);
  $("quotes").replaceChildren(...citations.map((one) => quoteLine(one, whole.documents)));
  $("sources").replaceChildren(...whole.documents.map((one, index) =>
    source(name(one, index), texts[index], citations.filter((c) => c.document_index === index))));
  $("source-side").hidden = !citations.length;
  const { usage, rejected = [] } = whole;
  $("progress").textContent = [
    (kind === "summarize" ? SUMMARY_STATUS : STATUS)[whole.status],
    rejected.length && `${plural(rejected.length, "quote")} could not be verified.`,
    usage && `${plural(usage.input_tokens, "token")} read, ${count(usage.output_tokens)} written.`,
  ].filter(Boolean).join(" ") || "Done.";
}

function showMarks(text, citations) {
  const known = new Set(citations.map((one) => String(one.id)));
  const parts = text.split(/\[(\d+)\]/).map((part, index, all) => {
    if (index % 2 === 0) return part;
    if (!known.has(part)) return `[${part}]`;
    const isFirst = all.findIndex((one, at) => at % 2 && one === part) === index;
    return make("a", {
      id: isFirst ? `mark-${part}` : "", href: `#quote-${part}`, textContent: `[${part}]`,
      ariaLabel: `Quote ${part}`,
    });
  });
  $("answer").replaceChildren(...parts);
}

function name({ metadata = {} }, index) {
  return String(metadata.source || metadata.title || `Document ${index + 1}`);
}

function quoteLine(citation, documents) {
  const place = name(documents[citation.document_index], citation.document_index);
  const page = citation.page == null ? "" : `, page ${citation.page}`;
  return make("li", {},
    make("a", {
      href: `#quote-${citation.id}`, textContent: `[${citation.id}]`,
      ariaLabel: `Show quote ${citation.id} in its source`,
    }),
    make("div", {}, make("q", { textContent: citation.quote }),
      make("span", { className: "hint", textContent: `${place}${page}` })));
}

function source(title, characters, citations) {
  const ends = citations.flatMap(({ start, end }) => [start, end]);
  const cuts = [...new Set([0, ...ends, characters.length])].sort((a, b) => a - b);
  const pieces = cuts.slice(1).map((end, index) => {
    const start = cuts[index];
    const text = characters.slice(start, end).join("");
    if (!citations.some((one) => one.start <= start && end <= one.end)) return text;
    const numbers = citations.filter((one) => one.start === start).map(({ id }) => make("a", {
      id: `quote-${id}`, href: `#mark-${id}`, textContent: id,
      ariaLabel: `Quote ${id}, back to the answer`,
    }));
    return make("mark", {}, ...numbers, text);
  });
  const shown = citations.length ? `${title} · ${plural(citations.length, "quote")}` : title;
  return make("details", { open: citations.length > 0 },
    make("summary", { textContent: shown }),
    make("pre", { tabIndex: 0, role: "region", ariaLabel: `Text of ${title}` }, ...pieces));
}

// Goes from a mark to its quote, or back, and moves the page no further than it must.
function jump(event) {
  const there = event.target.closest("a")?.hash;
  if (!there) return;
  event.preventDefault();
  const target = $(there.slice(1));
  if (!target) return;
  const around = target.closest("details");
  if (around) around.open = true;
  target.focus({ preventScroll: true });
  target.scrollIntoView({ block: "nearest" });
}

// --- Documents -------------------------------------------------------------------------------

async function addFiles(list) {
  say("problem", "");
  for (const file of list) {
    try {
      const decoder = new TextDecoder("utf-8", { fatal: true });
      files.push({ name: file.name, text: decoder.decode(await file.arrayBuffer()) });
    } catch {
      say("problem", `${file.name} is not a text file (UTF-8).`);
    }
  }
  showFiles();
}

function showFiles() {
  $("files").replaceChildren(...files.map((file) => {
    const remove = make("button", {
      type: "button", className: "quiet", textContent: "✕", ariaLabel: `Remove ${file.name}`,
    });
    remove.addEventListener("click", () => {
      files = files.filter((one) => one !== file);
      showFiles();
      $("file").focus();
    });
    return make("li", {}, `${file.name} (${plural(file.text.length, "character")})`, remove);
  }));
}

function fillIn() {
  const target = chosen();
  const asks = KINDS[target.kind][1];
  $("question").value = EXAMPLE[asks] ?? EXAMPLE.question;
  if (!target.documents) $("text").value = EXAMPLE.text;
  $(asks ? "question" : "send").focus();
}

// --- What is served, and what was used -------------------------------------------------------

async function refresh() {
  try {
    const health = await (await call("health")).json();
    showHealth(health);
    showStatus(await (await call("page/status")).json(), health);
    say("trouble", "");
    $("key-form").hidden = true;
    $("main").hidden = false;
  } catch (error) {
    refused(error);
  }
  $("forget").hidden = !sessionStorage.getItem(KEY);
}

function refused(error) {
  const hadKey = sessionStorage.getItem(KEY);
  if (error.status === 401) {
    sessionStorage.removeItem(KEY);
    $("main").hidden = true;
    $("key-form").hidden = false;
    $("key").focus();
  }
  if (!error.status) {
    $("health").textContent = "out of reach";
    $("health").className = "gone";
  }
  say("trouble", error.status !== 401 || hadKey ? error.message : "");
}

function showHealth({ status, emulated, in_flight: now, models }) {
  const resting = Object.values(models).reduce((sum, one) => sum + one.resting, 0);
  const parts = [status === "ok" ? "up" : status, `${plural(now, "request")} in progress`];
  if (resting) parts.push(`${plural(resting, "deployment")} resting after failures`);
  $("health").textContent = parts.join(" · ");
  $("health").className = resting || status !== "ok" ? "ill" : "";
  $("emulated").hidden = !emulated;
  $("spend").textContent = emulated ? "Would cost" : "Spend";
}

function showStatus({ models, chains, usage }, health) {
  for (const path of ["v1", "chains"]) $(path).textContent = new URL(path, document.baseURI).href;
  $("model-names").replaceChildren(...models.map((one) => named(one, modelNote(health.models[one]))));
  $("chain-names").replaceChildren(...chains.map(({ name, kind }) =>
    named(name, KINDS[kind][0])));
  showTargets(models, chains);
  showUsage(usage);
}

function modelNote({ deployments, resting } = {}) {
  if (deployments > 1) return `${deployments} deployments, ${resting} resting`;
  return resting ? "resting after failures" : "";
}

function named(name, note) {
  return make("li", {}, make("code", { textContent: name }),
    make("span", { className: "hint", textContent: note }));
}

function showTargets(models, chains) {
  const before = targets.length ? $("target").value : null;
  targets = [...chains, ...models.map((one) => ({ name: one, kind: "model" }))];
  const group = (label, some) => make("optgroup", { label },
    ...some.map(({ kind, name }) =>
      make("option", { value: `${kind}/${name}`, textContent: name })));
  const groups = [
    group("Chains", chains), group("Models", targets.filter(({ kind }) => kind === "model")),
  ];
  $("target").replaceChildren(...groups.filter((one) => one.children.length));
  if (before) $("target").value = before;
  if (!chosen()) $("target").selectedIndex = 0;
  $("ask").hidden = !targets.length;
  if (targets.length) showTarget();
}

function showUsage(usage) {
  $("usage").hidden = !usage.length;
  say("no-usage", usage.length ? "" : "No requests yet.");
  const sum = (field) => usage.reduce((total, row) => total + Number(row[field]), 0);
  const money = dollars(sum("cost_usd") < 1 ? 6 : 2);
  const cells = (row) => [
    count(row.requests), count(row.prompt_tokens), count(row.completion_tokens),
    money(row.cost_usd) + (row.unpriced ? ` + ${plural(row.unpriced, "request")} unpriced` : ""),
  ].map((textContent) => make("td", { textContent, className: "number" }));
  $("rows").replaceChildren(...usage.map((row) => make("tr", {},
    make("td", { textContent: row.key_name }), make("td", { textContent: row.model }),
    ...cells(row))));
  const fields = ["requests", "prompt_tokens", "completion_tokens", "cost_usd", "unpriced"];
  const total = Object.fromEntries(fields.map((field) => [field, sum(field)]));
  const label = make("th", { textContent: "Together", colSpan: 2, scope: "row" });
  $("total").replaceChildren(...(usage.length > 1 ? [make("tr", {}, label, ...cells(total))] : []));
}

// --- Events ----------------------------------------------------------------------------------

$("ask").addEventListener("submit", ask);
$("result").addEventListener("click", jump);
$("stop").addEventListener("click", () => stopping?.abort());
$("target").addEventListener("change", showTarget);
$("example").addEventListener("click", fillIn);
$("refresh").addEventListener("click", refresh);
$("file").addEventListener("change", async () => {
  await addFiles($("file").files);
  $("file").value = "";
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("key").value.trim());
  $("key").value = "";
  refresh();
});
$("forget").addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  location.reload();
});
document.addEventListener("dragover", (event) => {
  event.preventDefault(); // a file dropped beside the box must not replace the page
  $("drop").classList.toggle("over", $("drop").contains(event.target));
});
document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  addFiles(event.dataTransfer.files);
});

refresh();
