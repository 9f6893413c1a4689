// The page of `medzoo serve`: asks the service it came from, and nobody else. Text from answers is set as text, never as HTML.
"use strict";

const at = (id) => document.getElementById(id);
const state = { key: null, model: null, about: null, file: null, corrections: {}, answer: null, asking: null };

function make(tag, text, attributes = {}) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

async function ask(path, options = {}) {
  const headers = state.key ? { Authorization: `Bearer ${state.key}` } : {};
  const found = await fetch(path, { ...options, headers });
  if (found.status === 401) {
    at("key-section").hidden = false;
    at("key").focus();
  }
  const told = await found.json();
  if (!found.ok) throw new Error(told.error || `the service answered ${found.status}`);
  return told;
}

function complain(error) {
  at("error").hidden = !error;
  at("error").textContent = error ? error.message : "";
  at("status").textContent = "";
}

async function start() {
  try {
    const { models } = await ask("models");
    at("key-section").hidden = true;
    at("model").replaceChildren(...models.map((name) => make("option", name, { value: name })));
    at("model-row").hidden = models.length < 2;
    await choose(models[0]);
  } catch (error) {
    at("title").textContent = "No model yet";
    complain(error);
  }
}

async function choose(name) {
  const about = await ask(`model?model=${encodeURIComponent(name)}`);
  Object.assign(state, { model: name, about, corrections: {}, answer: null });
  at("title").textContent = `${about.architecture || name} on ${about.data.title || about.data.name || "unnamed data"}`;
  document.title = `${name} · medzoo`;
  at("notice").textContent = about.notice;
  at("json").href = `model?model=${encodeURIComponent(name)}`;
  at("classes-form").hidden = !about.classes_by_text;
  buildSample(about);
  at("answer").hidden = at("concepts").hidden = true;
  at("sliders").replaceChildren();
  at("limits").replaceChildren(...about.limits.map((line) => make("li", line)));
  showCard(about);
  at("card-text").hidden = !about.card;
  at("written").textContent = about.card || "";
  complain(null);
  if (about.inputs.includes("class_embeddings") && !about.classes_by_text) {
    throw new Error("this file is told its classes by a text tower: serve its text.onnx beside it");
  }
  if (state.file && !bySample()) await predict();
}

function figure(value) {
  return value === null || value === undefined ? "?" : Number(value).toFixed(3);
}

function showCard(about) {
  const size = about.preprocess.size.join(" × ");
  const rows = [
    ["File", `${about.file}, ${about.precision || "precision not said"}`],
    ["SHA-256", (about.sha256 || "").replace("sha256:", "")],
    ["Learnt from", about.data.title || about.data.name],
    ["Licence of the data", about.licence],
    ["Kind of image", about.data.modality],
    ["Sees", about.takes === "images" || about.takes === "volumes" ? `${size} pixels, ${about.preprocess.channels === 1 ? "gray" : "colour"} (${about.preprocess.mode})` : null],
    ["Takes", taken(about)],
    ["Labels", about.labels ? about.labels.names.join(", ") : null],
    ["Concepts", about.concepts ? about.concepts.names.join(", ") : null],
    ["Calibrated by", about.calibrated_by],
  ];
  const test = about.test;
  if (test) {
    for (const [name, found] of Object.entries(test.figures)) {
      const range = found.low === null ? "" : ` (${figure(found.low)} to ${figure(found.high)})`;
      rows.push([`${name}, test`, `${figure(found.value)}${range}, ${test.samples} images of ${test.groups} ${test.unit}s`]);
    }
  }
  const proof = about.proof && (about.proof.float32 || about.proof);
  if (proof && proof.parity) {
    const difference = Number(proof.parity.largest).toExponential(1);
    rows.push(["Proven", `equal to its training framework within ${difference} on ${proof.parity.images} images`]);
  }
  if (proof && proof.metric) rows.push(["", `${proof.metric.name} on validation: ${figure(proof.metric.torch)} there, ${figure(proof.metric.onnx)} here`]);
  if (about.data.citation) rows.push(["Citation", about.data.citation]);
  at("card").replaceChildren(...rows.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
}

async function predict() {
  if (!state.file && !bySample()) return;
  if (state.asking) state.asking.abort();
  const asking = (state.asking = new AbortController());
  const form = new FormData();
  form.append("model", state.model);
  form.append("preview", "true");
  if (state.about.map_of) form.append("map", "true");
  if (Object.keys(state.corrections).length) form.append("concepts", JSON.stringify(state.corrections));
  if (state.about.classes_by_text) {
    const classes = at("classes").value.split("\n").map((line) => line.trim()).filter(Boolean);
    if (classes.length < 2) {
      at("status").textContent = "Type two or more classes, one a line.";
      at("classes").focus();
      return;
    }
    form.append("classes", JSON.stringify(classes));
  }
  if (!bySample()) form.append("image", state.file, state.file.name);
  else if (!appendSample(form)) {
    at("status").textContent = "Give one thing at least; what is left empty is missing.";
    return;
  }
  at("status").textContent = "Asking the model …";
  try {
    const told = await ask("predict", { method: "POST", body: form, signal: asking.signal });
    if (asking.signal.aborted) return;
    complain(null);
    const first = state.answer === null;
    state.answer = told.results[0];
    await show(state.answer);
    at("status").textContent = first ? "Answered: see below." : "Answered.";
  } catch (error) {
    if (error.name === "AbortError") return;
    at("answer").hidden = at("concepts").hidden = true;
    complain(error);
  }
}

function take(file) {
  if (!file) return;
  Object.assign(state, { file, corrections: {}, answer: null });
  at("sliders").replaceChildren();
  predict();
}

at("file").addEventListener("change", () => take(at("file").files[0]));
at("model").addEventListener("change", () => choose(at("model").value).catch(complain));
at("map").addEventListener("change", draw);
at("undo").addEventListener("click", () => {
  state.corrections = {};
  predict();
});
at("classes-form").addEventListener("submit", (event) => {
  event.preventDefault();
  predict();
});
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  state.key = at("key").value;
  start();
});
at("sample-form").addEventListener("submit", (event) => {
  event.preventDefault();
  predict();
});
function over(zone) {
  document.querySelectorAll(".drop").forEach((one) => one.classList.toggle("over", one === zone));
}
for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    const zone = bySample() ? zoneAt(event.target) : at("drop");
    over(kind === "dragover" ? zone : null);
    if (kind !== "drop") return;
    if (!bySample()) take(event.dataTransfer.files[0]);
    else if (zone) zone.put([...event.dataTransfer.files]);
    else at("status").textContent = "Drop it on the field that it belongs to.";
  });
}
document.addEventListener("dragleave", () => over(null));
start();
