// Theme: the reader's choice, set before anything is drawn; without one, the system's.
"use strict";
try {
  const chosen = localStorage.getItem("tlbench-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch (error) {
  // no storage here: the system's choice stands
}
