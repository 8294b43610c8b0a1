// Front: the boards of several runs, each with its cases in short; the filter keeps the cases that have its words.
"use strict";
(() => {
  const {h, link, count, chip, scroll, say} = ui;
  const index = tlbenchData.get("index");
  const main = document.getElementById("main");
  const FEW = 6;
  const STANDINGS = {verified: ["Verified", "ok"], failed: ["Verification failed", "warn"]};
  const wordsOf = (group) => `${group.task} ${group.backbone} ${group.targets.join(" ")} ${group.names.join(" ")}`.toLowerCase();

  function card(board) {
    const to = `boards/${board.id}/index.html`;
    const [standing, tone] = STANDINGS[board.status] || ["Self-reported", ""];
    const caption = h("caption", {}, "Gains in ", board.points ? "points" : "units", ` of ${board.metric} over no transfer, with 95 % intervals.`);
    const body = h("div");
    const found = board.groups.map((group) => [group, `${board.title} ${board.about} ${wordsOf(group)}`.toLowerCase()]);
    let whole = false;
    function draw(words) {
      const fit = found.filter(([, text]) => words.every((word) => text.includes(word))).map(([group]) => group);
      const shown = whole ? fit : fit.slice(0, FEW);
      body.replaceChildren(scroll(`Cases of ${board.title}`, shortTable(shown, caption, to)));
      if (shown.length < fit.length) body.append(h("p", {class: "foot"}, h("button", {type: "button", class: "quiet", text: `Show all ${fit.length} cases`, onclick: () => { whole = true; draw(words); }})));
      element.hidden = fit.length === 0;
      return fit.length;
    }
    const element = h("section", {class: "card"},
      h("header", {}, h("h2", {}, link(to, board.title)), h("span", {}, chip(standing, tone, board.standing), " ", chip(count(board.trials, "trial")))),
      board.about && h("p", {class: "about", text: board.about}),
      body);
    draw([]);
    return {element, draw};
  }

  const cards = index.boards.map(card);
  const cases = index.boards.reduce((n, board) => n + board.groups.length, 0);
  const trials = index.boards.reduce((n, board) => n + board.trials, 0);
  const found = h("p", {class: "legend", text: ""});
  const search = h("input", {type: "search", id: "words", placeholder: "labels=5, sketch, fine-tune …", oninput: () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const n = cards.reduce((sum, one) => sum + one.draw(words), 0);
    found.textContent = words.length ? `${count(n, "case")} of ${cases}` : "";
    say(found.textContent);
  }});
  main.replaceChildren(
    h("h1", {text: index.title}),
    h("p", {class: "lead", text: `${count(index.boards.length, "board")} with ${count(cases, "case")}, from ${count(trials, "trial")}. Scores of different boards are of different data and are not compared.`}),
    h("section", {class: "how"}, h("h2", {text: "Where to look"}), h("ul", {},
      h("li", {}, "Each board is one study: its data, tasks and networks. Pick the one that is like your case, then the task by the labels that you have."),
      h("li", {}, h("strong", {text: "Gain "}), "is a method's score minus that of the same setup without transfer, on the same target data, budget and seed. ", h("span", {class: "verdict vgood", text: "▲ clear"}), " is said only where a 95 % interval over other sources and targets leaves zero out, ", h("span", {class: "verdict vgood", text: "▲ on these pairs"}), " where that of these very pairs does."))),
    h("div", {class: "tools"}, h("label", {class: "field"}, "Cases with these words", search)), found,
    h("div", {class: "boards"}, cards.map((one) => one.element)));
  main.removeAttribute("aria-busy");
  tlbenchTheme(document.getElementById("theme"));
  document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
  document.getElementById("footer").append(h("p", {text: `Made by tlbench ${index.version}. Nothing on this page is loaded from elsewhere.`}));
  performance.mark("tlbench-shown");
})();
