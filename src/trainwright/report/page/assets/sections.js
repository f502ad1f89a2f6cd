// What there is to see of one run or several: samples, confusion, predictions, configuration.
"use strict";

// What the hooks of the runs' own showed is shown as the samples are, hook by hook.
function hookSections(runs) {
  const names = [...new Set(runs.flatMap((run) => run.hooks.map((hook) => hook.name)))];
  const of = (run, name) => (run.hooks.find((hook) => hook.name === name) || { samples: [] }).samples;
  return names.map((name, i) => samplesSection(runs.map((run) => ({ ...run, samples: of(run, name) })), `hook-${i}`, `${name} through training`));
}

function samplesSection(runs, id = "samples", title = "Samples through training") {
  const shownRuns = runs.filter((run) => run.samples.length);
  if (!shownRuns.length) return null;
  const steps = [...new Set(shownRuns.flatMap((run) => run.samples.map((s) => s.step)))].sort((a, b) => a - b);
  const output = el("output", {});
  const pictures = shownRuns.map((run) => ({ run, image: run.samples[0].uri ? el("img", { alt: `samples of ${run.name}` }) : el("pre", {}), caption: el("figcaption") }));
  const slider = el("input", { type: "range", min: 0, max: steps.length - 1, value: steps.length - 1, "aria-label": "step of the samples" });
  function show() {
    const step = steps[Number(slider.value)];
    output.textContent = `step ${number(step)}`;
    for (const { run, image, caption } of pictures) {
      const sample = [...run.samples].reverse().find((s) => s.step <= step) || run.samples[0];
      if (!sample.uri) image.textContent = sample.text;
      else if (image.src !== sample.uri) image.src = sample.uri;
      caption.textContent = runs.length > 1 ? `${shortName(run)}, step ${number(sample.step)}` : `step ${number(sample.step)}`;
    }
  }
  let timer = null;
  const play = el("button", { type: "button", onclick: () => {
    if (timer) { clearInterval(timer); timer = null; play.textContent = "Play"; return; }
    play.textContent = "Pause";
    timer = setInterval(() => { slider.value = (Number(slider.value) + 1) % steps.length; show(); }, 400);
  } }, "Play");
  slider.addEventListener("input", show);
  show();
  return section(id, title, el("div", { class: "card" },
    steps.length > 1 ? el("div", { class: "slider" }, play, slider, output) : null,
    el("div", { class: "side" }, pictures.map(({ image, caption }) => el("figure", {}, caption, image)))));
}

function confusionTable(confusion, names) {
  const many = names.length > 20;
  const box = el("table", { class: "confusion" });
  if (many) box.style.setProperty("--cell", `${Math.max(5, Math.floor(560 / names.length))}px`);
  const label = (name) => (many ? "" : name.length > 12 ? `${name.slice(0, 11)}…` : name);
  box.append(el("thead", {}, el("tr", {}, el("th", {}, many ? "" : "true \\ said"), names.map((name) => el("th", { scope: "col", title: name }, label(name))))));
  box.append(el("tbody", {}, confusion.map((row, i) => {
    const total = row.reduce((a, b) => a + b, 0) || 1;
    return el("tr", {}, el("th", { scope: "row", title: names[i] }, label(names[i])), row.map((count, j) => {
      const share = count / total;
      const cell = el("td", { title: `true ${names[i]}, said ${names[j]}: ${number(count)} (${(100 * share).toFixed(1)} %)` }, many || !count ? "" : number(count));
      cell.style.background = `rgba(var(--heat), ${(0.04 + 0.9 * Math.sqrt(share)).toFixed(3)})`;
      if (share > 0.3) cell.style.color = theme() === "dark" ? "#0f1218" : "#fff";
      return cell;
    }));
  })));
  return box;
}

function confusionSection(run, several) {
  if (!run.confusion) return null;
  const rows = run.class_names.map((name, i) => ({ name, ...Object.fromEntries(Object.entries(run.per_class).map(([k, v]) => [k, v[i]])) }));
  const kinds = Object.keys(run.per_class);
  const columns = [{ title: "class", value: (row) => row.name }, ...kinds.map((kind) => ({ title: kind === "f1" ? "F1" : kind, number: true, value: (row) => row[kind] }))];
  const total = run.confusion.flat().reduce((a, b) => a + b, 0);
  const right = run.confusion.reduce((sum, row, i) => sum + row[i], 0);
  const title = `${number(right)} of ${number(total)} right (${(100 * right / (total || 1)).toFixed(2)} %), test part`;
  const host = el("div", { class: "scroll" });
  const draw = () => host.replaceChildren(confusionTable(run.confusion, run.class_names));
  draw();
  redraws.push(draw);
  const tables = el("div", { class: "side" },
    el("div", { class: "card" }, el("h3", {}, title), host),
    kinds.length ? el("div", { class: "card grow" }, el("h3", {}, "Each class"), el("div", { class: "scroll limit" }, sortable(columns, rows))) : null);
  return several ? el("details", {}, el("summary", {}, `${shortName(run)}: ${title}`), tables) : tables;
}

