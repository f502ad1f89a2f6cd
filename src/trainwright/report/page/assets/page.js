// The page from top to bottom.
"use strict";
const redraws = [];
const runs = data.runs;

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  for (const chart of charts) if (chart.host.isConnected) chart.draw();
  for (const redraw of redraws) redraw();
}

function metricOf(run, part, name) {
  const found = part === "test" ? run.test : run.best.metrics;
  return name in found ? found[name] : null;
}

function header() {
  const one = runs.length === 1 ? runs[0] : null;
  const toggle = el("button", { type: "button", id: "theme", onclick: () => setTheme(theme() === "dark" ? "light" : "dark") }, "Light / dark");
  const sub = one
    ? [el("span", { class: `pill ${one.status}` }, one.status), ` ${one.data} · ${one.model} · ${one.started}`]
    : [`${runs.length} runs`];
  return el("header", { class: "top" }, el("div", {}, el("h1", {}, data.title), el("p", { class: "sub" }, sub)), toggle);
}

function tiles(run) {
  const tile = (value, label) => el("div", { class: "card tile" }, el("b", {}, value), el("span", {}, label));
  const objective = run.objective ? words(run.objective) : "";
  const best = run.objective ? metricOf(run, "best", run.objective) : null;
  const test = run.objective ? metricOf(run, "test", run.objective) : null;
  return section("summary", "Summary", el("div", { class: "tiles" },
    best === null ? null : tile(number(best), `best validation ${objective}, step ${number(run.best.step)}`),
    test === null ? null : tile(number(test), `test ${objective}, best weights`),
    tile(`${number(run.step)}`, `steps${run.steps ? ` of ${number(run.steps)}` : ""}`),
    tile(duration(run.seconds), "training"),
    run.rate === null ? null : tile(number(Math.round(run.rate)), "examples a second"),
    Object.entries(run.parameters).map(([name, count]) => tile(number(count), `parameters${Object.keys(run.parameters).length > 1 ? ` of the ${name}` : ""}`)),
  ), run.parent ? el("p", { class: "sub" }, `forked from ${run.parent}`) : null,
  run.error ? el("p", { class: "sub failed" }, run.error) : null,
  run.health.length ? el("p", { class: "sub" }, `health: ${run.health.join(", ")}`) : null,
  el("p", { class: "sub" }, run.placement));
}

// Whether a metric is better when it is larger: as the runs say; undefined where nobody knows.
function bestOf(name, told = data.higher_is_better) {
  return name in told ? (told[name] ? "max" : "min") : undefined;
}

function comparison() {
  const named = (part) => [...new Set(runs.flatMap((run) => Object.keys(part === "test" ? run.test : run.best.metrics)))];
  const objectives = [...new Set(runs.map((run) => run.objective).filter((name) => name))];
  const first = (names) => [...objectives.filter((name) => names.includes(name)), ...names.filter((name) => !objectives.includes(name))];
  const metric = (part, label) => first(named(part)).map((name) => ({
    title: `${label} ${words(name)}`, number: true, best: bestOf(`${part === "test" ? "test" : "validation"}/${name}`), value: (run) => metricOf(run, part, name),
  }));
  const columns = [
    { title: "run", value: (run) => run.name },
    { title: "status", value: (run) => run.status, show: (run) => el("span", { class: `pill ${run.status}` }, run.status) },
    ...metric("best", "best"), ...metric("test", "test"),
    { title: "steps", number: true, value: (run) => run.step },
    { title: "time", number: true, value: (run) => run.seconds, show: (run) => duration(run.seconds) },
  ];
  return section("summary", "Comparison", el("div", { class: "card scroll" }, sortable(columns, runs, { id: "comparison" })));
}

// The settings that differ; or a run's name, without its date or its sweep where that still tells it from the others.
function shortName(run) {
  if (run.label !== run.name) return run.label;
  const last = (name) => name.split("/").at(-1);
  return runs.filter((other) => last(other.name) === last(run.name)).length > 1 ? run.name : last(run.name);
}

