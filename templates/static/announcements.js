// Announcements that the reader has dismissed stay hidden in this browser. Not deferred: hidden before they are drawn.
"use strict";
(() => {
  const KEY = "minihub-dismissed", KEPT = 100;
  let dismissed = [];
  try {
    dismissed = JSON.parse(localStorage.getItem(KEY) || "[]").filter((id) => typeof id === "string");
  } catch {
    dismissed = [];
  }
  const sheet = new CSSStyleSheet();
  const hide = (id) => sheet.insertRule(`[data-announcement="${CSS.escape(id)}"] { display: none; }`);
  dismissed.forEach(hide);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];

  document.addEventListener("DOMContentLoaded", () => {
    for (const banner of document.querySelectorAll("[data-announcement]")) {
      const button = banner.querySelector("button");
      button.hidden = false;
      button.addEventListener("click", () => {
        const id = banner.dataset.announcement;
        dismissed = [...dismissed.filter((other) => other !== id), id].slice(-KEPT);
        try {
          localStorage.setItem(KEY, JSON.stringify(dismissed));
        } catch {
          // A browser that keeps nothing hides it until the next page.
        }
        hide(id);
        document.getElementById("main").focus();
      });
    }
  });
})();
