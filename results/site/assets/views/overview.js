// Overview: for each case what won, what hurt and how sure that is, in sentences that the board's numbers wrote.
"use strict";
globalThis.views_overview = (index) => {
  const {h, link, count, num, interval, verdict, scroll} = ui;
  const {state, method} = shortTable;
  const KINDS = {best: "", also: "", alike: "", hurt: "▼", calm: "·", undecided: "·", sure: "±"};
  function sentence(group, parts) {
    return parts.map((part) => {
      if (typeof part === "string") return part;
      if (part[0] === "row") return method(group, part[1]);
      const [title, slug] = group.named[part[1]];
      return link(`#/g/${group.id}/pair/${slug}`, title);
    });
  }
  function targets(group) {
    const lines = group.summary.targets;
    if (!lines.length) return null;
    const sign = {helps: "+", hurts: "-", undecided: "0", unknown: "?"};
    return h("details", {open: index.groups.length <= 4 && lines.length <= 8}, h("summary", {text: "Best for each target"}),
      scroll("Best for each target", h("table", {},
        h("caption", {text: "The pair and method with the highest mean gain on each target. The highest of many is flattered by chance: trust the verdict."}),
        h("thead", {}, h("tr", {}, ["Target", "Method and pair", "Gain", "Verdict"].map((t, i) => h("th", {scope: "col", class: i === 2 ? "num" : "", text: t})))),
        h("tbody", {}, lines.map(([t, k, q, gain, low, high, v]) => h("tr", {},
          h("th", {scope: "row", text: group.targets[t]}), h("td", {}, method(group, k), h("small", {}, " ", link(`#/g/${group.id}/pair/${group.named[q][1]}`, group.named[q][0]))),
          h("td", {class: "num", text: `${num(gain, true)} ${interval(low, high)}`}), h("td", {}, verdict(sign[v]))))))));
  }
  const cards = index.groups.map((group) => h("section", {class: "card"},
    h("header", {}, h("h3", {}, link(`#/g/${group.id}`, group.task), " ", h("small", {text: group.backbone})), state(group)),
    index.tasks[group.task] && h("p", {class: "about", text: index.tasks[group.task]}),
    h("ul", {class: "said"}, group.summary.said.map(([kind, parts]) => h("li", {class: kind}, KINDS[kind] && h("span", {class: "sign", "aria-hidden": "true", text: KINDS[kind]}), h("span", {}, sentence(group, parts))))),
    targets(group),
    h("p", {class: "more"}, ["board", "heat", "curves", "ranks", "cost"].map((tab, i) => [i ? " · " : "", link(`#/g/${group.id}/${tab}`, ["Board", "Sources × targets", "Learning curves", "Ranks", "Cost"][i])]))));
  const verified = index.runs.every((run) => run.status === "verified");
  const failed = index.runs.some((run) => run.status === "failed");
  const suite = index.suites.find((one) => one.description);
  const methods = new Set(index.groups.flatMap((g) => g.names)).size;
  return {
    title: "",
    body: [
      h("h1", {text: index.title}),
      h("p", {class: "lead"}, `${count(methods, "method")} in ${count(index.groups.length, "case")}, by ${index.metric}. `,
        link("#/conditions", failed ? "Verification failed" : verified ? "Verified" : "Self-reported", {class: `chip ${failed ? "warn" : verified ? "ok" : ""}`, title: index.runs.map((r) => `${r.name}: ${r.standing}`).join("; ")}),
        index.notes.length > 0 && [" ", link("#/conditions", count(index.notes.length, "note"), {class: "chip"})]),
      suite && h("details", {class: "about"}, h("summary", {text: "What was measured"}), h("p", {text: suite.description}), suite.expect && h("p", {}, h("strong", {text: "Expected: "}), suite.expect)),
      scroll("Which method to use, by case", shortTable(index.groups, h("caption", {}, "In short: one line for each case, a task on a backbone. Gains are in ", index.points ? "points" : "units", ` of ${index.metric} over the method without transfer, with 95 % intervals.`))),
      h("section", {class: "how"}, h("h2", {text: "How to read this page"}), h("ul", {},
        h("li", {}, h("strong", {text: "Gain "}), "is a method's score minus that of the same setup without transfer, on the same target data, budget and seed. Above zero, transfer paid."),
        h("li", {}, h("strong", {text: "Intervals "}), "in brackets (95 %) say what to expect on other sources and targets like these; ", h("strong", {text: "± "}), "is about the same pairs under other seeds. ", h("span", {class: "verdict vgood", text: "▲ helps"}), " and ", h("span", {class: "verdict vbad", text: "▼ hurts"}), " are said only where an interval leaves zero out; all else is ", h("span", {class: "verdict veven", text: "· undecided"}), ", which is no proof that there is no difference."),
        h("li", {}, "Pick the case that is like yours: which labels you have (the task) and which network (the backbone). Then look whether the pairs of source and target are like yours: ", link("#/help", "more on reading"), "."))),
      index.groups.length > 1 ? h("h2", {text: "Case by case"}) : null,
      h("div", {class: "cards"}, cards),
    ],
  };
};
