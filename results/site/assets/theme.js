// Theme: the reader's choice, set before anything is drawn; without one, the system's.
"use strict";
try {
  const chosen = localStorage.getItem("tlbench-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch (error) {
  // no storage here: the system's choice stands
}
// The button that switches, once the page is there.
globalThis.tlbenchTheme = (button) => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const label = () => { button.textContent = dark() ? "Light" : "Dark"; button.setAttribute("aria-label", `Switch to ${dark() ? "light" : "dark"} colours`); };
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("tlbench-theme", root.dataset.theme); } catch { /* no storage */ }
    label();
  });
  system.addEventListener("change", label);
  label();
};
