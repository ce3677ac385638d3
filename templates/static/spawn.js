// The options form: an estimate on demand, and a GPU count that fits the GPU type.
"use strict";
(() => {
  const form = document.getElementById("options");
  const button = document.getElementById("estimate");
  const answer = document.getElementById("estimate-answer");
  const type = document.getElementById("gpu_type"), count = document.getElementById("gpu_count");

  if (type && count && !type.disabled && !count.disabled) {
    const fit = () => {
      if (type.value && !(Number(count.value) > 0)) count.value = "1";
      if (!type.value) count.value = "0";
    };
    type.addEventListener("change", fit);
  }

  function say(text, bad) {
    answer.textContent = text;
    answer.classList.toggle("bad", Boolean(bad));
  }

  button.hidden = false;
  form.addEventListener("input", () => say(""));
  button.addEventListener("click", async () => {
    if (!form.reportValidity()) return;
    button.disabled = true;
    say(answer.dataset.asking);
    try {
      const response = await fetch(form.dataset.estimate, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      const found = await response.json();
      if (found.fields) say(Object.values(found.fields).join(" "), true);
      else if (!response.ok || found.refused) say(found.message || answer.dataset.failed, true);
      else if (found.at_once) say(answer.dataset.now);
      else if (found.starts_at) say(answer.dataset.at.replace("{time}", minihub.clockTime(found.starts_at)));
      else say(found.message || answer.dataset.unknown);
    } catch {
      say(answer.dataset.failed, true);
    } finally {
      button.disabled = false;
    }
  });
})();
