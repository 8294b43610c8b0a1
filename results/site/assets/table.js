// Tables: native table elements over TanStack Table's rows, so that readers of screens find a table.
"use strict";
globalThis.dataTable = (() => {
  const {h, say, scroll, count} = ui;
  const PAGE = 200;
  let made = 0;

  // columns: {id, title, doc, get(row), cell(row, value), numeric, better, sort, off, head}
  // options: {caption, rows, columns, choose, filter(row) -> text, tools, sorting, quiet, onshow}
  return function dataTable(options) {
    const id = `t${++made}`;
    const hidden = Object.fromEntries(options.columns.filter((c) => c.off).map((c) => [c.id, false]));
    let all = false, wanted = () => true, words = "";
    const kept = new Map();
    const table = TableCore.createTable({
      data: options.rows,
      columns: options.columns.map((c) => ({
        id: c.id,
        accessorFn: (row) => { const v = c.get(row); return v === null ? undefined : v; },
        enableSorting: c.sort !== false,
        sortingFn: c.numeric ? "basic" : "alphanumeric",
        sortUndefined: "last",
        sortDescFirst: c.numeric && c.better !== "lower",
        enableGlobalFilter: true,
      })),
      state: {},
      onStateChange: (update) => { state = update instanceof Function ? update(state) : update; table.setOptions((o) => ({...o, state})); draw(); },
      getCoreRowModel: TableCore.getCoreRowModel(),
      getSortedRowModel: TableCore.getSortedRowModel(),
      getFilteredRowModel: TableCore.getFilteredRowModel(),
      getColumnCanGlobalFilter: () => true,
      globalFilterFn: (row) => wanted(row.original) && (!words || options.filter(row.original).toLowerCase().includes(words)),
      enableSortingRemoval: true,
      enableMultiSort: false,
      renderFallbackValue: null,
    });
    let state = {...table.initialState, sorting: options.sorting || [], columnVisibility: hidden, globalFilter: "x"};
    table.setOptions((o) => ({...o, state}));
    const by = new Map(options.columns.map((c) => [c.id, c]));

    const head = h("thead"), body = h("tbody");
    const caption = h("caption", {id: `${id}-caption`}, options.caption);
    const more = h("button", {type: "button", class: "quiet", onclick: () => { all = true; draw(); }});
    const foot = h("p", {class: "foot"}, more);
    const element = h("div", {class: "table"}, tools(),
      scroll(typeof options.caption === "string" ? options.caption : "table", h("table", {class: options.class}, caption, head, body)), foot);

    function tools() {
      const out = [];
      if (options.filter && options.rows.length > 3) {
        out.push(h("label", {class: "field"}, h("span", {text: "Filter"}), h("input", {type: "search", "aria-label": "Filter by name", placeholder: "name …", spellcheck: "false", autocomplete: "off",
          oninput: (e) => { words = e.target.value.trim().toLowerCase(); refilter(); }})));
      }
      for (const tool of options.tools || []) out.push(tool(setWanted));
      if (options.choose) {
        const boxes = options.columns.filter((c) => !c.head).map((c) => h("label", {class: "check", title: c.doc},
          h("input", {type: "checkbox", "aria-label": c.title, checked: !c.off, onchange: (e) => { kept.clear(); table.getColumn(c.id).toggleVisibility(e.target.checked); }}),
          h("span", {}, c.title, c.doc && h("small", {text: c.doc}))));
        out.push(h("details", {class: "chooser"}, h("summary", {text: "Columns"}), h("div", {class: "choices", role: "group", "aria-label": "Columns shown"}, boxes)));
      }
      return out.length ? h("div", {class: "tools"}, out) : null;
    }
    function setWanted(predicate) { wanted = predicate; refilter(); }
    function refilter() {
      table.setGlobalFilter(`${words} ${Math.random()}`);
      say(`${count(table.getRowModel().rows.length, "row")} shown`);
    }
    function header(column) {
      const c = by.get(column.id), sorted = column.getIsSorted();
      const cell = h("th", {scope: "col", class: c.numeric ? "num" : "", title: c.doc,
        "aria-sort": column.getCanSort() ? {asc: "ascending", desc: "descending"}[sorted] || "none" : null});
      if (!column.getCanSort()) { cell.append(c.title); return cell; }
      cell.append(h("button", {type: "button", "data-column": c.id, onclick: () => {
        column.toggleSorting();
        const now = column.getIsSorted();
        say(now ? `sorted by ${c.title}, ${now === "asc" ? "ascending" : "descending"}` : "in the order of the board");
        element.querySelector(`button[data-column="${CSS.escape(c.id)}"]`)?.focus();
      }}, h("span", {text: c.title}), h("span", {class: "arrow", "aria-hidden": "true", text: {asc: "↑", desc: "↓"}[sorted] || ""})));
      return cell;
    }
    function line(row) {
      if (!kept.has(row.id)) {
        const cells = row.getVisibleCells().map((cell) => {
          const c = by.get(cell.column.id), v = cell.getValue();
          const shown = c.cell ? c.cell(row.original, v) : v === undefined ? "–" : String(v);
          return h(c.head ? "th" : "td", {scope: c.head ? "row" : null, class: c.numeric ? "num" : ""}, shown);
        });
        kept.set(row.id, h("tr", {class: options.mark ? options.mark(row.original) : null}, cells));
      }
      return kept.get(row.id);
    }
    function draw() {
      const rows = table.getRowModel().rows;
      const shown = all ? rows : rows.slice(0, PAGE);
      head.replaceChildren(h("tr", {}, table.getVisibleLeafColumns().map(header)));
      body.replaceChildren(...shown.map(line));
      if (!rows.length) body.append(h("tr", {}, h("td", {colspan: String(table.getVisibleLeafColumns().length), text: "Nothing fits the filter."})));
      more.textContent = `Show all ${rows.length.toLocaleString("en")} rows`;
      foot.hidden = shown.length === rows.length;
    }
    draw();
    return element;
  };
})();
