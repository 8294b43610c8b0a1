// Elements and numbers. Text enters the page as text nodes only, whatever it is.
"use strict";
globalThis.ui = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const MINUS = "\u2212";
  const MARKS = {"+": "▲", "-": "▼", "0": "·", "?": "?"};
  const VERDICTS = {"+": "helps", "-": "hurts", "0": "undecided", "?": "one seed, no interval"};

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name === "text") element.textContent = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "vars") for (const [key, v] of Object.entries(value)) element.style.setProperty(key, v);
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
    return element;
  }
  const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

  const digits = () => (tlbenchData.get("index").points ? 1 : 3);
  function num(value, signed, places = digits()) {
    if (value === null || value === undefined || !Number.isFinite(value)) return "–";
    const shown = Math.abs(value).toFixed(places);
    if (Number(shown) === 0) return shown;
    return (value < 0 ? MINUS : signed ? "+" : "") + shown;
  }
  const interval = (low, high) => (low === null || low === undefined ? "" : `[${num(low, true)}, ${num(high, true)}]`);
  const count = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : many || `${one}s`}`;
  function p(value) {
    return value === null ? "–" : value < 0.001 ? "p < 0.001" : `p = ${value.toFixed(3)}`;
  }
  function seconds(value) {
    if (value === null || value === undefined) return "–";
    if (value < 0.1) return `${(1000 * value).toPrecision(2)} ms`;
    if (value < 100) return `${value.toPrecision(3)} s`;
    const m = Math.round(value / 60);
    return m < 60 ? `${m} min` : `${Math.floor(m / 60)} h ${m % 60} min`;
  }
  function bytes(value) {
    for (const unit of ["B", "KiB", "MiB"]) {
      if (value < 1000) return `${unit === "B" ? value : value.toPrecision(3)} ${unit}`;
      value /= 1024;
    }
    return `${value.toPrecision(3)} GiB`;
  }

  // An interval drawn on a scale that a whole column shares; the numbers stand beside it.
  function bar(gain, low, high, range, verdict, here) {
    const width = 110, height = 16;
    const x = (v) => 3 + (width - 6) * (Math.min(Math.max(v, range[0]), range[1]) - range[0]) / (range[1] - range[0] || 1);
    const tone = {"+": "good", "-": "bad"}[verdict] || "even";
    const known = low !== null && low !== undefined;
    return s("svg", {class: `bar ${tone}`, viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true"},
      s("line", {class: "zero", x1: x(0), x2: x(0), y1: 0, y2: height}),
      known && s("line", {class: "whisker", x1: x(low), x2: x(high), y1: height / 2, y2: height / 2}),
      here && s("line", {class: "here", x1: x(here[0]), x2: x(here[1]), y1: height / 2, y2: height / 2}),
      known && low < range[0] && s("path", {class: "cut", d: `M6 ${height / 2 - 4}L1 ${height / 2}L6 ${height / 2 + 4}`}),
      known && high > range[1] && s("path", {class: "cut", d: `M${width - 6} ${height / 2 - 4}L${width - 1} ${height / 2}L${width - 6} ${height / 2 + 4}`}),
      s("circle", {cx: x(gain), cy: height / 2, r: 4}));
  }
  // A scale for bars: all means and most of the intervals, with zero; what is wider gets an arrow.
  function range(triples) {
    const means = triples.map((t) => t[0]).filter(Number.isFinite);
    const ends = triples.flatMap((t) => [t[1], t[2]]).filter((v) => v !== null && v !== undefined).map(Math.abs).sort((a, b) => a - b);
    const usual = ends.length ? ends[Math.floor(0.9 * (ends.length - 1))] : 0, widest = ends[ends.length - 1] || 0;
    const most = widest <= 2 * usual ? widest : usual;
    const low = Math.min(0, ...means, ...triples.map((t) => Math.max(t[1] ?? 0, -most)));
    const high = Math.max(0, ...means, ...triples.map((t) => Math.min(t[2] ?? 0, most)));
    return low === high ? [-1, 1] : [low, high];
  }
  const verdict = (v) => h("span", {class: `verdict v${{"+": "good", "-": "bad"}[v] || "even"}`},
    h("span", {"aria-hidden": "true", text: MARKS[v] || ""}), " ", VERDICTS[v] || "");
  const chip = (text, kind, title) => h("span", {class: `chip ${kind || ""}`, title, text});
  const link = (href, text, attributes) => h("a", {href, text, ...attributes});
  // `word` between backticks is code.
  const ticks = (text) => text.split(/`([^`\n]+)`/).map((part, i) => (i % 2 ? h("code", {text: part}) : part));
  const say = (text) => { document.getElementById("live").textContent = text; };
  // A wide table scrolls in its own frame, with the keyboard too.
  const scroll = (label, ...children) => h("div", {class: "scroll", role: "region", "aria-label": label, tabindex: "0"}, children);

  // Values of records: mappings as lists of terms, lists in a line, numbers as they are.
  function value(v, depth = 0) {
    if (v === null || v === undefined || v === "") return h("span", {class: "none", text: "–"});
    if (Array.isArray(v)) {
      if (v.every((x) => x === null || typeof x !== "object")) {
        const text = v.map((x) => (x === null ? "–" : String(x))).join(", ");
        return text.length > 160 ? h("details", {}, h("summary", {text: count(v.length, "value")}), text) : h("span", {text});
      }
      return h("ol", {}, v.map((x) => h("li", {}, value(x, depth + 1))));
    }
    if (typeof v === "object") {
      const known = Object.entries(v).filter(([, x]) => x !== null && x !== "");
      return h("dl", {class: depth ? "inner" : "facts"}, known.map(([k, x]) => h("div", {}, h("dt", {text: k.replaceAll("_", " ")}), h("dd", {}, value(x, depth + 1)))));
    }
    if (typeof v === "number" && !Number.isInteger(v)) return h("span", {title: String(v), text: String(Number(v.toPrecision(6)))});
    return h("span", {text: typeof v === "boolean" ? (v ? "yes" : "no") : String(v)});
  }
  return {h, s, num, interval, count, p, seconds, bytes, bar, range, verdict, chip, link, ticks, say, scroll, value, MARKS, VERDICTS};
})();
