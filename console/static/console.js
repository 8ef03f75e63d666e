"use strict";
// Everything here is a convenience: each page works without it.

const $ = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function typing(target) {
  return target.closest("input, select, textarea, [contenteditable]") !== null;
}

function choose(step) {
  const rows = all("[data-case-row]");
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.classList.contains("chosen"));
  const next = rows[Math.min(Math.max(at + step, 0), rows.length - 1)];
  rows.forEach((row) => row.classList.toggle("chosen", row === next));
  next.scrollIntoView({ block: "nearest" });
}

function press(name) {
  const target = $(`[data-key="${name}"]`);
  if (!target || target.disabled) return;
  if (target.matches("details")) {
    target.open = true;
    $("select, input, textarea", target)?.focus();
  } else {
    target.click();
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if ($("dialog[open]")) return;
  if (event.key === "j") choose(1);
  else if (event.key === "k") choose(-1);
  else if (event.key === "Enter" && !event.target.closest("a, button, summary")) {
    $("[data-case-row].chosen a")?.click();
  } else if (event.key === "?") $("#help")?.showModal();
  else if ("acreun".includes(event.key)) press(event.key);
  else return;
  event.preventDefault();
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-help]")) $("#help").showModal();
  if (event.target.closest("[data-theme-switch]")) {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
    const next = now === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem("theme", next);
  }
  all(".tools details[open]").forEach((one) => {
    if (!one.contains(event.target)) one.open = false;
  });
});

// One form is sent once: a second click must not look like a forged one. A button that is disabled
// at once would not be sent with its value.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || form.dataset.sent) {
    if (form.dataset.sent) event.preventDefault();
    return;
  }
  form.dataset.sent = "1";
  setTimeout(() => all("button", form).forEach((one) => { one.disabled = true; }));
});
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

function countDown() {
  all("[data-until]").forEach((one) => {
    if ("relative" in one.dataset) {
      // From seconds to a moment of this machine's clock, which need not be the server's.
      one.dataset.until = String(Date.now() + 1000 * Number(one.dataset.until));
      delete one.dataset.relative;
    }
    const left = Math.round((Number(one.dataset.until) - Date.now()) / 1000);
    const minutes = Math.floor(left / 60);
    one.textContent = left <= 0 ? "over"
      : `${minutes}:${String(left % 60).padStart(2, "0")}`;
    if (left <= 0 && one.dataset.over === "reload") {
      one.removeAttribute("data-until");
      location.reload();
    }
    if (left <= 0 && one.dataset.over === "hide") one.closest("[data-timed]")?.remove();
  });
}
setInterval(countDown, 1000);
countDown();
