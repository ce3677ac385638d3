// The admins' table: follows the events, polls where they do not get through, and keeps what is ticked, focused and sorted.
"use strict";
(() => {
  const overview = document.getElementById("overview");
  const form = document.getElementById("choice"), body = document.getElementById("rows");
  const all = document.getElementById("pick-all"), chosen = document.getElementById("chosen");
  const lost = document.getElementById("lost"), outage = document.getElementById("outage");
  const POLL_MS = 5000, SILENT_MS = 12000;
  let lastEvent = Date.now(), asking = false;

  // ---- what is ticked ----------------------------------------------------------------------------------------------
  const boxes = () => [...body.querySelectorAll("input[type=checkbox]")];

  function count() {
    const ticked = boxes().filter((box) => box.checked).length;
    all.checked = ticked > 0 && ticked === boxes().length;
    all.indeterminate = ticked > 0 && !all.checked;
    chosen.textContent = ticked ? overview.dataset.chosen.replace("{count}", ticked) : "";
  }

  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of boxes()) box.checked = all.checked;
    count();
  });
  form.addEventListener("change", count);
  addEventListener("pageshow", count);

  // ---- what is new -------------------------------------------------------------------------------------------------
  function parse(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content;
  }

  // The n-th link, button or field of a place has the focus: so it is found again when the place is drawn anew.
  const focusable = (place) => [...place.querySelectorAll("a, button, input, select")];

  function replace(place, draw) {
    const at = place.contains(document.activeElement) ? focusable(place).indexOf(document.activeElement) : -1;
    draw();
    if (at >= 0) (focusable(place)[at] || document.getElementById("table")).focus({ preventScroll: true });
  }

  function redraw(row, fresh) {
    const cells = [...row.cells], others = [...fresh.cells];
    // The first cell holds the tick, which is the reader's.
    for (let i = 1; i < cells.length; i++) {
      cells[i].className = others[i].className;
      replace(cells[i], () => cells[i].replaceChildren(...others[i].childNodes));
    }
  }

  function showRows(rows, order) {
    const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
    for (const [key, html] of Object.entries(rows)) {
      const fresh = parse(html).querySelector("tr");
      if (known.has(key)) redraw(known.get(key), fresh);
      else known.set(key, fresh);
    }
    if (!order) return;
    const wanted = new Set(order), focused = document.activeElement;
    for (const row of [...body.rows]) {
      if (!wanted.has(row.dataset.key)) {
        const held = row.contains(focused);
        row.remove();
        if (held) document.getElementById("table").focus({ preventScroll: true });
      }
    }
    order.forEach((key, i) => {
      const row = known.get(key);
      // Moving a row would take the focus from it: only what stands wrong is moved.
      if (row && body.rows[i] !== row) {
        const held = row.contains(document.activeElement) ? document.activeElement : null;
        body.insertBefore(row, body.rows[i] || null);
        if (held) held.focus({ preventScroll: true });
      }
    });
    document.getElementById("table").hidden = order.length === 0;
    document.getElementById("empty").hidden = order.length > 0;
  }

  function show(news) {
    lost.hidden = true;
    if (news.rows || news.order) showRows(news.rows || {}, news.order);
    for (const name of ["sums", "pages"]) {
      const place = document.getElementById(name);
      if (name in news) replace(place, () => place.replaceChildren(parse(news[name])));
    }
    if ("age" in news) document.getElementById("age").textContent = news.age;
    if ("outage" in news) {
      // The banner of the page, drawn by the hub, comes and goes with the outage.
      if (outage) outage.hidden = !news.outage;
      document.getElementById("age").classList.toggle("outage", news.outage);
    }
    count();
    minihub.tick();
  }

  async function ask() {
    if (asking) return;
    asking = true;
    try {
      const response = await fetch(overview.dataset.state, { headers: { Accept: "application/json" } });
      if (response.status === 401 || response.status === 404) return location.reload();
      if (!response.ok) throw new Error(String(response.status));
      show(await response.json());
    } catch {
      lost.textContent = overview.dataset.lost;
      lost.hidden = false;
    } finally {
      asking = false;
    }
  }

  let source = null;
  const listen = () => {
    if (!("EventSource" in window) || (source && source.readyState !== EventSource.CLOSED)) return;
    source = new EventSource(overview.dataset.events);
    source.onmessage = (event) => {
      lastEvent = Date.now();
      show(JSON.parse(event.data));
    };
  };
  listen();
  // A browser has few connections to one host: pages that nobody looks at leave theirs to others.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && source) source.close();
    else listen();
  });
  setInterval(() => {
    // Events come at once or not at all: some front proxies hold them back.
    if (document.hidden || Date.now() - lastEvent < SILENT_MS) return;
    ask();
    listen();
  }, POLL_MS);
})();
