// Pages about the whole: methods, one method, conditions, downloads, and how to read.
"use strict";
globalThis.views_pages = (() => {
  const {h, link, chip, count, num, interval, bar, range, verdict, value, bytes, scroll} = ui;

  async function methods(index) {
    const found = await tlbenchData.load("methods");
    const about = (m) => m.known?.about || "";
    return {title: "Methods", body: [
      h("h1", {text: "Methods"}),
      h("p", {class: "lead", text: "What each method is, in the words of the plugin that brings it. A name opens where it helps and where it hurts."}),
      dataTable({
        caption: count(found.length, "method"), rows: found, filter: (m) => `${m.label} ${about(m)}`,
        columns: [
          {id: "method", title: "method", head: true, get: (m) => m.label, cell: (m) => link(`#/method/${m.id}`, m.label)},
          {id: "about", title: "what it is", sort: false, get: about, cell: (m) => h("span", {class: "wrap", text: about(m) || "not installed where this page was made"})},
          {id: "cases", title: "cases", numeric: true, get: (m) => m.rows.length},
          {id: "origin", title: "from", get: (m) => m.known?.origin || "", cell: (m) => m.known?.origin || "–"},
        ],
      }),
    ]};
  }

  async function method(index, id) {
    const found = (await tlbenchData.load("methods")).find((m) => m.id === id);
    if (!found) return null;
    const groups = await Promise.all(found.rows.map(async ([g, k]) => ({g, k, group: index.groups[g], data: await tlbenchData.load(`g${g}`)})));
    const gain = index.columns.findIndex((c) => c.key === "gain"), score = index.columns.findIndex((c) => c.key === "score");
    const f = index.points ? 100 : 1;
    const pairs = groups.flatMap(({group, data, k}) => {
      const row = data.rows[k];
      return row.reference ? [] : row.at.map((q, i) => ({group, q, title: views_plots.name(data, q), slug: data.pairs[q][2], gain: row.gain[i], low: row.low[i], high: row.high[i], seeds: row.seeds[i], verdict: row.verdict[i], compared: row.state[i] === "c"}));
    }).sort((a, b) => b.gain - a.gain);
    const scale = range(pairs.map((q) => [q.gain, q.low, q.high]));
    const known = found.known;
    const set = new Map((known?.parameters || []).map((p) => [p.name, p]));
    const all = [...new Set([...set.keys(), ...Object.keys(found.params)])];
    const tally = (v) => pairs.filter((q) => q.verdict === v).length;
    return {title: found.label, body: [
      h("p", {class: "crumbs"}, link("#/methods", "Methods")),
      h("h1", {text: found.label}),
      known ? [h("p", {class: "lead", text: known.about}), known.doc !== known.about && h("div", {class: "doc"}, known.doc.split(/\n\n+/).slice(1).map((t) => h("p", {class: t.includes("\n") ? "pre" : ""}, ui.ticks(t)))),
        h("dl", {class: "facts"},
          known.papers.length > 0 && h("div", {}, h("dt", {text: "paper"}), h("dd", {text: known.papers.join("; ")})),
          h("div", {}, h("dt", {text: "plugin"}), h("dd", {text: `${found.plugin}, from ${known.origin}`})),
          Object.entries(known.facts).map(([k, v]) => h("div", {}, h("dt", {text: k.replaceAll("_", " ")}), h("dd", {}, value(v)))))]
        : h("p", {class: "none", text: `The plugin '${found.plugin}' was not installed where this page was made, so only the records speak of it.`}),
      all.length > 0 && scroll("Parameters", h("table", {}, h("caption", {text: "Parameters"}), h("thead", {}, h("tr", {}, ["parameter", "here", "default", "meaning"].map((t) => h("th", {scope: "col", text: t})))),
        h("tbody", {}, all.map((n) => { const own = n in found.params ? JSON.stringify(found.params[n]) : "–", usual = set.has(n) ? (set.get(n).required ? "required" : JSON.stringify(set.get(n).default)) : "–";
          return h("tr", {}, h("th", {scope: "row", text: n}), h("td", {}, own !== usual && usual !== "–" ? h("strong", {text: own}) : own), h("td", {text: usual}), h("td", {class: "wrap", text: set.get(n)?.doc || ""})); })))),
      h("h2", {text: "How it does"}),
      scroll("By case", h("table", {}, h("caption", {text: "In each case: score, gain over the reference, and how often it helps and hurts."}),
        h("thead", {}, h("tr", {}, ["case", "score", "gain", "pairs"].map((t) => h("th", {scope: "col", text: t})))),
        h("tbody", {}, groups.map(({group, data, k}) => { const row = data.rows[k]; const n = (v) => (row.verdict || "").split(v).length - 1; return h("tr", {},
          h("th", {scope: "row"}, link(`#/g/${group.id}`, group.title)), h("td", {class: "num", text: row.cells[score][1]}), h("td", {class: "num", text: row.cells[gain][1]}),
          h("td", {}, row.reference ? "–" : `${n("+")}▲ ${n("-")}▼ ${n("0")}·`)); })))),
      found.inapplicable.length > 0 && h("p", {class: "none"}, "Not applicable: ", found.inapplicable.map(([g, why], i) => [i ? "; " : "", `${index.groups[g].title} (${why})`])),
      pairs.length > 0 && [
        h("h2", {text: "Where it helps, and where it hurts"}),
        dataTable({
          caption: h("span", {}, `${count(pairs.length, "pair")}, from the highest gain to the lowest: `, h("span", {class: "verdict vgood", text: `${tally("+")}▲ help`}), ", ", h("span", {class: "verdict vbad", text: `${tally("-")}▼ hurt`}), `, ${tally("0")}· undecided.`),
          rows: pairs, filter: (q) => `${q.title} ${q.group.title}`,
          tools: [(setWanted) => h("label", {class: "field"}, h("span", {text: "Show"}), h("select", {"aria-label": "Pairs shown", onchange: (e) => setWanted((q) => e.target.value === "all" || q.verdict === e.target.value)},
            [["all", "all pairs"], ["+", "▲ helps"], ["-", "▼ hurts"], ["0", "· undecided"]].map(([v, t]) => h("option", {value: v, text: t}))))],
          columns: [
            {id: "pair", title: "pair", head: true, get: (q) => q.title, cell: (q) => [link(`#/g/${q.group.id}/pair/${q.slug}`, q.title), !q.compared && [" ", chip("not compared", "warn", "other rows lack this pair")]]},
            ...(groups.length > 1 ? [{id: "case", title: "case", get: (q) => q.group.title}] : []),
            {id: "gain", title: "gain", numeric: true, get: (q) => q.gain, cell: (q) => h("span", {class: "gain"}, bar(q.gain, q.low, q.high, scale, q.verdict), h("span", {text: `${num(q.gain, true)} ${interval(q.low, q.high)}`}))},
            {id: "verdict", title: "verdict", get: (q) => ui.VERDICTS[q.verdict], cell: (q) => verdict(q.verdict)},
            {id: "seeds", title: "seeds", numeric: true, get: (q) => q.seeds},
          ],
        }),
      ],
    ]};
  }

  function conditions(index) {
    return {title: "Conditions", body: [
      h("h1", {text: "Conditions of measurement"}),
      h("p", {class: "lead", text: "With what, where and when the numbers were measured, what is missing, and who checked it."}),
      h("dl", {class: "facts"}, index.conditions.map(([k, v]) => h("div", {}, h("dt", {text: k}), h("dd", {text: v})))),
      h("h2", {text: "Runs and their standing"}),
      scroll("Runs", h("table", {}, h("caption", {}, ui.ticks("Self-reported: nobody else has run a sample of the trials again. `tlbench verify` does.")), h("thead", {}, h("tr", {}, ["run", "standing", "records"].map((t) => h("th", {scope: "col", text: t})))),
        h("tbody", {}, index.runs.map((r) => h("tr", {}, h("th", {scope: "row", text: r.name}), h("td", {class: "wrap"}, chip(r.status, r.status === "verified" ? "ok" : r.status === "failed" ? "warn" : ""), " ", r.standing),
          h("td", {}, `${count(r.records, "record")}: `, r.files.map((file, i) => [i ? ", " : "", link(`${r.folder}/records/${file}`, file)]))))))),
      h("h2", {text: "Notes"}),
      index.notes.length ? h("ul", {class: "notes"}, index.notes.map(([, text]) => h("li", {text}))) : h("p", {text: "Nothing is missing and nothing is special."}),
      index.suites.filter((one) => one.description || one.expect).map((one) => h("section", {}, h("h2", {text: one.name}), h("p", {text: one.description}), one.expect && h("p", {}, h("strong", {text: "Expected: "}), one.expect))),
    ]};
  }

  function downloads(index) {
    return {title: "Downloads", body: [
      h("h1", {text: "Downloads"}),
      h("p", {class: "lead", text: "Every number of this page, for people, spreadsheets, papers and programs."}),
      scroll("Files", h("table", {}, h("caption", {text: "The board"}), h("thead", {}, h("tr", {}, ["file", "what it is", "size"].map((t) => h("th", {scope: "col", text: t})))),
        h("tbody", {}, index.downloads.map(([file, size, about]) => h("tr", {}, h("th", {scope: "row"}, link(`downloads/${file}`, file, {download: ""})), h("td", {class: "wrap", text: about}), h("td", {class: "num", text: bytes(size)})))))),
      scroll("Records", h("table", {}, h("caption", {}, "The records: one line of JSON with a checksum for each trial. Each folder is a run as tlbench writes it: ", h("code", {text: `tlbench leaderboard ${index.runs[0]?.folder || "runs/RUN"}`}), " makes the board again."), h("thead", {}, h("tr", {}, ["file", "records"].map((t) => h("th", {scope: "col", text: t})))),
        h("tbody", {}, index.runs.flatMap((r) => r.files.map((file, i) => h("tr", {}, h("th", {scope: "row"}, link(`${r.folder}/records/${file}`, `${r.folder}/records/${file}`, {download: ""})), h("td", {class: "num", text: i ? "" : String(r.records)}))))))),
    ]};
  }

  function help(index) {
    return {title: "How to read", body: [
      h("h1", {text: "How to read this page"}),
      h("div", {class: "doc"},
        h("h2", {text: "The question"}), h("p", {text: "Does it pay to carry something over from a source to a target, and with which method? Each trial runs one method for one pair of source and target, with one seed. The same trial without transfer is its reference."}),
        h("h2", {text: "Gain"}), h("p", {text: "Score minus the reference's score on the same target data, budget, selection rule and seed. Gains do not change when another method joins the board, ranks do; so the board is ordered by gain."}),
        h("h2", {text: "How sure"}), h("p", {text: "Intervals are 95 %. That of a mean gain, in brackets, says what other sources and targets like these would show; with few of them it is wide. The ± beside it is of these very pairs: what other seeds would change. For one pair, a method helps ▲ or hurts ▼ where the interval over its seeds leaves out zero. Else it is undecided ·: the seeds do not settle it. One seed gives no interval and no verdict. "}),
        h("h2", {text: "Negative transfer"}), h("p", {text: "The share of pairs that hurt, with its interval; its depth, the mean of the losses; and the worst pair by name. A method with a good average may still hurt where you need it: look at the pair that is most like your case."}),
        h("h2", {text: "What may not be compared"}), h("p", {text: "Rows are compared on the pairs and seeds that all of them have, and what is missing is counted, never averaged over. Rows marked oracle chose their result by test labels: they bound what is possible and are no fair result. Speeds are ranked within one device only. Other tasks, backbones and protocols stand in other cases."}),
        h("h2", {text: "Whom to believe"}), h("p", {text: "Verified: a sample of the trials was run again by who publishes this page, and came out the same. Self-reported: not so. Every trial's page has its record and a suite file to run it again."})),
      scroll("Columns", h("table", {}, h("caption", {text: "Columns of the board"}), h("thead", {}, h("tr", {}, ["column", "unit", "meaning", "better"].map((t) => h("th", {scope: "col", text: t})))),
        h("tbody", {}, index.columns.map((c) => h("tr", {}, h("th", {scope: "row", text: c.title}), h("td", {text: c.unit}), h("td", {class: "wrap", text: c.doc}), h("td", {text: c.better})))))),
    ]};
  }
  return {methods, method, conditions, downloads, help};
})();
