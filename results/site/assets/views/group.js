// A group: its board, and around it the other views of the same rows.
"use strict";
globalThis.views_group = async (index, g, tab) => {
  const {h, link, chip, count, num, bar, range} = ui;
  const group = index.groups[g];
  const TABS = [["board", "Board"], ["heat", "Sources × targets"], ["curves", "Learning curves"], ["ranks", "Ranks"], ["cost", "Cost"], ["wins", "Wins and profiles"]];
  if (!TABS.some(([name]) => name === tab)) return null;
  const data = await tlbenchData.load(`g${g}`);
  const place = Object.fromEntries(index.columns.map((c, i) => [c.key, i]));
  const cell = (row, key) => row.cells[place[key]] || [null, "–"];

  function board() {
    const gains = data.rows.map((row) => { const c = cell(row, "gain"), f = index.points ? 100 : 1; return [c[0] === null ? NaN : f * c[0], c[4] === undefined || c[4] === null ? null : f * c[4], c[5] === undefined || c[5] === null ? null : f * c[5]]; });
    const here = data.rows.map((row) => { const c = cell(row, "gain_here"), f = index.points ? 100 : 1; return c[4] === undefined || c[4] === null ? null : [f * c[4], f * c[5]]; });
    const scale = range(gains);
    const side = (ends) => (ends === null || ends[0] === null ? "?" : ends[0] > 0 ? "+" : ends[1] < 0 ? "-" : "0");
    const sure = (i) => side([gains[i][1], gains[i][2]]);
    const at = new Map(data.rows.map((row, i) => [row, i]));
    const says = (key) => data.rows.some((row) => cell(row, key)[0] !== null);
    const several = new Set(data.rows.map((row) => cell(row, "selection")[0])).size > 1;
    const shown = new Set(["strategy", "recipe", "score", "gain", "gain_here", "verdicts", "negative_rate", "gap_closed", "training_rate", "cost_alone", "coverage", ...(several ? ["selection"] : [])]);
    const columns = [];
    for (const c of index.columns) {
      if (c.key === "recipe" || (c.key !== "strategy" && !says(c.key))) continue;
      if (c.key === "strategy") {
        columns.push({id: "strategy", title: "method", doc: c.doc, head: true, get: (row) => row.label, cell: (row) => [
          link(`#/method/${row.method}`, row.label),
          row.ceiling ? [" ", chip("ceiling", "", "what the target's own labels would give")] : row.reference ? [" ", chip("reference", "", "gains are measured against it, or it is a bound")] : null,
          row.oracle && [" ", chip("oracle", "warn", "chosen by test labels, so not a fair result")],
          cell(row, "coverage")[0] !== null && cell(row, "coverage")[0] < 1 && [" ", chip("incomplete", "warn", `${cell(row, "coverage")[1]} planned trials have a result`)]]});
        continue;
      }
      columns.push({
        id: c.key, title: c.title, doc: c.doc, numeric: c.numeric, better: c.better, off: !shown.has(c.key),
        get: (row) => { const v = cell(row, c.key)[0]; return v === "inf" ? Infinity : v === "never" ? -Infinity : v; },
        cell: (row) => {
          const [value, text, tone, mark] = cell(row, c.key);
          if (c.key === "gain" && value !== null) {
            const i = at.get(row);
            return h("span", {class: `gain ${{"+": "good", "-": "bad"}[sure(i)] || ""}`}, bar(...gains[i], scale, sure(i) === "0" ? side(here[i]) : sure(i), here[i]), h("span", {text}));
          }
          return h("span", {class: tone, title: mark || null, text: mark ? `${text} *` : text});
        },
      });
      if (c.key === (says("gain_here") ? "gain_here" : "gain") && says("helps")) columns.push({
        id: "verdicts", title: "pairs", doc: "in how many pairs it helps ▲, hurts ▼, or is undecided ·", numeric: true,
        get: (row) => (cell(row, "helps")[0] === null ? null : cell(row, "helps")[0] - cell(row, "hurts")[0]),
        cell: (row) => (cell(row, "helps")[0] === null ? "–" : h("span", {class: "verdicts"},
          h("span", {class: "good", text: `${cell(row, "helps")[1]}▲`}), " ", h("span", {class: "bad", text: `${cell(row, "hurts")[1]}▼`}), " ", h("span", {class: "even", text: `${cell(row, "undecided")[1]}·`}))),
      });
    }
    const tool = (set) => h("label", {class: "field"}, h("span", {text: "Show"}), h("select", {"aria-label": "Rows shown", onchange: (e) => {
      const want = e.target.value;
      set((row) => want === "all" || (!row.reference && (want === "methods" || sure(at.get(row)) === want || (want.startsWith("here") && side(here[at.get(row)]) === want[4]))));
    }}, [["all", "all rows"], ["methods", "methods only"], ["+", "▲ better, elsewhere too"], ["here+", "▲ better on these pairs"], ["here0", "· undecided on these pairs"], ["here-", "▼ worse on these pairs"]].map(([value, text]) => h("option", {value, text}))));
    return [
      dataTable({
        caption: h("span", {}, `Ordered by transfer gain over ${group.against || "the reference"}; a reference stands where its score puts it. `, count(group.compared, "pair"), ` of ${group.planned} compared. Click a heading to sort, a name for the method.`),
        class: "board", rows: data.rows, columns, choose: true, filter: (row) => row.label, tools: [tool],
        mark: (row) => (row.ceiling || row.reference ? "reference" : ""),
      }),
      h("p", {class: "legend"}, "The dot is the mean gain; the thin line its 95 % interval over other sources and targets like these, the thick one that of these very pairs under other seeds; the vertical line is zero, and an arrow says that an interval goes on. ", "Numbers are compared on the pairs and seeds that all rows have. ",
        link("#/help", "What each column means"), "."),
    ];
  }

  const holes = [
    group.disjoint && h("p", {class: "warning", text: "No pair and seed that all rows have: rows are NOT comparable."}),
    group.lacking.length > 0 && !group.disjoint && h("p", {class: "warning"}, `Compared on ${group.compared} of ${group.planned} pairs, those that all rows have: ${group.lacking.slice(0, 6).map(([n, c]) => `${n} lacks ${c}`).join("; ")}${group.lacking.length > 6 ? "; …" : ""}.`),
  ];
  const plots = globalThis.views_plots;
  const made = {board, heat: () => plots.heat(index, g, data), curves: () => plots.curves(index, g, data), ranks: () => plots.ranks(index, g, data), cost: () => plots.cost(index, g, data), wins: () => plots.wins(index, g, data)};
  if (["curves", "ranks", "cost", "wins"].includes(tab)) await tlbenchData.charts();
  const view = made[tab]();
  const [content, after] = Array.isArray(view) ? [view, []] : [view.body, view.after];
  return {
    title: `${TABS.find(([name]) => name === tab)[1]} of ${group.title}`,
    keep: false,
    body: [
      h("p", {class: "crumbs"}, link("#/", "Overview"), " › ", group.backbone),
      h("h1", {text: group.task}),
      h("p", {class: "lead", text: index.tasks[group.task] || ""}),
      h("p", {class: "axes"}, chip(group.backbone), chip(`against ${group.against || "–"}`), chip(`${count(data.sources.length, "source")}, ${count(data.targets.length, "target")}`), chip(`${count(group.competing, "method")}`)),
      h("nav", {class: "tabs", "aria-label": "Views of this case"}, TABS.map(([name, text]) => link(`#/g/${group.id}/${name}`, text, {"aria-current": name === tab ? "page" : null}))),
      holes,
      content,
    ],
    after,
  };
};
