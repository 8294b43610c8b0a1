// In short: a line for each case of a board, with the method to use; on the board's own page and on a page of several.
"use strict";
globalThis.shortTable = (() => {
  const {h, link} = ui;
  const STATES = {
    clear: ["good", "▲", "clear"],
    here: ["good", "▲", "on these pairs"],
    undecided: ["even", "·", "undecided"],
    worse: ["bad", "▼", "transfer hurts"],
    unknown: ["even", "?", "one seed only"],
    empty: ["even", "–", "no results"],
  };
  function state(group) {
    const [tone, mark, text] = STATES[group.summary.state];
    return h("span", {class: `verdict v${tone}`}, h("span", {"aria-hidden": "true", text: mark}), " ", text);
  }
  // `to` is the address of the board's page, "" on itself.
  const method = (group, k, to = "") => link(`${to}#/method/${group.methods[k]}`, group.names[k], {class: "method"});
  function use(group, to) {
    const {summary} = group;
    if (summary.best === null) return "–";
    if (summary.state === "clear" || summary.state === "here") return [method(group, summary.best, to), summary.said.some(([kind]) => kind === "alike") && h("small", {text: "not told apart from others by rank"})];
    return h("span", {}, summary.state === "worse" ? [h("em", {text: group.against}), " (no transfer)"] : ["no clear choice; highest: ", method(group, summary.best, to)]);
  }
  function hurts({summary, competing}) {
    if (summary.hurts.length) return `${summary.hurts.length} of ${competing} methods`;
    return summary.state === "unknown" || summary.state === "empty" ? "unknown" : "nowhere beyond chance";
  }
  const table = (groups, caption, to = "") => h("table", {class: "short"}, caption,
    h("thead", {}, h("tr", {}, ["Case", "Use", "Gain", "How sure", "Hurts in some pair", "Pairs"].map((t, i) => h("th", {scope: "col", class: i === 2 || i === 5 ? "num" : "", text: t})))),
    h("tbody", {}, groups.map((group) => h("tr", {},
      h("th", {scope: "row"}, link(`${to}#/g/${group.id}`, group.task), h("small", {text: group.backbone})),
      h("td", {}, use(group, to)),
      h("td", {class: "num"}, group.summary.gain || "–", group.summary.here && h("small", {text: `${group.summary.here} on these pairs`})),
      h("td", {}, state(group)),
      h("td", {text: hurts(group)}),
      h("td", {class: "num", text: String(group.compared)})))));
  return Object.assign(table, {state, method});
})();
