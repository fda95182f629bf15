"use strict";
// The live page of a swarm: asks for its state every two seconds. Text is only ever set as text.

(() => {
  const words = JSON.parse(document.getElementById("words").textContent);
  const say = (sentence, values = {}) => (words[sentence] ?? sentence).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  const put = (id, text) => { document.getElementById(id).textContent = text; };
  const make = (tag, kind, text) => {
    const element = document.createElement(tag);
    if (kind) element.className = kind;
    element.textContent = text;
    return element;
  };
  const show = state => {
    const part = state.total ? state.done / state.total : state.runs ? state.finished / state.runs : 0;
    document.getElementById("whole").style.width = 100 * Math.min(1, part) + "%";
    put("done", `${state.finished} / ${state.runs}`);
    put("part", say("{n} of the tokens", {n: (100 * part).toFixed(0) + "%"}));
    put("left", state.left || "–");
    put("rate", state.rate ? say("{n} tokens/s", {n: Math.round(state.rate).toLocaleString("en")}) : "");
    const results = Object.entries(state.results).map(([run, metrics]) => {
      const values = Object.values(metrics);
      return {run, metrics, mean: values.reduce((a, b) => a + b, 0) / Math.max(1, values.length)};
    }).sort((a, b) => a.mean - b.mean);
    put("best", results.length ? results[0].mean.toFixed(4) : "–");
    put("bestrun", results.length ? results[0].run : "");
    document.getElementById("running").replaceChildren(...state.running.flatMap(one => {
      const bar = make("div", "progress", ""), inner = document.createElement("i");
      inner.style.width = 100 * one.share + "%";
      bar.append(inner);
      return [make("span", "", one.name), bar, make("span", "quiet", one.state || say("starting"))];
    }));
    const metrics = results.length ? Object.keys(results[0].metrics) : [];
    const least = Object.fromEntries(metrics.map(name => [name, Math.min(...results.map(one => one.metrics[name]))]));
    const row = (cells, tag) => {
      const line = document.createElement("tr");
      line.append(...cells.map(([text, kind]) => make(tag, kind, text)));
      return line;
    };
    document.getElementById("head").replaceChildren(...(results.length ? [row([[say("run"), ""], [say("mean"), "n"], ...metrics.map(name => [name, "n"])], "th")] : []));
    document.getElementById("rows").replaceChildren(...results.map(one => row([[one.run, ""], [one.mean.toFixed(4), "n"],
      ...metrics.map(name => [one.metrics[name].toFixed(4), one.metrics[name] === least[name] ? "n best" : "n"])], "td")));
    put("said", state.said.join("\n"));
  };
  const ask = async () => {
    try {
      const answer = await fetch("state.json", {cache: "no-store"}), state = await answer.json();
      if (state.results) show(state);
      document.body.classList.remove("lost");
    } catch {
      document.body.classList.add("lost");
    }
    setTimeout(ask, 2000);
  };
  ask();
})();
