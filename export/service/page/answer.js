// What the service answered, shown: labels, calls, sets, concepts, maps, and the images as the model got them.
"use strict";

async function show(answer) {
  at("answer").hidden = false;
  const single = Boolean(answer.image);
  at("shown").hidden = !single;
  showMembers(answer);
  at("caption").textContent = single ? `${answer.image}, as the model got it` : "";
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
  if (single) await draw();
}

// Images of a sample or a case, each with the weight that it had where the model weighs them; and what was missing.
function showMembers(answer) {
  const previews = answer.previews || {};
  const weights = answer.attention || [];
  const shown = [];
  (answer.images || []).forEach((name, place) => shown.push([name, previews[place], weights[place]]));
  for (const [part, files] of Object.entries(answer.given ? answer.given.images : {})) {
    files.forEach((name, place) => shown.push([`${part}: ${name}`, (previews[part] || [])[place]]));
  }
  at("members").replaceChildren(...shown.map(([name, preview, weight]) => member(name, preview, weight)));
  if (answer.members) at("members").append(...heaviest(weights));
  at("members").hidden = !at("members").children.length;
  at("weights-note").hidden = !weights.length;
  at("missing").hidden = !answer.missing;
  if (answer.missing) at("missing").textContent = answer.missing.length ? `Missing: ${answer.missing.join(", ")}.` : "Nothing is missing.";
}

function member(name, preview, weight) {
  const item = make("li");
  if (preview) item.append(make("img", null, { src: `data:image/png;base64,${preview}`, alt: `${name}, as the model got it` }));
  item.append(make("span", name, { class: "file" }));
  if (weight !== undefined) item.append(make("span", `attention ${figure(weight)}`, { class: "weight" }), bar(weight, `attention on ${name}`));
  return item;
}

function heaviest(weights) {
  const ordered = weights.map((weight, place) => [weight, place]).sort((a, b) => b[0] - a[0]);
  return ordered.slice(0, 10).map(([weight, place]) => member(`row ${place}`, null, weight));
}

function bar(value, label) {
  return make("progress", null, { max: 1, value, "aria-label": label });
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
      cell.append(bar(value, `probability of ${name}`));
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