function curves() {
  const titles = [...new Set(runs.flatMap((run) => run.panels.map((panel) => panel.title)))];
  if (!titles.length) return null;
  const last = Math.max(1, ...runs.flatMap((run) => run.panels.flatMap((panel) => panel.series.flatMap((line) => line.steps))));
  const grid = el("div", { class: "charts" });
  for (const title of titles) {
    const lines = runs.flatMap((run, number_) => {
      const panel = run.panels.find((found) => found.title === title);
      return panel ? panel.series.map((line) => ({
        ...line, dashed: (runs.length > 1 || !line.alone) && line.phase !== "train"
          && panel.series.some((other) => other.phase === "train" && other.kind === line.kind),
        colour: runs.length > 1 ? number_ : line.colour, label: runs.length > 1 ? `${shortName(run)}: ${line.label}` : line.label,
      })) : [];
    });
    grid.append(new CurveChart(title, lines, [0, last]).node);
  }
  const longest = Math.max(...runs.flatMap((run) => run.panels.flatMap((panel) => panel.series.map((line) => line.values.length))));
  const slider = el("input", { type: "range", min: 0, max: 100, value: longest >= 60 ? 30 : 0, "aria-label": "smoothing" });
  const span = () => (Number(slider.value) / 100) ** 2 * longest / 4;
  slider.addEventListener("input", () => charts.forEach((chart) => chart instanceof CurveChart && chart.draw(span())));
  const reset = el("button", { type: "button", onclick: () => zoomAll(null, 0, last) }, "Whole run");
  starts.push(() => charts.forEach((chart) => chart.draw(chart instanceof CurveChart ? span() : undefined)));
  return section("curves", "Curves", el("div", { class: "tools" }, longest >= 40 ? el("label", {}, "smoothing", slider) : null, reset,
    el("span", {}, "against the step (training: mean since the point before): drag to zoom, double click to go back")), grid);
}

const named = (point) => Object.entries(point).map(([key, value]) => `${key}=${shownSetting(value)}`).join(" ");

// What the seeds, or folds, say about the lead of the best setting.
function luck(best, setting, repeated) {
  const test = "(Welch's t-test, Holm's correction)";
  if (setting.num < 2) return `With one ${repeated} nobody can tell whether that is more than luck.`;
  if (!best.compared.length) return `No other setting has several ${repeated}s to compare it with.`;
  const caution = setting.num === 2 ? ` Two ${repeated}s tell little: add some.` : "";
  const others = (count) => `${count} other${count > 1 ? "s" : ""}`;
  const ahead = best.ahead ? ` Far ahead of ${others(best.ahead)}, which so few ${repeated}s cannot prove.` : "";
  if (best.tied) return `Within ${repeated} noise of ${others(best.tied)} ${test}.${ahead}${caution}`;
  return (ahead.trim() || `Better than each other setting by more than ${repeated} noise ${test}.`) + caution;
}

// What a sweep has come to: its settings from best to worst, and whether the best is more than luck.
function verdict(found) {
  const told = found.verdict;
  if (!told) return null;
  const several = found.objectives.length > 1;
  const setting = (point) => told.settings.find((one) => named(one.point) === named(point));
  const said = told.bests.filter((best) => setting(best.point)).map((best) => el("div", {},
    el("p", { class: "verdict" }, `Best${several ? ` ${words(best.metric)}` : ""}: ${named(best.point)}, mean ${words(best.metric)} ${number(setting(best.point).mean[best.metric])}. `, luck(best, setting(best.point), told.repeated)),
    best.again ? el("p", { class: "sub" }, "again: ", el("code", {}, best.again)) : null));
  const front = told.settings.filter((one) => one.is_on_front).length;
  const settings = found.settings.filter((key) => told.settings.some((one) => key in one.point));
  const p = (row) => told.bests[0].compared.find((other) => named(other.point) === named(row.point))?.p_value ?? null;
  const columns = [
    { title: "place", number: true, value: (row) => told.settings.indexOf(row) + 1 },
    ...settings.map((key) => ({ title: key, value: (row) => (row.point[key] ?? null), number: told.settings.every((row) => typeof row.point[key] === "number"), show: (row) => (key in row.point ? shownSetting(row.point[key]) : "–") })),
    ...found.objectives.flatMap((metric) => [
      { title: `mean ${words(metric)}`, number: true, best: bestOf(metric, found.higher_is_better), value: (row) => row.mean[metric] ?? null },
      { title: "sd", number: true, value: (row) => row.sd[metric] ?? null },
    ]),
    ...(several ? [{ title: "front", value: (row) => (row.is_on_front ? "yes" : "") }] : []),
    { title: "runs", number: true, value: (row) => row.num }, { title: "failed", number: true, value: (row) => row.failed },
    ...(told.bests.length ? [{ title: several ? `p, ${words(told.bests[0].metric)}` : "p", number: true, value: p }] : []),
    { title: "time", number: true, value: (row) => row.seconds, show: (row) => duration(row.seconds) },
  ];
  return el("div", { class: "card" }, said.length ? said : el("p", { class: "verdict" }, "No job has a value yet."),
    several ? el("p", { class: "sub" }, `Pareto front: ${front} of ${told.settings.length} settings, which no other beats in every metric.`) : null,
    el("div", { class: "scroll limit" }, sortable(columns, told.settings, { id: "settings-table" })));
}

