// Charts: figures over Observable Plot, each with a title, a description and its numbers as a table.
"use strict";
globalThis.charts = (() => {
  const {h, s, num, scroll} = ui;
  const COLOURS = 8;
  const DASHES = [null, "7 3", "2 3", "9 3 2 3"];
  const colour = (i) => (i < 0 ? "var(--muted)" : `var(--s${i % COLOURS})`);
  // Where no labels stand at the lines, dashes tell them apart from the first on.
  const dash = (i, dashed) => DASHES[(dashed ? i : Math.floor(i / COLOURS)) % DASHES.length];

  // draw(width) -> svg; drawn again when the width changes
  function figure({title, description, draw, table}) {
    const place = h("div", {class: "plot"});
    const element = h("figure", {}, h("figcaption", {}, h("strong", {text: title}), description && h("span", {text: ` ${description}`})), place, table && h("details", {}, h("summary", {text: "The numbers"}), table()));
    let width = 0;
    function again() {
      const now = Math.round(place.clientWidth);
      if (!now || now === width) return;
      width = now;
      const svg = draw(width);
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", `${title}. ${description || ""} The numbers stand in the table below.`);
      place.replaceChildren(svg);
    }
    new ResizeObserver(again).observe(place);
    element.redraw = () => { width = 0; again(); };
    return element;
  }
  function numbers(caption, heads, rows) {
    return scroll(caption, h("table", {}, h("caption", {text: caption}), h("thead", {}, h("tr", {}, heads.map((t) => h("th", {scope: "col", text: t})))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((v, i) => (i ? h("td", {class: "num", text: v}) : h("th", {scope: "row", text: v}))))))));
  }
  // Which rows are drawn, as boxes that are the legend too. chosen: Set of rows; redraw() after a change.
  function chooser(names, order, chosen, redraw, dashed) {
    const slot = new Map();
    const free = () => { const used = new Set([...slot.values()]); let i = 0; while (used.has(i)) i++; return i; };
    for (const k of order) if (chosen.has(k)) slot.set(k, free());
    const swatch = (k) => s("svg", {class: "swatch", viewBox: "0 0 26 10", width: 26, height: 10, "aria-hidden": "true"},
      slot.has(k) && s("line", {x1: 1, x2: 25, y1: 5, y2: 5, stroke: colour(slot.get(k)), "stroke-width": 3, "stroke-dasharray": dash(slot.get(k), dashed)}));
    const boxes = order.map((k) => {
      const mark = h("span", {class: "slot"}, swatch(k));
      return h("label", {class: "check"}, h("input", {type: "checkbox", checked: chosen.has(k), onchange: (e) => {
        if (e.target.checked) { chosen.add(k); slot.set(k, free()); } else { chosen.delete(k); slot.delete(k); }
        mark.replaceChildren(swatch(k));
        redraw();
      }}), mark, h("span", {text: names[k]}));
    });
    return {slot, element: h("fieldset", {class: "chooserlist"}, h("legend", {text: "Shown"}), boxes)};
  }
  // Labels at the ends of lines, pushed apart; positions in pixels.
  function spread(items, gap, low, high) {
    const sorted = [...items].sort((a, b) => a.y - b.y);
    for (let i = 0; i < sorted.length; i++) sorted[i].at = Math.max(sorted[i].y, i ? sorted[i - 1].at + gap : low);
    let limit = high;
    for (let i = sorted.length - 1; i >= 0; i--) { sorted[i].at = Math.min(sorted[i].at, limit); limit = sorted[i].at - gap; }
    return sorted;
  }
  const cut = (text, n) => (text.length > n ? `${text.slice(0, n - 1)}…` : text);

  // curves: [[row, steps, mean, low, high]]
  function lines(curves, names, slot, {width, x, y, band = true, domain, height = 380, step = false, labels = true}) {
    const labelled = labels && width > 560;
    const points = curves.flatMap(([k, steps, mean, low, high]) => steps.map((v, i) => ({k, x: v, y: mean[i], low: low?.[i], high: high?.[i]})));
    const single = curves.filter((c) => c[1].length === 1);
    const all = curves.flatMap((c) => c[1]);
    const span = [Math.min(...all), Math.max(...all)];
    const room = labelled ? Math.min(220, 24 + 7.2 * Math.max(0, ...curves.map((c) => cut(names[c[0]], 26).length))) : 12;
    const svg = Plot.plot({
      className: "tlb", width, height, marginLeft: 52, marginRight: room, marginBottom: 42, marginTop: 30,
      x: {label: x, domain: span[0] === span[1] ? [0, 1] : span, ticks: Math.max(3, Math.floor(width / 110)), nice: false}, y: {label: y, domain, grid: true, nice: true},
      marks: [
        band ? Plot.areaY(points.filter((d) => d.low !== undefined && d.low !== null), {x: "x", y1: "low", y2: "high", z: "k", fill: (d) => d.k, fillOpacity: 0.13, clip: true, curve: step ? "step-after" : "linear"}) : null,
        single.map(([k, , mean]) => Plot.ruleY([mean[0]], {stroke: colour(slot.get(k)), strokeWidth: 1.75, strokeDasharray: "1 4"})),
        curves.filter((c) => c[1].length > 1).map(([k, steps, mean]) => Plot.line(steps.map((v, i) => [v, mean[i]]), {stroke: colour(slot.get(k)), strokeWidth: 2, strokeDasharray: dash(slot.get(k), !labels), curve: step ? "step-after" : "linear"})),
      ],
      color: {type: "ordinal", domain: curves.map((c) => c[0]), range: curves.map((c) => colour(slot.get(c[0])))},
    });
    if (labelled && curves.length) {
      const ys = svg.scale("y").apply;
      const ends = curves.map(([k, , mean]) => ({k, y: ys(mean[mean.length - 1])}));
      for (const e of spread(ends, 15, 12, height - 40)) {
        svg.append(s("path", {d: `M${width - room + 3} ${e.y}L${width - room + 12} ${e.at}`, stroke: colour(slot.get(e.k)), fill: "none", "stroke-opacity": 0.6}),
          s("text", {class: "end", x: width - room + 15, y: e.at, dy: "0.32em", "text-anchor": "start", fill: colour(slot.get(e.k))}, cut(names[e.k], 26)));
      }
    }
    return svg;
  }
  return {figure, numbers, chooser, lines, colour, dash, spread, cut};
})();
