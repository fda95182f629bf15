"use strict";
// The mixer of a page: sliders, what is predicted, and the curve between two metrics. Text is only ever set as text.

(() => {
  const holder = document.getElementById("law");
  if (!holder) return;
  const file = JSON.parse(holder.textContent), words = JSON.parse(document.getElementById("words").textContent);
  const law = Law(file), reference = file.reference.weights, locked = new Set();
  const shown = file.corpora.map((_, j) => j).filter(j => file.limits.upper[j] > 0);
  const say = (sentence, values = {}) => (words[sentence] ?? sentence).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  const percent = x => (100 * x).toFixed(1) + "%", short = x => String(Number(x.toPrecision(4)));
  const signed = x => (x < 0 ? "−" : "+") + short(Math.abs(x));
  const make = (tag, about = {}, ...inside) => {
    const element = document.createElement(tag);
    Object.entries(about).forEach(([name, value]) => element.setAttribute(name, value));
    element.append(...inside);
    return element;
  };
  let now = file.chosen.slice();
  const at = {chosen: law.predict(file.chosen), reference: law.predict(reference)};

  // --- the sliders
  const rows = shown.map(j => {
    const low = file.limits.lower[j], high = file.limits.upper[j], name = file.corpora[j];
    const slide = make("input", {type: "range", min: 0, max: 1, step: "any", id: "weight" + j, "aria-label": name});
    const lock = make("input", {type: "checkbox", "aria-label": say("lock") + " " + name});
    const out = make("output", {for: "weight" + j}), epochs = make("span", {class: "epochs"});
    slide.max = Math.min(1, Math.max(1.15 * high, low, 0.02) > 0.9 ? 1 : 1.15 * high);
    slide.addEventListener("input", () => move(law.moved(now, j, Number(slide.value), locked), j, Number(slide.value)));
    lock.addEventListener("change", () => { lock.checked ? locked.add(j) : locked.delete(j); slide.disabled = lock.checked; });
    const held = make("label", {class: "lock"}, lock, say("lock"));
    const box = make("div", {class: "weight"}, make("label", {for: "weight" + j}, name), epochs, out,
      make("div", {class: "slide"}, slide, held));
    if (low > 0 || high < 1) box.title = say("within {low} and {high}", {low: percent(low), high: percent(high)});
    document.getElementById("sliders").append(box);
    return {j, slide, out, epochs};
  });

  // --- what is predicted
  const ends = file.metrics.map((_, m) => {
    const seen = [...file.proxies.measured.map(run => run[m]), ...Object.values(at).flatMap(p => [p.metrics[m].low, p.metrics[m].high])];
    return [Math.min(...seen), Math.max(...seen)];
  });
  const body = document.querySelector("#metrics tbody");
  const lines = file.metrics.map((metric, m) => {
    const part = Object.fromEntries(["range", "ref", "was", "now"].map(name => [name, make("i", {class: name})]));
    const place = x => Math.min(100, Math.max(0, 100 * (x - ends[m][0]) / (ends[m][1] - ends[m][0] || 1)));
    part.ref.style.left = place(at.reference.metrics[m].mean) + "%";
    part.was.style.left = place(at.chosen.metrics[m].mean) + "%";
    const value = make("td", {class: "n"}), change = make("td", {class: "n"});
    body.append(make("tr", {"data-metric": metric}, make("td", {}, metric), make("td", {class: "scale"}, make("div", {}, ...Object.values(part))), value, change));
    return {part, place, value, change};
  });

  const show = () => {
    const found = law.predict(now), unit = file.objective.name;
    rows.forEach(({j, slide, out, epochs}) => {
      slide.value = now[j];
      slide.style.setProperty("--at", 100 * now[j] / slide.max + "%");
      out.textContent = percent(now[j]);
      if (file.supply && file.target_tokens) epochs.textContent = say("{n} epochs", {n: (now[j] * file.target_tokens / file.supply[j]).toFixed(2)});
    });
    lines.forEach(({part, place, value, change}, m) => {
      const one = found.metrics[m], top = file.ceilings[file.metrics[m]];
      const over = top !== undefined && file.sign[m] * (one.mean - top) > 5e-4 * Math.abs(top);  // more than is shown: the search stops at a ceiling
      part.now.style.left = place(one.mean) + "%";
      part.range.style.left = place(one.low) + "%";
      part.range.style.width = place(one.high) - place(one.low) + "%";
      value.replaceChildren(short(one.mean), " ", make("small", {}, "± " + Number(((one.high - one.low) / 2).toPrecision(2))));
      value.classList.toggle("over", over);
      value.title = over ? say("above its ceiling of {n}", {n: short(top)}) : `${short(one.low)} – ${short(one.high)}`;
      const gap = one.mean - at.chosen.metrics[m].mean;
      change.textContent = Math.abs(gap) < 5e-5 * Math.abs(one.mean) ? "=" : signed(gap);
    });
    const verdict = document.getElementById("verdict"), far = found.times;
    const state = far <= 1.1 ? "inside" : far <= 2 ? "edge" : "outside";
    const beyond = shown.filter(j => {
      const seen = file.proxies.weights.map(run => run[j]);
      return now[j] > Math.max(...seen) + 1e-3 || now[j] < Math.min(...seen) - 1e-3;
    }).map(j => file.corpora[j]);
    verdict.className = state;
    verdict.textContent = say({inside: "Inside what was tried: proxies lie as near as they do to each other.",
      edge: "At the edge of what was tried: {n} times as far from the nearest proxies as these are from each other.",
      outside: "Outside what was tried: {n} times as far from the nearest proxies as these are from each other. The interval is no more than a guess here."}[state], {n: far.toFixed(1)})
      + (beyond.length ? " " + say("No proxy had so much or so little of: {names}.", {names: beyond.join(", ")}) : "");
    const gain = document.getElementById("gain"), number = make("b", {}, signed(found.gain));
    const [before, after] = say("{gain} in the objective against {name} ({unit}; above 0 is better)", {name: words.reference, unit: words.unit}).split("{gain}");
    gain.replaceChildren(before, number, after ?? "");
    mine();
  };
  const move = (next, j, wanted) => {
    const held = j !== undefined && Math.abs(next[j] - wanted) > 2e-3;
    document.getElementById("binds").textContent = held ? say("{name} stops at {n}: a limit, or what is locked, leaves no room.", {name: file.corpora[j], n: percent(next[j])}) : "";
    now = next;
    show();
  };
  const even = () => {
    let w = now.map((_, j) => shown.includes(j) ? 1 / shown.length : 0);
    return law.least(at => at.reduce((sum, one, j) => sum + (one - w[j]) ** 2, 0), file.chosen);
  };
  document.querySelectorAll("[data-to]").forEach(button => button.addEventListener("click", () =>
    move({chosen: file.chosen, reference, even: null}[button.dataset.to]?.slice() ?? even())));
  const best = document.getElementById("best");
  file.metrics.forEach((metric, m) => best.append(make("option", {value: m}, metric)));
  best.addEventListener("change", () => {
    if (best.value !== "") move(law.least(w => file.sign[best.value] * law.fitted(w, best.value), file.chosen));
    best.value = "";
  });

  // --- one metric against another
  const space = "http://www.w3.org/2000/svg", wide = 560, high = 360, left = 58, bottom = 44, edge = 14;
  const draw = (tag, about, said) => {
    const element = document.createElementNS(space, tag);
    Object.entries(about).forEach(([name, value]) => element.setAttribute(name, value));
    if (said !== undefined) element.append(said);
    return element;
  };
  const ticks = (low, high) => {
    const unit = 10 ** Math.floor(Math.log10((high - low) / 5)), step = [1, 2, 5, 10].map(x => x * unit).find(x => (high - low) / x <= 6);
    return Array.from({length: 12}, (_, i) => (Math.ceil(low / step) + i) * step).filter(x => x <= high).map(x => Number(x.toPrecision(8)));
  };
  const marks = [size => `a${size} ${size} 0 1 0 ${2 * size} 0a${size} ${size} 0 1 0 ${-2 * size} 0`];
  const disc = (x, y, size) => `M${x - size} ${y}` + marks[0](size), diamond = (x, y, s) => `M${x} ${y - s}l${s} ${s}l${-s} ${s}l${-s} ${-s}z`;
  const square = (x, y, s) => `M${x - s} ${y - s}h${2 * s}v${2 * s}h${-2 * s}z`, triangle = (x, y, s) => `M${x} ${y - 1.2 * s}l${1.2 * s} ${2.1 * s}h${-2.4 * s}z`;
  const across = document.getElementById("across"), up = document.getElementById("up");
  let mine = () => {};
  const trade = () => {
    const [x, y] = [Number(across.value), Number(up.value)], curve = law.tradeOff(x, y);
    const pair = w => [law.fitted(w, x), law.fitted(w, y)], fixed = {2: pair(file.chosen), 1: pair(reference)};
    const runs = file.proxies.measured.map(run => [run[x], run[y]]);
    const points = [...curve.map(one => one.pair), ...Object.values(fixed)];
    const span = i => {
      const own = points.map(p => p[i]), seen = runs.map(p => p[i]).sort((a, b) => a - b);
      const [a, b] = [Math.min(...own, seen[0]), Math.max(...own, seen[Math.floor(0.75 * (seen.length - 1))])], pad = 0.07 * (b - a || 1);
      return [a - pad, b + pad];
    };
    const [horizontal, vertical] = [span(0), span(1)];
    const px = v => left + (wide - left - edge) * (v - horizontal[0]) / (horizontal[1] - horizontal[0]);
    const py = v => high - bottom - (high - bottom - edge) * (v - vertical[0]) / (vertical[1] - vertical[0]);
    const inside = ([a, b]) => a >= horizontal[0] && a <= horizontal[1] && b >= vertical[0] && b <= vertical[1];
    const chart = draw("svg", {class: "chart", viewBox: `0 0 ${wide} ${high}`, role: "img"});
    ticks(...horizontal).forEach(v => chart.append(draw("path", {class: "grid", d: `M${px(v)} ${edge}V${high - bottom}`}), draw("text", {x: px(v), y: high - bottom + 16, "text-anchor": "middle"}, String(v))));
    ticks(...vertical).forEach(v => chart.append(draw("path", {class: "grid", d: `M${left} ${py(v)}H${wide - edge}`}), draw("text", {x: left - 7, y: py(v) + 4, "text-anchor": "end"}, String(v))));
    const put = (kind, path, said) => {
      const group = draw("g", {class: "k" + kind}), mark = draw("path", {class: "mark", d: path});
      mark.append(draw("title", {}, said));
      group.append(mark);
      chart.append(group);
      return mark;
    };
    const said = ([a, b]) => `${short(a)}, ${short(b)}`;
    runs.forEach((p, i) => inside(p) && put("x", disc(px(p[0]), py(p[1]), 2.4), `${file.proxies.runs[i]}: ${said(p)}`));
    const line = draw("g", {class: "k0"});
    line.append(draw("path", {class: "line", d: "M" + curve.map(({pair: [a, b]}) => `${px(a)} ${py(b)}`).join("L")}));
    chart.append(line);
    curve.forEach(one => {
      const mark = put(0, disc(px(one.pair[0]), py(one.pair[1]), 4.5), said(one.pair));
      mark.classList.add("pick");
      mark.addEventListener("click", () => move(one.weights));
    });
    put(1, diamond(px(fixed[1][0]), py(fixed[1][1]), 7), `${words.reference}: ${said(fixed[1])}`);
    put(2, square(px(fixed[2][0]), py(fixed[2][1]), 5.5), `${say("chosen")}: ${said(fixed[2])}`);
    const own = put(3, "", say("this mixture"));
    chart.append(draw("text", {class: "axis", x: (left + wide) / 2, y: high - 6, "text-anchor": "middle"}, `${file.metrics[x]} (${words.units[x]})`));
    chart.append(draw("text", {class: "axis", x: -(high - bottom) / 2, y: 13, transform: "rotate(-90)", "text-anchor": "middle"}, `${file.metrics[y]} (${words.units[y]})`));
    document.getElementById("trade").replaceChildren(chart);
    mine = () => {
      const p = pair(now);
      own.setAttribute("d", inside(p) ? triangle(px(p[0]), py(p[1]), 5.5) : "");
    };
    mine();
  };
  if (file.metrics.length > 1) {
    const used = file.objective.coefficients, first = file.pair[0] ?? used.indexOf(Math.max(...used));
    const second = file.pair[1] ?? file.metrics.map((_, m) => m).filter(m => m !== first).sort((a, b) => (used[b] > 0) - (used[a] > 0) || a - b)[0];
    [[across, first], [up, second]].forEach(([select, value]) => {
      file.metrics.forEach((metric, m) => select.append(make("option", {value: m}, metric)));
      select.value = value;
      select.addEventListener("change", trade);
    });
    trade();
  } else document.querySelector(".trade").remove();
  show();
  window.mixer = {law, file, get weights() { return now.slice(); }};
})();