// Of several objectives one against another, and each against the settings that take several values.
function settingPlots(found) {
  const grid = el("div", { class: "charts" });
  const [first, second] = found.objectives;
  if (second && found.verdict) {
    const both = found.verdict.settings.filter((one) => first in one.mean && second in one.mean);
    const points = both.map((one) => ({ x: one.mean[first], y: one.mean[second], label: named(one.point) }));
    if (points.length > 1) grid.append(new PointChart(`${words(second)} against ${words(first)}`, points, null).node);
  }
  for (const metric of found.objectives) for (const name of found.settings) {
    const told = found.rows.filter((row) => name in row.settings && typeof row.metrics[metric] === "number");
    const values = told.map((row) => row.settings[name]);
    if (told.length < 3 || new Set(values.map(String)).size < 2) continue; // two points say nothing
    const numeric = values.every((value) => typeof value === "number");
    const categories = numeric ? null : [...new Set(values.map(shownValue))].sort();
    const points = told.map((row) => ({
      x: numeric ? row.settings[name] : categories.indexOf(shownValue(row.settings[name])), y: row.metrics[metric], label: named(row.settings),
    }));
    grid.append(new PointChart(`${words(metric)} against ${name}`, points, categories, data.by_logarithm[name]).node);
  }
  return grid;
}

function sweep() {
  const found = data.sweep;
  if (!found) return null;
  const columns = [
    ...found.settings.map((name) => ({ title: name, value: (row) => (row.settings[name] ?? null), number: found.rows.every((row) => typeof row.settings[name] === "number"), show: (row) => (name in row.settings ? shownSetting(row.settings[name]) : "–") })),
    ...found.metrics.map((name) => ({ title: words(name), number: true, best: bestOf(name, { ...data.higher_is_better, ...found.higher_is_better }), value: (row) => (row.metrics[name] ?? null) })),
    { title: "status", value: (row) => row.status, show: (row) => el("span", { class: `pill ${row.status}` }, row.status) },
    { title: "run", value: (row) => row.run },
  ];
  const judged = verdict(found);
  return section("sweep", judged ? "Sweep" : "Settings", judged, judged ? el("h3", { class: "gap" }, "Every job") : null, el("div", { class: "card scroll limit" }, sortable(columns, found.rows, { id: "sweep-table" })), el("p", {}), settingPlots(found));
}

const starts = [];
document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
const confusions = runs.map((run) => confusionSection(run, runs.length > 1)).filter((node) => node);
const parts = [
  sweep(), runs.length === 1 ? tiles(runs[0]) : comparison(), curves(), samplesSection(runs), ...hookSections(runs),
  scoreSection(runs), picturesSection(runs, "scores", "Score through training", "against the step; dashed what real images get"),
  confusions.length ? section("confusion", "Confusion matrix", ...confusions) : null,
  picturesSection(runs, "predictions", "Predictions", "errors first, framed in red, as said (true)"),
  picturesSection(runs, "explained", "Explained", (run) => `of step ${number(run.explained_step)}. Of images: red speaks for what was said, blue against it; errors framed, as said (true). Of a table: by how much the metric gets worse where a feature is shuffled.`),
  !runs.some((run) => run.explained) && confusions.length ? section("explained", "Explained", el("p", { class: "sub" }, "Nothing is kept: runs explain RUN --keep puts it here.")) : null,
  picturesSection(runs, "neighbours", "Nearest training images",
    "left a sample, right its neighbours, the nearest first; half of the samples as they come, half those that are nearest of a thousand"),
  picturesSection(runs, "interpolation", "Interpolation", "strips from one latent to another"), configSection(runs), logSection(runs),
].filter((part) => part);
document.body.append(
  header(),
  el("nav", {}, el("div", {}, parts.map((part) => el("a", { href: `#${part.id}` }, part.querySelector("h2").textContent)))),
  el("main", {}, parts),
  el("footer", {}, `Made by trainwright ${data.version} on ${data.made}. This file needs no network. Charts: uPlot, MIT licence.`),
);
if (!document.getElementById("curves")) starts.push(() => charts.forEach((chart) => chart.draw()));
starts.forEach((start) => start());
addEventListener("resize", () => charts.forEach((chart) => chart.resize()));
