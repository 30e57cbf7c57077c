(function (id, tries) {
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  function start(root) {
    root.dataset.ready = "1";
    const all = (q) => [...root.querySelectorAll(q)], one = (q) => root.querySelector(q);
    const steps = JSON.parse(one(".dbr-json").textContent), last = steps.length - 1;
    const range = one("input"), now = one(".dbr-now"), box = one(".dbr-graph"), play = one("[data-act=play]");
    const timed = all("[data-f]"), born = all("[data-b]"), ticks = all(".dbr-ticks i"), bars = all(".dbr-mem i");
    const cards = Object.fromEntries(all("[data-c]").map((c) => [c.dataset.c, c]));
    const links = Object.fromEntries(all("[data-e]").map((e) => [e.dataset.e, e]));
    const lines = Object.fromEntries(all("[data-l]").map((l) => [l.dataset.l, l]));
    let at = 0, timer = 0, flight = 0;
    function dots(edges) {
      cancelAnimationFrame(flight);
      all(".dbr-dot").forEach((d) => d.remove());
      if (still.matches || !edges.length) return;
      const run = edges.map((e) => {
        const path = links[e].querySelector("path");
        const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
        dot.setAttribute("r", 5); dot.setAttribute("class", "dbr-dot"); links[e].append(dot);
        return [path, dot, path.getTotalLength()];
      });
      let t0;
      (function fly(t) {
        t0 = t0 || t;
        const part = Math.min(1, (t - t0) / 600);
        for (const [path, dot, length] of run) {
          const p = path.getPointAtLength(length * (1 - part));
          dot.setAttribute("cx", p.x); dot.setAttribute("cy", p.y);
          if (part === 1) dot.remove();
        }
        if (part < 1) flight = requestAnimationFrame(fly);
      })(performance.now());
    }
    function follow(card) {
      const a = card.getBoundingClientRect(), b = box.getBoundingClientRect();
      if (a.top >= b.top && a.bottom <= b.bottom && a.left >= b.left && a.right <= b.right) return;
      box.scrollBy({ left: a.left + a.width / 2 - b.left - b.width / 2, top: a.top + a.height / 2 - b.top - b.height / 2, behavior: still.matches ? "auto" : "smooth" });
    }
    function go(to, quiet) {
      at = Math.max(0, Math.min(last, to));
      const s = steps[at];
      root.dataset.step = at;
      root.classList.toggle("dbr-back", !!s.b);
      for (const t of timed) t.classList.toggle("dbr-off", at < +t.dataset.f || at >= +(t.dataset.u || 1e9));
      for (const t of born) t.classList.toggle("dbr-todo", at < +t.dataset.b);
      for (const c in cards) cards[c].classList.toggle("dbr-at", s.c.includes(c));
      for (const e in links) links[e].classList.toggle("dbr-flow", s.e.includes(e));
      for (const l in lines) {
        lines[l].classList.toggle("dbr-here", s.l[0] === l);
        lines[l].classList.toggle("dbr-via", s.l.indexOf(l) > 0);
      }
      [ticks, bars].forEach((row) => row.forEach((t, i) => t.classList.toggle("on", i === at)));
      range.value = at;
      range.setAttribute("aria-valuetext", "step " + at + " of " + last);
      const [head, ...rest] = s.t.split(". ");
      now.replaceChildren(Object.assign(document.createElement("b"), { textContent: head + ". " }), rest.join(". "));
      one("[data-act=prev]").disabled = at === 0;
      one("[data-act=next]").disabled = at === last;
      one(".dbr-kept").textContent = s.m;
      dots(quiet ? [] : s.e);
      if (!quiet && s.c.length) follow(cards[s.c[0]]);
    }
    function icon(d, name) { play.querySelector("path").setAttribute("d", d); play.setAttribute("aria-label", name); }
    function stop() { clearInterval(timer); timer = 0; icon("M3 2l5 6-5 6zm6 0l5 6-5 6z", "Play"); now.setAttribute("aria-live", "polite"); }
    function run() {
      if (timer) return stop();
      if (at === last) go(0);
      icon("M3 2h4v12H3zm6 0h4v12H9z", "Pause"); now.setAttribute("aria-live", "off");
      timer = setInterval(() => (at < last && root.isConnected ? go(at + 1) : stop()), 1800);
    }
    const acts = { prev: () => go(at - 1), next: () => go(at + 1), play: run, full: () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen && root.requestFullscreen()) };
    root.addEventListener("click", (event) => {
      const act = event.target.closest("[data-act]"), card = event.target.closest("[data-c]"), line = event.target.closest("li[data-s]");
      if (act) { if (act !== play) stop(); acts[act.dataset.act](); }
      else if (line) { stop(); go(+line.dataset.s); }
      else if (card) {
        const its = steps.map((s, i) => (s.c.includes(card.dataset.c) ? i : -1)).filter((i) => i >= 0);
        stop(); go(its.find((i) => i > at) ?? its[0] ?? +card.dataset.b);
      }
    });
    range.addEventListener("input", () => { stop(); go(+range.value); });
    root.addEventListener("keydown", (event) => {
      const keys = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1, Home: -1e9, End: 1e9 };
      const inside = event.target.closest("pre,.dbr-graph") && event.key.match(/Up|Down/);
      if (!(event.key in keys) || event.altKey || event.ctrlKey || event.metaKey || inside) return;
      event.preventDefault(); event.stopPropagation(); stop(); go(at + keys[event.key]);
    });
    if (root.clientWidth && root.clientWidth < 620) one(".dbr-code")?.removeAttribute("open");
    root.classList.add("dbr-live");
    go(0, true);
    if (root.closest(".dbr-autoplay") && !still.matches)
      new IntersectionObserver(([e], o) => { if (e.isIntersecting) { o.disconnect(); setTimeout(() => at || timer || run(), 900); } }, { threshold: 0.6 }).observe(root);
  }
  (function find() {
    const found = document.querySelectorAll('.dbr-player[data-dbr="' + id + '"]:not([data-ready])');
    found.forEach(start);
    if (!found.length && tries--) setTimeout(find, 100);
  })();
})("{{ id }}", 50);
