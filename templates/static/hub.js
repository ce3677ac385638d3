// For every page: times in the reader's own zone, countdowns, and small comforts. All pages work without it.
"use strict";
(() => {
  const root = document.documentElement;
  // The hub's clock is the one that counts; the reader's may be wrong.
  const skew = Number(root.dataset.now) - Date.now() / 1000;
  const now = () => Date.now() / 1000 + skew;

  function duration(seconds) {
    const s = Math.max(0, Math.floor(seconds));
    const days = Math.floor(s / 86400), hours = Math.floor(s / 3600) % 24, minutes = Math.floor(s / 60) % 60, rest = s % 60;
    const two = (n) => String(n).padStart(2, "0");
    if (days) return hours ? `${days} ${root.dataset.day} ${hours} h` : `${days} ${root.dataset.day}`;
    if (hours) return minutes ? `${hours} h ${two(minutes)} min` : `${hours} h`;
    if (minutes >= 10) return `${minutes} min`;
    return minutes ? `${minutes} min ${two(rest)} s` : `${rest} s`;
  }

  function clockTime(wall) {
    const then = new Date(wall * 1000), today = new Date();
    const options = { hour: "2-digit", minute: "2-digit" };
    if (then.toDateString() !== today.toDateString()) Object.assign(options, { day: "numeric", month: "short" });
    return then.toLocaleString(root.lang, options);
  }

  function dateTime(wall) {
    return new Date(wall * 1000).toLocaleString(root.lang, { dateStyle: "medium", timeStyle: "short" });
  }

  function tick() {
    for (const element of document.querySelectorAll("[data-until]")) {
      const left = Number(element.dataset.until) - now();
      element.textContent = duration(left);
      element.classList.toggle("soon", left < 900);
    }
    for (const element of document.querySelectorAll("[data-since]")) {
      if (element.dataset.since) element.textContent = duration(now() - Number(element.dataset.since));
    }
  }

  for (const element of document.querySelectorAll("time[data-when]")) {
    const wall = Date.parse(element.dateTime) / 1000;
    element.textContent = element.dataset.when === "date" ? dateTime(wall) : clockTime(wall);
    element.title = new Date(wall * 1000).toString();
  }
  tick();
  setInterval(tick, 1000);

  // A page that will have to say something else then; a moment later, for the hub to know of it.
  for (const element of document.querySelectorAll("[data-reload-at]")) {
    const left = Number(element.dataset.reloadAt) - now();
    if (left > -60 && left < 86400) setTimeout(() => location.reload(), 1000 * (Math.max(left, 0) + 2));
  }

  // A form is sent once; coming back with the Back button makes it usable again.
  for (const form of document.querySelectorAll("form[data-once]")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) return event.preventDefault();
      form.dataset.sent = "1";
      for (const button of form.querySelectorAll("button:not([type=button])")) button.setAttribute("aria-disabled", "true");
    });
  }
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
      for (const button of form.querySelectorAll("button")) button.removeAttribute("aria-disabled");
    }
  });

  for (const button of document.querySelectorAll("[data-reveal]")) {
    const field = document.getElementById(button.dataset.reveal);
    button.hidden = false;
    button.addEventListener("click", () => {
      const shown = field.type === "text";
      field.type = shown ? "password" : "text";
      button.setAttribute("aria-pressed", String(!shown));
    });
  }
  for (const button of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).value);
      button.textContent = button.dataset.copied;
    });
  }

  // After Log Out: say when the job is gone.
  for (const place of document.querySelectorAll("[data-poll-gone]")) {
    const timer = setInterval(async () => {
      const answer = await fetch(place.dataset.pollGone).then((r) => r.json()).catch(() => ({}));
      if (answer.status >= 400) clearInterval(timer);
      if (!answer.gone) return;
      clearInterval(timer);
      place.querySelector("[data-while]").hidden = true;
      place.querySelector("[data-done]").hidden = false;
    }, 2000);
  }

  window.minihub = { now, duration, clockTime, dateTime, tick };
})();
