// One pair with its trials, one trial with everything needed to run it again, one training of a source.
"use strict";
globalThis.views_trial = (() => {
  const {h, link, chip, count, num, interval, bar, range, verdict, value, seconds, scroll} = ui;
  const STATUS = {ok: "ok", skipped: "", missing: "warn"};

  async function pair(index, g, slug) {
    const group = index.groups[g], data = await tlbenchData.load(`g${g}`);
    const q = data.pairs.findIndex((one) => one[2] === slug);
    if (q < 0) return null;
    const title = views_plots.name(data, q);
    const free = data.pairs[q][0] < 0 ? -1 : data.pairs.findIndex(([a, b]) => a < 0 && b === data.pairs[q][1]);
    const here = await chunk(g, q), shared = free >= 0 ? await chunk(g, free) : null;
    const rows = data.rows.map((row, k) => ({row, k, i: row.reference ? -1 : row.at.indexOf(q)})).filter((r) => r.i >= 0)
      .map(({row, k, i}) => ({row, k, gain: row.gain[i], low: row.low[i], high: row.high[i], seeds: row.seeds[i], verdict: row.verdict[i], state: row.state[i]})).sort((a, b) => b.gain - a.gain);
    const scale = range(rows.map((r) => [r.gain, r.low, r.high]));
    const trials = [...(here?.trials || []).map((t) => ({...t, slug})), ...(shared?.trials || []).map((t) => ({...t, slug: data.pairs[free][2], shared: true}))];
    const each = [...(here?.curves || []), ...(shared?.curves || [])].filter((c) => c[1].length > 0).sort((a, b) => a[0] - b[0]);
    let curves = null;
    if (each.some((c) => c[1].length > 1)) {
      await tlbenchData.charts();
      curves = views_plots.curveFigure(index, data, each, {title: `Learning curves of ${title}`, names: data.rows.map((r) => r.label), against: group.against, x: "steps", description: `Mean ${index.metric} over the seeds; band: 95 % interval over seeds (Student).`});
    }
    const n = (v) => rows.filter((r) => r.verdict === v).map((r) => r.row.label);
    const names = (list) => (list.length > 5 ? `${list.slice(0, 5).join(", ")} and ${list.length - 5} more` : list.join(", "));
    return {title: `${title}, ${group.task}`, body: [
      h("p", {class: "crumbs"}, link("#/", "Overview"), " › ", link(`#/g/${group.id}`, group.title), " › ", link(`#/g/${group.id}/heat`, "sources × targets")),
      h("h1", {text: title}),
      h("p", {class: "lead"}, group.task, " ", h("span", {class: "chip", text: group.backbone}), " ", h("span", {class: "chip", text: `against ${group.against || "–"}`})),
      rows.length > 0 && h("ul", {class: "said"},
        h("li", {}, h("span", {class: "sign", "aria-hidden": "true", text: "▲"}), h("span", {text: n("+").length ? `Helps here: ${names(n("+"))}.` : "Nothing helps here beyond chance."})),
        h("li", {class: n("-").length ? "hurt" : ""}, h("span", {class: "sign", "aria-hidden": "true", text: "▼"}), h("span", {text: n("-").length ? `Hurts here: ${names(n("-"))}.` : "Nothing hurts here beyond chance."}))),
      rows.length > 0 && dataTable({
        caption: "Gain of each method on this pair, with its 95 % interval over seeds", rows, filter: (r) => r.row.label,
        columns: [
          {id: "method", title: "method", head: true, get: (r) => r.row.label, cell: (r) => [link(`#/method/${r.row.method}`, r.row.label), r.row.oracle && [" ", chip("oracle", "warn")], r.state === "m" && [" ", chip("not compared", "warn", "other rows lack this pair")]]},
          {id: "gain", title: "gain", numeric: true, get: (r) => r.gain, cell: (r) => h("span", {class: "gain"}, bar(r.gain, r.low, r.high, scale, r.verdict), h("span", {text: `${num(r.gain, true)} ${interval(r.low, r.high)}`}))},
          {id: "verdict", title: "verdict", get: (r) => ui.VERDICTS[r.verdict], cell: (r) => verdict(r.verdict)},
          {id: "seeds", title: "seeds", numeric: true, get: (r) => r.seeds},
        ],
      }),
      curves?.body,
      h("h2", {text: "Trials"}),
      dataTable({
        caption: shared ? "Every trial of this pair, and those without a source, which stand for all sources" : "Every trial of this pair", rows: trials, filter: (t) => `${label(data, t)} ${t.status} ${t.key}`,
        columns: [
          {id: "method", title: "method", head: true, get: (t) => label(data, t), cell: (t) => [label(data, t), t.shared && [" ", chip("no source")]]},
          {id: "seed", title: "seed", numeric: true, better: "lower", get: (t) => t.seed},
          {id: "status", title: "status", get: (t) => t.status, cell: (t) => h("span", {title: t.reason || null}, t.status === "ok" ? "ok" : chip(t.status, "warn"))},
          {id: "score", title: "score", numeric: true, get: (t) => t.score, cell: (t) => num(t.score)},
          {id: "gain", title: "gain", numeric: true, get: (t) => t.gain, cell: (t) => num(t.gain, true)},
          {id: "time", title: "time", numeric: true, better: "lower", get: (t) => t.time, cell: (t) => seconds(t.time)},
          {id: "key", title: "record", sort: false, get: (t) => t.key, cell: (t) => link(`#/g/${group.id}/pair/${t.slug}/${t.key}`, t.key.slice(0, 12), {class: "key", "aria-label": `trial ${t.key.slice(0, 12)}, ${label(data, t)}, seed ${t.seed}`})},
        ],
      }),
    ]};
  }
  const label = (data, t) => (t.row >= 0 ? data.rows[t.row].label : t.label);
  async function chunk(g, q) { try { return await tlbenchData.load(`g${g}p${q}`); } catch { return null; } }

  // A trial's record, put together again from the pool of its chunk.
  function record(index, trial, pool) {
    const at = (i) => (trial.fields.length && trial.fields[i] >= 0 ? pool[trial.fields[i]] : null);
    return Object.fromEntries([...index.axes, ...index.fields].map((name, i) => [name, at(i)]));
  }
  const entry = (choice) => ({...choice.params, name: choice.name, label: choice.label});
  // JSON is YAML: the suite has this one trial, its reference, and what they start from.
  // A trial without a source is planned beside any; `other` is one of the same target.
  function suite(index, r, trial, recipe, other) {
    const source = r.source || other;
    const pretrained = !source || source.name === "pretrained";
    const own = pretrained ? null : entry(source);
    const target = entry(r.target);
    return JSON.stringify({
      tlbench: 1, name: `again-${trial.key.slice(0, 12)}`,
      pairs: [[pretrained ? "pretrained" : own, target]],
      tasks: [entry(r.task)], backbones: [entry(r.backbone)], strategies: [entry(r.strategy)], seeds: [trial.seed],
      recipe: r.recipe.params, ...(recipe ? {source_recipe: recipe} : {}), metrics: index.metrics,
    }, null, 1) + "\n";
  }

  async function trial(index, g, slug, key) {
    const group = index.groups[g], data = await tlbenchData.load(`g${g}`);
    const q = data.pairs.findIndex((one) => one[2] === slug);
    const found = q < 0 ? null : await chunk(g, q);
    const one = found?.trials.find((t) => t.key === key);
    if (!one) return null;
    const r = record(index, one, found.pool);
    let recipe = null;
    for (const [parent, home] of one.parents) {
      if (!home) continue;
      const sources = await tlbenchData.load(home);
      if (sources.trials[parent]) recipe = record(index, sources.trials[parent], sources.pool).recipe?.params || recipe;
    }
    let other = null;
    const beside = r.source ? -1 : data.pairs.findIndex(([a, b]) => a >= 0 && b === data.pairs[q][1]);
    if (beside >= 0) {
      const theirs = await chunk(g, beside), first = theirs?.trials.find((t) => t.fields.length);
      if (first) other = record(index, first, theirs.pool).source;
    }
    const against = one.against;
    const facts = [
      ["score", one.score === null ? null : h("strong", {text: `${num(one.score)} ${index.points ? "points of " : ""}${index.metric}`})],
      ["gain", one.gain === null ? null : `${num(one.gain, true)} over ${group.against}`],
      ["compared with", against ? link(`#/g/${group.id}/pair/${data.pairs[against[0]][2]}/${against[1]}`, `${group.against}, ${against[1].slice(0, 12)}`) : null],
      ["starts from", one.parents.length ? one.parents.map(([parent, home], i) => [i ? ", " : "", home ? link(`#/source/${home}/${parent}`, `source training ${parent.slice(0, 12)}`) : parent.slice(0, 12)]) : null],
    ];
    return page(index, one, r, {
      title: `${label(data, one)}, seed ${one.seed}`, facts,
      crumbs: [link("#/", "Overview"), " › ", link(`#/g/${group.id}`, group.title), " › ", link(`#/g/${group.id}/pair/${slug}`, views_plots.name(data, q))],
      lead: `${views_plots.name(data, q)} · ${group.title}`,
      again: r.recipe ? suite(index, r, one, recipe, other) : null,
    });
  }
  async function source(index, home, key) {
    if (!/^s\d+$/.test(home)) return null;
    const found = await tlbenchData.load(home), one = found.trials[key];
    if (!one) return null;
    const r = record(index, {...one, key}, found.pool);
    return page(index, {...one, key, score: null}, r, {title: `Source training, seed ${one.seed}`, lead: `${r.source?.label || r.target?.label || ""} · ${r.backbone?.label || ""}`, facts: [], crumbs: [link("#/", "Overview")], again: null});
  }

  async function page(index, one, r, {title, lead, facts, crumbs, again}) {
    const run = one.where ? index.runs[one.where[0]] : null;
    const file = run && `${run.folder}/records/${run.files[one.where[1]]}`;
    const curve = r.curve;
    let figure = null;
    if (curve?.steps?.length > 1) {
      await tlbenchData.charts();
      const f = index.points ? 100 : 1;
      figure = charts.figure({title: "Learning curve", description: `${curve.metric} on ${curve.pool || "the evaluation split"}${curve.selected === null || curve.selected === undefined ? "" : `; the result is that of step ${curve.selected}`}.`,
        draw: (width) => charts.lines([[0, curve.steps, curve.scores.map((v) => f * v), null, null]], [curve.metric], new Map([[0, 0]]), {width, x: "steps", y: index.points ? "points" : curve.metric, band: false, height: 280}),
        table: () => charts.numbers("Learning curve", ["step", curve.metric], curve.steps.map((v, i) => [String(v), String(curve.scores[i])]))});
    }
    const section = (text, v) => v && h("section", {class: "part"}, h("h2", {text}), value(v));
    const git = r.environment?.git;
    return {title, body: [
      h("p", {class: "crumbs"}, crumbs),
      h("h1", {text: title}),
      h("p", {class: "lead", text: lead}),
      one.status !== "ok" && h("p", {class: "warning"}, h("strong", {text: one.status}), one.reason ? `: ${one.reason}` : ""),
      h("dl", {class: "facts"}, facts.filter(([, v]) => v !== null).map(([k, v]) => h("div", {}, h("dt", {text: k}), h("dd", {}, v))),
        h("div", {}, h("dt", {text: "key"}), h("dd", {}, h("code", {text: one.key}))),
        h("div", {}, h("dt", {text: "record"}), h("dd", {}, file ? [link(file, file), `, line ${one.where[2]}`, " ", chip(run.status, run.status === "verified" ? "ok" : "", run.standing)] : "none: not run yet")),
        r.started && h("div", {}, h("dt", {text: "ran"}), h("dd", {text: `${r.started.slice(0, 19).replace("T", " ")} to ${(r.finished || "").slice(11, 19)} UTC`}))),
      figure,
      again && h("section", {class: "part"}, h("h2", {text: "Run it again"}),
        h("p", {}, "Save this suite, and run ", h("code", {text: "tlbench run again.yaml --out runs/again"}), `. The trial of the same key ${one.key.slice(0, 12)} is this one; its reference and source training come along.`,
          git?.commit ? [" The code was at commit ", h("code", {text: git.commit}), git.dirty ? " with local changes." : "."] : "", " Relative paths of data are those of the suite's own folder."),
        h("p", {class: "buttons"}, h("button", {type: "button", onclick: () => save("again.yaml", again), text: "Save again.yaml"}), h("button", {type: "button", class: "quiet", onclick: (e) => copy(again, e.target), text: "Copy"})),
        h("details", {}, h("summary", {text: "The suite"}), h("pre", {id: "again", tabindex: "0"}, again))),
      h("div", {class: "columns"},
        section("Scores", r.metrics),
        h("section", {class: "part"}, h("h2", {text: "Trial"}), h("dl", {class: "facts"}, index.axes.filter((a) => r[a]).map((a) => h("div", {}, h("dt", {text: a}), h("dd", {}, h("strong", {text: r[a].label}), r[a].name !== r[a].label && ` (${r[a].name})`, Object.keys(r[a].params).length > 0 && value(r[a].params, 1)))))),
        section("Cost", Object.fromEntries([["seconds", r.clocks], ["throughput", r.throughput], ["bytes of memory", r.memory], ["work", r.cost]].filter(([, v]) => v))),
        section("Data", r.data), section("Random seeds", r.seeds && Object.fromEntries(Object.entries(r.seeds).map(([k, v]) => [k, String(v)]))), section("Environment", r.environment),
        section("Weights", r.artifact), section("Losses", r.losses)),
    ]};
  }
  function save(file, text) {
    const url = URL.createObjectURL(new Blob([text], {type: "text/yaml"}));
    h("a", {href: url, download: file}).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }
  async function copy(text, button) {
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; }
    catch { const pre = document.getElementById("again"); pre.closest("details").open = true; getSelection().selectAllChildren(pre); button.textContent = "Selected: press Ctrl+C"; }
  }
  return {pair, trial, source};
})();
