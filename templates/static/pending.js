// The waiting page: events as they come, polling where they do not get through, and on to the server when it is ready.
"use strict";
(() => {
  const wait = document.getElementById("wait");
  const lost = document.getElementById("lost");
  const notify = document.getElementById("notify");
  const POLL_MS = 3000;
  let over = false, lastHeard = 0, source = null, told = "";

  function pick(view, path) {
    return path.split(".").reduce((value, key) => (value == null ? value : value[key]), view);
  }

  function show(view) {
    lastHeard = Date.now();
    lost.hidden = true;
    for (const element of wait.querySelectorAll("[data-f]")) {
      const name = element.dataset.f, value = pick(view, name);
      if (name === "percent") element.value = value;
      else if (name === "clock") { if (value) element.dataset.since = value.since; }
      else {
        const text = name === "expected_start" ? (value ? minihub.dateTime(value) : "") : (value || "");
        // Only a changed text is written, so that a screen reader says each thing once.
        if (element.textContent !== text) element.textContent = text;
      }
      const row = element.closest("[data-row]");
      if (row && !name.includes(".")) {
        const only = row.dataset.only;
        const repeated = name === "reason" && value === view.message;
        row.hidden = !value || repeated || Boolean(only && only !== view.state);
      }
      if (name === "label") element.className = `badge ${view.tone}`;
    }
    minihub.tick();
    if (view.label !== told) document.title = `${view.label} · ${wait.dataset.site}`;
    told = view.label;
    if (view.ready) finish(() => location.replace(wait.dataset.next || view.url), wait.dataset.ready);
    else if (view.failed) finish(() => location.reload(), view.label);
    else if (view.stopped) finish(() => location.replace(wait.dataset.afterStop));
  }

  function finish(then, say) {
    if (over) return;
    over = true;
    if (source) source.close();
    if (say) document.title = `● ${say} · ${wait.dataset.site}`;
    if (say && document.hidden && "Notification" in window && Notification.permission === "granted") {
      new Notification(say, { body: wait.dataset.site, tag: "minihub" });
    }
    then();
  }

  async function poll() {
    if (over) return;
    // Events come at once or not at all (some front proxies hold them back): ask only when none was heard for a while.
    if (Date.now() - lastHeard > POLL_MS * 2) {
      try {
        const response = await fetch(wait.dataset.state, { headers: { Accept: "application/json" } });
        if (response.status === 401 || response.status === 404) return finish(() => location.reload());
        if (response.ok) show(await response.json());
        else throw new Error(String(response.status));
      } catch {
        lost.textContent = wait.dataset.lost;
        lost.hidden = false;
      }
    }
    setTimeout(poll, POLL_MS);
  }

  if ("EventSource" in window) {
    source = new EventSource(wait.dataset.events);
    source.onmessage = (event) => show(JSON.parse(event.data));
  }
  setTimeout(poll, POLL_MS);

  if (notify && "Notification" in window && Notification.permission === "default") {
    notify.hidden = false;
    notify.addEventListener("click", async () => {
      await Notification.requestPermission();
      notify.hidden = true;
    });
  }
})();
