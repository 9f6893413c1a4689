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
  if (state.file) await predict();
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
    ["Sees", `${size} pixels, ${about.preprocess.channels === 1 ? "gray" : "colour"} (${about.preprocess.mode})`],
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
  if (!state.file) return;
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
  form.append("image", state.file, state.file.name);
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

async function show(answer) {
  at("answer").hidden = false;
  at("caption").textContent = `${answer.image}, as the model got it`;
  const values = answer.probabilities || answer.values || {};
  at("said").textContent = sentence(answer, values);
  at("table").replaceChildren(...table(answer, values));
  at("set").hidden = !answer.prediction_set;
  if (answer.prediction_set) {
    const coverage = Math.round(100 * state.about.prediction_sets.coverage);
    at("set").textContent = `With ${coverage}% coverage the truth is one of: ${answer.prediction_set.join(", ") || "none of its labels"}.`;
  }
  at("how").textContent = state.about.calibrated_by
    ? `Probabilities are calibrated (${state.about.calibrated_by}).`
    : answer.probabilities ? "Probabilities are the model's own; they were not calibrated after training." : "";
  showConcepts(answer);
  showMaps(answer);
  await draw();
}

function sentence(answer, values) {
  if (answer.grade !== undefined) return `Grade ${answer.grade} (${answer.class}), expected grade ${figure(answer.expected_grade)}`;
  if (answer.class !== undefined) return `${answer.class}: ${figure(values[answer.class])}`;
  if (answer.values) return Object.entries(values).map(([name, value]) => `${name} ${figure(value)}`).join(", ");
  if (!answer.probabilities) return "This file gives no labels; programs read its outputs from predict.";
  const likely = Object.entries(values).filter(([, value]) => value > 0.5).map(([name]) => name);
  return likely.length ? `Above one half: ${likely.join(", ")}` : "No finding above one half";
}

function table(answer, values) {
  const rules = Object.keys(answer.calls || {});
  const quantity = Boolean(answer.values);
  const head = make("tr");
  head.append(make("th", "Label", { scope: "col" }), make("th", quantity ? "Value" : "Probability", { scope: "col" }));
  if (!quantity) head.append(make("th", "", { scope: "col", "aria-label": "as a bar" }));
  if (answer.prediction_interval) head.append(make("th", "Interval", { scope: "col" }));
  rules.forEach((rule) => head.append(make("th", `Called at ${rule}`, { scope: "col" })));
  if (answer.prediction_set) head.append(make("th", "In the set", { scope: "col" }));
  const body = make("tbody");
  const ordered = Object.entries(values);
  if (!quantity && answer.grade === undefined) ordered.sort((a, b) => b[1] - a[1]);
  for (const [name, value] of ordered) {
    const row = make("tr", null, name === answer.class ? { class: "first" } : {});
    const unit = answer.units ? ` ${answer.units[name]}` : "";
    row.append(make("th", name, { scope: "row" }), make("td", figure(value) + unit, { class: "number" }));
    if (!quantity) {
      const cell = make("td");
      cell.append(make("progress", null, { max: 1, value, "aria-label": `probability of ${name}` }));
      row.append(cell);
    }
    if (answer.prediction_interval) row.append(make("td", answer.prediction_interval[name].map(figure).join(" to "), { class: "number" }));
    rules.forEach((rule) => {
      const called = answer.calls[rule][name];
      row.append(make("td", called === null ? "no threshold" : called ? "called" : "no"));
    });
    if (answer.prediction_set) row.append(make("td", answer.prediction_set.includes(name) ? "yes" : "no"));
    body.append(row);
  }
  const top = make("thead");
  top.append(head);
  return [make("caption", "What the model says of its labels"), top, body];
}

function showConcepts(answer) {
  if (!answer.concepts) return;
  at("concepts").hidden = false;
  at("undo").disabled = !Object.keys(state.corrections).length;
  const have = new Map([...at("sliders").children].map((row) => [row.dataset.concept, row]));
  Object.entries(answer.concepts).forEach(([name, value], place) => {
    let row = have.get(name);
    if (!row) {
      row = make("div", null, { class: "slider", "data-concept": name });
      const id = `concept-${place}`;
      const slider = make("input", null, { id, type: "range", min: 0, max: 1, step: 0.01 });
      slider.addEventListener("input", () => {
        state.corrections[name] = Number(slider.value);
        predict();
      });
      row.append(make("label", name, { for: id }), slider, make("output", "", { for: id, class: "number" }));
      at("sliders").append(row);
    }
    const moved = name in state.corrections;
    row.classList.toggle("moved", moved);
    if (!moved) row.children[1].value = value;
    row.children[2].textContent = figure(moved ? state.corrections[name] : value);
  });
}

function showMaps(answer) {
  const names = Object.keys(answer.map || {});
  at("map-row").hidden = at("map-note").hidden = !names.length;
  const chosen = at("map").value;
  const options = ["nothing", ...names];
  if ([...at("map").options].map((option) => option.value).join("\n") === options.join("\n")) return;
  at("map").replaceChildren(...options.map((name) => make("option", name, { value: name })));
  at("map").value = names.includes(chosen) ? chosen : names.includes(answer.class) ? answer.class : "nothing";
}

async function draw() {
  const answer = state.answer;
  const image = new Image();
  image.src = `data:image/png;base64,${answer.preview}`;
  await image.decode();
  if (answer !== state.answer) return;
  const canvas = at("picture");
  const scale = Math.max(1, Math.round(320 / Math.max(image.width, image.height)));
  [canvas.width, canvas.height] = [image.width * scale, image.height * scale];
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  const name = at("map").value;
  let cells = answer.map && answer.map[name];
  canvas.setAttribute("aria-label", `${answer.image}${cells ? `, with where the model looked for ${name}` : ""}`);
  if (!cells) return;
  if (Array.isArray(cells[0][0])) cells = cells[Math.floor(cells.length / 2)];  // of a volume the slice that is shown
  const [x, y, width, height] = seen(canvas.width, canvas.height);
  pen.imageSmoothingEnabled = true;
  pen.drawImage(coloured(cells), x, y, width, height);
}

// The part of the image that the model saw, as its preprocessing cuts or pads it.
function seen(width, height) {
  const { size, mode } = state.about.preprocess;
  const aspect = size[size.length - 1] / size[size.length - 2];
  if (mode === "stretch") return [0, 0, width, height];
  const wider = width / height > aspect;
  const byHeight = mode === "crop" ? wider : !wider;
  const [w, h] = byHeight ? [height * aspect, height] : [width, width / aspect];
  return [(width - w) / 2, (height - h) / 2, w, h];
}

function coloured(cells) {
  const most = Math.max(...cells.flat().map(Math.abs)) || 1;
  const canvas = make("canvas");
  [canvas.width, canvas.height] = [cells[0].length, cells.length];
  const pixels = new ImageData(canvas.width, canvas.height);
  cells.flat().forEach((value, place) => {
    const colour = value > 0 ? [255, 140, 0] : [40, 110, 255];
    pixels.data.set([...colour, Math.round((170 * Math.abs(value)) / most)], 4 * place);
  });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
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
for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files[0]);
  });
}
document.addEventListener("dragleave", () => at("drop").classList.remove("over"));
start();
