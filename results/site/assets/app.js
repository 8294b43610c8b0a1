// The page: routes in the address after #, so that every view can be linked to and no server is needed.
"use strict";
(() => {
  const {h, link, say} = ui;
  const index = tlbenchData.get("index");
  const main = document.getElementById("main");
  const PAGES = [["", "Overview"], ["methods", "Methods"], ["conditions", "Conditions"], ["downloads", "Downloads"], ["help", "How to read"]];
  let visit = 0;

  const views = {
    "": () => views_overview(index),
    methods: () => views_pages.methods(index),
    method: (id) => views_pages.method(index, id),
    conditions: () => views_pages.conditions(index),
    downloads: () => views_pages.downloads(index),
    help: () => views_pages.help(index),
    source: (chunk, key) => views_trial.source(index, chunk, key),
    g: (id, tab, ...rest) => {
      const g = index.groups.findIndex((group) => group.id === id);
      if (g < 0) return null;
      if (tab === "pair") return rest.length > 1 ? views_trial.trial(index, g, rest[0], rest[1]) : views_trial.pair(index, g, rest[0]);
      return views_group(index, g, tab || "board");
    },
  };

  async function show() {
    const mine = ++visit;
    const parts = location.hash.replace(/^#\/?/, "").split("/").map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
    main.setAttribute("aria-busy", "true");
    let view;
    try {
      const make = Object.hasOwn(views, parts[0]) ? views[parts[0]] : null;
      view = make ? await make(...parts.slice(1)) : null;
    } catch (error) {
      view = {title: "Not readable", body: [h("h1", {text: "This part cannot be read"}), h("p", {text: error.message})]};
      console.error(error);
    }
    if (mine !== visit) return;
    view ||= {title: "Not here", body: [h("h1", {text: "There is no such page"}), h("p", {}, link("#/", "Back to the overview"))]};
    main.replaceChildren(...view.body.flat(Infinity).filter(Boolean));
    for (const draw of view.after || []) draw();
    main.removeAttribute("aria-busy");
    document.title = view.title ? `${view.title} · ${index.title}` : index.title;
    for (const a of document.querySelectorAll("#nav a")) {
      const here = a.dataset.page === parts[0] || (a.dataset.page === "methods" && parts[0] === "method");
      if (here) a.setAttribute("aria-current", "page"); else a.removeAttribute("aria-current");
    }
    if (mine > 1) {
      window.scrollTo(0, view.keep ? window.scrollY : 0);
      say(document.title);
      const heading = view.keep ? main.querySelector("[aria-current]") : main.querySelector("h1");
      if (heading) { if (!view.keep) heading.tabIndex = -1; heading.focus({preventScroll: true}); }
    }
    performance.mark("tlbench-shown");
  }

  tlbenchTheme(document.getElementById("theme"));
  document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); main.scrollIntoView(); });
  document.getElementById("nav").append(...PAGES.map(([page, text]) => link(`#/${page}`, text, {"data-page": page})));
  document.getElementById("footer").append(h("p", {text: `Made by tlbench ${index.version} from ${ui.count(index.runs.reduce((n, r) => n + r.records, 0), "record")}. Nothing on this page is loaded from elsewhere.`}));
  addEventListener("hashchange", show);
  show();
})();
