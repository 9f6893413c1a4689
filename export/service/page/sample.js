// What a sample of several modalities, or a case of several images, is asked by: a drop zone a modality, a field a value.
// Each may be left empty: it is missing then, and that is said beside it.
"use strict";

const fields = { zones: [], texts: [], values: [] };
const MISSING = "missing";

function bySample() {
  return Boolean(state.about && (state.about.modalities || state.about.bag));
}

// In words what a model of several modalities, or of cases, takes.
function taken(about) {
  if (about.bag) return about.bag.of === "rows" ? `cases of feature rows (${about.bag.width} numbers each)` : `cases of any number of ${about.bag.of}`;
  if (!about.modalities) return null;
  const { images, texts, inputs } = about.modalities;
  const shown = Object.entries(images).map(([name, one]) => (one.views > 1 ? `${name} (up to ${one.views} views)` : name));
  return [...shown, ...texts.map((name) => `${name} (text)`), ...Object.keys(inputs || {})].join(", ");
}

function buildSample(about) {
  Object.assign(fields, { zones: [], texts: [], values: [] });
  const { images, texts, inputs } = about.modalities || { images: {}, texts: [], inputs: null };
  for (const [name, one] of Object.entries(images)) zone(name, `${name}: choose ${kindOf(one)}, or drop it here`, one.views > 1, []);
  if (about.bag) {
    const what = about.bag.of === "rows" ? "files of feature rows (.npy)" : `the ${about.bag.of}`;
    zone(about.bag.part, `Choose ${what} of one case, or drop them here`, true, about.bag.views);
  }
  for (const name of texts) textField(name);
  for (const [name, words] of Object.entries(inputs || {})) valueField(name, words);
  const all = [...fields.zones, ...fields.texts, ...fields.values];
  at("sample-fields").replaceChildren(...all.map((one) => one.box));
  at("sample-form").hidden = !all.length;
  at("drop").hidden = all.length > 0;
  at("ask-title").textContent = about.bag ? "Case" : about.modalities ? "Sample" : "Image";
  at("sample-note").textContent = about.bag ? "All images given are one case, and get one answer." : "Whatever is left empty is missing to the model.";
  document.querySelector(".skip").href = all.length ? "#part-0" : "#file";
}

function kindOf(one) {
  const what = one.takes === "volumes" ? "a volume" : "an image or a DICOM file";
  return one.views > 1 ? `${what}, up to ${one.views} views` : what;
}

// A field with its label and, below, what is said of it.
function field(tag, label, attributes, kind) {
  const id = `part-${fields.zones.length + fields.texts.length + fields.values.length}`;
  const box = make("div", null, { class: kind });
  const input = make(tag, null, { id, "aria-describedby": `${id}-said`, ...attributes });
  const said = make("p", MISSING, { id: `${id}-said`, class: "note" });
  box.append(make("label", label, { for: id }), input, said);
  return { box, input, said };
}

function zone(name, label, several, words) {
  const one = field("input", label, { type: "file", ...(several ? { multiple: "" } : {}) }, "drop field");
  const list = make("ul");
  const out = make("button", `Leave ${name} out`, { type: "button", hidden: "" });
  const found = { ...one, name, files: [], views: [] };
  one.box.append(list, out);
  one.box.put = (files) => {
    found.files = several ? files : files.slice(0, 1);
    found.views = found.files.map(() => null);
    one.said.textContent = found.files.length ? `${found.files.length} given` : MISSING;
    out.hidden = !found.files.length;
    list.replaceChildren(...found.files.map((file, place) => fileItem(file, place, words, found)));
  };
  one.input.addEventListener("change", () => one.box.put([...one.input.files]));
  out.addEventListener("click", () => {
    one.input.value = "";
    one.box.put([]);
    one.input.focus();
  });
  fields.zones.push(found);
}

// A file's name and, where the model reads what a member shows, the choice of it.
function fileItem(file, place, words, found) {
  const item = make("li", file.name);
  if (!words.length) return item;
  const choice = make("select", null, { "aria-label": `what ${file.name} shows` });
  choice.append(...["", ...words].map((word) => make("option", word || "not said", { value: word })));
  choice.addEventListener("change", () => { found.views[place] = choice.value || null; });
  item.append(" ", choice);
  return item;
}

function textField(name) {
  const one = field("textarea", name, { rows: 3 }, "field");
  one.input.addEventListener("input", () => { one.said.textContent = one.input.value.trim() ? "given" : MISSING; });
  fields.texts.push({ ...one, name });
}

function valueField(name, words) {
  const isNumber = words === "number";
  const one = field(isNumber ? "input" : "select", name, isNumber ? { type: "text", inputmode: "decimal", autocomplete: "off" } : {}, "field");
  if (!isNumber) one.input.append(...["", ...words].map((word) => make("option", word || MISSING, { value: word })));
  one.input.addEventListener("input", () => { one.said.textContent = one.input.value.trim() ? "given" : MISSING; });
  fields.values.push({ ...one, name });
}

// The drop zone below the pointer; where there is one alone, that.
function zoneAt(target) {
  const below = target instanceof Element ? target.closest(".drop") : null;
  return below || (fields.zones.length === 1 ? fields.zones[0].box : null);
}

// Puts all that is given into a form; returns whether there is anything.
function appendSample(form) {
  let count = 0;
  for (const one of fields.zones) {
    for (const file of one.files) form.append(one.name, file, file.name);
    count += one.files.length;
    if (one.views.some(Boolean)) form.append("views", JSON.stringify(one.views));
  }
  for (const one of fields.texts.filter((text) => text.input.value.trim())) {
    form.append(one.name, one.input.value);
    count += 1;
  }
  const given = fields.values.map((one) => [one.name, one.input.value.trim()]).filter(([, value]) => value);
  if (given.length) form.append("inputs", JSON.stringify(Object.fromEntries(given)));
  return count + given.length > 0;
}
