"use strict";
// What mixer.law_file says of any mixture: predictions with intervals, limits, and the mixtures that are best for two metrics.
// Weights are arrays in the order of `file.corpora`; everything here is a function of numbers and knows nothing of the page.

const Law = file => {
  const law = file.law, k = file.corpora.length, metrics = file.metrics.length, draws = law.draws.c[0].length;
  const rule = file.rule, error = file.error, groups = law.groups, limits = file.limits;

  // Muennighoff et al.: weights' worth of new tokens in a weight that is `passes` epochs at 1
  const worth = (w, passes, rStar) => {
    const more = w * passes - 1;
    return more > 0 ? (1 + rStar * (1 - Math.exp(-more / rStar))) / passes : w;
  };
  const effective = w => file.r_star === null || !file.supply || !file.target_tokens ? w
    : w.map((one, j) => worth(one, file.target_tokens / file.supply[j], file.r_star));

  // One metric at one mixture by one set of numbers: the formulas of laws_share, laws_nested, laws_repeat and laws_exp.
  const loss = (of, m, d, w) => {
    if (of.t) return of.c[m][d] + of.b[m][d] * Math.exp(w.reduce((sum, one, j) => sum + of.t[m][d][j] * one, 0));
    const a = of.a[m][d], g = of.g[m][d];
    let inner = of.e[m][d], cost = 0;
    if (groups) {
      const total = new Float64Array(a.length), r = of.r[m][d], q = of.q[m][d];
      for (let j = 0; j < k; j++) {
        const place = groups.place[j];
        if (w[j] > 0) total[place] += groups.share[j] * q[j] * Math.pow(w[j] / groups.share[j], r[place]);
      }
      for (let i = 0; i < a.length; i++) if (total[i] > 0) inner += a[i] * Math.pow(total[i], g[i] / r[i]);
    } else {
      for (let j = 0; j < k; j++) {
        const u = law.passes && of.r_star ? worth(w[j], law.passes[j], of.r_star[m][d][j]) : w[j];
        if (u > 0) inner += a[j] * Math.pow(u, g[j]);
        if (of.h) cost += of.h[m][d][j] * Math.pow(w[j], 2.5);
      }
    }
    return of.c[m][d] + of.b[m][d] * Math.pow(inner, -of.alpha[m][d]) + cost;
  };
  const fitted = (of, m, w) => loss(of, m, 0, effective(w));

  const apart = (a, b) => a.reduce((sum, one, j) => sum + Math.abs(one - b[j]), 0) / 2;
  // how much farther than proxies are from each other
  const times = w => {
    if (!(error.apart > 0)) return 1;
    const away = file.proxies.weights.map(run => apart(w, run)).sort((a, b) => a - b).slice(0, rule.neighbours);
    return away.reduce((sum, one) => sum + one, 0) / away.length / error.apart;
  };

  // mixer.promise for any mixture: value, low and high of every metric, and what the objective gains over the reference
  const centre = (w, m) => {
    const near = Math.min(1, apart(w, file.chosen) / rule.apart), one = fitted(law.near, m, w);
    return near > 0 ? one + near * (fitted(law.all, m, w) - one) : one;
  };
  const means = w => {
    const far = Math.min(1, apart(w, file.reference.weights) / rule.apart);
    const near = 1 - Math.min(1, apart(w, file.chosen) / rule.apart), away = far * near > 0 ? times(w) : 0;
    return file.metrics.map((_, m) => centre(w, m) + far * near * away * error.shift[m]);
  };
  const atReference = means(file.reference.weights);
  const predict = w => {
    const inside = effective(w), away = times(w), far = Math.min(1, apart(w, file.reference.weights) / rule.apart);
    const mean = means(w);
    const made = mean.map((value, m) => {
      const seen = Array.from({length: draws}, (_, d) => loss(law.draws, m, d, inside));
      const middle = seen.reduce((a, b) => a + b, 0) / draws;
      const spread = Math.sqrt(seen.reduce((sum, one) => sum + (one - middle) ** 2, 0) / draws) * (1 - far * (1 - rule.drawn));
      const wrong = Math.max(error.left_out[m] * away, error.floor[m]);
      const half = (rule.z + far * (rule.t - rule.z)) * Math.hypot(spread, Math.sqrt((1 - far) * error.noise[m] ** 2 + far * wrong ** 2));
      const [least, most] = file.bounds[m], within = x => Math.min(most ?? Infinity, Math.max(least ?? -Infinity, x));
      const [one, two] = [value - half, value + half].map(x => x * file.sign[m]);
      return {mean: within(value * file.sign[m]), low: within(Math.min(one, two)), high: within(Math.max(one, two))};
    });
    const gain = file.objective.coefficients.reduce((sum, c, m) => sum + c * (atReference[m] - mean[m]), 0);
    return {metrics: made, times: away, gain: gain * file.objective.unit};
  };

  const broken = w => limits.groups.filter(group => group.row.reduce((sum, x, j) => sum + x * w[j], 0) > group.bound + 1e-9);
  // Weights that keep the ratio of `w` between their limits, and sum to `rest`; null where no such weights are.
  const scaled = (w, which, rest) => {
    const low = which.reduce((sum, j) => sum + limits.lower[j], 0), high = which.reduce((sum, j) => sum + limits.upper[j], 0);
    if (rest < low - 1e-12 || rest > high + 1e-12) return null;
    const at = by => which.map(j => Math.min(limits.upper[j], Math.max(limits.lower[j], by * Math.max(w[j], 1e-9))));
    let [a, b] = [1e-12, 1e12];
    for (let i = 0; i < 100; i++) {
      const by = Math.sqrt(a * b);
      if (at(by).reduce((x, y) => x + y, 0) < rest) a = by; else b = by;
    }
    return at(b);
  };
  // The mixture with weight j moved towards `value`, the others scaled in proportion but those that are locked.
  const moved = (w, j, value, locked) => {
    const free = w.map((_, i) => i).filter(i => i !== j && !locked.has(i) && limits.upper[i] > limits.lower[i]);
    const held = w.reduce((sum, one, i) => i === j || free.includes(i) ? sum : sum + one, 0);
    const sum = ends => free.reduce((total, i) => total + ends[i], 0);
    const least = Math.max(limits.lower[j], 1 - held - sum(limits.upper)), most = Math.min(limits.upper[j], 1 - held - sum(limits.lower));
    const aim = Math.min(most, Math.max(least, value)), rest = scaled(w, free, 1 - held - aim);
    if (!rest || !(most >= least)) return w;
    const made = w.slice();
    made[j] = aim;
    free.forEach((i, n) => { made[i] = rest[n]; });
    if (!broken(made).length) return made;
    let [inside, outside] = [0, 1];  // limits are convex: back towards where we were
    for (let i = 0; i < 40; i++) {
      const part = (inside + outside) / 2;
      if (broken(w.map((one, i) => one + part * (made[i] - one))).length) outside = part; else inside = part;
    }
    return w.map((one, i) => one + inside * (made[i] - one));
  };

  // The mixture within the limits where a convex function is least: weight moves from one corpus to another while that helps.
  const least = (f, start) => {
    let w = start.slice(), value = f(w);
    for (let size = 0.2; size > 2e-4; size /= 2) {
      for (let again = true, round = 0; again && round < 60; round++) {
        again = false;
        const step = 1e-5, slope = w.map((_, j) => (f(w.map((one, i) => i === j ? one + step : one)) - value) / step);
        const order = slope.map((_, j) => j).sort((a, b) => slope[a] - slope[b]);
        search: for (const to of order) for (const from of order.slice().reverse()) {
          if (slope[to] >= slope[from]) break;
          const much = Math.min(size, limits.upper[to] - w[to], w[from] - limits.lower[from]);
          if (much < 1e-7) continue;
          const next = w.slice();
          next[to] += much; next[from] -= much;
          if (broken(next).length) continue;
          const now = f(next);
          if (now < value - 1e-12) { w = next; value = now; again = true; break search; }
        }
      }
    }
    return w;
  };
  // Pairs of predictions at the mixtures that are best for one metric, the other, and both in between.
  const tradeOff = (x, y, points = 11) => {
    const spread = m => {
      const seen = file.proxies.measured.map(run => run[m]);
      return Math.max(1e-12, Math.max(...seen) - Math.min(...seen));
    };
    const f = (part, w) => part * fitted(law.near, x, w) / spread(x) + (1 - part) * fitted(law.near, y, w) / spread(y);
    const found = [];
    let w = file.chosen;
    for (let i = 0; i < points; i++) {
      const part = 1 - i / (points - 1), given = Math.min(0.999, Math.max(0.001, part));
      w = least(at => f(given, at), w);
      found.push(w);
    }
    return found.map(w => ({weights: w, pair: [x, y].map(m => fitted(law.near, m, w) * file.sign[m])}));
  };
  return {fitted: (w, m) => fitted(law.near, m, w) * file.sign[m], predict, moved, broken, least, tradeOff, apart, times};
};