function picturesSection(runs, key, title, caption) {
  const shownRuns = runs.filter((run) => run[key]);
  if (!shownRuns.length) return null;
  return section(key, title, shownRuns.map((run) => {
    const image = el("img", { alt: `${title} of ${run.name}`, src: run[key] });
    const picture = el("div", { class: "card" }, el("figure", {}, el("figcaption", {}, typeof caption === "string" ? caption : caption(run)), image));
    return runs.length > 1 ? el("details", {}, el("summary", {}, shortName(run)), picture) : picture;
  }));
}

// A table as it is: a list of cells a row, the head first, the first column its names.
function plainTable([head, ...rows]) {
  return el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, head.map((text, i) => el("th", { scope: "col", class: i ? "number" : "" }, text)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((text, i) => el("td", { class: i ? "number" : "" }, text)))))));
}

function scoreSection(runs) {
  const shownRuns = runs.filter((run) => run.score);
  if (!shownRuns.length) return null;
  return section("score", "Score of new samples", shownRuns.flatMap((run) => {
    const tables = el("div", { class: "side" },
      el("div", { class: "card wide" }, el("h3", {}, "Against the test part"), plainTable(run.score)),
      run.score_of_classes ? el("div", { class: "card grow" }, el("h3", {}, "Each class"), plainTable(run.score_of_classes)) : null);
    const told = el("p", { class: "sub" }, `in features of ${run.features}; ± is the standard error`);
    return runs.length > 1 ? el("details", {}, el("summary", {}, shortName(run)), tables, told) : [tables, told];
  }));
}

function configSection(runs) {
  const keys = [...new Set(runs.flatMap((run) => Object.keys(run.config)))];
  if (!keys.length) return null;
  const text = (run, key) => (key in run.config ? shownValue(run.config[key]) : "–");
  const differs = (key) => new Set(runs.map((run) => text(run, key))).size > 1;
  const body = el("tbody");
  const search = el("input", { type: "search", placeholder: "filter keys and values", "aria-label": "filter keys and values" });
  const only = el("input", { type: "checkbox" });
  only.checked = runs.length > 1 && keys.some(differs);
  function fill() {
    const wanted = search.value.toLowerCase();
    const rows = keys.filter((key) => (!only.checked || differs(key)) && `${key} ${runs.map((run) => text(run, key)).join(" ")}`.toLowerCase().includes(wanted));
    body.replaceChildren(...rows.map((key) => el("tr", {}, el("th", { scope: "row" }, key),
      runs.map((run) => el("td", { class: runs.length > 1 && differs(key) ? "differs" : "" }, text(run, key))))));
  }
  search.addEventListener("input", fill);
  only.addEventListener("change", fill);
  fill();
  return section("config", "Configuration",
    el("div", { class: "tools" }, search, runs.length > 1 ? el("label", {}, only, "only what differs") : null,
      runs.length === 1 && runs[0].overrides.length ? el("span", {}, `typed: ${runs[0].overrides.join(" ")}`) : null),
    el("div", { class: "card scroll limit" }, el("table", { class: "config" },
      runs.length > 1 ? el("thead", {}, el("tr", {}, el("th", {}, "key"), runs.map((run) => el("th", { title: run.name }, shortName(run))))) : null, body)));
}

// In a table, or a sentence: what a search has drawn has more digits than anyone reads.
function shownSetting(value) {
  return shownValue(typeof value === "number" ? Number(value.toPrecision(6)) : value);
}

function shownValue(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function logSection(runs) {
  const shownRuns = runs.filter((run) => run.log);
  if (!shownRuns.length) return null;
  return section("log", "Log", shownRuns.map((run) => {
    const text = el("div", { class: "card scroll" }, el("pre", {}, run.log));
    return runs.length > 1 ? el("details", {}, el("summary", {}, shortName(run)), text) : text;
  }));
}
