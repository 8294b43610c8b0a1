// The views of a group beside its board: heat map, learning curves, ranks, cost, wins and profiles.
"use strict";
globalThis.views_plots = (() => {
  const {h, s, link, num, interval, count, p, seconds, scroll, MARKS, VERDICTS, chip} = ui;
  const name = (data, q) => { const [a, b] = data.pairs[q]; return a < 0 ? data.targets[b] : `${data.sources[a]} → ${data.targets[b]}`; };
  const unit = (index) => (index.points ? `${index.metric}, points` : index.metric);
  const methods = (data) => data.rows.map((row, k) => k).filter((k) => !data.rows[k].reference);

  // One of nine classes from −4 to 4 by size on the scale of the whole group.
  function bin(value, most) {
    const t = Math.abs(value) / (most || 1);
    const b = t < 0.04 ? 0 : t < 0.2 ? 1 : t < 0.45 ? 2 : t < 0.75 ? 3 : 4;
    return `q${value < 0 && b ? "m" : ""}${b}`;
  }
  function most(data) {
    const sizes = data.rows.filter((r) => !r.reference).flatMap((r) => r.gain).filter((v) => v !== null).map(Math.abs).sort((a, b) => a - b);
    return sizes.length ? sizes[Math.floor(0.95 * (sizes.length - 1))] : 1;
  }
  function matrix(index, g, data, k, top, small) {
    const group = index.groups[g], row = data.rows[k];
    const at = new Map(row.at.map((q, i) => [q, i])), missing = new Set(row.missing);
    const places = new Map(data.pairs.map(([a, b], q) => [`${a},${b}`, q]));
    const used = data.sources.map((_, a) => a).filter((a) => data.targets.some((_, b) => { const q = places.get(`${a},${b}`); return q !== undefined && (at.has(q) || missing.has(q)); }));
    if (!used.length) used.push(-1);
    const wide = data.targets.length > 8;
    const cell = (a, b) => {
      const q = places.get(`${a},${b}`), i = at.get(q);
      if (q === undefined || (i === undefined && !missing.has(q))) return h("td", {class: "no"}, h("span", {text: "–", title: "no such pair"}));
      if (i === undefined) return h("td", {class: "missing"}, link(`#/g/${group.id}/pair/${data.pairs[q][2]}`, "✗", {title: `${name(data, q)}: planned, without a result`, "aria-label": `${name(data, q)}: no result`}));
      const v = row.verdict[i], gain = row.gain[i];
      const label = `${name(data, q)}: ${num(gain, true)} ${interval(row.low[i], row.high[i])}, ${VERDICTS[v]}, ${count(row.seeds[i], "seed")}${row.state[i] === "m" ? ", not compared" : ""}`;
      return h("td", {class: `${bin(gain, top)} ${row.state[i] === "m" ? "apart" : ""}`}, h("a", {href: `#/g/${group.id}/pair/${data.pairs[q][2]}`, title: label, "aria-label": label},
        num(gain, true), " ", h("span", {class: "m", "aria-hidden": "true", text: MARKS[v]})));
    };
    return scroll(`Gains of ${row.label}`, h("table", {class: `heat ${small ? "small" : ""} ${wide ? "wide" : ""}`},
      h("caption", {}, h("strong", {}, link(`#/method/${row.method}`, row.label)), small ? "" : ": source down, target across"),
      h("thead", {}, h("tr", {}, h("th", {scope: "col"}, h("span", {class: "corner", text: used[0] < 0 ? "target" : "source ↓ target →"})), data.targets.map((t) => h("th", {scope: "col"}, h("span", {text: t}))))),
      h("tbody", {}, used.map((a) => h("tr", {}, h("th", {scope: "row", text: a < 0 ? "gain" : data.sources[a]}), data.targets.map((_, b) => cell(a, b)))))));
  }
  // Of one or two pairs: methods down, pairs across.
  function together(index, g, data, rows, top) {
    const group = index.groups[g], shown = data.pairs.map((_, q) => q).filter((q) => rows.some((k) => data.rows[k].at.includes(q)));
    return scroll("Gains of all methods", h("table", {class: "heat"}, h("caption", {text: "Gain of each method on each pair"}),
      h("thead", {}, h("tr", {}, h("th", {scope: "col", text: "method"}), shown.map((q) => h("th", {scope: "col"}, link(`#/g/${group.id}/pair/${data.pairs[q][2]}`, name(data, q)))))),
      h("tbody", {}, rows.map((k) => { const row = data.rows[k]; return h("tr", {}, h("th", {scope: "row"}, link(`#/method/${row.method}`, row.label)), shown.map((q) => {
        const i = row.at.indexOf(q);
        return i < 0 ? h("td", {class: "no", text: "–"}) : h("td", {class: bin(row.gain[i], top)}, h("a", {href: `#/g/${group.id}/pair/${data.pairs[q][2]}`, "aria-label": `${row.label}, ${name(data, q)}: ${num(row.gain[i], true)}, ${VERDICTS[row.verdict[i]]}`}, num(row.gain[i], true), " ", h("span", {class: "m", "aria-hidden": "true", text: MARKS[row.verdict[i]]})));
      })); }))));
  }
  function heat(index, g, data) {
    const rows = methods(data), top = most(data);
    if (!rows.length) return [h("p", {text: "No method has a gain here."})];
    const best = index.groups[g].summary.best ?? rows[0];
    const few = rows.length > 1 && data.pairs.length * rows.length <= 260 && data.targets.length <= 10;
    const place = h("div", {});
    const show = (which) => place.replaceChildren(which === "all" && data.pairs.filter(([a]) => a >= 0).length < 3 ? together(index, g, data, rows, top) : which === "all" ? h("div", {class: "multiples"}, rows.map((k) => matrix(index, g, data, k, top, true))) : matrix(index, g, data, Number(which), top));
    const pick = h("select", {"aria-label": "Method", onchange: (e) => show(e.target.value)}, few && h("option", {value: "all", text: "all methods"}), rows.map((k) => h("option", {value: String(k), selected: !few && k === best, text: data.rows[k].label})));
    show(few ? "all" : String(best));
    return [
      h("div", {class: "tools"}, h("label", {class: "field"}, h("span", {text: "Method"}), pick)),
      place,
      h("p", {class: "legend keys"}, [["qm4", `≤ ${num(-0.75 * top, true, index.points ? 0 : 2)}`], ["qm2", "hurts"], ["q0", "0"], ["q2", "helps"], ["q4", `≥ ${num(0.75 * top, true, index.points ? 0 : 2)}`]].map(([c, t]) => h("span", {class: `key ${c}`, text: t})),
        " ▲ and ▼: the interval over the seeds of the pair leaves out zero; · undecided; ? one seed; ✗ no result; – no such pair. Click a cell, or press Enter on it, for the trials behind it."),
    ];
  }

  function curves(index, g, data) {
    const found = data.curves, names = data.rows.map((r) => r.label);
    if (!found.each.length) return [h("p", {text: "There are no learning curves that all rows share."})];
    return curveFigure(index, data, found.each, {
      title: "Learning curves", names, against: index.groups[g].against,
      description: `Mean ${index.metric} over ${count(found.pairs, "pair")}; band: ${found.band}.${found.without.length ? ` Without curves here: ${found.without.join(", ")}.` : ""}`,
      x: found.share ? "share of the steps" : "steps",
    });
  }
  function curveFigure(index, data, each, {title, description, names, against, x}) {
    const order = each.map((c) => c[0]);
    const chosen = new Set(order.filter((k) => !data.rows[k].reference).slice(0, 5));
    for (const k of order) if (data.rows[k].label === against) chosen.add(k);
    const pick = charts.chooser(names, order, chosen, () => figure.redraw());
    const figure = charts.figure({
      title, description,
      draw: (width) => { const shown = each.filter((c) => chosen.has(c[0])); return charts.lines(shown, names, pick.slot, {width, x, y: unit(index), domain: index.points ? bounds(shown) : undefined}); },
      table: () => charts.numbers(`${title}: mean at the first, middle and last point, with the interval of the last`, ["method", "first", "middle", "last", "interval"],
        each.map(([k, steps, mean, low, high]) => [names[k], num(mean[0]), num(mean[Math.floor(mean.length / 2)]), num(mean[mean.length - 1]), low ? `[${num(low[low.length - 1])}, ${num(high[high.length - 1])}]` : "–"])),
    });
    return {body: [figure, pick.element], after: []};
  }

  // Bands may pass the ends of the scale, scores in points do not.
  function bounds(each) {
    const values = each.flatMap(([, , mean, low, high]) => [...mean, ...(low || []), ...(high || [])]).filter((v) => v !== null);
    return values.length ? [Math.max(0, Math.min(...values)), Math.min(100, Math.max(...values))] : undefined;
  }

  // Demšar's diagram: mean ranks on a line, bars join what cannot be told apart.
  function diagram(width, names, ranks, cliques, difference) {
    const k = ranks.length, order = ranks.map((_, i) => i).sort((a, b) => ranks[a] - ranks[b]);
    const half = Math.ceil(k / 2), narrow = width < 620;
    const side = narrow ? Math.min(130, width * 0.32) : Math.min(230, width * 0.27);
    const x = d3.scaleLinear([1, k], [side + 14, width - side - 14]);
    const axis = 56, bars = axis + 16 + cliques.length * 9;
    const height = bars + 18 + half * 21;
    const svg = s("svg", {class: "cd", viewBox: `0 0 ${width} ${height}`, width, height});
    const text = (v, X, Y, anchor, extra) => s("text", {x: X, y: Y, "text-anchor": anchor, ...extra}, v);
    svg.append(s("line", {x1: x(1), x2: x(k), y1: axis, y2: axis, class: "axis"}));
    const every = Math.max(1, Math.ceil(k / Math.max(2, Math.floor((x(k) - x(1)) / 34))));
    for (let r = 1; r <= k; r += every) svg.append(s("line", {x1: x(r), x2: x(r), y1: axis - 5, y2: axis, class: "axis"}), text(String(r), x(r), axis - 9, "middle", {class: "small"}));
    if (difference) {
      const end = Math.min(x(1) + difference * (x(k) - x(1)) / (k - 1), x(k));
      svg.append(s("path", {d: `M${x(1)} 12V20M${x(1)} 16H${end}M${end} 12V20`, class: "cdbar"}), text(`critical difference ${difference.toFixed(2)}`, x(1), 9, "start", {class: "small"}));
    }
    cliques.forEach((clique, i) => {
      const its = clique.map((c) => ranks[c]);
      svg.append(s("line", {x1: x(Math.min(...its)) - 4, x2: x(Math.max(...its)) + 4, y1: axis + 12 + 9 * i, y2: axis + 12 + 9 * i, class: "clique"}));
    });
    order.forEach((i, place) => {
      const left = place < half, row = left ? place : k - 1 - place, y = bars + 16 + row * 21;
      const to = left ? side + 4 : width - side - 4;
      const label = charts.cut(names[i], Math.floor((side - 44) / 7));
      svg.append(s("path", {d: `M${x(ranks[i])} ${axis}V${y}H${to}`, class: "lead"}), s("circle", {cx: x(ranks[i]), cy: axis, r: 3}),
        text(left ? `${label}  ${ranks[i].toFixed(2)}` : `${ranks[i].toFixed(2)}  ${label}`, left ? side : width - side, y, left ? "end" : "start", {dy: "0.32em"}));
    });
    return svg;
  }
  function ranks(index, g, data) {
    const a = data.analysis, names = a.rows.map((k) => data.rows[k].label);
    if (!a.ranks.length) return [h("p", {class: "warning", text: `There are no ranks here: ${a.reasons.ranks || "too little to compare"}.`})];
    const means = a.ranks.map((r) => r[0]);
    const test = a.friedman ? `Friedman's test that all rows are alike: χ² = ${a.friedman[0].toFixed(1)}, ${p(a.friedman[1])}.` : `No Friedman test: ${a.reasons.friedman || "too few"}.`;
    const figure = charts.figure({
      title: "Critical-difference diagram",
      description: `Mean rank over ${count(a.pairs, "pair")}, 1 is best; rows under one bar cannot be told apart (Nemenyi, 5 %). ${test} Pairs that share a source or a target are not quite independent.`,
      draw: (width) => diagram(width, names, means, a.cliques, a.difference),
    });
    const rows = a.rows.map((k, i) => ({k, i, row: data.rows[k]}));
    const lowest = [1, names.length];
    const table = dataTable({
      caption: `Mean ranks with 95 % intervals over pairs${a.iqm.length ? ", and the interquartile mean of the score" : ""}. Ranks change when a row joins; gains do not.`,
      rows, filter: (r) => r.row.label, mark: (r) => (r.row.reference ? "reference" : ""), sorting: [{id: "rank", desc: false}],
      columns: [
        {id: "method", title: "method", head: true, get: (r) => r.row.label, cell: (r) => link(`#/method/${r.row.method}`, r.row.label)},
        {id: "rank", title: "mean rank", numeric: true, better: "lower", get: (r) => means[r.i], cell: (r) => { const [m, low, high] = a.ranks[r.i]; return h("span", {class: "gain"}, dots(m, low, high, lowest), h("span", {text: `${m.toFixed(2)}${low === null ? "" : ` [${low.toFixed(2)}, ${high.toFixed(2)}]`}`})); }},
        ...(a.iqm.length ? [{id: "iqm", title: "interquartile mean", numeric: true, get: (r) => a.iqm[r.i][0], cell: (r) => { const [m, low, high] = a.iqm[r.i]; return low === null ? num(m) : `${num(m)} [${num(low)}, ${num(high)}]`; }}] : []),
        {id: "score", title: "score", numeric: true, get: (r) => a.score[r.i], cell: (r) => num(a.score[r.i])},
      ],
    });
    return {body: [figure, table], after: []};
  }
  function dots(mean, low, high, range) {
    const x = (v) => 4 + 102 * (v - range[0]) / (range[1] - range[0] || 1);
    return s("svg", {class: "bar even", viewBox: "0 0 110 16", width: 110, height: 16, "aria-hidden": "true"},
      low !== null && s("line", {class: "whisker", x1: x(low), x2: x(high), y1: 8, y2: 8}), s("circle", {cx: x(mean), cy: 8, r: 4}));
  }

  function cost(index, g, data) {
    const a = data.analysis;
    const items = a.rows.map((k, i) => ({k, i, label: data.rows[k].label, row: data.rows[k], x: a.cost[i], y: a.score[i], front: a.pareto.includes(i)})).filter((d) => d.x !== null && d.x > 0 && d.y !== undefined);
    if (items.length < 2) return [h("p", {class: "warning", text: `There is no such plot here: ${a.reasons.pareto || "fewer than two rows have a known cost"}.`})];
    const front = items.filter((d) => d.front).sort((b, c) => b.x - c.x);
    const figure = charts.figure({
      title: "Score against cost",
      description: `Seconds to the result with the whole of the source's training, on a logarithmic axis. Filled dots on the line are the Pareto front: nothing is both cheaper and better. Costs hold for the devices named under conditions.`,
      draw: (width) => {
        const svg = Plot.plot({
          className: "tlb", width, height: 420, marginLeft: 52, marginBottom: 42, marginTop: 30, marginRight: width > 560 ? 130 : 20,
          x: {type: "log", label: "cost, seconds", grid: true, ticks: Math.max(2, Math.floor(width / 160)), tickFormat: (v) => seconds(v).replace(/(\.\d*?)0+ /, "$1 ").replace(". ", " ")}, y: {label: unit(index), grid: true, nice: true}, inset: 10,
          marks: [
            Plot.line(front, {x: "x", y: "y", stroke: "var(--good)", strokeWidth: 1.5, curve: "step-after"}),
            Plot.dot(items.filter((d) => !d.front), {x: "x", y: "y", r: 4.5, stroke: "var(--muted)", strokeWidth: 1.5, fill: "var(--paper)", symbol: (d) => (d.row.reference ? "square" : "circle"), title: (d) => `${d.label}: ${num(d.y)} in ${seconds(d.x)}`}),
            Plot.dot(items.filter((d) => d.front), {x: "x", y: "y", r: 5.5, fill: "var(--good)", title: (d) => `${d.label}: ${num(d.y)} in ${seconds(d.x)}`}),
          ],
          symbol: {type: "identity"},
        });
        const X = svg.scale("x").apply, Y = svg.scale("y").apply;
        // Above and left of the front there is nothing; so its names stand there, the others' to the right.
        const names = (of, up) => charts.spread(of.map((e) => ({...e, y: Y(e.y) - up})), 14, 24, 372);
        for (const d of [...names(front, 11), ...(items.length <= 14 ? names(items.filter((e) => !e.front), 0) : [])]) {
          const left = d.front && X(d.x) > 190;
          svg.insertBefore(s("text", {class: `end ${d.front ? "front" : "plain"}`, x: X(d.x) + (left ? -7 : 9), y: d.at, dy: "0.32em", "text-anchor": left ? "end" : "start"}, charts.cut(d.label, 18)), svg.querySelector('g[aria-label="dot"]'));
        }
        return svg;
      },
    });
    const table = dataTable({
      caption: "Score and cost", rows: items, filter: (d) => d.label, sorting: [{id: "cost", desc: false}], mark: (d) => (d.row.reference ? "reference" : ""),
      columns: [
        {id: "method", title: "method", head: true, get: (d) => d.label, cell: (d) => [link(`#/method/${d.row.method}`, d.label), d.front && [" ", chip("on the front", "ok")]]},
        {id: "score", title: "score", numeric: true, get: (d) => d.y, cell: (d) => num(d.y)},
        {id: "cost", title: "cost", numeric: true, better: "lower", get: (d) => d.x, cell: (d) => seconds(d.x)},
      ],
    });
    return {body: [figure, table], after: []};
  }

  function wins(index, g, data) {
    const a = data.analysis, names = a.rows.map((k) => data.rows[k].label), body = [];
    const parts = [["profile", "Performance profile", `Share of pairs and seeds in which the score is above a threshold (Agarwal et al. 2021); the higher line is better.`, unit(index)],
      ["ratios", "Error ratios", "Share of pairs in which the error is within a factor of the least error of all rows (Dolan & Moré 2002).", "factor"]];
    for (const [part, title, description, x] of parts) {
      const found = a[part];
      if (!found) { body.push(h("p", {class: "none", text: `${title}: none here, ${a.reasons[part] || "too little to compare"}.`})); continue; }
      const each = found.shares.map((shares, i) => [i, found.thresholds, shares, null, null]);
      const chosen = new Set(each.map((c) => c[0]).slice(0, 6));
      const pick = charts.chooser(names, each.map((c) => c[0]), chosen, () => figure.redraw(), part === "profile");
      const figure = charts.figure({title, description,
        draw: (width) => charts.lines(each.filter((c) => chosen.has(c[0])), names, pick.slot, {width, x, y: "share", band: false, domain: [0, 1], height: 320, step: true, labels: part !== "profile"}),
        table: () => { const at = [0, 0.25, 0.5, 0.75, 1].map((f) => Math.round(f * (found.thresholds.length - 1))); return charts.numbers(title, ["method", ...at.map((i) => (part === "profile" ? num(found.thresholds[i]) : `${found.thresholds[i].toFixed(2)}×`))], each.map(([i]) => [names[i], ...at.map((j) => `${Math.round(100 * found.shares[i][j])} %`)])); }});
      body.push(figure, pick.element);
    }
    if (a.wins) {
      const k = names.length;
      body.unshift(scroll("Win matrix", h("table", {class: "heat winsm wide"},
        h("caption", {}, h("strong", {text: "Who beats whom"}), `: in how many of ${a.pairs} pairs the row is better ▲ and worse ▼ than the column, where the paired interval leaves out zero.`),
        h("thead", {}, h("tr", {}, h("th", {scope: "col"}, h("span", {class: "corner", text: "row against column"})), names.map((n) => h("th", {scope: "col"}, h("span", {text: n}))))),
        h("tbody", {}, names.map((n, i) => h("tr", {}, h("th", {scope: "row", text: n}), names.map((m, j) => {
          if (i === j) return h("td", {class: "no", text: "–"});
          const [better, , worse] = a.wins[i][j];
          const label = `${n} against ${m}: better in ${better}, worse in ${worse}, undecided in ${a.pairs - better - worse}`;
          return h("td", {class: bin(better - worse, a.pairs), title: label}, h("span", {"aria-label": label, role: "img"}, k > 20 ? `${better}·${worse}` : `${better}▲ ${worse}▼`));
        })))))));
    } else body.unshift(h("p", {class: "none", text: `No win matrix: ${a.reasons.wins || "too little to compare"}.`}));
    return {body, after: []};
  }
  return {heat, curves, ranks, cost, wins, curveFigure, name, bin, unit};
})();
