// Data: chunks are scripts that call tlbenchData.put, loaded when they are needed; fetch does not read files.
"use strict";
globalThis.tlbenchData = (() => {
  const held = new Map();
  const waiting = new Map();
  const assets = document.currentScript.getAttribute("src").replace(/[^/]*$/, "");

  function script(source) {
    if (!waiting.has(source)) {
      waiting.set(source, new Promise((resolve, reject) => {
        const element = document.createElement("script");
        element.src = source;
        element.onload = () => resolve();
        element.onerror = () => { waiting.delete(source); reject(new Error(`${source} cannot be read`)); };
        document.head.append(element);
      }));
    }
    return waiting.get(source);
  }

  return {
    put(name, text) { held.set(name, JSON.parse(text)); },
    get(name) { return held.get(name); },
    async load(name) {
      if (!/^[a-z0-9-]+$/.test(name)) throw new Error("no such data");
      if (!held.has(name)) await script(`data/${name}.js`);
      if (!held.has(name)) throw new Error(`data/${name}.js has no ${name}`);
      return held.get(name);
    },
    async charts() {
      await script(`${assets}vendor/d3.min.js`);
      await script(`${assets}vendor/plot.min.js`);
    },
  };
})();
